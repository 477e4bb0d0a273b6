//! Google.

use serde_json::json;
use tower_jwt_auth::{error::AuthErrorKind, principal::PrincipalKind, verify::VerifierBuilder};

use super::{Realm, jwt, rsa};
use crate::issuers::memory::Memory;

const GOOGLE: &str = "https://accounts.google.com";

async fn google(rules: impl FnOnce(VerifierBuilder) -> VerifierBuilder) -> Realm {
    let key = |kid: &str| rsa(json!({"use": "sig", "alg": "RS256", "kid": kid}));
    let memory = Memory::default()
        .with(
            "https://accounts.google.com/.well-known/openid-configuration",
            json!({
                "issuer": GOOGLE,
                "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
                "token_endpoint": "https://oauth2.googleapis.com/token",
                "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo",
                "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
                "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
                "id_token_signing_alg_values_supported": ["RS256"]
            }),
        )
        .with(
            "https://www.googleapis.com/oauth2/v3/certs",
            json!({"keys": [key("e197bf2e87bd1905"), key("6adc101cc7498c09")]}),
        );
    Realm::discover(GOOGLE, "6adc101cc7498c09", memory, rules).await
}

#[tokio::test]
async fn google_identity_tokens_of_service_accounts_for_this_service() {
    let provider = google(|rules| rules.audience("https://orders.example")).await;
    // Google's access tokens are no JWTs. What reaches a service is an ID token made for it.
    let token = json!({
        "iss": GOOGLE,
        "aud": "https://orders.example",
        "azp": "105440000000000000000",
        "sub": "105440000000000000000",
        "email": "crawler@shop.iam.gserviceaccount.com",
        "email_verified": true
    });
    let principal = provider.accepts(jwt(), token.clone());
    assert_eq!(principal.kind(), PrincipalKind::Service);
    // The keys lie on another host than the issuer.
    assert_eq!(
        provider.memory.asked(),
        [
            "https://accounts.google.com/.well-known/openid-configuration",
            "https://www.googleapis.com/oauth2/v3/certs"
        ]
    );
    // The older name of the issuer counts only where it was named.
    let mut older = token;
    older["iss"] = "accounts.google.com".into();
    assert_eq!(
        provider.refuses(jwt(), older.clone()),
        AuthErrorKind::WrongIssuer
    );
    let both = |rules: VerifierBuilder| {
        rules
            .audience("https://orders.example")
            .issuer("accounts.google.com")
    };
    google(both).await.accepts(jwt(), older);
}

#[tokio::test]
async fn f6_google_sign_in_tokens_and_opaque_access_tokens_are_refused() {
    let provider = google(|rules| rules.audience("https://orders.example")).await;
    let id_token = json!({
        "iss": GOOGLE,
        "aud": "1234987819200.apps.googleusercontent.com",
        "azp": "1234987819200.apps.googleusercontent.com",
        "sub": "10769150350006150715113082367",
        "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
        "hd": "shop.example",
        "email": "alice@shop.example",
        "nonce": "0394852-3190485-2490358"
    });
    assert_eq!(
        provider.refuses(jwt(), id_token),
        AuthErrorKind::WrongAudience
    );
    let error = provider
        .verifier
        .verify_now("ya29.a0AfB_byExample")
        .unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::MalformedToken);
}
