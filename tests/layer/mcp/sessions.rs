//! J21: a session belongs to the caller who started it.

use http::Extensions;
use tower::ServiceBuilder;
use tower_jwt_auth::{error::AuthErrorKind, layer::mcp::McpSessionLayer, secret::SecretKey};

use super::*;
use crate::support::fixture::{Fixture, bearer};

const SESSION: &str = "mcp-session-id";

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32]).unwrap()
}

fn layer() -> McpSessionLayer {
    McpSessionLayer::new(&key(1))
}

/// A server that names sessions in its response, and one that records the name in a request.
#[derive(Clone)]
struct Sessions {
    names: Vec<HeaderValue>,
    status: StatusCode,
    seen: Arc<Mutex<Option<HeaderMap>>>,
}

impl Sessions {
    fn naming(names: &[&str]) -> Self {
        Self {
            names: names
                .iter()
                .map(|name| HeaderValue::from_bytes(name.as_bytes()).unwrap())
                .collect(),
            status: StatusCode::OK,
            seen: Arc::default(),
        }
    }
}

impl Service<Request<()>> for Sessions {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        *self.seen.lock().unwrap() = Some(request.headers().clone());
        let mut response = Response::new(String::new());
        *response.status_mut() = self.status;
        for name in &self.names {
            response.headers_mut().append(SESSION, name.clone());
        }
        std::future::ready(Ok(response))
    }
}

/// Starts a session, and returns the names that the client receives.
async fn started(
    layer: &McpSessionLayer,
    caller: Option<Principal>,
    names: &[&str],
) -> Vec<String> {
    let mut request = Request::new(());
    request.extensions_mut().extend(extensions(caller).await);
    let response = layer
        .layer(Sessions::naming(names))
        .oneshot(request)
        .await
        .unwrap();
    let names = response.headers().get_all(SESSION).iter();
    names
        .map(|name| name.to_str().unwrap().to_owned())
        .collect()
}

