//! The documents at the root of the site.

use http::Request;
use tower::ServiceExt;
use tower_jwt_auth::{Verifier, key::KeySet};

use crate::support::endpoints::{Answer, ISSUER, ORIGIN, Server};

#[tokio::test]
async fn the_metadata_leads_to_the_keys_and_the_keys_verify() {
    let server = Server::start().await;
    let get = async |path: &str| {
        let request = Request::get(path).body(()).unwrap();
        let Ok(response) = server.endpoints.well_known().oneshot(request).await;
        Answer::of(response).await
    };
    let metadata = get("/.well-known/oauth-authorization-server").await.json();
    assert_eq!(metadata["issuer"], ISSUER);
    assert_eq!(
        metadata["token_endpoint"],
        "https://app.example/api/auth/token"
    );
    assert_eq!(
        metadata["revocation_endpoint"],
        "https://app.example/api/auth/revoke"
    );
    // RFC 9700 §2.4: the password grant is not for others.
    assert_eq!(
        metadata["grant_types_supported"],
        serde_json::json!(["refresh_token"])
    );
    let keys = metadata["jwks_uri"]
        .as_str()
        .unwrap()
        .strip_prefix(ORIGIN)
        .unwrap();
    let jwks = get(keys).await;
    assert_eq!(jwks.headers["content-type"], "application/jwk-set+json");
    let verifier = Verifier::key_set(KeySet::from_jwks(&jwks.body).unwrap())
        .issuer(ISSUER)
        .audience("api")
        .clock(server.clock.clone())
        .build()
        .unwrap();
    assert!(verifier.verify_now(server.sign_in().await.access()).is_ok());
    assert_eq!(get("/.well-known/security.txt").await.status, 404);
}
