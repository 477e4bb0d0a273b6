//! R6: a service and an API key are never taken for the user of the same name, nor is the user of another
//! issuer.

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;
use tower_jwt_auth::{
    JwtAuthLayer, Principal, Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    layer::{
        api_key::{ApiKeyFormat, ApiKeyLayer, ApiKeys, NewApiKey},
        socket::{ChatContext, ChatLayer, Owner, SocketAuth},
    },
    principal::{AnyPrincipal, GuestPrincipal, PrincipalKind, UserPrincipal},
    store::MemoryStore,
    test_util::{TestIssuer, TestKeys, signed_in},
};

const ISSUER: &str = "https://as.example";

fn routes() -> Router {
    async fn options(
        user: Option<UserPrincipal>,
        guest: Option<GuestPrincipal>,
        any: Option<AnyPrincipal>,
    ) -> String {
        format!("{} {} {}", user.is_some(), guest.is_some(), any.is_some())
    }
    async fn context(chat: ChatContext) -> String {
        let alice = Owner::new(Some(ISSUER), "alice");
        let anonymous = Owner::new(None, "alice");
        json!([
            chat.is_authenticated(),
            chat.user_id(),
            chat.subject(),
            chat.owner().map(|owner| owner.subject().to_owned()),
            chat.may_enter("c1", &alice),
            chat.may_enter("c1", &anonymous),
        ])
        .to_string()
    }
    Router::new()
        .route("/user", get(async |_: UserPrincipal| "in"))
        .route("/guest", get(async |_: GuestPrincipal| "in"))
        .route("/any", get(async |_: AnyPrincipal| "in"))
        .route("/options", get(options))
        .route("/context", get(context))
        .layer(ChatLayer::new())
}

