//! Microsoft Entra ID.

use serde_json::{Value, json};
use tower_jwt_auth::{
    error::AuthErrorKind, key::remote::RemoteKeySet, principal::PrincipalKind, verify::Provider,
};

use super::{Realm, jwt, roles, rsa, scope};
use crate::issuers::memory::Memory;

const TENANT: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
const API: &str = "00001111-aaaa-2222-bbbb-3333cccc4444";

async fn entra() -> Realm {
    let origin = "https://login.microsoftonline.com";
    let issuer = format!("{origin}/{TENANT}/v2.0");
    // No `alg`; an issuer of its own in each key.
    let key = |kid: &str| {
        rsa(json!({"use": "sig", "kid": kid, "x5t": kid, "x5c": ["MIIC"], "issuer": issuer}))
    };
    let memory = Memory::default()
        .with(
            &format!("{issuer}/.well-known/openid-configuration"),
            json!({
                "issuer": issuer,
                "token_endpoint": format!("{origin}/{TENANT}/oauth2/v2.0/token"),
                "jwks_uri": format!("{origin}/{TENANT}/discovery/v2.0/keys"),
                "id_token_signing_alg_values_supported": ["RS256"],
                "tenant_region_scope": "EU",
                "cloud_instance_name": "microsoftonline.com",
                "msgraph_host": "graph.microsoft.com"
            }),
        )
        .with(
            &format!("{origin}/{TENANT}/discovery/v2.0/keys"),
            json!({"keys": [key("XRvko8P7A3UaWSnU7bM9nT0MjhA"), key("A1bC2dE3fH4iJ5kL6mN7oP8qR9s")]}),
        );
    let preset = Provider::entra(TENANT);
    assert_eq!(preset.issuer(), issuer);
    Realm::discover(&issuer, "XRvko8P7A3UaWSnU7bM9nT0MjhA", memory, |rules| {
        rules.provider(preset).audience(API)
    })
    .await
}

fn entra_user() -> Value {
    json!({
        "aud": API,
        "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "nbf": 1_767_225_600,
        "aio": "AXQAi/8IAAAA",
        "azp": "11112222-bbbb-3333-cccc-4444dddd5555",
        "azpacr": "1",
        "name": "Alice",
        "oid": "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb",
        "preferred_username": "alice@shop.example",
        "rh": "0.AAAA",
        "roles": ["Orders.Admin"],
        "scp": "Orders.Read Orders.Write",
        "sub": "pairwise-subject",
        "tid": TENANT,
        "uti": "uti",
        "ver": "2.0"
    })
}

#[tokio::test]
async fn entra_tokens_of_users_and_of_apps() {
    let provider = entra().await;
    let user = provider.accepts(jwt(), entra_user());
    assert_eq!(user.kind(), PrincipalKind::User);
    assert_eq!(
        user.client_id(),
        Some("11112222-bbbb-3333-cccc-4444dddd5555")
    );
    assert_eq!(roles(&user), ["Orders.Admin"]);
    assert_eq!(scope(&user), ["Orders.Read", "Orders.Write"]);

    let mut app = entra_user();
    for claim in ["scp", "name", "preferred_username"] {
        app.as_object_mut().unwrap().remove(claim);
    }
    app["sub"] = app["oid"].clone();
    // `idtyp` is an optional claim; without it an app is known by what it lacks.
    let principal = provider.accepts(jwt(), app.clone());
    assert_eq!(principal.kind(), PrincipalKind::Service);
    assert_eq!(roles(&principal), ["Orders.Admin"]);
    app["idtyp"] = "app".into();
    assert_eq!(provider.accepts(jwt(), app).kind(), PrincipalKind::Service);
}

#[tokio::test]
async fn f6_entra_id_tokens_are_refused_also_where_the_audience_is_the_same() {
    let provider = entra().await;
    let mut id_token = entra_user();
    for claim in ["azp", "azpacr", "scp"] {
        id_token.as_object_mut().unwrap().remove(claim);
    }
    id_token["nonce"] = "n".into();
    let kind = provider.refuses(jwt(), id_token.clone());
    assert_eq!(kind, AuthErrorKind::MissingClaim("azp"));
    id_token["aud"] = "11112222-bbbb-3333-cccc-4444dddd5555".into();
    assert_eq!(
        provider.refuses(jwt(), id_token),
        AuthErrorKind::WrongAudience
    );
}

#[tokio::test]
async fn e13_entra_tokens_of_another_tenant_or_version_are_refused() {
    let provider = entra().await;
    for issuer in [
        format!("https://sts.windows.net/{TENANT}/"),
        format!("https://login.microsoftonline.com/{TENANT}/"),
        "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0".to_owned(),
        "https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(),
        "https://login.microsoftonline.com/common/v2.0".to_owned(),
    ] {
        let mut claims = entra_user();
        claims["iss"] = issuer.clone().into();
        assert_eq!(
            provider.refuses(jwt(), claims),
            AuthErrorKind::WrongIssuer,
            "{issuer}"
        );
    }
}

#[tokio::test]
async fn entra_metadata_for_all_tenants_is_nobodys() {
    let common = "https://login.microsoftonline.com/common/v2.0";
    let memory = Memory::default().with(
        &format!("{common}/.well-known/openid-configuration"),
        json!({
            "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0",
            "jwks_uri": "https://login.microsoftonline.com/common/discovery/v2.0/keys"
        }),
    );
    let keys = RemoteKeySet::oidc(common).fetch(memory).build().unwrap();
    let error = keys.ready().await.unwrap_err();
    assert_eq!(error.to_string(), "the metadata name another issuer");
}
