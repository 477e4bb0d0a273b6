//! Tokens in cookies, as a browser would send them; a real one is in tests/processes/browser.rs.

use http::Method;
use serde_json::json;

use super::client::{PASSWORD, SEEDS, Tokens, USER};
use crate::support::process::{Answer, Server};

/// Behind TLS that ends elsewhere.
const PUBLIC: (&str, &str) = ("AUTH_PUBLIC_URL", "https://app.example");

struct Browser<'s> {
    server: &'s Server,
    cookies: Vec<(String, String)>,
}

impl<'s> Browser<'s> {
    async fn sign_in(server: &'s Server) -> (Self, Answer) {
        let path = "/api/auth/login?transport=cookie";
        let body = json!({ "email": USER, "password": PASSWORD }).to_string();
        let answer = server.send(Method::POST, path, OURS, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut browser = Self {
            server,
            cookies: Vec::new(),
        };
        browser.keep(&answer);
        (browser, answer)
    }

    fn keep(&mut self, answer: &Answer) {
        for line in answer.cookies() {
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(kept, _)| kept != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn value(&self, name: &str) -> &str {
        let found = self.cookies.iter().find(|(kept, _)| kept == name);
        found.map_or("", |(_, value)| value)
    }

    /// What it sends by itself to any path of the endpoints, and these headers.
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let pairs = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let cookies = pairs.collect::<Vec<_>>().join("; ");
        let mut all = vec![("cookie", &*cookies)];
        all.extend(headers);
        self.server.send(method, path, &all, "").await
    }
}

const OURS: &[(&str, &str)] = &[("sec-fetch-site", "same-origin")];
const FOREIGN: &[&[(&str, &str)]] = &[
    &[("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "same-site")],
    &[("origin", "https://evil.example")],
    &[("origin", "https://api.app.example")],
    &[("origin", "null")],
    &[],
];

#[tokio::test]
async fn u12_cookies_have_their_prefixes_and_attributes() {
    let server = Server::start(&[SEEDS, PUBLIC]);
    let (_, answer) = Browser::sign_in(&server).await;
    // Parts that this access token does not need are deleted.
    let deleted = |line: &&str| line.starts_with("__Host-at-") && line.contains("Max-Age=0");
    assert_eq!(
        answer.cookies().iter().filter(|line| deleted(line)).count(),
        2
    );
    let lines = answer.cookies().into_iter().filter(|line| !deleted(line));
    let lines = lines.map(|line| {
        let (pair, attributes) = line.split_once("; ").unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        assert!(!value.is_empty());
        let mut attributes: Vec<_> = attributes.split("; ").collect();
        attributes.sort_unstable();
        (name.to_owned(), attributes.join("; "))
    });
    let lines: Vec<_> = lines.collect();
    let lines: Vec<_> = lines
        .iter()
        .map(|(name, rest)| (&**name, &**rest))
        .collect();
    // The access token's cookie lives as long as the token.
    let seconds = &answer.json()["expires_in"];
    let access = format!("HttpOnly; Max-Age={seconds}; Path=/; SameSite=Lax; Secure");
    let expected = [
        ("__Host-at", &*access),
        (
            "__Secure-rt",
            "HttpOnly; Max-Age=1209600; Path=/api/auth; SameSite=Strict; Secure",
        ),
        (
            "__Host-csrf",
            "Max-Age=1209600; Path=/; SameSite=Strict; Secure",
        ),
        (
            "__Host-dvc",
            "HttpOnly; Max-Age=31536000; Path=/; SameSite=Strict; Secure",
        ),
    ];
    assert_eq!(lines, expected);
    for secret in ["access_token", "refresh_token"] {
        assert!(!answer.body.contains(secret), "no script may read it");
    }
}

#[tokio::test]
async fn n2_n3_n4_n8_another_sites_page_gets_nowhere_with_cookies() {
    let server = Server::start(&[SEEDS, PUBLIC]);
    let (mut browser, _) = Browser::sign_in(&server).await;
    for headers in FOREIGN {
        for path in ["/api/me", "/api/auth/refresh", "/api/auth/logout"] {
            let answer = browser.send(Method::POST, path, headers).await;
            assert_eq!(answer.status, 403, "{path} {headers:?} {answer:?}");
            assert_eq!(answer.cookies(), [""; 0], "{path} {headers:?}");
        }
        // N5: what changes nothing is not asked where it comes from.
        let answer = browser.send(Method::GET, "/api/me", headers).await;
        assert_eq!(answer.status, 200, "{headers:?}");
    }
    for headers in [OURS, &[("origin", "https://app.example")]] {
        let answer = browser.send(Method::POST, "/api/me", headers).await;
        assert_eq!(answer.status, 200, "{headers:?}");
        // The own origin alone ends no session.
        for path in ["/api/auth/refresh", "/api/auth/logout"] {
            let answer = browser.send(Method::POST, path, headers).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}");
        }
    }
    let (other, _) = Browser::sign_in(&server).await;
    let proof = browser.value("__Host-csrf").to_owned();
    let foreign = other.value("__Host-csrf").to_owned();
    let send = async |browser: &Browser<'_>, path, proof: &str| {
        let headers = [OURS[0], ("x-csrf-token", proof)];
        browser.send(Method::POST, path, &headers).await
    };
    let tossed = send(&browser, "/api/auth/refresh", &foreign).await;
    assert_eq!(tossed.status, 403, "the proof of another session");
    let fresh = send(&browser, "/api/auth/refresh", &proof).await;
    assert_eq!(fresh.status, 200);
    browser.keep(&fresh);
    assert_eq!(
        browser.value("__Host-csrf"),
        proof,
        "the session is the same"
    );
    // N8: an old browser says nothing about itself.
    let bare = [("x-csrf-token", &*proof)];
    let me = browser.send(Method::POST, "/api/me", &bare).await;
    assert_eq!(me.status, 200);

    let gone = send(&browser, "/api/auth/logout", &proof).await;
    assert_eq!(gone.status, 204);
    let kept = browser.cookies.clone();
    browser.keep(&gone);
    let names: Vec<_> = browser.cookies.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["__Host-dvc"], "the device stays a trusted one");
    // A copy of the cookies is worth nothing.
    browser.cookies = kept;
    let access = browser.value("__Host-at").to_owned();
    let refresh = browser.value("__Secure-rt").to_owned();
    server.refuses(&Tokens { access, refresh }).await;
    let me = browser.send(Method::GET, "/api/me", OURS).await;
    assert_eq!(me.status, 401);
}

#[tokio::test]
async fn n9_a_cookie_that_is_there_twice_counts_where_it_is_proved() {
    let server = Server::start(&[SEEDS, PUBLIC]);
    let (mut browser, _) = Browser::sign_in(&server).await;
    let (other, _) = Browser::sign_in(&server).await;
    let proof = browser.value("__Host-csrf").to_owned();
    let proved = [OURS[0], ("x-csrf-token", &*proof)];
    let refresh = "/api/auth/refresh";
    for (name, path, headers) in [
        ("__Host-at", "/api/me", &proved[..]),
        ("__Secure-rt", refresh, OURS),
    ] {
        let planted = (name.to_owned(), other.value(name).to_owned());
        browser.cookies.push(planted);
        let answer = browser.send(Method::POST, path, headers).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        browser.cookies.pop();
    }
    // A sister domain can set a refresh cookie, and must not keep anybody from refreshing.
    let planted = other.value("__Secure-rt").to_owned();
    let cookie = |value: String| ("__Secure-rt".to_owned(), value);
    browser.cookies.insert(0, cookie(planted));
    let answer = browser.send(Method::POST, refresh, &proved).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = answer.json()["csrf_token"].clone();
    assert_eq!(session.as_str(), Some(&*proof), "our session, not theirs");
}

#[tokio::test]
async fn login_csrf_is_refused() {
    let server = Server::start(&[SEEDS, PUBLIC]);
    let body = json!({ "email": USER, "password": PASSWORD }).to_string();
    for headers in FOREIGN.iter().filter(|headers| !headers.is_empty()) {
        for path in ["/api/auth/login", "/api/auth/login?transport=cookie"] {
            let answer = server.send(Method::POST, path, headers, &*body).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}");
            assert_eq!(answer.cookies(), [""; 0]);
        }
    }
}

