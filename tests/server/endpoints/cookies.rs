//! Tokens in cookies: U12, N, T9.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use serde_json::json;

use crate::support::endpoints::{Browser, Server, ada, json as post};

#[tokio::test]
async fn u12_cookies_have_the_attributes_that_protect_them() {
    let server = Server::start().await;
    let answer = server
        .send(post("login?transport=cookie", &ada()))
        .await
        .not_kept();
    let cookies = answer.cookies();
    let find = |name: &str| {
        let mut found = cookies
            .iter()
            .filter(|cookie| cookie.starts_with(&format!("{name}=")));
        let cookie = *found
            .next()
            .unwrap_or_else(|| panic!("no {name} in {cookies:?}"));
        assert!(found.next().is_none());
        let parts: Vec<_> = cookie.split("; ").skip(1).collect();
        parts
            .iter()
            .map(|part| (*part).to_owned())
            .collect::<Vec<_>>()
    };
    for (name, expected) in [
        (
            "__Host-at",
            &["HttpOnly", "Secure", "SameSite=Lax", "Path=/"][..],
        ),
        (
            "__Secure-rt",
            &["HttpOnly", "Secure", "SameSite=Strict", "Path=/api/auth"],
        ),
        ("__Host-csrf", &["Secure", "SameSite=Strict", "Path=/"]),
        (
            "__Host-dvc",
            &["HttpOnly", "Secure", "SameSite=Strict", "Path=/"],
        ),
    ] {
        let attributes = find(name);
        for one in expected {
            assert!(
                attributes.iter().any(|given| given == one),
                "{name} {attributes:?}"
            );
        }
        assert!(!attributes.iter().any(|given| given.starts_with("Domain")));
        assert!(attributes.iter().any(|given| given.starts_with("Max-Age=")));
        assert_eq!(
            attributes.contains(&"HttpOnly".into()),
            name != "__Host-csrf"
        );
    }
    let age = |name| {
        let attributes = find(name);
        let age = attributes
            .iter()
            .find_map(|one| one.strip_prefix("Max-Age="));
        age.unwrap().parse::<u64>().unwrap()
    };
    assert!((540..=600).contains(&age("__Host-at")), "its token's");
    assert_eq!(age("__Secure-rt"), 14 * 24 * 3600);
    // The tokens are nowhere else.
    let body = answer.json();
    assert!(body.get("access_token").is_none() && body.get("refresh_token").is_none());
    assert_eq!(body["csrf_token"].as_str().unwrap().len(), 43);
}

#[tokio::test]
async fn a_refresh_by_cookie_answers_by_cookie_and_two_tabs_agree() {
    let server = Server::start().await;
    let mut browser = server.browser().await;
    let before = browser.clone();
    server.advance(Duration::from_secs(60));
    // Two tabs at once, with the same cookies.
    let (one, two) = tokio::join!(
        server.send(browser.request("refresh")),
        server.send(browser.request("refresh")),
    );
    for answer in [&one, &two] {
        assert_eq!(answer.status, 200, "{answer:?}");
        browser.keep(answer);
    }
    let (old, new) = (
        &before.cookies["__Secure-rt"],
        &browser.cookies["__Secure-rt"],
    );
    assert_ne!(old, new);
    server.advance(Duration::from_secs(60));
    let answer = server.send(browser.request("refresh")).await;
    assert_eq!(answer.status, 200);
    // The current token again, within the window: given back, so its cookie is not set again.
    browser.keep(&answer);
    let again = server.send(browser.request("refresh")).await;
    assert_eq!(again.status, 200);
    assert!(
        again
            .cookies()
            .iter()
            .all(|cookie| !cookie.starts_with("__Secure-rt="))
    );
    assert!(
        again
            .cookies()
            .iter()
            .any(|cookie| cookie.starts_with("__Host-at="))
    );
}

