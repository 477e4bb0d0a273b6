//! Sessions that are bound to a key, as the settings and the builder of the server decide.

use http::{Request, StatusCode};
use serde_json::json;
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer, AuthSettings,
    key::Algorithm,
    layer::dpop::Dpop,
    server::{
        login::{AuthorizationRequest, Identity, IdentityError, IdentityProvider},
        session::StartSession,
    },
    store::MemoryStore,
    test_util::DpopClient,
};

use super::{Answer, Body, Front, ada, post};

const ORIGIN: &str = "https://app.example";

fn proved(client: &DpopClient, mut request: Request<Body>) -> Request<Body> {
    let url = format!("{ORIGIN}{}", request.uri().path());
    let proof = client.proof_without_token("POST", &url);
    let proof = proof.try_into().unwrap();
    request.headers_mut().insert("dpop", proof);
    request
}

impl Front {
    async fn prove(&self, client: &DpopClient, request: Request<Body>) -> Answer {
        self.send(proved(client, request)).await
    }

    /// The status of a request with a proof to an API behind the layer.
    async fn call_bound(&self, client: &DpopClient, url: &str, access: &str) -> StatusCode {
        let path = url.strip_prefix(ORIGIN).unwrap_or("/");
        let request = client.sign(Request::get(path), url, access);
        self.through_layer(request.body(()).unwrap()).await.0
    }
}

fn of_origin(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&[("AUTH_PUBLIC_URL", ORIGIN)], more].concat()
}

#[tokio::test]
async fn g41_a_server_binds_sessions_and_its_layer_accepts_their_tokens() {
    for vars in [of_origin(&[]), of_origin(&[("AUTH_DPOP", "allowed")])] {
        for front in Front::on_each(&vars).await {
            let client = DpopClient::new(Algorithm::Es256);
            let tokens = front.prove(&client, post("login", &ada())).await;
            assert_eq!(tokens.text("token_type"), "DPoP", "{}", front.kind());
            let (url, access) = (format!("{ORIGIN}/api/me"), tokens.access());
            assert_eq!(front.call_bound(&client, &url, &access).await, 200);
            assert_eq!(front.call(&access).await, 401);
            let thief = DpopClient::new(Algorithm::Es256);
            assert_eq!(front.call_bound(&thief, &url, &access).await, 401);
            front.events.take();
            let body = json!({ "refresh_token": tokens.refresh() });
            assert_eq!(front.refresh(&tokens.refresh()).await.status, 400);
            assert_eq!(front.events.take(), ["session.not_proved"]);
            let next = front.prove(&client, post("refresh", &body)).await;
            assert_eq!(next.text("token_type"), "DPoP");
            // Bearer sessions are there as before.
            assert_eq!(front.call(&front.sign_in().await.access()).await, 200);
            // What ends here is refused here.
            let revoke = json!({ "token": next.access() });
            assert_eq!(front.post("revoke", &revoke).await.status, 200);
            assert_eq!(front.call_bound(&client, &url, &next.access()).await, 401);
        }
    }
}

#[tokio::test]
async fn g41_the_settings_turn_proofs_off_or_require_them() {
    let client = DpopClient::new(Algorithm::EdDsa);
    for front in Front::on_each(&of_origin(&[("AUTH_DPOP", "off")])).await {
        let tokens = front.prove(&client, post("login", &ada())).await;
        assert_eq!(tokens.text("token_type"), "Bearer");
        assert_eq!(front.call(&tokens.access()).await, 200);
    }
    for front in Front::on_each(&of_origin(&[("AUTH_DPOP", "required")])).await {
        let refused = front.post("login", &ada()).await;
        assert_eq!(
            (refused.status, &*refused.text("error")),
            (StatusCode::BAD_REQUEST, "invalid_dpop_proof")
        );
        let tokens = front.prove(&client, post("login", &ada())).await;
        let url = format!("{ORIGIN}/");
        assert_eq!(front.call_bound(&client, &url, &tokens.access()).await, 200);
        assert_eq!(front.call(&tokens.access()).await, 401);
    }
    for bad in ["Required", "yes", ""] {
        let vars = [("AUTH_DPOP".to_owned(), bad.to_owned())];
        let error = AuthSettings::from_vars(vars).unwrap_err().to_string();
        assert!(error.starts_with("AUTH_DPOP: "), "{error}");
    }
}

/// A session from before the setting has no key, and its client signs in again. The claims of this server are
/// in the same store, so that a refresh is usually one conditional write.
#[tokio::test]
async fn g41_a_session_from_before_is_not_refreshed_where_proofs_are_required() {
    let client = DpopClient::new(Algorithm::EdDsa);
    for front in Front::on_each(&of_origin(&[("AUTH_DPOP", "required")])).await {
        let start = StartSession::new(front.ada().await);
        let before = front.auth.sessions().start(start).await.unwrap();
        let body = json!({ "refresh_token": before.refresh_token().expose() });
        let refused = front.prove(&client, post("refresh", &body)).await;
        assert_eq!(
            (refused.status, &*refused.text("error")),
            (StatusCode::BAD_REQUEST, "invalid_grant"),
            "{}",
            front.kind()
        );
    }
}

