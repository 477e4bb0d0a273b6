//! Limits on how often a client may ask, and who a client is.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use tower::ServiceBuilder;
use tower_jwt_auth::{
    error::AuthErrorKind,
    event::sink_fn,
    layer::{
        extract::RequestHead,
        rate_limit::{ClientIp, PeerAddr, RateLimitLayer, by_subject, network_of},
        response::OAuthJson,
    },
    test_util::TestClock,
};

use crate::support::{
    answer::{Answer, send},
    fixture::{Fixture, bearer},
};

fn from(peer: &str) -> Request<String> {
    let mut request = Request::new(String::new());
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(PeerAddr(peer));
    request
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[track_caller]
fn is_throttled(answer: &Answer, retry_after: &str) {
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.kind(), Some(AuthErrorKind::TooManyRequests));
    assert_eq!(answer.header("retry-after"), Some(retry_after));
    assert_eq!(answer.header("www-authenticate"), None);
    assert!(!answer.ran());
}

#[tokio::test]
async fn a_budget_is_spent_and_refills_steadily() {
    let clock = TestClock::new();
    let layer = RateLimitLayer::per_minute(number(6), ClientIp::peer())
        .burst(number(2))
        .clock(clock.clone());
    let ask = async || send(layer.clone(), from("192.0.2.1:1")).await;
    for _ in 0..2 {
        ask().await.passes("the burst");
    }
    is_throttled(&ask().await, "10");
    // To be refused costs nothing.
    clock.advance(Duration::from_millis(9_001));
    is_throttled(&ask().await, "1");
    clock.advance(Duration::from_secs(1));
    ask().await.passes("refilled");
    is_throttled(&ask().await, "10");
    send(layer.clone(), from("192.0.2.2:1"))
        .await
        .passes("somebody else");
}

#[tokio::test]
async fn an_ipv6_household_is_one_client() {
    let layer = RateLimitLayer::per_minute(number(1), ClientIp::peer());
    for (peer, passes) in [
        ("[2001:db8:1:2::1]:1", true),
        ("[2001:db8:1:2:ffff::9]:1", false),
        ("[2001:db8:1:3::1]:1", true),
        ("192.0.2.1:1", true),
        ("[::ffff:192.0.2.1]:1", false),
    ] {
        assert_eq!(
            send(layer.clone(), from(peer)).await.ran(),
            passes,
            "{peer}"
        );
    }
    assert_eq!(
        network_of("::ffff:192.0.2.1".parse().unwrap()).to_string(),
        "192.0.2.1"
    );
}

#[test]
fn only_named_proxies_are_believed() {
    let clients = ClientIp::behind(["10.0.0.0/8", "2001:db8::1"]).unwrap();
    let client = |peer: &str, lines: &[&str]| {
        let mut request = from(peer);
        let name = HeaderName::from_static("x-forwarded-for");
        for line in lines {
            let value = HeaderValue::from_str(line).unwrap();
            request.headers_mut().append(&name, value);
        }
        clients
            .client_ip(RequestHead::of(&request))
            .map(|client| client.to_string())
    };
    for (peer, lines, expected) in [
        ("203.0.113.5:1", &["6.6.6.6"][..], Some("203.0.113.5")),
        ("10.0.0.1:1", &["203.0.113.9"], Some("203.0.113.9")),
        ("10.0.0.1:1", &["6.6.6.6, 203.0.113.9"], Some("203.0.113.9")),
        (
            "10.0.0.1:1",
            &["6.6.6.6", "203.0.113.9,10.9.9.9"],
            Some("203.0.113.9"),
        ),
        ("10.0.0.1:1", &["garbage, 203.0.113.9"], Some("203.0.113.9")),
        ("10.0.0.1:1", &["203.0.113.9, unknown"], None),
        ("10.0.0.1:1", &[""], None),
        ("10.0.0.1:1", &[], Some("10.0.0.1")),
        ("10.0.0.1:1", &["10.0.0.2"], Some("10.0.0.2")),
        (
            "[::ffff:10.0.0.1]:1",
            &["203.0.113.9:4711"],
            Some("203.0.113.9"),
        ),
        (
            "[2001:db8::1]:1",
            &["[2001:db8::7]:4711"],
            Some("2001:db8::7"),
        ),
        ("[2001:db8::1]:1", &["[2001:db8::7]"], Some("2001:db8::7")),
        ("[2001:db8::2]:1", &["203.0.113.9"], Some("2001:db8::2")),
    ] {
        assert_eq!(client(peer, lines).as_deref(), expected, "{peer} {lines:?}");
    }
    // What a client wrote is not even read, so that nobody can make himself unknown by it.
    let mut request = from("10.0.0.1:1");
    for line in [&b"\xFF\xFE"[..], b"\xFF, 203.0.113.9, 10.0.0.2"] {
        let value = HeaderValue::from_bytes(line).unwrap();
        request.headers_mut().append("x-forwarded-for", value);
    }
    let named = "203.0.113.9".parse().unwrap();
    assert_eq!(clients.client_ip(RequestHead::of(&request)), Some(named));
    // A proxy's address may be written as IPv6 sees it.
    let mapped = ClientIp::behind(["::ffff:10.0.0.1"]).unwrap();
    assert_eq!(
        mapped.client_ip(RequestHead::of(&request)),
        Some("10.0.0.2".parse().unwrap())
    );
    // Without a peer nobody knows, whatever the header says.
    let mut request = Request::new(String::new());
    let value = HeaderValue::from_static("203.0.113.9");
    request.headers_mut().insert("x-forwarded-for", value);
    assert_eq!(clients.client_ip(RequestHead::of(&request)), None);
    for bad in [
        "",
        "10.0.0.0/33",
        "proxy.example",
        "10.0.0",
        "::ffff:10.0.0.0/95",
        "::ffff:10.0.0.0/8",
        "::ffff:10.0.0.0/129",
    ] {
        let error = ClientIp::behind([bad]).unwrap_err();
        assert!(error.to_string().contains("proxy"), "{error}");
    }
}

