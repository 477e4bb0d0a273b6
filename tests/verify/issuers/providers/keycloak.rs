//! Keycloak.

use serde_json::{Value, json};
use tower_jwt_auth::{
    error::AuthErrorKind, key::Algorithm, principal::PrincipalKind, test_util::TestIssuer,
    verify::Provider,
};

use super::{Realm, jwt, roles, rsa, scope};
use crate::issuers::{memory::Memory, timed};

const REALM: &str = "https://sso.example/realms/shop";

async fn keycloak() -> Realm {
    let memory = Memory::default()
        .with(
            &format!("{REALM}/.well-known/openid-configuration"),
            json!({
                "issuer": REALM,
                "authorization_endpoint": format!("{REALM}/protocol/openid-connect/auth"),
                "token_endpoint": format!("{REALM}/protocol/openid-connect/token"),
                "introspection_endpoint": format!("{REALM}/protocol/openid-connect/token/introspect"),
                "jwks_uri": format!("{REALM}/protocol/openid-connect/certs"),
                "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
                "tls_client_certificate_bound_access_tokens": true,
                "mtls_endpoint_aliases": {"token_endpoint": format!("{REALM}/protocol/openid-connect/token")}
            }),
        )
        .with(
            &format!("{REALM}/protocol/openid-connect/certs"),
            // One key to encrypt, one to sign.
            json!({"keys": [
                rsa(json!({"kid": "enc", "use": "enc", "alg": "RSA-OAEP", "x5c": ["MIIC"], "x5t": "dA", "x5t#S256": "dA"})),
                rsa(json!({"kid": "sig", "use": "sig", "alg": "RS256", "x5c": ["MIIC"], "x5t": "dA", "x5t#S256": "dA"}))
            ]}),
        );
    Realm::discover(REALM, "sig", memory, |rules| {
        rules
            .provider(Provider::keycloak(REALM, "orders"))
            .audience("orders")
    })
    .await
}

fn keycloak_user() -> Value {
    json!({
        "jti": "20cda5b8-8b46-4046-976d-0a477d66e919",
        "iss": REALM,
        "aud": ["orders", "account"],
        "sub": "1f4db6ad-5e75-479c-b289-b8096ec1f4f4",
        "typ": "Bearer",
        "azp": "web",
        "sid": "58a8d9ce-1f4b-4a8b-8a43-22e0c8e0d7f7",
        "acr": "1",
        "auth_time": 1_767_225_600,
        "allowed-origins": ["https://shop.example"],
        "realm_access": {"roles": ["offline_access", "default-roles-shop"]},
        "resource_access": {
            "orders": {"roles": ["reader"]},
            "account": {"roles": ["manage-account", "admin"]}
        },
        "scope": "openid profile email",
        "email_verified": true,
        "preferred_username": "service-account-web"
    })
}

#[tokio::test]
async fn keycloak_tokens_of_users_and_of_service_accounts() {
    let provider = keycloak().await;
    // Whoever calls themselves so is still a user.
    let user = provider.accepts(jwt(), keycloak_user());
    assert_eq!(user.kind(), PrincipalKind::User);
    assert_eq!(user.client_id(), Some("web"));
    assert_eq!(
        user.session_id(),
        Some("58a8d9ce-1f4b-4a8b-8a43-22e0c8e0d7f7")
    );
    // Not the roles that another client of the realm granted.
    assert_eq!(
        roles(&user),
        ["offline_access", "default-roles-shop", "reader"]
    );
    assert_eq!(scope(&user), ["openid", "profile", "email"]);

    for client in ["client_id", "clientId"] {
        let mut service = keycloak_user();
        service["azp"] = "crawler".into();
        service[client] = "crawler".into();
        service["clientHost"] = "203.0.113.7".into();
        service["clientAddress"] = "203.0.113.7".into();
        service["preferred_username"] = "service-account-crawler".into();
        let principal = provider.accepts(jwt(), service);
        assert_eq!(principal.kind(), PrincipalKind::Service);
        assert_eq!(principal.client_id(), Some("crawler"));
    }
}

#[tokio::test]
async fn f6_keycloak_tokens_for_another_use_are_refused() {
    let provider = keycloak().await;
    // Even where somebody made the audience fit.
    for typ in ["ID", "Refresh", "Offline", "Logout"] {
        let mut claims = keycloak_user();
        claims["typ"] = typ.into();
        assert_eq!(
            provider.refuses(jwt(), claims),
            AuthErrorKind::WrongUse,
            "{typ}"
        );
    }
    let logout = json!({"typ": "logout+jwt"});
    assert_eq!(
        provider.refuses(logout, keycloak_user()),
        AuthErrorKind::WrongType
    );

    // As they really are: refresh tokens are signed with a secret of the realm.
    let mut claims = keycloak_user();
    claims["typ"] = "Refresh".into();
    claims["aud"] = REALM.into();
    let token = TestIssuer::new(Algorithm::Hs512).kid(Some("realm-secret"));
    let token = token.raw(
        r#"{"alg":"HS512","typ":"JWT","kid":"realm-secret"}"#,
        timed(claims, &provider.clock).as_bytes(),
    );
    let error = provider.verifier.verify_now(token).unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::AlgorithmNotAllowed);
    // A token for another client of the realm.
    let mut claims = keycloak_user();
    claims["aud"] = "account".into();
    assert_eq!(
        provider.refuses(jwt(), claims),
        AuthErrorKind::WrongAudience
    );
}