#[tokio::test]
async fn n8_a_refresh_and_a_logout_by_cookie_need_the_sessions_own_proof() {
    let server = Server::start().await;
    let (ada, other) = (server.browser().await, server.browser().await);
    for path in ["refresh", "logout"] {
        for (case, spoil) in [
            (
                "no proof",
                (|request, _| drop(request.remove("x-csrf-token"))) as Spoil,
            ),
            ("another session's", |request, other| {
                let proof = other.cookies["__Host-csrf"].clone();
                request.insert("x-csrf-token", proof.try_into().unwrap());
            }),
            ("another site", |request, _| {
                request.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
            }),
            ("a sister domain", |request, _| {
                request.insert("sec-fetch-site", HeaderValue::from_static("same-site"));
            }),
            ("another origin", |request, _| {
                request.remove("sec-fetch-site");
                request.insert("origin", HeaderValue::from_static("https://evil.example"));
            }),
        ] {
            let mut request = ada.request(path);
            spoil(request.headers_mut(), &other);
            let answer = server.send(request).await;
            assert_eq!(answer.status, 403, "{path} {case}");
            assert!(answer.cookies().is_empty(), "{path} {case}");
        }
    }
    // A tossed refresh cookie of another session does not fit the proof either.
    let mut tossed = ada.clone();
    let theirs = other.cookies["__Secure-rt"].clone();
    tossed.cookies.insert("__Secure-rt".into(), theirs);
    assert_eq!(server.send(tossed.request("refresh")).await.status, 403);
    // An old browser says nothing of where it comes from; the proof is enough.
    let mut request = ada.request("refresh");
    request.headers_mut().remove("sec-fetch-site");
    assert_eq!(server.send(request).await.status, 200);
}

type Spoil = fn(&mut http::HeaderMap, &Browser);

#[tokio::test]
async fn a_page_of_another_site_signs_nobody_in() {
    let server = Server::start().await;
    for path in ["login", "register", "token"] {
        let mut request = post(path, &ada());
        let site = HeaderValue::from_static("cross-site");
        request.headers_mut().insert("sec-fetch-site", site);
        server.send(request).await.is(403, "access_denied");
    }
    // Neither header: no browser, or an old one (decision 38).
    assert_eq!(server.send(post("login", &ada())).await.status, 200);
}

#[tokio::test]
async fn t9_a_refused_refresh_leaves_the_cookies_alone() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let mut stale = browser.clone();
    server.send(browser.request("refresh")).await;
    server.advance(Duration::from_secs(60));
    let answer = server
        .send(stale.request("refresh"))
        .await
        .is(400, "invalid_grant");
    assert!(answer.cookies().is_empty());
    stale
        .cookies
        .insert("__Secure-rt".into(), "rt1_garbage".into());
    let answer = server
        .send(stale.request("refresh"))
        .await
        .is(400, "invalid_grant");
    assert!(answer.cookies().is_empty());
}

#[tokio::test]
async fn two_credentials_are_one_too_many() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let token = server.sign_in().await.refresh();
    let request = browser.dress(post("refresh", &json!({ "refresh_token": token })));
    server.send(request).await.is(400, "invalid_request");
}

/// Sends these cookies and the proof of this session, from the site's own page.
fn with(path: &str, lines: &[&[u8]], proof: &str) -> Request<Full<Bytes>> {
    let mut request = post(path, &json!({}));
    let headers = request.headers_mut();
    for line in lines {
        headers.append("cookie", HeaderValue::from_bytes(line).unwrap());
    }
    headers.insert("x-csrf-token", proof.try_into().unwrap());
    let own = HeaderValue::from_static("same-origin");
    headers.insert("sec-fetch-site", own);
    request
}

/// A sister domain can set a cookie of any value for all of them.
#[tokio::test]
async fn a_neighbours_cookie_of_other_bytes_hides_none_of_ours() {
    let server = Server::start().await;
    for other in ["x=é".as_bytes(), b"x=\xFF", b"\xFF", b"=; ;;x"] {
        // The access cookie has reached its end; its token has not.
        let browser = server.browser().await;
        let (token, proof) = (
            &browser.cookies["__Secure-rt"],
            &browser.cookies["__Host-csrf"],
        );
        let ours = format!("__Secure-rt={token}");
        let line = [other, b"; ", ours.as_bytes(), b"; ", other].concat();
        let refreshed = server.send(with("refresh", &[&line], proof)).await;
        assert_eq!(refreshed.status, 200, "{other:?} {refreshed:?}");
        let ended = server.send(with("logout", &[&line], proof)).await;
        assert_eq!(ended.status, 204);
        let access = &browser.cookies["__Host-at"];
        assert!(!server.is_alive(access).await, "{other:?}");
    }
}