/// The API may have another address than the login server.
#[tokio::test]
async fn g41_the_proofs_at_the_api_are_for_the_resource() {
    let client = DpopClient::new(Algorithm::Es256);
    for front in Front::on_each(&of_origin(&[("JWT_RESOURCE", "https://api.example")])).await {
        let tokens = front.prove(&client, post("login", &ada())).await;
        let access = tokens.access();
        let (api, own) = ("https://api.example/", format!("{ORIGIN}/"));
        assert_eq!(front.call_bound(&client, api, &access).await, 200);
        assert_eq!(front.call_bound(&client, &own, &access).await, 401);
    }
}

#[tokio::test]
async fn g41_the_metadata_names_the_algorithms_of_proofs() {
    let path = "/.well-known/oauth-authorization-server";
    for (mode, named) in [("allowed", true), ("required", true), ("off", false)] {
        for front in Front::on_each(&of_origin(&[("AUTH_DPOP", mode)])).await {
            let request = Request::get(path).body(()).unwrap();
            let Ok(answer) = front.auth.well_known().oneshot(request).await;
            let document = Answer::of(answer).await.json();
            let algorithms = document.get("dpop_signing_alg_values_supported");
            let algorithms = algorithms.and_then(|all| all.as_array());
            let has = algorithms.is_some_and(|all| all.contains(&json!("ES256")));
            assert_eq!(has, named, "{mode}: {document}");
        }
    }
}

struct Nobody;

impl IdentityProvider for Nobody {
    fn issuer(&self) -> &str {
        "https://login.example"
    }

    async fn authorization_url(&self, _: &AuthorizationRequest) -> Result<String, IdentityError> {
        Err(IdentityError::refused("nobody"))
    }

    async fn identify(&self, _: &AuthorizationRequest, _: &str) -> Result<Identity, IdentityError> {
        Err(IdentityError::refused("nobody"))
    }
}

#[tokio::test]
async fn g41_the_builder_sets_the_rules_and_refuses_what_no_proof_can_have() {
    let builder = || AuthServer::builder(MemoryStore::new()).public_origin(ORIGIN);
    let client = DpopClient::new(Algorithm::Es256);
    let guest = async |auth: AuthServer| {
        let request = proved(&client, post("guest", &json!({})));
        let Ok(answer) = auth.endpoints().oneshot(request).await;
        Answer::of(answer).await
    };
    let plain = builder().guests(|guests| guests).start().await.unwrap();
    assert_eq!(guest(plain).await.text("token_type"), "DPoP");
    let off = builder().guests(|guests| guests).without_dpop();
    assert_eq!(
        guest(off.start().await.unwrap()).await.text("token_type"),
        "Bearer"
    );
    // Without an origin there is no URL that a proof could name.
    let api = AuthServer::builder(MemoryStore::new()).issuer("https://as.example");
    let api = api.guests(|guests| guests).start().await.unwrap();
    assert_eq!(guest(api).await.text("token_type"), "Bearer");

    let required = Dpop::at(ORIGIN).required().build().unwrap();
    let refused = builder().dpop(required).identity_provider("login", Nobody);
    let refused = refused.start().await.unwrap_err().to_string();
    assert!(refused.starts_with("identity_provider: "), "{refused}");
}

/// The path of a proof is the one that the client sent, also where a router has removed its beginning.
#[tokio::test]
async fn g41_a_nested_endpoint_is_the_target_of_its_proof() {
    let auth = AuthServer::builder(MemoryStore::new()).public_origin(ORIGIN);
    let auth = auth.guests(|guests| guests).start().await.unwrap();
    let client = DpopClient::new(Algorithm::Es256);
    let request = proved(&client, post("guest", &json!({})));
    let (mut parts, body) = request.into_parts();
    parts.uri = "/guest".parse().unwrap();
    let nested = Request::from_parts(parts, body);
    let Ok(answer) = auth.endpoints().nested().oneshot(nested).await;
    assert_eq!(Answer::of(answer).await.text("token_type"), "DPoP");

    #[cfg(feature = "axum")]
    {
        let router = axum::Router::new().nest_service(auth.path(), auth.endpoints().nested());
        let (parts, body) = proved(&client, post("guest", &json!({}))).into_parts();
        let request = Request::from_parts(parts, axum::body::Body::new(body));
        let Ok(answer) = router.oneshot(request).await;
        assert_eq!(answer.status(), 200);
    }
}
