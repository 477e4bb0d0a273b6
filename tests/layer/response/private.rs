//! Q14, N14: what shared caches must not keep, and which cookies survive.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use tower::ServiceBuilder;
use tower_jwt_auth::{
    JwtAuthLayer, RoleGuardLayer,
    layer::{
        extract::{Bearer, Cookie, Header, Query, WebSocketProtocol},
        response::Refusal,
        socket::ChatLayer,
    },
};

use crate::support::{
    answer::{Answer, send, send_to},
    fixture::Fixture,
};

const ASSERTION: HeaderName = HeaderName::from_static("cf-access-jwt-assertion");

fn everywhere(fixture: &Fixture) -> JwtAuthLayer {
    let places = (
        Bearer::new(),
        Cookie::new("at").unwrap(),
        (
            Header::new(ASSERTION),
            Query::new("access_token"),
            WebSocketProtocol::new("bearer"),
        ),
    );
    fixture.layer().extractor(places)
}

/// Requests with the token outside `Authorization`, each with the name of its place.
fn elsewhere(token: &str) -> [(&'static str, Request<String>); 4] {
    let get = |target: &str| Request::get(target);
    let built = |builder: http::request::Builder| builder.body(String::new()).unwrap();
    [
        (
            "cookie",
            built(get("/").header("cookie", format!("at={token}"))),
        ),
        ("own header", built(get("/").header(ASSERTION, token))),
        ("query", built(get(&format!("/?access_token={token}")))),
        (
            "WebSocket",
            built(
                get("/")
                    .header("upgrade", "websocket")
                    .header("sec-websocket-protocol", format!("bearer, {token}")),
            ),
        ),
    ]
}

fn caching(value: Option<&'static str>) -> HeaderMap {
    let value = value.map(|value| {
        (
            "cache-control".parse().unwrap(),
            HeaderValue::from_static(value),
        )
    });
    HeaderMap::from_iter(value)
}

#[tokio::test]
async fn q14_the_answer_to_a_credential_outside_authorization_is_private() {
    let fixture = Fixture::new();
    let token = fixture.token();
    for (place, request) in elsewhere(&token) {
        for (inner, expected) in [
            (None, "private"),
            (Some("public, max-age=60"), "private, max-age=60"),
            (Some("max-age=60"), "private, max-age=60"),
            (
                Some("s-maxage=60, must-revalidate"),
                "private, must-revalidate",
            ),
            (Some("no-store"), "no-store"),
            (Some("Private, max-age=5"), "Private, max-age=5"),
            // Only these fields are private by it (RFC 9111 §5.2.2.7).
            (
                Some(r#"private="set-cookie, x", max-age=5"#),
                "private, max-age=5",
            ),
            (Some("x-private"), "private, x-private"),
        ] {
            let answer = send_to(caching(inner), everywhere(&fixture), request.clone()).await;
            let answer = answer.passes(place);
            assert_eq!(answer.header("cache-control"), Some(expected), "{place}");
        }
    }
    // RFC 9111 §3.5: caches know `Authorization` for a credential.
    let request = crate::support::fixture::bearer(&token);
    let answer = send_to(caching(None), everywhere(&fixture), request).await;
    assert_eq!(answer.passes("header").header("cache-control"), None);
}

fn cacheable(denial: &Refusal<'_>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = denial.status();
    let value = HeaderValue::from_static("public, max-age=60");
    response.headers_mut().insert("cache-control", value);
    response
}

#[tokio::test]
async fn q14_so_is_its_refusal_whatever_the_responder_says() {
    let fixture = Fixture::new();
    let is_private = |answer: &Answer, case: &str| {
        assert!(!answer.ran() && answer.status.is_client_error(), "{case}");
        let expected = Some("private, max-age=60");
        assert_eq!(answer.header("cache-control"), expected, "{case}");
    };
    for (place, request) in elsewhere(&fixture.with("exp", 0.into())) {
        let layer = everywhere(&fixture).responder(cacheable);
        is_private(&send(layer, request.clone()).await, place);
        let answer = send(everywhere(&fixture), request).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{place}");
    }
    // A guard inside, and two credentials at once.
    for (place, request) in elsewhere(&fixture.token()) {
        let guarded = ServiceBuilder::new()
            .layer(everywhere(&fixture).responder(cacheable))
            .layer(RoleGuardLayer::any_of(["admin"]));
        is_private(&send(guarded, request.clone()).await, place);
        let mut twice = request;
        let value = HeaderValue::from_static("Bearer x");
        twice.headers_mut().insert("authorization", value);
        let layer = everywhere(&fixture).responder(cacheable);
        is_private(&send(layer, twice).await, place);
    }
}

#[tokio::test]
async fn q14_a_stranger_cannot_fill_a_shared_cache_with_a_refusal() {
    let fixture = Fixture::new();
    // Each inside an optional layer, and refuses a request without a credential.
    let guard = ServiceBuilder::new()
        .layer(fixture.layer().optional())
        .layer(RoleGuardLayer::any_of(["admin"]).responder(cacheable));
    let inherited = ServiceBuilder::new()
        .layer(fixture.layer().optional().responder(cacheable))
        .layer(RoleGuardLayer::any_of(["admin"]));
    let chat = ServiceBuilder::new()
        .layer(fixture.layer().optional().responder(cacheable))
        .layer(ChatLayer::new().anonymous(false));
    let nobody = || Request::new(String::new());
    for (case, answer) in [
        ("guard", send(guard, nobody()).await),
        ("inherited", send(inherited, nobody()).await),
        ("chat", send(chat, nobody()).await),
    ] {
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{case}");
        let expected = Some("private, max-age=60");
        assert_eq!(answer.header("cache-control"), expected, "{case}");
    }
}

#[tokio::test]
async fn q14_no_field_of_one_cache_overrides_it() {
    let fixture = Fixture::new();
    let fields = || {
        let fields = [
            ("cache-control", "public, max-age=60"),
            // RFC 9213 §2.1: where they stand, `Cache-Control` is not looked at.
            ("cdn-cache-control", "max-age=600"),
            ("cloudflare-cdn-cache-control", "max-age=600"),
            ("surrogate-control", "max-age=600"),
            ("x-accel-expires", "600"),
            ("x-cache", "miss"),
        ];
        let field = |(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        HeaderMap::from_iter(fields.map(field))
    };
    for (place, request) in elsewhere(&fixture.token()) {
        let answer = send_to(fields(), everywhere(&fixture), request).await;
        let answer = answer.passes(place);
        assert_eq!(answer.header("cache-control"), Some("private, max-age=60"));
        for name in fields().keys().map(HeaderName::as_str) {
            let kept = ["cache-control", "x-cache"].contains(&name);
            assert_eq!(answer.header(name).is_some(), kept, "{place}: {name}");
        }
    }
    // Whoever wants more than `private` keeps it for all caches.
    let mut never = fields();
    never.insert("cache-control", HeaderValue::from_static("no-store"));
    let (place, request) = elsewhere(&fixture.token())[0].clone();
    let answer = send_to(never, everywhere(&fixture), request).await;
    let answer = answer.passes(place);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("cdn-cache-control"), None);
}

fn bad_cookie() -> Request<String> {
    Request::get("/")
        .header("cookie", "at=bad")
        .body(String::new())
        .unwrap()
}

fn optional(fixture: &Fixture) -> JwtAuthLayer {
    fixture
        .layer()
        .extractor(Cookie::new("at").unwrap())
        .optional()
}

async fn set_cookies(fixture: &Fixture, set: &[&'static str]) -> Vec<String> {
    let lines = set.iter().map(|set| {
        let name = HeaderName::from_static("set-cookie");
        (name, HeaderValue::from_static(set))
    });
    let answer = send_to(HeaderMap::from_iter(lines), optional(fixture), bad_cookie()).await;
    let answer = answer.passes("anonymous");
    let values = answer.headers.get_all("set-cookie").iter();
    values
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn n14_the_deletion_of_a_bad_cookie_never_overrides_one_that_the_handler_sets() {
    let fixture = Fixture::new();
    for set in [
        "at=new; Path=/; HttpOnly",
        "at=; Max-Age=0",
        " at = new; Path=/app",
    ] {
        assert_eq!(set_cookies(&fixture, &[set]).await, [set], "{set}");
        let with_others = set_cookies(&fixture, &["b=1", set, "c=1"]).await;
        assert_eq!(with_others, ["b=1", set, "c=1"]);
    }
    // A pair without a name sets none (RFC 6265 §5.2).
    for set in ["AT=new", "at2=new", "b=at=new", "b=1; at=new", "at"] {
        let answer = set_cookies(&fixture, &[set]).await;
        assert_eq!(answer.first().map(String::as_str), Some(set));
        assert!(answer[1].starts_with("at=; Max-Age=0"), "{answer:?}");
    }
}

#[tokio::test]
async fn n14_the_answer_that_clears_a_cookie_is_not_kept_by_shared_caches() {
    let fixture = Fixture::new();
    for (inner, expected) in [
        (None, "private"),
        (Some("public, max-age=60"), "private, max-age=60"),
        (Some("no-store"), "no-store"),
    ] {
        let answer = send_to(caching(inner), optional(&fixture), bad_cookie()).await;
        let answer = answer.passes("cleared");
        assert_eq!(answer.header("cache-control"), Some(expected));
        assert!(answer.header("set-cookie").is_some());
    }
    // Nobody, and no cookie: the answer is the same for everyone.
    let request = Request::new(String::new());
    let answer = send_to(caching(Some("max-age=60")), optional(&fixture), request).await;
    assert_eq!(answer.header("cache-control"), Some("max-age=60"));
}
