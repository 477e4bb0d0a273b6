use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, Ready, ready},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, StatusCode, header::WWW_AUTHENTICATE};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use super::*;
use crate::{
    layer::{
        middleware::ResponseFuture,
        response::{self, Answers, Refusal},
        role_guard::{RoleGuardLayer, RoleHierarchy, Rule, decide_fn},
    },
    principal::{Facts, List, Origin},
};

/// Panics when it is called without having been polled ready, and is not `Clone`.
struct Handler {
    ready: bool,
    calls: Rc<Cell<usize>>,
}

impl Service<Request<()>> for Handler {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(self.ready, "called unready");
        self.ready = false;
        self.calls.set(self.calls.get() + 1);
        ready(Ok(Response::new("done".to_owned())))
    }
}

struct Answer {
    status: StatusCode,
    challenge: Option<String>,
    grpc_status: Option<String>,
    error: Option<AuthError>,
    handled: bool,
}

async fn ask(layer: &RoleGuardLayer, request: Request<()>) -> Answer {
    let calls = Rc::new(Cell::new(0));
    let handler = Handler {
        ready: false,
        calls: Rc::clone(&calls),
    };
    let response = layer.layer(handler).oneshot(request).await.unwrap();
    let text = |name: &str| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
    Answer {
        status: response.status(),
        challenge: text(WWW_AUTHENTICATE.as_str()),
        grpc_status: text("grpc-status"),
        error: response.extensions().get::<AuthError>().cloned(),
        handled: calls.get() == 1,
    }
}

fn by(caller: Principal) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(caller);
    request
}

fn with(roles: &[&str], scope: &str) -> Request<()> {
    by(Principal::builder().roles(roles).scope(scope).build())
}

fn by_anonymous() -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(Anonymous::new(None));
    request
}

fn grpc(mut request: Request<()>) -> Request<()> {
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    let kind = http::HeaderValue::from_static("application/grpc");
    request.headers_mut().insert("content-type", kind);
    request
}

#[tokio::test]
async fn a_caller_who_satisfies_the_rule_reaches_the_handler() {
    for (layer, request) in [
        (RoleGuardLayer::authenticated(), with(&[], "")),
        (RoleGuardLayer::any_of(["admin", "ops"]), with(&["ops"], "")),
        (RoleGuardLayer::all_of(["a", "b"]), with(&["b", "a"], "")),
        (RoleGuardLayer::none_of(["banned"]), with(&["a"], "")),
        (RoleGuardLayer::scope("a b"), with(&[], "b a")),
        (RoleGuardLayer::try_any_of(["a"]).unwrap(), with(&["a"], "")),
        (RoleGuardLayer::try_all_of(["a"]).unwrap(), with(&["a"], "")),
        (
            RoleGuardLayer::try_none_of(["b"]).unwrap(),
            with(&["a"], ""),
        ),
        (RoleGuardLayer::try_scope("a b").unwrap(), with(&[], "a b")),
    ] {
        let answer = ask(&layer, request).await;
        assert_eq!(answer.status, StatusCode::OK, "{layer:?}");
        assert!(answer.handled && answer.error.is_none());
    }
}

