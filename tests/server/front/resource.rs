//! The protected resource behind the layer of a server that issues its own tokens.

use http::{Request, StatusCode, header::WWW_AUTHENTICATE};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::AuthSettings;

use super::Front;

const PATH: &str = "/.well-known/oauth-protected-resource";

fn read(vars: &[(&str, &str)]) -> Result<AuthSettings, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    AuthSettings::from_vars(vars.iter().map(owned)).map_err(|error| error.to_string())
}

impl Front {
    async fn well_known(&self, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).body(()).unwrap();
        let Ok(answer) = self.auth.well_known().oneshot(request).await;
        let status = answer.status();
        let Ok(body) = answer.into_body().collect().await;
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        (status, body)
    }

    /// The challenge to a request without a token.
    async fn challenge(&self) -> String {
        let api = service_fn(async |_: Request<()>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        });
        let service = self.auth.layer().layer(api);
        let Ok(answer) = service.oneshot(Request::new(())).await;
        let challenge = answer.headers()[WWW_AUTHENTICATE].to_str();
        challenge.unwrap().to_owned()
    }
}

#[tokio::test]
async fn j1_j5_the_settings_announce_the_api_beside_the_server() {
    let vars = [
        ("AUTH_PUBLIC_URL", "https://app.example"),
        ("JWT_AUTHORIZATION_SERVERS", "https://app.example"),
        ("JWT_RESOURCE_SCOPES", "orders:read"),
    ];
    for front in Front::on_each(&vars).await {
        let (status, mut document) = front.well_known(PATH).await;
        assert_eq!(status, StatusCode::OK);
        // J8: the server accepts proofs, and requires none.
        let mut stated = |name| document.as_object_mut().unwrap().remove(name).unwrap();
        let algorithms = stated("dpop_signing_alg_values_supported");
        assert!(algorithms.as_array().unwrap().contains(&json!("ES256")));
        assert_eq!(stated("dpop_bound_access_tokens_required"), false);
        let expected = json!({
            "resource": "https://app.example",
            "authorization_servers": ["https://app.example"],
            "scopes_supported": ["orders:read"],
            "bearer_methods_supported": ["header"],
        });
        assert_eq!(document, expected, "{}", front.kind());
        let expected = format!(
            r#"Bearer realm="api", scope="orders:read", resource_metadata="https://app.example{PATH}""#
        );
        assert_eq!(front.challenge().await, expected);
        // The other documents are where they were.
        let others = ["jwks.json", "oauth-authorization-server"];
        for other in others {
            let (status, _) = front.well_known(&format!("/.well-known/{other}")).await;
            assert_eq!(status, StatusCode::OK, "{other}");
        }
        assert_eq!(
            front.well_known(&format!("{PATH}/x")).await.0,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn j5_without_the_settings_nothing_is_announced() {
    for front in Front::on_each(&[("AUTH_PUBLIC_URL", "https://app.example")]).await {
        assert_eq!(front.challenge().await, r#"Bearer realm="api""#);
        assert_eq!(front.well_known(PATH).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn j25_the_audience_of_issued_tokens_is_the_resource_if_it_is_named() {
    let vars = [
        ("AUTH_PUBLIC_URL", "https://app.example"),
        ("JWT_RESOURCE", "HTTPS://App.example/api"),
    ];
    for front in Front::on_each(&vars).await {
        let tokens = front.sign_in().await;
        let access = tokens.text("access_token");
        assert_eq!(front.call(&access).await, StatusCode::OK);
        let claims = front.auth.verifier().verify_now(&access).unwrap();
        let audience = claims.iter().find(|(name, _)| *name == "aud");
        let audience = audience.map(|(_, value)| value.to_string()).unwrap();
        assert!(audience.contains("https://app.example/api"), "{audience}");
    }
}

#[test]
fn j3_bad_values_are_named() {
    let server = ("JWT_AUTHORIZATION_SERVERS", "https://as.example");
    for (vars, expected) in [
        (
            vec![("JWT_RESOURCE", "http://api.example")],
            "JWT_RESOURCE: ",
        ),
        (vec![("HOST", "10.0.0.1"), server], "JWT_RESOURCE: "),
        (
            vec![("JWT_RESOURCE_SCOPES", "a")],
            "JWT_RESOURCE_SCOPES: has no effect without JWT_AUTHORIZATION_SERVERS",
        ),
        (
            vec![("JWT_AUTHORIZATION_SERVERS", "http://as.example")],
            "JWT_AUTHORIZATION_SERVERS: ",
        ),
    ] {
        let refused = read(&vars).unwrap_err();
        assert!(refused.starts_with(expected), "{refused}");
    }
    // A server in a private network, which announces nothing.
    read(&[("HOST", "10.0.0.1")]).unwrap();
    read(&[server]).unwrap();
}
