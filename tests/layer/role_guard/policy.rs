//! L19: the decisions of a policy engine.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONTENT_TYPE, WWW_AUTHENTICATE},
};
use serde_json::json;
use tokio::{sync::watch, task::yield_now};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    AuthError, JwtAuthLayer, Principal, RoleGuardLayer,
    error::AuthErrorKind,
    event::{AuthEvent, EventRecord, EventSink, sink_fn},
    layer::{
        response::{ErrorResponder, Problem, Refusal},
        role_guard::{Action, Decide, Decided, Decision, Question, Rule, decide_fn},
        socket::ChatLayer,
    },
    test_util::{anonymous, signed_in},
};

use crate::support::{
    answer::{Answer, send},
    fixture::{Fixture, bearer},
    waiting::{
        Case, fits_around, holds_no_permit, is_called_ready,
        never_calls_a_clone_that_is_never_ready, releases_everything_if_it_is_cancelled,
        returns_the_readiness_error,
    },
};

type Later = Pin<Box<dyn Future<Output = Decision> + Send>>;

/// An engine that decides by a function.
struct Engine<F>(F);

impl<F> Decide for Engine<F>
where
    F: Fn(&Question<'_>) -> Decided<Later> + Send + Sync + 'static,
{
    type Future = Later;

    fn decide(&self, question: &Question<'_>) -> Decided<Later> {
        (self.0)(question)
    }
}

fn later(decision: Decision) -> Decided<Later> {
    Decided::Pending(Box::pin(async move {
        yield_now().await;
        decision
    }))
}

fn alice() -> Principal {
    let caller = Principal::builder().subject("alice").roles(["user"]);
    caller.scope("documents").build()
}

fn to(path: &str) -> Request<String> {
    Request::get(path).body(String::new()).unwrap()
}

/// The response to alice.
async fn ask<D: Decide>(guard: RoleGuardLayer<D>, request: Request<String>) -> Answer {
    let layers = ServiceBuilder::new().layer(signed_in(alice())).layer(guard);
    send(layers, request).await
}

/// Two engines with the same decision: now, and later.
async fn now_and_later(decision: Decision, request: impl Fn() -> Request<String>) -> [Answer; 2] {
    let immediate = decision.clone();
    let now = Engine(move |_: &Question<'_>| Decided::Ready(immediate.clone()));
    let guard = RoleGuardLayer::authenticated();
    let waits = Engine(move |_: &Question<'_>| later(decision.clone()));
    [
        ask(guard.clone().policy(now), request()).await,
        ask(guard.policy(waits), request()).await,
    ]
}

#[tokio::test]
async fn l19_an_engine_allows_denies_or_is_unavailable() {
    let request = || to("/documents/7");
    for answer in now_and_later(Decision::Allow, request).await {
        answer.passes("allowed");
    }
    for answer in now_and_later(Decision::deny(), request).await {
        let answer = answer.insufficient_scope("denied");
        assert_eq!(answer.challenge().get("scope"), None);
        let answer = answer.because(AuthErrorKind::Forbidden);
        let missing = answer.error.as_ref().unwrap().missing();
        assert_eq!(missing, Some("a policy for the request"));
    }
    for answer in now_and_later(Decision::unavailable(7), request).await {
        let answer = answer.unavailable("unavailable");
        assert_eq!(answer.header("retry-after"), Some("7"));
        assert_eq!(answer.header(WWW_AUTHENTICATE.as_str()), None);
        answer.because(AuthErrorKind::PolicyUnavailable);
    }
}

#[tokio::test]
async fn l19_an_engine_is_called_last() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let engine = Arc::new(Engine(move |_: &Question<'_>| {
        counted.fetch_add(1, Ordering::SeqCst);
        later(Decision::Allow)
    }));
    for rule in [
        Rule::any_of(["admin"]),
        Rule::scope("mail"),
        Rule::none_of(["user"]),
        Rule::check(|_, _| false),
        Rule::scope("documents").and(Rule::any_of(["admin"])),
    ] {
        let guard = RoleGuardLayer::new(rule.action("read")).policy(Arc::clone(&engine));
        ask(guard, to("/")).await.insufficient_scope("the rule");
    }
    let guard = RoleGuardLayer::scope("documents").policy(Arc::clone(&engine));
    let layers = ServiceBuilder::new()
        .layer(anonymous())
        .layer(guard.clone());
    send(layers, to("/")).await.bare("anonymous");
    let unauthenticated = send(guard.clone(), to("/")).await;
    assert_eq!(unauthenticated.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(calls.load(Ordering::SeqCst), 0);

    ask(guard, to("/")).await.passes("the rule holds");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn l19_no_decision_is_cached() {
    let fixture = Fixture::new();
    let decision = Arc::new(Mutex::new(Decision::Allow));
    let current = Arc::clone(&decision);
    let guard = RoleGuardLayer::authenticated().policy(Engine(move |_: &Question<'_>| {
        later(current.lock().unwrap().clone())
    }));
    let token = fixture.token();
    for next in [
        Decision::Allow,
        Decision::deny(),
        Decision::unavailable(1),
        Decision::Allow,
    ] {
        *decision.lock().unwrap() = next.clone();
        let layers = ServiceBuilder::new()
            .layer(fixture.layer())
            .layer(guard.clone());
        let answer = send(layers, bearer(&token)).await;
        assert_eq!(answer.ran(), next == Decision::Allow, "{next:?}");
    }
}

#[tokio::test]
async fn l19_an_engine_receives_the_caller_the_request_and_the_action() {
    let read = Action::new("read")
        .resource("document")
        .resource_id(|head| Some(head.path_segments()?.get(1)?.to_string()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let engine = Arc::new(Engine(move |question: &Question<'_>| {
        let head = question.head();
        let text = format!(
            "{} {} {:?} {:?} {:?} {:?} {:?} {}",
            question.caller().subject().unwrap(),
            head.method(),
            head.path_segments().unwrap(),
            question.action(),
            question.resource(),
            question.resource_id(),
            head.extensions().get::<u8>(),
            head.headers().len(),
        );
        notes.lock().unwrap().push(text);
        Decided::Ready(Decision::Allow)
    }));
    let guard = |rule: Rule| RoleGuardLayer::new(rule).policy(Arc::clone(&engine));

    let mut request = to("/documents/b%6Fb");
    request.extensions_mut().insert(7_u8);
    ask(guard(Rule::authenticated().action(read.clone())), request)
        .await
        .passes("an action");
    ask(guard(Rule::authenticated()), to("/health"))
        .await
        .passes("none");
    let by_method = Rule::grpc([
        ("/a.B/Read", Rule::authenticated().action(read)),
        (
            "/a.B/List",
            Rule::authenticated().action("list").named("a list"),
        ),
        ("/a.B/Ping", Rule::authenticated()),
    ]);
    let by_method = guard(by_method.unwrap());
    for path in ["/a.B/Read", "/a.B/List", "/a.B/Ping"] {
        ask(by_method.clone(), to(path)).await.passes(path);
    }
    ask(by_method, to("/a.B/Purge"))
        .await
        .insufficient_scope("no rule");
    assert_eq!(
        *seen.lock().unwrap(),
        [
            r#"alice GET ["documents", "bob"] Some("read") Some("document") Some("bob") Some(7) 0"#,
            r#"alice GET ["health"] None None None None 0"#,
            r#"alice GET ["a.B", "Read"] Some("read") Some("document") Some("Read") None 0"#,
            r#"alice GET ["a.B", "List"] Some("list") None None None 0"#,
            r#"alice GET ["a.B", "Ping"] None None None None 0"#,
        ]
    );
}

#[tokio::test]
async fn l19_a_request_without_the_resource_of_its_action_is_refused() {
    let read = Action::new("read")
        .resource("document")
        .resource_id(|head| Some(head.path_segments()?.get(1)?.to_string()));
    let rule = Rule::authenticated().action(read);
    let guard = RoleGuardLayer::new(rule).policy(Engine(|_: &Question<'_>| panic!("called")));
    for path in ["/documents", "/documents/x/../y", "/documents/%ff"] {
        let answer = ask(guard.clone(), to(path)).await.insufficient_scope(path);
        let missing = answer.error.as_ref().unwrap().missing();
        assert_eq!(missing, Some("a resource in the request"), "{path}");
    }
}

/// The reasons of refusals, and their records.
type Refusals = Vec<(Option<String>, EventRecord)>;

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Refusals>>);

impl Told {
    fn sink(&self) -> impl EventSink {
        let told = Arc::clone(&self.0);
        sink_fn(move |event| {
            if let AuthEvent::Denied { error, .. } = event {
                let reason = error.decision_reason().map(str::to_owned);
                told.lock().unwrap().push((reason, EventRecord::of(event)));
            }
        })
    }
}

const REASON: &str = "policy-7:\nnot the owner";

#[tokio::test]
async fn l19_the_reason_goes_to_the_event_alone() {
    let grpc = || {
        let mut request = to("/a.B/C");
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        let kind = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        request
    };
    let responder = |refusal: &Refusal<'_>| {
        assert_eq!(refusal.error().decision_reason(), None);
        Problem::new().respond(refusal)
    };
    for decision in [
        Decision::deny().because(REASON),
        Decision::unavailable(3).because(REASON),
    ] {
        for request in [to("/"), grpc()] {
            for is_ready in [true, false] {
                let (told, decision) = (Told::default(), decision.clone());
                let engine = Engine(move |_: &Question<'_>| match is_ready {
                    true => Decided::Ready(decision.clone()),
                    false => later(decision.clone()),
                });
                let guard = RoleGuardLayer::new(Rule::authenticated().action("edit"));
                let guard = guard
                    .responder(responder)
                    .events(told.sink())
                    .policy(engine);
                let answer = ask(guard, request.clone()).await;

                assert!(!answer.ran());
                assert_eq!(answer.error.as_ref().unwrap().decision_reason(), None);
                let whole = format!("{:?} {:?}", answer.headers, answer.body);
                assert!(!whole.contains("policy-7"), "{whole}");
                assert!(!whole.contains("edit"), "{whole}");

                let told = told.0.lock().unwrap();
                let [(reason, record)] = told.as_slice() else {
                    panic!("one event");
                };
                assert_eq!(reason.as_deref(), Some(REASON));
                assert_eq!(record.reason.as_deref(), Some("policy-7:\\nnot the owner"));
                assert_eq!(record.subject.as_deref(), Some("alice"));
            }
        }
    }
}

#[tokio::test]
async fn l19_an_event_names_the_action_that_was_denied() {
    let told = Told::default();
    let guard = RoleGuardLayer::new(Rule::authenticated().action("edit\n"))
        .events(told.sink())
        .policy(Engine(|_: &Question<'_>| later(Decision::deny())));
    ask(guard, to("/")).await.insufficient_scope("denied");
    let told = told.0.lock().unwrap();
    let (reason, record) = &told[0];
    assert_eq!(*reason, None);
    assert_eq!(record.missing.as_deref(), Some("a policy for `edit\\n`"));
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn l19_the_reason_is_in_no_log_line_of_a_refusal() {
    let engine = Engine(|_: &Question<'_>| later(Decision::deny().because(REASON)));
    let guard = RoleGuardLayer::authenticated().policy(engine);
    let log = crate::secrecy::logged(async {
        ask(guard, to("/")).await.insufficient_scope("denied");
    })
    .await;
    assert!(log.contains("a policy for the request"), "{log}");
    assert!(!log.contains("policy-7"), "{log}");
}

#[tokio::test]
async fn l19_grpc_calls_are_answered_in_their_framing() {
    let grpc = || {
        let mut request = to("/a.B/C");
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        let kind = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        request
    };
    for (decision, status) in [(Decision::deny(), "7"), (Decision::unavailable(7), "14")] {
        for answer in now_and_later(decision, grpc).await {
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.header("grpc-status"), Some(status));
            assert!(!answer.ran());
        }
    }
}

#[tokio::test]
async fn l19_a_panic_and_a_timeout_are_503() {
    fn panics() -> Decision {
        panic!("on purpose")
    }
    type Function = fn(&Question<'_>) -> Decided<Later>;
    let engines: [(&str, Function); 4] = [
        ("a panic", |_| Decided::Ready(panics())),
        ("a panic later", |_| {
            Decided::Pending(Box::pin(async {
                yield_now().await;
                panics()
            }))
        }),
        ("no answer", |_| {
            Decided::Pending(Box::pin(std::future::pending()))
        }),
        // A task that was aborted: the engine maps it, or panics as here.
        ("a cancelled task", |_| {
            let task = tokio::spawn(std::future::pending::<Decision>());
            task.abort();
            Decided::Pending(Box::pin(async { task.await.unwrap() }))
        }),
    ];
    for (case, engine) in engines {
        let guard = RoleGuardLayer::authenticated().policy(Engine(engine));
        let guard = guard.wait_limit(Duration::from_millis(20));
        let answer = ask(guard, to("/")).await.unavailable(case);
        answer.because(AuthErrorKind::PolicyUnavailable);
    }
    let action = Action::new("read").resource_id(|_| panic!("on purpose"));
    let guard = RoleGuardLayer::new(Rule::authenticated().action(action));
    let guard = guard.policy(Engine(|_: &Question<'_>| Decided::Ready(Decision::Allow)));
    ask(guard, to("/"))
        .await
        .unavailable("a panic for the resource");
}

#[tokio::test]
async fn l19_a_rule_with_an_action_is_500_without_an_engine() {
    let action = || Rule::authenticated().action("edit");
    let allows = || Engine(|_: &Question<'_>| Decided::Ready(Decision::Allow));
    let misconfigured = |answer: Answer| {
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!answer.ran());
        answer.because(AuthErrorKind::Misconfigured);
    };
    for rule in [
        action(),
        action().and(Rule::any_of(["user"])),
        Rule::any_of(["user"]).and(action()).named("editors"),
        Rule::grpc([("/a.B/C", Rule::authenticated()), ("/a.B/D", action())]).unwrap(),
    ] {
        let layers = ServiceBuilder::new().layer(signed_in(alice()));
        let guard = RoleGuardLayer::new(rule.clone());
        misconfigured(send(layers.clone().layer(guard), to("/a.B/C")).await);
        let chat = ChatLayer::new().manage(rule.clone());
        misconfigured(send(layers.layer(chat), to("/a.B/C")).await);
        let guard = RoleGuardLayer::new(rule).policy(allows());
        ask(guard, to("/a.B/C")).await.passes("an engine");
    }
    // No engine decides about an alternative, about the opposite, or about two actions.
    for rule in [
        !action(),
        action().or(Rule::any_of(["user"])),
        Rule::any_of(["user"]).or(action()),
        (!action()).and(Rule::authenticated()),
        action().and(action()),
        action().action("again"),
    ] {
        let guard = RoleGuardLayer::new(rule.clone()).policy(allows());
        misconfigured(ask(guard, to("/")).await);
        let layers = ServiceBuilder::new().layer(signed_in(alice()));
        let guard = RoleGuardLayer::new(rule);
        misconfigured(send(layers.layer(guard), to("/")).await);
    }
}

#[tokio::test]
async fn l19_two_guards_with_engines_must_both_allow() {
    let guard = |allows: bool| {
        RoleGuardLayer::authenticated().policy(decide_fn(move |_| async move {
            yield_now().await;
            match allows {
                true => Decision::Allow,
                false => Decision::deny(),
            }
        }))
    };
    for (one, two) in [(true, true), (true, false), (false, true)] {
        let layers = ServiceBuilder::new()
            .layer(signed_in(alice()))
            .layer(guard(one))
            .layer(guard(two));
        assert_eq!(send(layers, to("/")).await.ran(), one && two);
    }
}

#[tokio::test]
async fn l19_the_settings_of_the_layer_around_apply_to_the_refusal() {
    let fixture = Fixture::new();
    let layer: JwtAuthLayer = fixture.layer().realm("shop").terse();
    let guard =
        RoleGuardLayer::authenticated().policy(Engine(|_: &Question<'_>| later(Decision::deny())));
    let layers = ServiceBuilder::new().layer(layer).layer(guard);
    let answer = send(layers, bearer(fixture.with("sub", json!("alice")))).await;
    assert_eq!(
        answer.header(WWW_AUTHENTICATE.as_str()),
        Some(r#"Bearer realm="shop", error="insufficient_scope""#)
    );
}

/// Returns `true` when it is dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn l19_a_client_that_leaves_ends_the_query() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let engine = Engine(move |_: &Question<'_>| {
        let query = Dropped(Arc::clone(&count));
        let decision: Later = Box::pin(async move {
            let _query = query;
            std::future::pending().await
        });
        Decided::Pending(decision)
    });
    let inner = service_fn(
        async |_: Request<String>| -> Result<Response<String>, AuthError> { panic!("called") },
    );
    let layers = ServiceBuilder::new()
        .layer(signed_in(alice()))
        .layer(RoleGuardLayer::authenticated().policy(engine));
    let mut request = Box::pin(layers.service(inner).oneshot(to("/")));
    for _ in 0..3 {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(request.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    drop(request);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

/// An engine that is ready for everyone but one subject.
struct Asking(watch::Receiver<bool>);

impl Decide for Asking {
    type Future = Later;

    fn decide(&self, question: &Question<'_>) -> Decided<Later> {
        if question.caller().subject() != Some("slow") {
            return Decided::Ready(Decision::Allow);
        }
        let mut decision = self.0.clone();
        Decided::Pending(Box::pin(async move {
            let _ = decision.wait_for(|allowed| *allowed).await.unwrap();
            Decision::Allow
        }))
    }
}

fn waiting() -> Case<RoleGuardLayer<Asking>> {
    let (sender, decision) = watch::channel(false);
    let by = |subject: &'static str| {
        move || {
            let mut request = to("/");
            let caller = Principal::builder().subject(subject).build();
            request.extensions_mut().insert(caller);
            request
        }
    };
    Case {
        layer: RoleGuardLayer::authenticated().policy(Asking(decision)),
        waits: Box::new(by("slow")),
        passes: Box::new(by("quick")),
        release: Box::new(move || sender.send(true).unwrap()),
    }
}

#[tokio::test]
async fn l19_q13_a_request_that_waits_for_a_decision_holds_nothing() {
    holds_no_permit(waiting()).await;
    returns_the_readiness_error(waiting()).await;
    is_called_ready(waiting()).await;
    never_calls_a_clone_that_is_never_ready(waiting()).await;
    releases_everything_if_it_is_cancelled(waiting()).await;
    fits_around(waiting()).await;
}
