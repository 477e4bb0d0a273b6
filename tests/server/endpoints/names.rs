//! Names of cookies, and tokens that no single cookie holds: N11, N12.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, StatusCode};
use serde_json::json;
use tower::ServiceExt;
use tower_jwt_auth::{
    Principal,
    error::StoreError,
    layer::extract::{Cookie, RequestHead, TokenExtractor},
    secret::SecretKey,
    server::{
        endpoints::{AuthEndpoints, CookieNames},
        login::{Argon2Cost, Login, MemoryThrottle, PasswordHasher},
        session::{ClaimsSource, Session, SessionClaims, Sessions},
    },
    test_util::TestClock,
};

use crate::support::endpoints::{Answer, Browser, ORIGIN, Server, ada, json as post};

/// Adds a claim of as many bytes as are asked for.
#[derive(Clone, Default)]
struct Weight(Arc<Mutex<usize>>);

impl ClaimsSource for Weight {
    async fn claims(&self, session: &Session) -> Result<Option<SessionClaims>, StoreError> {
        let bytes = *self.0.lock().unwrap();
        Ok(Some(
            session.claims().clone().claim("weight", "x".repeat(bytes)),
        ))
    }
}

struct Site {
    server: Server,
    weight: Weight,
    sessions: Sessions,
    endpoints: AuthEndpoints,
}

impl Site {
    async fn new(origin: &str, prefix: Option<&str>) -> Self {
        let server = Server::start().await;
        let (weight, secret) = (Weight::default(), SecretKey::generate());
        let sessions = Sessions::builder(server.sessions.issuer().clone(), server.store.clone())
            .secret(secret.clone())
            .claims_source(weight.clone())
            .build()
            .unwrap();
        let cheap = Argon2Cost::dangerous_custom(16, 1, 1).unwrap();
        let hasher = PasswordHasher::builder().cost(cheap).build().unwrap();
        let throttle = MemoryThrottle::with_clock(TestClock::new());
        let login = Login::builder(server.users.clone(), throttle, secret.clone());
        let login = login.hasher(hasher).build();
        let guests = tower_jwt_auth::server::session::Guests::builder(
            sessions.clone(),
            server.store.clone(),
        );
        let mut builder = AuthEndpoints::builder(sessions.clone(), login, secret)
            .guests(guests.build().unwrap())
            .public_origin(origin);
        if let Some(prefix) = prefix {
            builder = builder.cookie_prefix(prefix);
        }
        Self {
            endpoints: builder.build().unwrap(),
            server,
            weight,
            sessions,
        }
    }

    fn weigh(&self, bytes: usize) {
        *self.weight.0.lock().unwrap() = bytes;
    }

    async fn send(&self, request: Request<http_body_util::Full<bytes::Bytes>>) -> Answer {
        let Ok(response) = self.endpoints.clone().oneshot(request).await;
        Answer::of(response).await
    }

    async fn login(&self) -> Answer {
        self.send(post("login?transport=cookie", &ada())).await
    }

    /// The caller that an API reads from these cookies, by the endpoints' own extractor.
    fn caller(&self, browser: &Browser) -> Option<Principal> {
        let pairs = browser.cookies.iter();
        let pairs: Vec<_> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = Request::get("/").header("cookie", pairs.join("; "));
        let request = request.body(()).unwrap();
        let cookie = self.endpoints.cookie().unwrap();
        let found = cookie.extract(RequestHead::of(&request)).unwrap()?;
        let token = self.server.verifier.verify_now(found.token()).ok()?;
        Some(token.principal())
    }
}

/// The access cookies of an answer: name and length with all attributes.
fn access(answer: &Answer) -> Vec<(String, usize)> {
    let cookies = answer.cookies().into_iter();
    let ours = cookies.filter(|cookie| cookie.starts_with("__Host-at"));
    ours.map(|cookie| (cookie.split('=').next().unwrap().to_owned(), cookie.len()))
        .collect()
}

#[tokio::test]
async fn n11_an_access_token_that_browsers_would_drop_is_split_into_at_most_three() {
    let site = Site::new(ORIGIN, None).await;
    let mut browser = Browser::default();
    for (bytes, parts) in [(10, 1), (2600, 1), (4000, 2), (7800, 3), (10, 1), (7800, 3)] {
        site.weigh(bytes);
        let answer = site.login().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        // Every change sets or deletes all parts.
        let set = access(&answer);
        let names: Vec<_> = set.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["__Host-at", "__Host-at-2", "__Host-at-3"]);
        assert!(answer.cookies().iter().all(|cookie| cookie.len() <= 4096));
        browser.keep(&answer);
        let kept = browser.cookies.keys();
        let kept = kept.filter(|name| name.starts_with("__Host-at")).count();
        assert_eq!(kept, parts, "{bytes}");
        assert_eq!(site.caller(&browser).unwrap().subject(), Some("u-ada"));

        let refreshed = site.send(browser.request("refresh")).await;
        assert_eq!(refreshed.status, 200, "{refreshed:?}");
        assert_eq!(access(&refreshed).len(), 3);
        browser.keep(&refreshed);
        assert!(site.caller(&browser).is_some());
    }
    // A gap, a missing end, and a part from elsewhere make a bad token, never another one.
    let whole = browser.clone();
    for name in ["__Host-at", "__Host-at-2", "__Host-at-3"] {
        let mut spoiled = whole.clone();
        spoiled.cookies.remove(name);
        assert!(site.caller(&spoiled).is_none(), "without {name}");
    }
    site.weigh(10);
    let mut small = Browser::default();
    small.keep(&site.login().await);
    let token = small.cookies.remove("__Host-at").unwrap();
    for name in ["__Host-at-2", "__Host-at-3"] {
        let mut moved = small.clone();
        moved.cookies.insert(name.to_owned(), token.clone());
        assert!(site.caller(&moved).is_none(), "{name}");
    }

    let ended = site.send(whole.request("logout")).await;
    assert_eq!(ended.status, 204);
    browser.keep(&ended);
    let kept = browser.cookies.keys();
    assert_eq!(kept.filter(|name| name.starts_with("__Host-at")).count(), 0);
}