/// A form that another site's page posts comes without the cookies, which are `SameSite`; but what
/// its answer sets and deletes the browser obeys.
#[tokio::test]
async fn logout_csrf_deletes_no_cookies() {
    let server = Server::start(&[SEEDS, PUBLIC]);
    let theirs = server.login(USER).await;
    let form = format!("refresh_token={}", theirs.refresh);
    for headers in FOREIGN.iter().filter(|headers| !headers.is_empty()) {
        for body in ["", &form] {
            let path = "/api/auth/logout";
            let answer = server.send(Method::POST, path, headers, body).await;
            assert_eq!(answer.status, 204, "{headers:?}");
            assert_eq!(answer.cookies(), [""; 0], "{headers:?}");
        }
    }
    let own = server
        .send(Method::POST, "/api/auth/logout", OURS, "")
        .await;
    assert_eq!((own.status, own.cookies().len()), (204, 5), "{own:?}");
}

#[tokio::test]
async fn n7_a_token_in_the_header_needs_no_proof() {
    let server = Server::start(&[SEEDS, PUBLIC]);
    let tokens = server.login(USER).await;
    let bearer = format!("Bearer {}", tokens.access);
    for headers in FOREIGN {
        let mut all = vec![("authorization", &*bearer)];
        all.extend(*headers);
        let answer = server.send(Method::POST, "/api/me", &all, "").await;
        assert_eq!(answer.status, 200, "{headers:?}");
    }
}

#[tokio::test]
async fn on_a_plain_loopback_the_names_promise_nothing() {
    let server = Server::start(&[SEEDS]);
    let (browser, answer) = Browser::sign_in(&server).await;
    let names: Vec<_> = browser.cookies.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["at", "rt", "csrf", "dvc"]);
    for line in answer.cookies() {
        assert!(!line.contains("Secure"), "{line}");
    }
    let me = browser.send(Method::POST, "/api/me", OURS).await;
    assert_eq!(me.status, 200);
}