#[tokio::test]
async fn requests_that_cannot_be_told_apart_share_one_budget() {
    let layer = RateLimitLayer::per_minute(number(1), |_: RequestHead<'_>| None);
    send(layer.clone(), Request::new(String::new()))
        .await
        .passes("the first");
    is_throttled(&send(layer, Request::new(String::new())).await, "60");
}

#[tokio::test]
async fn callers_have_budgets_of_their_own_and_are_answered_as_the_layer_around_answers() {
    let fixture = Fixture::new();
    let limit = RateLimitLayer::per_minute(number(1), by_subject());
    let layers = || {
        let layers = ServiceBuilder::new().layer(fixture.layer().realm("orders"));
        layers.layer(limit.clone()).into_inner()
    };
    send(layers(), bearer(fixture.token()))
        .await
        .passes("alice");
    is_throttled(&send(layers(), bearer(fixture.token())).await, "60");
    let bob = fixture.with("sub", "bob".into());
    send(layers(), bearer(bob)).await.passes("bob");
}

fn keyed(budgets: usize, burst: u32, clock: &TestClock) -> RateLimitLayer {
    let key = |head: RequestHead<'_>| Some(head.headers()["x-key"].to_str().unwrap().to_owned());
    let layer = RateLimitLayer::per_second(number(1), key).burst(number(burst));
    layer.capacity(budgets).clock(clock.clone())
}

fn as_key(key: u32) -> Request<String> {
    let mut request = Request::new(String::new());
    *request.headers_mut() =
        HeaderMap::from_iter([(HeaderName::from_static("x-key"), HeaderValue::from(key))]);
    request
}

#[tokio::test]
async fn made_up_clients_take_no_budget_away_from_those_who_have_one() {
    let clock = TestClock::new();
    let layer = keyed(10, 3, &clock);
    let ask = async |key: u32| send(layer.clone(), as_key(key)).await.ran();
    assert!(ask(0).await);
    let mut strangers = 0;
    for key in 1..20_000 {
        strangers += u32::from(ask(key).await);
    }
    assert!(strangers < 2 * (10 + 1024 * 3), "{strangers}");
    // Two of three are left, and no more than that.
    for expected in [true, true, false] {
        assert_eq!(ask(0).await, expected);
    }
}

#[tokio::test]
async fn made_up_clients_cost_no_memory() {
    let clock = TestClock::new();
    let layer = keyed(1_000, 1, &clock);
    let ask = async |key: u32| send(layer.clone(), as_key(key)).await.ran();
    let mut passed = 0;
    for key in 0..10_000 {
        passed += u32::from(ask(key).await);
    }
    // A thousand of their own, and about a thousand shared ones.
    assert!((1_900..=2_100).contains(&passed), "{passed}");
    // Budgets that are full again make room.
    clock.advance(Duration::from_secs(5));
    assert!(ask(1_000_000).await);
}

#[tokio::test]
async fn who_is_told_changes_nothing_about_how_it_is_answered() {
    let fixture = Fixture::new();
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let budget = RateLimitLayer::per_hour(number(1), by_subject()).events(sink_fn(move |event| {
        assert_eq!(event.name(), "request.denied");
        count.fetch_add(1, Ordering::SeqCst);
    }));
    let outer = fixture.layer().responder(OAuthJson::new());
    let layer = ServiceBuilder::new().layer(outer).layer(budget);
    send(layer.clone(), bearer(fixture.token()))
        .await
        .passes("the first");
    let second = send(layer, bearer(fixture.token())).await;
    is_throttled(&second, "3600");
    assert_eq!(second.header("content-type"), Some("application/json"));
    assert_eq!(told.load(Ordering::SeqCst), 1);
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn q21_each_limit_warns_once_of_requests_that_it_cannot_tell_apart() {
    let (log, _guard) = crate::support::log::Log::start();
    for burst in [7, 8] {
        let limit = || {
            let nobody = |_: RequestHead<'_>| None;
            let limit = RateLimitLayer::per_hour(number(9), nobody);
            limit.burst(number(burst))
        };
        let mut layer = limit();
        for _ in 0..100 {
            send(layer.clone(), Request::new(String::new())).await;
            if log.lines_with(&format!("burst={burst}")) > 0 {
                break;
            }
            layer = limit();
        }
        for _ in 0..3 {
            send(layer.clone(), Request::new(String::new())).await;
        }
    }
    for warning in ["burst=7", "burst=8"] {
        assert_eq!(log.lines_with(warning), 1, "{}", log.text());
    }
    let warnings = log.lines_with("without a rate limit key");
    assert_eq!(warnings, 2, "{}", log.text());
}

#[test]
fn a_trusted_network_may_be_written_as_ipv6_sees_it() {
    for (network, peer, trusted) in [
        ("::ffff:10.0.0.0/104", "10.9.9.9:1", true),
        ("::ffff:10.0.0.0/104", "[::ffff:10.9.9.9]:1", true),
        ("::ffff:a00:0/104", "10.9.9.9:1", true),
        ("::ffff:10.0.0.0/104", "11.0.0.1:1", false),
        ("::ffff:10.0.0.1/128", "10.0.0.1:1", true),
        ("::ffff:10.0.0.1/128", "10.0.0.2:1", false),
        ("::ffff:0:0/96", "192.0.2.1:1", true),
        // No IPv4 address is among these.
        ("::/0", "10.0.0.1:1", false),
        ("::/0", "[2001:db8::1]:1", true),
    ] {
        let clients = ClientIp::behind([network]).unwrap();
        let mut request = from(peer);
        let value = HeaderValue::from_static("203.0.113.9");
        request.headers_mut().insert("x-forwarded-for", value);
        let named: std::net::IpAddr = "203.0.113.9".parse().unwrap();
        let client = clients.client_ip(RequestHead::of(&request)).unwrap();
        assert_eq!(client == named, trusted, "{network}, {peer}");
    }
}

#[tokio::test]
async fn a_limit_that_cannot_tell_clients_apart_is_a_server_error() {
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let sink = sink_fn(move |event| {
        assert_eq!(event.name(), "request.denied");
        count.fetch_add(1, Ordering::SeqCst);
    });
    let layers = [
        RateLimitLayer::per_minute(number(9), ClientIp::peer()),
        RateLimitLayer::per_minute(number(9), ClientIp::behind(["10.0.0.0/8"]).unwrap()),
        RateLimitLayer::per_minute(number(9), by_subject()),
    ];
    for layer in layers {
        let answer = send(layer.events(sink.clone()), Request::new(String::new())).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.kind(), Some(AuthErrorKind::Misconfigured));
        let cause = std::error::Error::source(answer.error.as_ref().unwrap()).unwrap();
        assert!(cause.to_string().contains("rate limit"), "{cause}");
        assert!(!answer.ran());
    }
    assert_eq!(told.load(Ordering::SeqCst), 3);
    // A client that a proxy could not name is no mistake of the server's.
    let behind = ClientIp::behind(["10.0.0.0/8"]).unwrap();
    let mut request = from("10.0.0.1:1");
    let value = HeaderValue::from_static("unknown");
    request.headers_mut().insert("x-forwarded-for", value);
    let layer = RateLimitLayer::per_minute(number(1), behind);
    send(layer, request).await.passes("unknown");
    // Nor is an anonymous caller.
    let fixture = Fixture::new();
    let layers = ServiceBuilder::new()
        .layer(fixture.layer().optional())
        .layer(RateLimitLayer::per_minute(number(1), by_subject()));
    send(layers, Request::new(String::new()))
        .await
        .passes("nobody");
}