#[tokio::test]
async fn n11_a_token_that_three_cookies_do_not_hold_fails_the_login() {
    let site = Site::new(ORIGIN, None).await;
    site.weigh(10);
    let mut browser = Browser::default();
    browser.keep(&site.login().await);
    let before = site.sessions.list("u-ada", None).await.unwrap().len();
    site.weigh(12_000);
    let answer = site.login().await.is(500, "server_error");
    assert!(answer.cookies().is_empty(), "{answer:?}");
    let guest = site.send(post("guest?transport=cookie", &json!({}))).await;
    assert!(guest.is(500, "server_error").cookies().is_empty());
    let after = site.sessions.list("u-ada", None).await.unwrap().len();
    assert_eq!(before, after, "no session is left");

    // A session goes on for when its tokens are smaller.
    site.server.advance(std::time::Duration::from_secs(60));
    let answer = site.send(browser.request("refresh")).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(access(&answer).is_empty());
    browser.keep(&answer);
    site.server.advance(std::time::Duration::from_secs(60));
    site.weigh(10);
    assert_eq!(site.send(browser.request("refresh")).await.status, 200);
    // In bodies any size goes.
    site.weigh(12_000);
    assert_eq!(site.send(post("login", &ada())).await.status, 200);
}

#[test]
fn n11_all_parts_are_stripped_and_two_of_one_name_are_refused() {
    let cookie = Cookie::new("at").unwrap().split();
    let request = |line: &str| Request::get("/").header("cookie", line).body(()).unwrap();
    let mut headers = HeaderMap::new();
    let line = "at=a; x=1; at-2=b; at-3=c; at-4=d";
    headers.insert("cookie", line.parse().unwrap());
    cookie.strip(&mut headers, &mut http::Uri::default());
    assert_eq!(headers["cookie"], "x=1; at-4=d");
    let found = |line: &str| {
        let request = request(line);
        let found = cookie.extract(RequestHead::of(&request));
        found.map(|found| found.map(|found| found.token().to_vec()))
    };
    assert_eq!(
        found("at-3=c; at=a; at-2=b").unwrap(),
        Some(b"abc".to_vec())
    );
    assert_eq!(found("at=a; at-2=; at-3=").unwrap(), Some(b"a".to_vec()));
    assert_eq!(found("x=1; at-4=d").unwrap(), None);
    assert!(found("at=a; at-2=b; at-2=c").is_err());
    // A cookie of another meaning is left alone unless splitting was asked for.
    let plain = Cookie::new("at").unwrap();
    let request = request("at=a; at-2=b");
    let found = plain.extract(RequestHead::of(&request)).unwrap().unwrap();
    assert_eq!(found.token(), b"a");
}

#[tokio::test]
async fn n12_a_prefix_stands_in_the_name_of_every_cookie() {
    for (origin, prefix, names) in [
        (
            ORIGIN,
            Some("shop"),
            [
                "__Host-shop-at",
                "__Secure-shop-rt",
                "__Host-shop-csrf",
                "__Host-shop-dvc",
                "__Host-shop-gst",
            ],
        ),
        (
            "http://127.0.0.1:3000",
            Some("shop"),
            ["shop-at", "shop-rt", "shop-csrf", "shop-dvc", "shop-gst"],
        ),
        (
            "http://localhost:3000",
            None,
            ["at", "rt", "csrf", "dvc", "gst"],
        ),
    ] {
        let site = Site::new(origin, prefix).await;
        let login = site.login().await;
        let guest = site.send(post("guest?transport=cookie", &json!({}))).await;
        assert_eq!(
            (login.status, guest.status),
            (StatusCode::OK, StatusCode::OK)
        );
        let mut browser = Browser::default();
        browser.keep(&login);
        let mut visitor = Browser::default();
        visitor.keep(&guest);
        let mut set: Vec<_> = browser
            .cookies
            .keys()
            .chain(visitor.cookies.keys())
            .collect();
        set.sort();
        set.dedup();
        let mut names = names.map(str::to_owned);
        names.sort();
        assert_eq!(set, names.iter().collect::<Vec<_>>());
        assert!(site.caller(&browser).is_some());
        let all = login.cookies();
        assert!(
            all.iter()
                .all(|cookie| cookie.contains("Secure") == (origin == ORIGIN))
        );
    }
    // Two servers on one host do not read each other's cookies.
    let (one, other) = (
        Site::new(ORIGIN, Some("shop")).await,
        Site::new(ORIGIN, Some("desk")).await,
    );
    let mut browser = Browser::default();
    browser.keep(&one.login().await);
    browser.keep(&other.login().await);
    assert!(one.caller(&browser).is_some() && other.caller(&browser).is_some());

    let names = || CookieNames::new(ORIGIN, "/").unwrap();
    for bad in [
        "",
        "-x",
        "__Host-x",
        "a b",
        "a;b",
        "a=b",
        "é",
        &"x".repeat(33),
    ] {
        assert!(names().prefix(bad).is_err(), "{bad}");
    }
    assert_eq!(
        names().prefix("a.b_c-1").unwrap().access(),
        "__Host-a.b_c-1-at"
    );
}
