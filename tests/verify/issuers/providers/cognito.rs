//! Amazon Cognito.

use serde_json::{Value, json};
use tower_jwt_auth::{error::AuthErrorKind, principal::PrincipalKind, verify::Provider};

use super::{Realm, bare, roles, rsa, scope};
use crate::issuers::memory::Memory;

const POOL: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_EXAMPLE";

async fn cognito() -> Realm {
    let key = |kid: &str| rsa(json!({"alg": "RS256", "kid": kid, "use": "sig"}));
    let memory = Memory::default()
        .with(
            &format!("{POOL}/.well-known/openid-configuration"),
            json!({
                "issuer": POOL,
                "jwks_uri": format!("{POOL}/.well-known/jwks.json"),
                "authorization_endpoint": "https://shop.auth.eu-central-1.amazoncognito.com/oauth2/authorize",
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code", "token"]
            }),
        )
        .with(
            &format!("{POOL}/.well-known/jwks.json"),
            // One for ID tokens, one for access tokens.
            json!({"keys": [key("1234example="), key("5678example=")]}),
        );
    let preset = Provider::cognito("eu-central-1", "eu-central-1_EXAMPLE");
    assert_eq!(preset.issuer(), POOL);
    Realm::discover(POOL, "5678example=", memory, |rules| {
        rules
            .provider(preset)
            .client_ids(["57cbishk4j24pabc1234567890"])
    })
    .await
}

fn cognito_user() -> Value {
    json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "device_key": "eu-central-1_aaaaaaaa",
        "cognito:groups": ["admin", "editor"],
        "iss": POOL,
        "version": 2,
        "client_id": "57cbishk4j24pabc1234567890",
        "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-ffffffffffff",
        "event_id": "dda1b2b6",
        "token_use": "access",
        "scope": "phone openid profile orders/read",
        "auth_time": 1_767_225_600,
        "jti": "aaaaaaaa-bbbb-cccc-dddd-111111111111",
        "username": "alice"
    })
}

#[tokio::test]
async fn cognito_tokens_of_users_and_of_machines() {
    let provider = cognito().await;
    let user = provider.accepts(bare(), cognito_user());
    assert_eq!(user.kind(), PrincipalKind::User);
    assert_eq!(roles(&user), ["admin", "editor"]);
    assert_eq!(scope(&user), ["phone", "openid", "profile", "orders/read"]);

    let machine = json!({
        "sub": "57cbishk4j24pabc1234567890",
        "token_use": "access",
        "scope": "orders/read",
        "auth_time": 1_767_225_600,
        "iss": POOL,
        "version": 2,
        "jti": "aaaaaaaa-bbbb-cccc-dddd-222222222222",
        "client_id": "57cbishk4j24pabc1234567890"
    });
    let principal = provider.accepts(bare(), machine);
    assert_eq!(principal.kind(), PrincipalKind::Service);

    let mut other = cognito_user();
    other["client_id"] = "another".into();
    assert_eq!(provider.refuses(bare(), other), AuthErrorKind::WrongClient);
}

#[tokio::test]
async fn f6_cognito_id_tokens_are_refused() {
    let provider = cognito().await;
    let mut id_token = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "cognito:groups": ["admin"],
        "cognito:username": "alice",
        "iss": POOL,
        "aud": "57cbishk4j24pabc1234567890",
        "token_use": "id",
        "at_hash": "h",
        "email_verified": true
    });
    assert_eq!(
        provider.refuses(bare(), id_token.clone()),
        AuthErrorKind::WrongUse
    );
    // And would be without these two: they name no client.
    let members = id_token.as_object_mut().unwrap();
    members.remove("token_use");
    members.remove("at_hash");
    let kind = provider.refuses(bare(), id_token);
    assert_eq!(kind, AuthErrorKind::MissingClaim("client_id"));
}
