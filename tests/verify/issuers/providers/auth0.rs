//! Auth0.

use serde_json::json;
use tower_jwt_auth::{error::AuthErrorKind, principal::PrincipalKind, verify::Provider};

use super::{Realm, jwt, roles, rsa, scope};
use crate::issuers::memory::Memory;

async fn auth0() -> Realm {
    let memory = Memory::default()
        .with(
            "https://shop.eu.auth0.com/.well-known/openid-configuration",
            json!({
                "issuer": "https://shop.eu.auth0.com/",
                "authorization_endpoint": "https://shop.eu.auth0.com/authorize",
                "token_endpoint": "https://shop.eu.auth0.com/oauth/token",
                "userinfo_endpoint": "https://shop.eu.auth0.com/userinfo",
                "jwks_uri": "https://shop.eu.auth0.com/.well-known/jwks.json",
                "response_types_supported": ["code", "token", "id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["HS256", "RS256", "PS256"],
                "scopes_supported": ["openid", "profile", "offline_access"]
            }),
        )
        .with(
            "https://shop.eu.auth0.com/.well-known/jwks.json",
            // The one in use and the next.
            json!({"keys": [
                rsa(json!({"use": "sig", "alg": "RS256", "kid": "now", "x5t": "bm93", "x5c": ["MIID"]})),
                rsa(json!({"use": "sig", "alg": "RS256", "kid": "next", "x5t": "bmV4dA", "x5c": ["MIID"]}))
            ]}),
        );
    let preset = Provider::auth0("shop.eu.auth0.com");
    assert_eq!(preset.issuer(), "https://shop.eu.auth0.com/");
    Realm::discover("https://shop.eu.auth0.com/", "now", memory, |rules| {
        rules.provider(preset).audience("https://orders.example")
    })
    .await
}

#[tokio::test]
async fn auth0_tokens_of_users_and_of_machines() {
    let provider = auth0().await;
    let user = provider.accepts(
        jwt(),
        json!({
            "iss": "https://shop.eu.auth0.com/",
            "sub": "auth0|6553da60a54af58e29493993",
            "aud": ["https://orders.example", "https://shop.eu.auth0.com/userinfo"],
            "azp": "K1AUPhZq8mRi0Q0p",
            "scope": "openid profile read:orders",
            "permissions": ["read:orders", "write:orders"]
        }),
    );
    assert_eq!(user.kind(), PrincipalKind::User);
    assert_eq!(user.client_id(), Some("K1AUPhZq8mRi0Q0p"));
    assert_eq!(roles(&user), ["read:orders", "write:orders"]);
    assert_eq!(scope(&user), ["openid", "profile", "read:orders"]);

    let machine = json!({
        "iss": "https://shop.eu.auth0.com/",
        "sub": "awZfdIir8YFdGZWk@clients",
        "aud": "https://orders.example",
        "azp": "awZfdIir8YFdGZWk",
        "gty": "client-credentials",
        "scope": "read:orders"
    });
    let principal = provider.accepts(jwt(), machine);
    assert_eq!(principal.kind(), PrincipalKind::Service);
    assert_eq!(principal.client_id(), Some("awZfdIir8YFdGZWk"));
    assert_eq!(provider.memory.asked().len(), 2);
}

#[tokio::test]
async fn auth0_machines_in_the_profile_of_rfc_9068_have_no_grant_type() {
    let provider = auth0().await;
    let token = |sub: &str| {
        json!({
            "iss": "https://shop.eu.auth0.com/",
            "sub": sub,
            "aud": "https://orders.example",
            "client_id": "awZfdIir8YFdGZWk",
            "jti": "73WakrfVbNJBaAmhQtEeDv",
            "scope": "read:orders"
        })
    };
    let header = || json!({"typ": "at+jwt"});
    let principal = provider.accepts(header(), token("awZfdIir8YFdGZWk@clients"));
    assert_eq!(principal.kind(), PrincipalKind::Service);
    // Somebody else's, or a user's: not the client for itself.
    for sub in ["other@clients", "auth0|awZfdIir8YFdGZWk", "auth0|x@clients"] {
        let principal = provider.accepts(header(), token(sub));
        assert_eq!(principal.kind(), PrincipalKind::User, "{sub}");
    }
}

#[tokio::test]
async fn f6_auth0_id_tokens_are_refused() {
    let provider = auth0().await;
    let id_token = json!({
        "iss": "https://shop.eu.auth0.com/",
        "sub": "auth0|6553da60a54af58e29493993",
        "aud": "K1AUPhZq8mRi0Q0p",
        "nonce": "n",
        "sid": "s",
        "nickname": "alice",
        "updated_at": "2026-01-01T00:00:00.000Z"
    });
    assert_eq!(
        provider.refuses(jwt(), id_token),
        AuthErrorKind::WrongAudience
    );
}

#[tokio::test]
async fn a_claim_of_one_provider_means_nothing_in_the_tokens_of_another() {
    let provider = auth0().await;
    let principal = provider.accepts(
        jwt(),
        json!({
            "iss": "https://shop.eu.auth0.com/",
            "sub": "auth0|1",
            "aud": "https://orders.example",
            "cid": "auth0|1",
            "clientHost": "x"
        }),
    );
    assert_eq!(principal.kind(), PrincipalKind::User);
    assert_eq!(principal.client_id(), None);
}