/// Continues a session. Returns the name that the server receives, or the refusal.
async fn continued(
    layer: &McpSessionLayer,
    caller: Option<Principal>,
    headers: &[(&'static str, &str)],
) -> Result<Vec<String>, Answer> {
    let mut request = with(Request::new(()), headers);
    request.extensions_mut().extend(extensions(caller).await);
    let sessions = Sessions::naming(&[]);
    let seen = Arc::clone(&sessions.seen);
    let response = layer.layer(sessions).oneshot(request).await.unwrap();
    let seen = seen.lock().unwrap().take();
    match seen {
        Some(headers) => {
            assert_eq!(response.status(), StatusCode::OK);
            let names = headers.get_all(SESSION).iter();
            Ok(names
                .map(|name| name.to_str().unwrap().to_owned())
                .collect())
        }
        None => {
            let (parts, body) = response.into_parts();
            Err(Answer {
                status: parts.status,
                error: parts.extensions.get::<AuthError>().cloned(),
                headers: parts.headers,
                body: body.collect().await.unwrap().to_bytes(),
                seen: None,
            })
        }
    }
}

/// The extensions of a request of this caller, or of an anonymous one.
async fn extensions(caller: Option<Principal>) -> Extensions {
    if let Some(caller) = caller {
        let mut extensions = Extensions::new();
        extensions.insert(caller);
        return extensions;
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let service = tower::service_fn(move |request: Request<()>| {
        sender.send(request.into_parts().0.extensions).unwrap();
        std::future::ready(Ok::<_, Infallible>(Response::new(String::new())))
    });
    let layer = Fixture::new().layer().optional();
    layer
        .layer(service)
        .oneshot(Request::new(()))
        .await
        .unwrap();
    receiver.recv().unwrap()
}

fn of(issuer: &str, subject: &str) -> Option<Principal> {
    let caller = Principal::builder().issuer(issuer).subject(subject);
    Some(caller.build())
}

#[track_caller]
fn unknown(outcome: Result<Vec<String>, Answer>, case: &str) {
    let answer = outcome.expect_err(case);
    let kind = AuthErrorKind::UnknownSession;
    answer.refused_as_message(case, kind, json!(null), -32001);
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn j21_the_caller_who_started_a_session_continues_it() {
    let layer = layer();
    for name in [
        "1868a90c-5f1c",
        "with.dots.in.it",
        "!",
        "~",
        &"x".repeat(1024),
    ] {
        for caller in [of("https://a", "alice"), None] {
            let names = started(&layer, caller.clone(), &[name]).await;
            let [tagged] = names.as_slice() else {
                panic!("{names:?}")
            };
            assert_ne!(tagged, name);
            assert!(tagged.bytes().all(|byte| byte.is_ascii_graphic()));
            let seen = continued(&layer, caller, &[(SESSION, tagged)]).await;
            assert_eq!(seen.unwrap(), [name], "the server sees its own name");
        }
    }
}

#[tokio::test]
async fn j21_with_another_caller_a_session_is_unknown() {
    let layer = layer();
    let client = |issuer: &str, client: &str| {
        let caller = Principal::builder().issuer(issuer).client_id(client);
        Some(caller.build())
    };
    let unissued = Some(Principal::builder().subject("alice").build());
    let callers = [
        of("https://a", "alice"),
        of("https://a", "bob"),
        of("https://b", "alice"),
        // The same text, divided at another place.
        of("https://aa", "lice"),
        of("", "https://aalice"),
        of("", "alice"),
        client("https://a", "alice"),
        unissued,
        None,
    ];
    for (at, owner) in callers.iter().enumerate() {
        let names = started(&layer, owner.clone(), &["1868a90c"]).await;
        for (other, caller) in callers.iter().enumerate() {
            let outcome = continued(&layer, caller.clone(), &[(SESSION, &names[0])]).await;
            match at == other {
                true => assert_eq!(outcome.unwrap(), ["1868a90c"]),
                false => unknown(outcome, &format!("{at} {other}")),
            }
        }
    }
}

#[tokio::test]
async fn j21_a_name_without_its_tag_or_with_another_one_is_unknown() {
    let (layer, alice) = (layer(), of("https://a", "alice"));
    let names = started(&layer, alice.clone(), &["1868a90c"]).await;
    let tagged = names[0].as_str();
    let (name, tag) = tagged.rsplit_once('.').unwrap();
    let flipped = match tag.strip_prefix('A') {
        Some(rest) => format!("{name}.B{rest}"),
        None => format!("{name}.A{}", &tag[1..]),
    };
    for bad in [
        "",
        name,
        &format!("{name}."),
        &format!(".{tag}"),
        &format!("{name}{tag}"),
        &format!("x{tagged}"),
        &format!("1868a90d.{tag}"),
        &flipped,
        &tagged[..tagged.len() - 1],
        &format!("{tagged}A"),
        &format!("{tagged}="),
        &format!("{tagged}.{tag}"),
        &format!("{}.{tag}", "x".repeat(2000)),
        &format!("{name} .{tag}"),
    ] {
        let outcome = continued(&layer, alice.clone(), &[(SESSION, bad)]).await;
        unknown(outcome, bad);
    }
    let twice = [(SESSION, tagged), (SESSION, tagged)];
    let answer = continued(&layer, alice, &twice).await.unwrap_err();
    answer.refused("twice", AuthErrorKind::MalformedMessage);
}

#[tokio::test]
async fn j21_nodes_share_a_key_and_replace_it_in_steps() {
    let alice = of("https://a", "alice");
    let (old, new) = (McpSessionLayer::new(&key(1)), McpSessionLayer::new(&key(2)));
    let rotating = McpSessionLayer::new(&key(2).or_older(key(1)));
    let by = |layer: &McpSessionLayer| {
        let (layer, alice) = (layer.clone(), alice.clone());
        async move { started(&layer, alice, &["1868a90c"]).await.remove(0) }
    };
    let names = [by(&old).await, by(&new).await];
    assert_eq!(by(&rotating).await, names[1], "the first key creates tags");
    for (layer, continues) in [
        (&old, [true, false]),
        (&layer(), [true, false]),
        (&rotating, [true, true]),
        (&new, [false, true]),
    ] {
        for (name, continues) in names.iter().zip(continues) {
            let outcome = continued(layer, alice.clone(), &[(SESSION, name)]).await;
            match continues {
                true => assert_eq!(outcome.unwrap(), ["1868a90c"]),
                false => unknown(outcome, name),
            }
        }
    }
}

#[tokio::test]
async fn j21_a_name_that_cannot_be_bound_does_not_reach_the_client() {
    let (layer, alice) = (layer(), of("https://a", "alice"));
    for names in [
        &["a", "b"][..],
        &["a", "a"],
        &[""],
        &["with space"],
        &["\u{E4}"],
        &[&"x".repeat(1025)],
    ] {
        assert!(
            started(&layer, alice.clone(), names).await.is_empty(),
            "{names:?}"
        );
    }
    // A caller without a name has no sessions.
    let nameless = Some(Principal::builder().issuer("https://a").build());
    assert!(started(&layer, nameless.clone(), &["a"]).await.is_empty());
    let names = started(&layer, alice, &["a"]).await;
    unknown(
        continued(&layer, nameless, &[(SESSION, &names[0])]).await,
        "nameless",
    );
}

#[tokio::test]
async fn j21_responses_of_every_status_are_bound() {
    let alice = of("https://a", "alice");
    for status in [
        StatusCode::OK,
        StatusCode::ACCEPTED,
        StatusCode::BAD_REQUEST,
    ] {
        let mut sessions = Sessions::naming(&["a"]);
        sessions.status = status;
        let mut request = Request::new(());
        request
            .extensions_mut()
            .extend(extensions(alice.clone()).await);
        let response = layer().layer(sessions).oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_ne!(response.headers()[SESSION], "a");
    }
}

#[tokio::test]
async fn j21_a_version_without_sessions_passes_without_the_name() {
    let alice = of("https://a", "alice");
    let modern = ("mcp-protocol-version", "2026-07-28");
    let seen = continued(&layer(), alice.clone(), &[(SESSION, "a"), modern]).await;
    assert!(seen.unwrap().is_empty());
    for headers in [
        &[(SESSION, "a"), ("mcp-protocol-version", "2025-11-25")][..],
        &[(SESSION, "a"), modern, modern],
    ] {
        unknown(continued(&layer(), alice.clone(), headers).await, "legacy");
    }
}

#[tokio::test]
async fn j21_the_layer_needs_an_authenticating_layer_around_it() {
    let response = layer()
        .layer(Sessions::naming(&["a"]))
        .oneshot(Request::new(()))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);

    let fixture = Fixture::new();
    let layers = ServiceBuilder::new().layer(fixture.layer()).layer(layer());
    let request = bearer(fixture.token()).map(|_| ());
    let response = layers
        .service(Sessions::naming(&["a"]))
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key(SESSION));
}
