//! Okta.

use serde_json::{Value, json};
use tower_jwt_auth::{
    error::AuthErrorKind,
    principal::PrincipalKind,
    verify::{Provider, VerifierBuilder},
};

use super::{Realm, bare, roles, rsa, scope};
use crate::issuers::memory::Memory;

const OKTA: &str = "https://shop.okta.com/oauth2/default";

async fn okta(rules: impl FnOnce(VerifierBuilder) -> VerifierBuilder) -> Realm {
    let memory = Memory::default()
        .with(
            &format!("{OKTA}/.well-known/openid-configuration"),
            json!({
                "issuer": OKTA,
                "token_endpoint": format!("{OKTA}/v1/token"),
                "jwks_uri": format!("{OKTA}/v1/keys"),
                "grant_types_supported": ["authorization_code", "client_credentials"],
                "request_object_signing_alg_values_supported": ["HS256", "RS256", "ES256"]
            }),
        )
        .with(
            &format!("{OKTA}/v1/keys"),
            json!({"keys": [rsa(json!({
                "alg": "RS256", "use": "sig", "kid": "ZkvelLN_seik7w4pc"
            }))]}),
        );
    let preset = Provider::okta("shop.okta.com", "default");
    assert_eq!(preset.issuer(), OKTA);
    Realm::discover(OKTA, "ZkvelLN_seik7w4pc", memory, |builder| {
        rules(builder.provider(preset))
    })
    .await
}

fn okta_user() -> Value {
    json!({
        "ver": 1,
        "jti": "AT.MNAoEQ_jbKqoinrQo1D0XKjMX28U5d7Zsz",
        "iss": OKTA,
        "aud": "api://default",
        "sub": "alice@shop.example",
        "cid": "0oar95zt9zIpYuz6A0h7",
        "uid": "00u1abcdefGHIJ",
        "scp": ["openid", "orders.read"],
        "auth_time": 1_767_225_600,
        "groups": ["Everyone", "Admins"]
    })
}

#[tokio::test]
async fn okta_tokens_of_users_and_of_services() {
    let provider = okta(|rules| {
        rules
            .audience("api://default")
            .client_ids(["0oar95zt9zIpYuz6A0h7"])
    })
    .await;
    let user = provider.accepts(bare(), okta_user());
    assert_eq!(user.kind(), PrincipalKind::User);
    assert_eq!(user.client_id(), Some("0oar95zt9zIpYuz6A0h7"));
    assert_eq!(roles(&user), ["Everyone", "Admins"]);
    assert_eq!(scope(&user), ["openid", "orders.read"]);

    let service = json!({
        "ver": 1,
        "jti": "AT.s",
        "iss": OKTA,
        "aud": "api://default",
        "sub": "0oar95zt9zIpYuz6A0h7",
        "cid": "0oar95zt9zIpYuz6A0h7",
        "scp": ["orders.read"]
    });
    let principal = provider.accepts(bare(), service);
    assert_eq!(principal.kind(), PrincipalKind::Service);
    assert_eq!(principal.client_id(), Some("0oar95zt9zIpYuz6A0h7"));

    let mut other = okta_user();
    other["cid"] = "another".into();
    assert_eq!(provider.refuses(bare(), other), AuthErrorKind::WrongClient);
    let mut odd = okta_user();
    odd["cid"] = json!(7);
    assert_eq!(
        provider.refuses(bare(), odd),
        AuthErrorKind::MissingClaim("client_id")
    );
}

#[tokio::test]
async fn f6_okta_id_tokens_and_tokens_for_okta_itself_are_refused() {
    let id_token = json!({
        "ver": 1,
        "jti": "ID.radCQMOQUmyvcTBmmIL0J6BaS60apUEiC7",
        "iss": OKTA,
        "aud": "0oar95zt9zIpYuz6A0h7",
        "sub": "00u1abcdefGHIJ",
        "amr": ["pwd"],
        "idp": "00o1",
        "nonce": "n",
        "at_hash": "h"
    });
    let by_audience = okta(|rules| rules.audience("api://default")).await;
    let kind = by_audience.refuses(bare(), id_token.clone());
    assert_eq!(kind, AuthErrorKind::WrongAudience);
    let by_client = okta(|rules| rules.client_ids(["0oar95zt9zIpYuz6A0h7"])).await;
    let kind = by_client.refuses(bare(), id_token.clone());
    assert_eq!(kind, AuthErrorKind::WrongUse);
    // And would be without that hash: they name no client.
    let mut bare_id_token = id_token;
    bare_id_token.as_object_mut().unwrap().remove("at_hash");
    let kind = by_client.refuses(bare(), bare_id_token);
    assert_eq!(kind, AuthErrorKind::MissingClaim("client_id"));

    let internal = json!({"typ": "application/okta-internal-at+jwt"});
    let kind = by_audience.refuses(internal, okta_user());
    assert_eq!(kind, AuthErrorKind::WrongType);
}