#[tokio::test]
async fn l1_nobody_signed_in_is_401_without_an_error_code_and_never_403() {
    for layer in [
        RoleGuardLayer::authenticated(),
        RoleGuardLayer::any_of(["admin"]),
        RoleGuardLayer::none_of(["banned"]),
        RoleGuardLayer::scope("a"),
        RoleGuardLayer::new(!Rule::authenticated()),
    ] {
        let answer = ask(&layer, by_anonymous()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{layer:?}");
        let challenge = answer.challenge.unwrap();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
        assert!(!challenge.contains("error"), "{challenge}");
        let kind = answer.error.unwrap().kind();
        assert_eq!(kind, AuthErrorKind::MissingCredential);
        assert!(!answer.handled);
    }
}

#[tokio::test]
async fn l2_lacking_a_role_is_403_without_a_scope_attribute() {
    for layer in [
        RoleGuardLayer::any_of(["admin", "ops"]),
        RoleGuardLayer::all_of(["user", "admin"]),
        RoleGuardLayer::none_of(["user"]),
        RoleGuardLayer::new(Rule::check(|_, _| false)),
    ] {
        let answer = ask(&layer, with(&["user"], "x")).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{layer:?}");
        let challenge = answer.challenge.unwrap();
        assert!(
            challenge.contains(r#"error="insufficient_scope""#),
            "{challenge}"
        );
        assert!(!challenge.contains(" scope="), "{challenge}");
        assert_eq!(answer.error.unwrap().kind(), AuthErrorKind::Forbidden);
        assert!(!answer.handled);
    }
}

#[tokio::test]
async fn l15_lacking_scopes_is_one_403_that_names_all_of_them() {
    let rule = Rule::scope("orders:write orders:read").and(Rule::scope("audit"));
    let answer = ask(&RoleGuardLayer::new(rule), with(&[], "audit")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let challenge = answer.challenge.unwrap();
    assert!(
        challenge.contains(r#"error="insufficient_scope""#),
        "{challenge}"
    );
    assert!(
        challenge.contains(r#"scope="audit orders:read orders:write""#),
        "{challenge}"
    );
    assert_eq!(answer.error.unwrap().kind(), AuthErrorKind::MissingScope);
    assert!(!answer.handled);
}

#[tokio::test]
async fn l6_a_name_that_no_credential_can_hold_is_500_for_everybody() {
    let layer = RoleGuardLayer::new(!Rule::scope(""));
    for request in [with(&["admin"], "a"), by_anonymous(), Request::new(())] {
        let answer = ask(&layer, request).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!answer.handled);
    }
}

#[tokio::test]
async fn l7_l8_the_layers_hierarchy_counts() {
    let hierarchy = RoleHierarchy::builder()
        .implies("admin", ["editor"])
        .implies("editor", ["viewer"])
        .build()
        .unwrap();
    let viewers = RoleGuardLayer::any_of(["viewer"]);
    assert!(!ask(&viewers, with(&["admin"], "")).await.handled);
    let viewers = viewers.hierarchy(&hierarchy);
    assert!(ask(&viewers, with(&["admin"], "")).await.handled);
    let others = RoleGuardLayer::none_of(["viewer"]).hierarchy(hierarchy);
    assert!(!ask(&others, with(&["admin"], "")).await.handled);
    assert!(ask(&others, with(&["stranger"], "")).await.handled);
}

#[tokio::test]
async fn l12_scope_admin_does_not_satisfy_role_admin() {
    let layer = RoleGuardLayer::any_of(["admin"]);
    assert_eq!(
        ask(&layer, with(&[], "admin")).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn l13_without_an_authenticating_layer_the_guard_answers_500() {
    for layer in [
        RoleGuardLayer::authenticated(),
        RoleGuardLayer::none_of(["banned"]),
    ] {
        let answer = ask(&layer, Request::new(())).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.error.unwrap().kind(), AuthErrorKind::Misconfigured);
        assert!(!answer.handled);
    }
}

#[tokio::test]
async fn l14_stacked_guards_must_all_agree() {
    for (request, expected) in [
        (with(&["a", "b"], ""), StatusCode::OK),
        (with(&["a"], ""), StatusCode::FORBIDDEN),
        (with(&["b"], ""), StatusCode::FORBIDDEN),
    ] {
        let calls = Rc::new(Cell::new(0));
        let stack = ServiceBuilder::new()
            .layer(RoleGuardLayer::any_of(["a"]))
            .layer(RoleGuardLayer::any_of(["b"]))
            .service(Handler {
                ready: false,
                calls: Rc::clone(&calls),
            });
        let status = stack.oneshot(request).await.unwrap().status();
        assert_eq!(status, expected);
        assert_eq!(calls.get() == 1, expected == StatusCode::OK);
    }
}

#[tokio::test]
async fn l16_a_header_cannot_add_a_role() {
    let layer = RoleGuardLayer::any_of(["admin"]);
    let mut request = with(&["user"], "");
    for name in ["x-role", "x-roles", "x-user-role", "roles", "x-hasura-role"] {
        let admin = http::HeaderValue::from_static("admin");
        request.headers_mut().insert(name, admin);
    }
    let answer = ask(&layer, request).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(!answer.handled);
}

#[tokio::test]
async fn p2_lacking_a_role_is_grpc_status_7() {
    let layer = RoleGuardLayer::any_of(["admin"]);
    let answer = ask(&layer, grpc(with(&["user"], ""))).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.grpc_status.as_deref(), Some("7"));
    assert!(!answer.handled);
}

#[tokio::test]
async fn p3_grpc_status_7_is_never_used_for_nobody() {
    let layer = RoleGuardLayer::any_of(["admin"]);
    let anonymous = ask(&layer, grpc(by_anonymous())).await;
    assert_eq!(anonymous.grpc_status.as_deref(), Some("16"));
    let unasked = ask(&layer, grpc(Request::new(()))).await;
    assert_eq!(unasked.grpc_status.as_deref(), Some("13"));
}

fn origin(realm: &str) -> Option<Origin> {
    let answers = Answers::default().with_realm(realm.to_owned());
    Some(response::origin(&Arc::new(answers)))
}

#[tokio::test]
async fn refusals_are_answered_as_the_authenticating_layer_answers_its_own() {
    let layer = RoleGuardLayer::any_of(["admin"]);
    let mut facts = Facts::default();
    facts.push(List::Roles, "user");
    let user = Principal::new(Arc::new(facts), origin("outer"));
    let mut anonymous = Request::new(());
    anonymous
        .extensions_mut()
        .insert(Anonymous::new(origin("outer")));

    for request in [by(user.clone()), anonymous] {
        let challenge = ask(&layer, request).await.challenge.unwrap();
        assert!(challenge.contains(r#"realm="outer""#), "{challenge}");
    }
    let own = layer.realm("own");
    let challenge = ask(&own, by(user)).await.challenge.unwrap();
    assert!(challenge.contains(r#"realm="own""#), "{challenge}");
}

#[tokio::test]
async fn the_guards_own_responder_and_details_count() {
    let layer = RoleGuardLayer::any_of(["admin"]);
    let challenge = ask(&layer, with(&[], "")).await.challenge.unwrap();
    assert!(challenge.contains("error_description="), "{challenge}");
    let terse = layer.clone().terse();
    let challenge = ask(&terse, with(&[], "")).await.challenge.unwrap();
    assert!(challenge.contains("error="), "{challenge}");
    assert!(!challenge.contains("error_description="), "{challenge}");

    let hidden = layer.responder(|_: &Refusal<'_>| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    });
    let answer = ask(&hidden, with(&[], "")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.error.unwrap().kind(), AuthErrorKind::Forbidden);
}

#[tokio::test]
async fn changing_a_clone_leaves_the_layer_as_it_was() {
    let layer = RoleGuardLayer::any_of(["viewer"]);
    let hierarchy = RoleHierarchy::builder().implies("admin", ["viewer"]);
    let changed = layer
        .clone()
        .hierarchy(hierarchy.build().unwrap())
        .realm("x");
    assert!(ask(&changed, with(&["admin"], "")).await.handled);
    assert!(!ask(&layer, with(&["admin"], "")).await.handled);
}

#[tokio::test]
async fn a_check_sees_the_caller_and_the_request() {
    let own = RoleGuardLayer::new(Rule::check(|caller, head| {
        caller.subject() == head.uri().path().strip_prefix("/users/")
    }));
    for (path, expected) in [("/users/alice", true), ("/users/bob", false)] {
        let mut request = by(Principal::builder().subject("alice").build());
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(ask(&own, request).await.handled, expected);
    }
}

#[tokio::test]
async fn the_inner_services_error_and_backpressure_pass_through() {
    let full = tower::service_fn(|_: Request<()>| ready(Err::<Response<String>, _>("full")));
    let guarded = RoleGuardLayer::authenticated().layer(full);
    assert_eq!(guarded.oneshot(with(&[], "")).await.unwrap_err(), "full");

    struct Busy;

    impl Service<Request<()>> for Busy {
        type Response = Response<String>;
        type Error = &'static str;
        type Future = Ready<Result<Response<String>, &'static str>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(Err("busy"))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            ready(Err("called"))
        }
    }

    let guarded = RoleGuardLayer::authenticated().layer(Busy);
    assert_eq!(guarded.oneshot(with(&[], "")).await.unwrap_err(), "busy");
}

#[tokio::test]
async fn a_denied_future_polled_again_does_not_panic() {
    let calls = Rc::new(Cell::new(0));
    let mut guarded = RoleGuardLayer::authenticated().layer(Handler { ready: true, calls });
    let mut future = std::pin::pin!(guarded.call(by_anonymous()));
    assert!(format!("{future:?}").contains("denied"));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_ready());
    assert!(future.as_mut().poll(&mut cx).is_pending());
}

#[test]
fn a_layer_is_small_and_its_future_sendable() {
    fn sendable<T: Send + Sync>() {}
    sendable::<RoleGuardLayer>();
    sendable::<ResponseFuture<Ready<Result<Response<String>, Infallible>>>>();
    assert_eq!(size_of::<RoleGuardLayer>(), size_of::<usize>());
}

#[test]
fn a_policy_engine_enlarges_neither_the_layer_nor_its_future() {
    type Inner = Ready<Result<Response<String>, Infallible>>;
    type Plain = ResponseFuture<Inner>;
    type Waiting<D> = ResponseFuture<Inner, Suspended<RoleGuardLayer<D>, Handler, ()>>;

    fn sizes<D: Decide>(_: &RoleGuardLayer<D>) -> (usize, usize) {
        (size_of::<RoleGuardLayer<D>>(), size_of::<Waiting<D>>())
    }
    let buffer = [0_u8; 4096];
    let engine = decide_fn(move |_| async move {
        ready(()).await;
        match buffer.len() {
            0 => Decision::deny(),
            _ => Decision::Allow,
        }
    });
    let sizes = sizes(&RoleGuardLayer::authenticated().policy(engine));
    assert_eq!(sizes, (size_of::<usize>(), size_of::<Plain>()));
}
