//! What a chat's handlers know of their caller.

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Principal,
    layer::{
        role_guard::Rule,
        socket::{ChatContext, ChatLayer},
    },
    principal::{AnyPrincipal, GuestPrincipal, PrincipalKind, UserPrincipal},
    test_util::{anonymous, signed_in},
};

use crate::support::chat::Chat;

#[tokio::test]
async fn w7_the_context_says_who_is_there_and_what_they_may_do() {
    let chat = Chat::start().await;
    let nobody = json!({
        "authenticated": false, "user_id": null, "subject": null, "session_id": null,
        "conversation": null, "can_manage_tasks": false, "permissions": [], "expires_at": null,
    });
    assert_eq!(chat.context(None).await, nobody);

    let alice = chat.user("alice").await;
    let caller = chat.caller_of(&alice);
    let of_alice = json!({
        "authenticated": true, "user_id": "alice", "subject": "alice",
        "session_id": alice.session_id().to_string(), "conversation": null,
        "can_manage_tasks": true, "permissions": ["tasks:add"],
        "expires_at": caller.expires_at().unwrap().as_secs(),
    });
    let token = alice.access_token().expose();
    assert_eq!(chat.context(Some(token)).await, of_alice);

    let guest = chat.guest().await;
    let token = guest.access_token().expose();
    let context = chat.context(Some(token)).await;
    assert_eq!(context["authenticated"], false);
    assert_eq!(context["user_id"], Value::Null);
    assert!(context["subject"].as_str().unwrap().starts_with("gst_"));
    assert_eq!(context["session_id"], guest.session_id().to_string());
    assert_eq!(context["can_manage_tasks"], false);
}

#[tokio::test]
async fn w7_without_the_layers_a_handler_runs_for_nobody() {
    let handler =
        || service_fn(async |_: Request<()>| Ok::<_, ()>(http::Response::new(String::new())));
    let alone = ServiceBuilder::new()
        .layer(ChatLayer::new())
        .service(handler());
    let answer = alone.oneshot(Request::new(())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);

    let closed = ServiceBuilder::new()
        .layer(anonymous())
        .layer(ChatLayer::new().anonymous(false))
        .service(handler());
    let answer = closed.oneshot(Request::new(())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);

    let alice = signed_in(Principal::builder().subject("alice").build());
    let wrong = ServiceBuilder::new()
        .layer(alice)
        .layer(ChatLayer::new().manage(!Rule::scope("")))
        .service(handler());
    let answer = wrong.oneshot(Request::new(())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn w7_a_client_cannot_bring_a_context_of_its_own() {
    // One from an outer layer is replaced.
    let inner = service_fn(async |request: Request<()>| {
        let chat = ChatContext::from_extensions(request.extensions()).unwrap();
        Ok::<_, ()>(http::Response::new(chat.can_manage().to_string()))
    });
    let outer = ChatLayer::new().manage(Rule::authenticated());
    let service = ServiceBuilder::new()
        .layer(signed_in(Principal::builder().subject("alice").build()))
        .layer(outer)
        .layer(ChatLayer::new())
        .service(inner);
    let answer = service.oneshot(Request::new(())).await.unwrap();
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "false");
}

#[tokio::test]
async fn w7_an_option_of_a_kind_is_none_for_everybody_else() {
    async fn who(
        user: Option<UserPrincipal>,
        guest: Option<GuestPrincipal>,
        any: Option<AnyPrincipal>,
    ) -> String {
        format!("{} {} {}", user.is_some(), guest.is_some(), any.is_some())
    }
    let routes = || Router::new().route("/", get(who));
    let caller = || Principal::builder().subject("alice");
    let widget = caller().conversation("c1").build();
    let guest = caller().kind(PrincipalKind::Guest).build();
    for (app, expected) in [
        (routes().layer(anonymous()), "false false false"),
        (
            routes().layer(signed_in(caller().build())),
            "true false true",
        ),
        (routes().layer(signed_in(guest)), "false true true"),
        (routes().layer(signed_in(widget)), "false false true"),
    ] {
        let answer = app.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body = answer.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), expected);
    }
    let bare = routes().oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(bare.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn w7_a_context_goes_with_the_caller_that_it_was_made_of() {
    let chat = Chat::start().await;
    let inner = |optional: bool| {
        let layer = JwtAuthLayer::new(chat.verifier.clone());
        let read = service_fn(async |request: Request<String>| {
            let extensions = request.extensions();
            assert!(extensions.get::<ChatContext>().is_none());
            let caller = extensions.get::<Principal>().and_then(Principal::subject);
            let caller = caller.unwrap_or("nobody").to_owned();
            Ok::<_, ()>(http::Response::new(caller))
        });
        ServiceBuilder::new()
            .layer(signed_in(Principal::builder().subject("mallory").build()))
            .layer(ChatLayer::new().manage(Rule::authenticated()))
            .layer(if optional { layer.optional() } else { layer })
            .service(read)
    };
    // An inner layer replaces what an outer one found.
    let answer = inner(true).oneshot(Request::new(String::new())).await;
    let body = answer.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "nobody");

    let alice = chat.user("alice").await;
    let token = format!("Bearer {}", alice.access_token().expose());
    let request = Request::get("/").header("authorization", token);
    let answer = inner(false)
        .oneshot(request.body(String::new()).unwrap())
        .await;
    let body = answer.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "alice");
}
