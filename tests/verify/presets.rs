//! What presets take for the name of an issuer, and what they refuse.

use tower_jwt_auth::{
    ConfigError, Verifier,
    key::Algorithm,
    verify::{Provider, VerifierBuilder},
};

use crate::support::fixture::{AUDIENCE, keys};

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

fn builder(preset: Provider) -> VerifierBuilder {
    Verifier::key_set(keys())
        .algorithms([Algorithm::Es256])
        .audience(AUDIENCE)
        .provider(preset)
}

#[test]
fn l10_what_people_paste_is_the_same_issuer() {
    for (pasted, issuer) in [
        (
            Provider::auth0("https://tenant.eu.auth0.com/"),
            "https://tenant.eu.auth0.com/",
        ),
        (
            Provider::auth0("Tenant.eu.auth0.com"),
            "https://tenant.eu.auth0.com/",
        ),
        (
            Provider::okta("https://dev-1.okta.com", "aus1_x-Y"),
            "https://dev-1.okta.com/oauth2/aus1_x-Y",
        ),
        (
            Provider::keycloak("http://localhost:8080/auth/realms/shop/", "orders"),
            "http://localhost:8080/auth/realms/shop",
        ),
        (
            Provider::entra(&TENANT.to_ascii_uppercase()),
            "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
        ),
    ] {
        assert_eq!(pasted.issuer(), issuer);
        assert!(builder(pasted).build().is_ok(), "{issuer}");
    }
}

/// Every request would be answered 503: such an issuer has no keys.
#[test]
fn l10_what_is_no_issuer_is_refused_at_start() {
    let domains = [
        "",
        "tenant",
        "tenant.eu.auth0.com:443",
        "tenant.eu.auth0.com//",
        "tenant.eu.auth0.com/login",
        "http://tenant.eu.auth0.com",
        "https://https://tenant.eu.auth0.com",
        "ops@tenant.eu.auth0.com",
        "tenant..com",
        "tenant.eu.auth0.com?x",
    ];
    let mut refused = Vec::new();
    for domain in domains {
        refused.push(Provider::auth0(domain));
        refused.push(Provider::okta(domain, "default"));
    }
    for server in ["", "default/", "oauth2/default"] {
        refused.push(Provider::okta("dev-1.okta.com", server));
    }
    for tenant in [
        "common",
        "organizations",
        "consumers",
        "shop.onmicrosoft.com",
        "",
        "72f988bf86f141af91ab2d7cd011db47",
        "72f988bf-86f1-41af-91ab-2d7cd011dbxx",
        "72f988bf-86f1-41af-91ab-2d7cd011db47/",
    ] {
        refused.push(Provider::entra(tenant));
    }
    for (region, pool) in [
        ("", "_x"),
        ("eu-central-1", "eu-west-1_AbCdEf"),
        ("eu-central-1", "AbCdEf"),
        ("eu-central-1", "eu-central-1_"),
        ("eu-central-1", "eu-central-1_x/y"),
        ("eu-central-1_AbCdEf", "eu-central-1"),
        ("evil.example/", "evil.example/_x"),
    ] {
        refused.push(Provider::cognito(region, pool));
    }
    for realm in [
        "https://sso.example",
        "https://sso.example/realms/",
        "https:///realms/shop",
        "sso.example/realms/shop",
        "https://sso.example/realms/shop/account",
        "https://sso.example/realms/shop/.well-known/openid-configuration",
        "https://sso.example/realms/shop?x",
    ] {
        refused.push(Provider::keycloak(realm, "orders"));
    }
    refused.push(Provider::keycloak("https://sso.example/realms/shop", ""));
    for preset in refused {
        let error = builder(preset.clone()).build().map(drop).unwrap_err();
        let named = matches!(&error, ConfigError::Invalid { name, .. } if name == "preset");
        assert!(named, "{preset:?}: {error}");
    }
}