/// So it can set another refresh cookie, which must not keep anybody from signing out.
#[tokio::test]
async fn n8_of_several_refresh_cookies_the_one_that_is_proved_counts() {
    let server = Server::start().await;
    let theirs = server.browser().await;
    let planted = &theirs.cookies["__Secure-rt"];
    for planted in [&**planted, "rt1_garbage", "x", "é"] {
        for order in 0..3 {
            let browser = server.browser().await;
            let proof = &browser.cookies["__Host-csrf"];
            let ours = format!("__Secure-rt={}", browser.cookies["__Secure-rt"]);
            let planted = format!("__Secure-rt={planted}");
            let line = match order {
                0 => format!("{ours}; {planted}"),
                1 => format!("{planted}; {ours}"),
                _ => ours.clone(),
            };
            let more = match order {
                2 => planted.as_bytes(),
                _ => b"a=b",
            };
            let lines = [line.as_bytes(), more];
            let refreshed = server.send(with("refresh", &lines, proof)).await;
            assert_eq!(refreshed.status, 200, "{planted} {order} {refreshed:?}");

            for proof in ["", "AAAA"] {
                for path in ["refresh", "logout"] {
                    let refused = server.send(with(path, &lines, proof)).await;
                    refused.is(400, "invalid_request");
                }
            }
            let access = &browser.cookies["__Host-at"];
            assert!(server.is_alive(access).await);
            let ended = server.send(with("logout", &lines, proof)).await;
            assert_eq!(ended.status, 204, "{planted} {order}");
            assert!(!server.is_alive(access).await, "{planted} {order}");
        }
    }
    assert!(server.is_alive(&theirs.cookies["__Host-at"]).await);

    // Alone it does not hide the access token.
    let browser = server.browser().await;
    let (access, proof) = (
        &browser.cookies["__Host-at"],
        &browser.cookies["__Host-csrf"],
    );
    let line = format!("__Secure-rt=x; __Host-at={access}");
    let ended = server.send(with("logout", &[line.as_bytes()], proof)).await;
    assert_eq!(ended.status, 204);
    assert!(!server.is_alive(access).await);

    // Two tokens of one session: the proof is of either, and one of them may be spent.
    let mut browser = server.browser().await;
    let old = format!("__Secure-rt={}", browser.cookies["__Secure-rt"]);
    server.advance(Duration::from_secs(60));
    let refreshed = server.send(browser.request("refresh")).await;
    browser.keep(&refreshed);
    let new = format!("__Secure-rt={}", browser.cookies["__Secure-rt"]);
    let proof = &browser.cookies["__Host-csrf"];
    let lines = [old.as_bytes(), new.as_bytes()];
    let refused = server.send(with("refresh", &lines, proof)).await;
    refused.is(400, "invalid_request");
    assert!(server.is_alive(&browser.cookies["__Host-at"]).await);
    let lines = [new.as_bytes(), new.as_bytes()];
    let refreshed = server.send(with("refresh", &lines, proof)).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
}

#[test]
fn a_public_url_that_cannot_keep_a_cookie_safe_is_refused() {
    use tower_jwt_auth::server::endpoints::CookieNames;
    for origin in [
        "http://app.example",
        "ftp://app.example",
        "app.example",
        "https://app.example/path",
        "https://",
        "",
    ] {
        assert!(CookieNames::new(origin, "/api/auth").is_err(), "{origin}");
    }
    for path in ["api/auth", "/a;b", ""] {
        assert!(
            CookieNames::new("https://app.example", path).is_err(),
            "{path}"
        );
    }
    for (origin, access) in [
        ("https://app.example", "__Host-at"),
        ("http://127.0.0.1:3000", "at"),
        ("http://[::1]:3000", "at"),
        ("http://localhost:3000/", "at"),
    ] {
        let names = CookieNames::new(origin, "/api/auth/").unwrap();
        assert_eq!(names.access(), access, "{origin}");
        assert_eq!(names.is_secure(), access != "at");
    }
}
