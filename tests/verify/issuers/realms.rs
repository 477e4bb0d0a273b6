//! The test kit plays a provider.

use serde_json::json;
use tower_jwt_auth::{
    Verifier,
    key::Algorithm,
    principal::PrincipalKind,
    test_util::JwksFixture,
    verify::{Provider, VerifierBuilder},
};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";

#[tokio::test]
async fn k2_a_realm_is_discovered_by_its_path() {
    let server = JwksFixture::realm("/realms/shop");
    assert!(server.issuer().ends_with("/realms/shop"));
    assert_eq!(server.url(), format!("{}/jwks", server.issuer()));
    let verifier = Verifier::oidc(&server.issuer()).audience("orders");
    let verifier = verifier.build().unwrap();
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let issuer = server.issuer_for(algorithm).audience("orders");
        let verdict = verifier.verify(issuer.token(|_| ())).await;
        assert_eq!(verdict.unwrap().subject(), Some("alice"), "{algorithm}");
    }
    assert_eq!(server.hits(), 1);
    // A token of the server's origin is a token of another issuer.
    let origin = server
        .issuer_for(Algorithm::Es256)
        .issuer(server.url_of(""));
    let error = verifier
        .verify(origin.audience("orders").token(|_| ()))
        .await;
    assert_eq!(error.unwrap_err().as_str(), "wrong_issuer");
}

#[test]
#[should_panic(expected = "a path such as /realms/shop")]
fn a_realm_is_a_path() {
    let _ = JwksFixture::realm("shop");
}

fn presets(issuer: &str) -> [(Provider, &'static str, serde_json::Value); 5] {
    [
        (
            Provider::keycloak(issuer, "orders"),
            "realm_access",
            json!({ "roles": ["admin"] }),
        ),
        (
            Provider::auth0("shop.eu.auth0.com").with_issuer(issuer),
            "permissions",
            json!(["admin"]),
        ),
        (
            Provider::entra(TENANT).with_issuer(issuer),
            "roles",
            json!(["admin"]),
        ),
        (
            Provider::cognito("eu-central-1", "eu-central-1_AbCdEf").with_issuer(issuer),
            "cognito:groups",
            json!(["admin"]),
        ),
        (
            Provider::okta("shop.okta.com", "default").with_issuer(issuer),
            "groups",
            json!(["admin"]),
        ),
    ]
}

#[tokio::test]
async fn every_preset_works_with_the_test_kit() {
    let server = JwksFixture::realm("/realms/shop");
    for (preset, claim, roles) in presets(&server.issuer()) {
        assert_eq!(preset.issuer(), server.issuer());
        let builder: VerifierBuilder = Verifier::provider(preset);
        let verifier = builder.audience("orders").build().unwrap();
        let issuer = server.issuer_for(Algorithm::Rs256).audience("orders");
        let token = issuer.token(|claims| {
            claims.insert("azp".into(), json!("client"));
            claims.insert("scp".into(), json!("read"));
            claims.insert(claim.into(), roles)
        });
        let caller = verifier.verify(token).await.unwrap().principal();
        assert!(caller.has_role("admin"), "{claim}");
        assert_eq!(caller.kind(), PrincipalKind::User, "{claim}");
    }
}

#[tokio::test]
async fn another_issuer_does_not_hide_an_invalid_preset() {
    let preset = Provider::entra("common").with_issuer("https://login.example");
    assert!(Verifier::provider(preset).audience("a").build().is_err());
    let preset = Provider::okta("shop.okta.com", "default").with_issuer("");
    assert!(Verifier::provider(preset).audience("a").build().is_err());
}
