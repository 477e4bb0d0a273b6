//! Section N: tokens in cookies, and requests of other sites.

use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use tower_jwt_auth::{
    JwtAuthLayer,
    error::AuthErrorKind,
    layer::extract::{Bearer, Cookie, CsrfProofs},
    secret::SecretKey,
};

use crate::support::{
    answer::{Answer, send},
    fixture::{Fixture, bearer},
};

const NAME: &str = "__Host-at";
const UNSAFE: [Method; 4] = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
const SAFE: [Method; 4] = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];

fn cookie() -> Cookie {
    Cookie::new(NAME)
        .unwrap()
        .public_origin("https://api.example")
        .unwrap()
}

fn layer(fixture: &Fixture) -> JwtAuthLayer {
    fixture.layer().extractor((Bearer::new(), cookie()))
}

fn request(method: &Method, token: &str, headers: &[(&'static str, &str)]) -> Request<String> {
    let mut request = Request::new(String::new());
    *request.method_mut() = method.clone();
    let own = [
        ("cookie", format!("{NAME}={token}")),
        ("host", "api.example".into()),
    ];
    let others = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    for (name, value) in own.into_iter().chain(others) {
        let value = HeaderValue::from_str(&value).unwrap();
        request
            .headers_mut()
            .append(HeaderName::from_static(name), value);
    }
    request
}

#[track_caller]
fn is_forbidden(answer: &Answer, case: &str) {
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{case}");
    assert_eq!(answer.kind(), Some(AuthErrorKind::CrossSite), "{case}");
    assert!(!answer.ran(), "{case}");
}

async fn ask(fixture: &Fixture, method: &Method, headers: &[(&'static str, &str)]) -> Answer {
    send(layer(fixture), request(method, &fixture.token(), headers)).await
}

#[tokio::test]
async fn n1_a_cookie_is_not_read_unless_that_is_configured() {
    let fixture = Fixture::new();
    let with_cookie = || request(&Method::GET, &fixture.token(), &[]);
    send(fixture.layer(), with_cookie()).await.bare("off");
    send(layer(&fixture), with_cookie()).await.passes("on");
    let other = fixture.layer().extractor(Cookie::new("at").unwrap());
    send(other, with_cookie()).await.bare("another name");
}

#[tokio::test]
async fn n2_an_unsafe_request_of_another_site_is_forbidden() {
    let fixture = Fixture::new();
    for method in &UNSAFE {
        for site in ["cross-site", "CROSS-SITE", "x", ""] {
            let answer = ask(&fixture, method, &[("sec-fetch-site", site)]).await;
            is_forbidden(&answer, site);
            // Even where the Origin says otherwise.
            let headers = [("sec-fetch-site", site), ("origin", "https://api.example")];
            is_forbidden(&ask(&fixture, method, &headers).await, site);
        }
        let twice = [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "cross-site"),
        ];
        is_forbidden(&ask(&fixture, method, &twice).await, "twice");
        for site in ["same-origin", "none"] {
            ask(&fixture, method, &[("sec-fetch-site", site)])
                .await
                .passes(site);
        }
    }
}

#[tokio::test]
async fn n3_without_sec_fetch_site_another_origin_is_forbidden() {
    let fixture = Fixture::new();
    for method in &UNSAFE {
        for origin in [
            "https://evil.example",
            "null",
            "",
            "http://api.example",
            "https://api.example:8443",
            "https://api.example.evil.example",
            "https://API.example",
            "https://api.example/",
            "https://evil.example https://api.example",
        ] {
            is_forbidden(&ask(&fixture, method, &[("origin", origin)]).await, origin);
        }
        let own = [("origin", "https://api.example")];
        ask(&fixture, method, &own).await.passes("own");
        let twice = [own[0], ("origin", "https://evil.example")];
        is_forbidden(&ask(&fixture, method, &twice).await, "two origins");
    }
}

#[tokio::test]
async fn n3_without_a_public_origin_the_origins_host_must_be_the_requested_one() {
    let fixture = Fixture::new();
    let layer = || fixture.layer().extractor(Cookie::new(NAME).unwrap());
    for (origin, passes) in [
        ("https://api.example", true),
        ("https://evil.example", false),
        ("https://api.example:444", false),
        ("null", false),
        ("file://api.example", false),
    ] {
        let headers = [("origin", origin)];
        let request = request(&Method::POST, &fixture.token(), &headers);
        let answer = send(layer(), request).await;
        assert_eq!(answer.ran(), passes, "{origin}");
    }
}

#[tokio::test]
async fn n4_a_sister_site_is_foreign_unless_trusted() {
    let fixture = Fixture::new();
    for method in &UNSAFE {
        let sister = [
            ("sec-fetch-site", "same-site"),
            ("origin", "https://app.example"),
        ];
        is_forbidden(&ask(&fixture, method, &sister).await, "same-site");
        is_forbidden(
            &ask(&fixture, method, &sister[..1]).await,
            "without an origin",
        );
        let trusting = cookie().trusted_origin("https://app.example").unwrap();
        let trusting = || fixture.layer().extractor(trusting.clone());
        let from = |headers: &[(&'static str, &str)]| request(method, &fixture.token(), headers);
        send(trusting(), from(&sister)).await.passes("trusted");
        send(trusting(), from(&sister[1..]))
            .await
            .passes("by origin alone");
        let other = [sister[0], ("origin", "https://other.example")];
        is_forbidden(&send(trusting(), from(&other)).await, "another sister");
    }
}

#[tokio::test]
async fn n5_safe_methods_pass() {
    let fixture = Fixture::new();
    for method in &SAFE {
        for headers in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
        ] {
            let answer = ask(&fixture, method, headers).await;
            assert!(answer.ran(), "{method} {headers:?}");
        }
    }
    // An unknown method may change something.
    let unknown = Method::from_bytes(b"PURGE").unwrap();
    is_forbidden(
        &ask(&fixture, &unknown, &[("sec-fetch-site", "cross-site")]).await,
        "PURGE",
    );
}

#[tokio::test]
async fn n6_a_websocket_handshake_is_checked_though_it_is_a_get() {
    let fixture = Fixture::new();
    for upgrade in ["websocket", "WebSocket", "h2c, websocket"] {
        let own = [("upgrade", upgrade), ("origin", "https://api.example")];
        ask(&fixture, &Method::GET, &own).await.passes("own");
        for origin in ["https://evil.example", "null"] {
            let headers = [("upgrade", upgrade), ("origin", origin)];
            is_forbidden(&ask(&fixture, &Method::GET, &headers).await, origin);
        }
        is_forbidden(&ask(&fixture, &Method::GET, &own[..1]).await, "no origin");
    }
    // Over HTTP/2 the handshake is a CONNECT (RFC 8441 §4).
    let foreign = [("origin", "https://evil.example")];
    is_forbidden(&ask(&fixture, &Method::CONNECT, &foreign).await, "CONNECT");
}

#[tokio::test]
async fn n7_a_header_token_is_never_checked_for_its_site() {
    let fixture = Fixture::new();
    for method in UNSAFE {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            let mut request = bearer(fixture.token());
            *request.method_mut() = method.clone();
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
            send(layer(&fixture), request).await.passes(value);
        }
    }
}

#[tokio::test]
async fn n8_an_unsafe_request_that_says_nothing_of_its_site_is_forbidden() {
    let fixture = Fixture::new();
    for method in &UNSAFE {
        is_forbidden(&ask(&fixture, method, &[]).await, method.as_str());
        is_forbidden(
            &ask(&fixture, method, &[("referer", "https://api.example/")]).await,
            "Referer alone",
        );
        // Without the cookie there is nothing to protect.
        let mut request = Request::new(String::new());
        *request.method_mut() = method.clone();
        send(layer(&fixture), request).await.bare("no cookie");
    }
}

#[tokio::test]
async fn n8_a_proof_of_the_tokens_own_session_lets_an_old_browser_through() {
    let fixture = Fixture::new();
    let (old, new) = (SecretKey::generate(), SecretKey::generate());
    let made_by = |secret: &SecretKey, session: &str| CsrfProofs::new(secret).of(session);
    let proofs = CsrfProofs::new(&new.clone().or_older(old.clone()));
    let layer = fixture.layer().extractor(cookie().csrf_proofs(proofs));
    let token = fixture.with("sid", "s1".into());
    let other_key = SecretKey::generate();
    for method in &UNSAFE {
        for (case, proof, passes) in [
            ("the session's", made_by(&new, "s1"), true),
            ("by an older secret", made_by(&old, "s1"), true),
            ("another session's", made_by(&new, "s2"), false),
            ("by another secret", made_by(&other_key, "s1"), false),
            ("cut", made_by(&new, "s1")[..42].to_owned(), false),
            ("empty", String::new(), false),
            ("the session itself", "s1".to_owned(), false),
        ] {
            let headers = [("x-csrf-token", proof.as_str())];
            let answer = send(layer.clone(), request(method, &token, &headers)).await;
            match passes {
                true => drop(answer.passes(case)),
                false => is_forbidden(&answer, case),
            }
        }
        let proof = made_by(&new, "s1");
        // It proves nothing where the browser says otherwise, nor for a token without a session.
        let foreign = [("x-csrf-token", &*proof), ("sec-fetch-site", "cross-site")];
        let answer = send(layer.clone(), request(method, &token, &foreign)).await;
        is_forbidden(&answer, "a browser that knows better");
        let headers = [("x-csrf-token", &*proof)];
        let answer = send(layer.clone(), request(method, &fixture.token(), &headers)).await;
        is_forbidden(&answer, "no session");
        // Nor where nobody asked for proofs, and a bad token stays one.
        is_forbidden(&ask(&fixture, method, &headers).await, "switched off");
        let expired = fixture.with("exp", 1.into());
        let answer = send(layer.clone(), request(method, &expired, &headers)).await;
        answer.invalid_token("expired");
    }
}

#[tokio::test]
async fn n9_two_cookies_of_the_name_are_refused() {
    let fixture = Fixture::new();
    let token = fixture.token();
    for (first, second) in [
        (&*token, &*token),
        (&token, "x"),
        ("x", &token),
        (&token, ""),
        ("", &token),
    ] {
        let one_line = format!("{NAME}={first}; other=1; {NAME}={second}");
        let mut request = Request::new(String::new());
        let value = HeaderValue::from_str(&one_line).unwrap();
        request.headers_mut().insert("cookie", value);
        send(layer(&fixture), request)
            .await
            .invalid_request(&one_line);

        let mut request = Request::new(String::new());
        for value in [first, second] {
            let value = HeaderValue::from_str(&format!("{NAME}={value}")).unwrap();
            request.headers_mut().append("cookie", value);
        }
        send(layer(&fixture), request)
            .await
            .invalid_request("two lines");
    }
    // Names that only resemble it are others.
    let mut request = request(&Method::GET, &token, &[]);
    let value = HeaderValue::from_static("__host-at=x; x__Host-at=x; __Host-at2=x; __Host-at");
    request.headers_mut().append("cookie", value);
    send(layer(&fixture), request).await.passes("other names");
}

#[tokio::test]
async fn n10_the_value_that_clears_a_cookie_fits_its_name() {
    let fixture = Fixture::new();
    for (cookie, secure) in [
        (Cookie::new("__Host-at").unwrap(), true),
        (Cookie::new("__Host-at").unwrap().plain_http(), true),
        (Cookie::new("__Secure-at").unwrap().plain_http(), true),
        (Cookie::new("at").unwrap(), true),
        (Cookie::new("at").unwrap().plain_http(), false),
    ] {
        let layer = fixture.layer().extractor(cookie).optional();
        for name in ["__Host-at", "__Secure-at", "at"] {
            let mut request = Request::new(String::new());
            let value = HeaderValue::from_str(&format!("{name}=bad")).unwrap();
            request.headers_mut().insert("cookie", value);
            let answer = send(layer.clone(), request)
                .await
                .passes("cleared or not ours");
            if let Some(clear) = answer.header("set-cookie") {
                assert!(clear.starts_with(&format!("{name}=;")), "{clear}");
                assert_eq!(
                    clear.contains("Secure;") || clear.ends_with("Secure"),
                    secure
                );
                for part in ["Max-Age=0", "Path=/", "HttpOnly"] {
                    assert!(clear.contains(part), "{clear}");
                }
            }
        }
    }
}

#[tokio::test]
async fn n_without_the_check_other_sites_pass_and_nothing_else_does() {
    let fixture = Fixture::new();
    let open = cookie().dangerous_without_csrf_check();
    let layer = || fixture.layer().extractor(open.clone());
    let foreign = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
    ];
    let good = request(&Method::POST, &fixture.token(), &foreign);
    send(layer(), good.clone()).await.passes("cross-site");
    send(layer(), request(&Method::POST, "a.b.c", &foreign))
        .await
        .invalid_token("bad token");
    let mut twice = good;
    let value = HeaderValue::from_str(&format!("{NAME}=x")).unwrap();
    twice.headers_mut().append("cookie", value);
    send(layer(), twice).await.invalid_request("two cookies");
}

#[tokio::test]
async fn n11_a_gap_between_parts_is_a_bad_cookie_and_clears_all_of_them() {
    let fixture = Fixture::new();
    let cookie = || Cookie::new("__Host-at").unwrap().split();
    let token = fixture.token();
    let (first, rest) = token.split_at(20);
    let (second, third) = rest.split_at(20);
    let asked = |parts: &[(&str, &str)]| {
        let parts = parts
            .iter()
            .map(|(name, value)| format!("__Host-at{name}={value}"));
        let line = parts.collect::<Vec<_>>().join("; ");
        let mut request = Request::new(String::new());
        let value = HeaderValue::from_str(&line).unwrap();
        request.headers_mut().insert("cookie", value);
        request
    };
    let whole = asked(&[("", first), ("-2", second), ("-3", third)]);
    let layer = fixture.layer().extractor(cookie());
    send(layer.clone(), whole).await.passes("three parts");
    for gap in [
        asked(&[("", first), ("-3", third)]),
        asked(&[("-2", &token)]),
        asked(&[("-3", &token)]),
    ] {
        let refused = send(layer.clone(), gap.clone()).await;
        assert!(refused.status.is_client_error() && !refused.ran());
        let optional = fixture.layer().extractor(cookie()).optional();
        let answer = send(optional, gap).await.passes("anonymous");
        let cleared = answer.headers.get_all("set-cookie").iter();
        let cleared: Vec<_> = cleared
            .map(|value| value.to_str().unwrap().split('=').next().unwrap())
            .collect();
        assert_eq!(cleared, ["__Host-at", "__Host-at-2", "__Host-at-3"]);
    }
}