async fn ask(app: &Router, path: &str, header: (&str, &str)) -> (StatusCode, String) {
    let request = Request::get(path).header(header.0, header.1);
    let request = request.body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn is_nobody(app: &Router, header: (&str, &str)) {
    for path in ["/user", "/guest", "/any"] {
        let (status, _) = ask(app, path, header).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
    let (_, found) = ask(app, "/options", header).await;
    assert_eq!(found, "false false false");
    let (_, context) = ask(app, "/context", header).await;
    assert_eq!(context, "[false,null,null,null,false,false]");
}

fn verifier() -> Verifier {
    Verifier::key(TestKeys::new().verifying_key(Algorithm::Es256))
        .issuer(ISSUER)
        .audience("https://api.example")
        .build()
        .unwrap()
}

/// Of the client credentials grant (RFC 6749 §4.4).
fn service_token() -> String {
    TestIssuer::new(Algorithm::Es256)
        .token(|claims| claims.insert("client_id".into(), json!("alice")))
}

#[tokio::test]
async fn r6_a_service_is_not_the_user_of_the_same_name() {
    let app = routes().layer(JwtAuthLayer::new(verifier()));
    let token = service_token();
    is_nobody(&app, ("authorization", &format!("Bearer {token}"))).await;
}

#[tokio::test]
async fn r6_an_api_key_is_not_its_owner_whatever_kind_it_was_given() {
    for kind in [
        PrincipalKind::Service,
        PrincipalKind::User,
        PrincipalKind::Guest,
    ] {
        let format = ApiKeyFormat::new("acme_live").unwrap();
        let keys = ApiKeys::builder(format, MemoryStore::new())
            .kind(kind)
            .build()
            .unwrap();
        let key = keys.issue(NewApiKey::new("alice")).await.unwrap();
        let app = routes().layer(ApiKeyLayer::new(&keys));
        is_nobody(&app, ("x-api-key", key.expose())).await;
    }
}

#[tokio::test]
async fn r6_a_conversation_belongs_to_a_subject_of_one_issuer() {
    let alice = || Principal::builder().subject("alice");
    for (caller, entered) in [
        (alice().issuer(ISSUER), [true, false]),
        (alice().issuer("https://other.example"), [false, false]),
        (alice(), [false, true]),
        (Principal::builder().issuer(ISSUER), [false, false]),
    ] {
        let caller = caller.build();
        let app = routes().layer(signed_in(caller));
        let (status, context) = ask(&app, "/context", ("x-none", "")).await;
        assert_eq!(status, StatusCode::OK);
        let context: serde_json::Value = serde_json::from_str(&context).unwrap();
        assert_eq!(json!([context[4], context[5]]), json!(entered));
    }
    // A guest that is promoted keeps what is its own.
    let guest = alice().issuer(ISSUER).kind(PrincipalKind::Guest).build();
    let user = alice().issuer(ISSUER).build();
    assert_eq!(Owner::of(&guest), Owner::of(&user));
    assert_eq!(Owner::of(&user), Some(Owner::new(Some(ISSUER), "alice")));
}

#[tokio::test]
async fn r6_a_socket_of_a_service_has_no_user() {
    let auth = SocketAuth::new(verifier());
    let first = json!({ "type": "auth", "token": service_token() }).to_string();
    let guard = auth.first_message(async { Some(first) }).await.unwrap();
    let caller = guard.caller().clone();
    assert_eq!(Owner::of(&caller), None);
    let refused = UserPrincipal::try_from(caller.clone()).unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::Forbidden);
    assert!(GuestPrincipal::try_from(caller.clone()).is_err());
    assert!(AnyPrincipal::try_from(caller).is_err());
}

#[cfg(feature = "tonic")]
#[tokio::test]
async fn r6_a_grpc_handler_finds_no_user_in_a_service() {
    let service = Principal::builder()
        .kind(PrincipalKind::Service)
        .subject("alice")
        .build();
    let mut request = tonic::Request::new(());
    request.extensions_mut().insert(service);
    let status =
        tonic::Status::from(UserPrincipal::from_extensions(request.extensions()).unwrap_err());
    assert_eq!(status.code(), tonic::Code::PermissionDenied);
}

#[cfg(feature = "rate-limit")]
#[tokio::test]
async fn r6_a_service_and_a_key_spend_no_budget_of_the_user_of_the_same_name() {
    use std::num::NonZeroU32;
    use tower_jwt_auth::layer::rate_limit::{RateLimitLayer, by_subject};

    let one = NonZeroU32::new(1).unwrap();
    let limit = RateLimitLayer::per_minute(one, by_subject()).burst(one);
    let routes = || {
        Router::new()
            .route("/", get(async || "in"))
            .layer(limit.clone())
    };
    let format = ApiKeyFormat::new("acme_live").unwrap();
    let keys = ApiKeys::builder(format, MemoryStore::new())
        .build()
        .unwrap();
    let key = keys.issue(NewApiKey::new("alice")).await.unwrap();
    let other = keys.issue(NewApiKey::new("alice")).await.unwrap();
    let by_key = routes().layer(ApiKeyLayer::new(&keys));

    let named = || Principal::builder().subject("alice");
    let nothing = ("x-none", "");
    let service = named().kind(PrincipalKind::Service);
    let elsewhere = named().issuer(ISSUER);
    // The names of issuers and subjects may hold spaces.
    let split = Principal::builder().issuer("a b").subject("c");
    let otherwise = Principal::builder().issuer("a").subject("b c");
    for caller in [named(), service, elsewhere, split, otherwise] {
        let app = routes().layer(signed_in(caller.build()));
        assert_eq!(ask(&app, "/", nothing).await.0, StatusCode::OK);
        let again = ask(&app, "/", nothing).await.0;
        assert_eq!(again, StatusCode::TOO_MANY_REQUESTS);
    }
    let first = ask(&by_key, "/", ("x-api-key", key.expose())).await;
    assert_eq!(first.0, StatusCode::OK);
    // More keys are no larger budget.
    let second = ask(&by_key, "/", ("x-api-key", other.expose())).await;
    assert_eq!(second.0, StatusCode::TOO_MANY_REQUESTS);
}
