//! Cookies and the sites that send them.

use http::{Method, Request, request::Builder};

use super::{Found, found, get, lines, stripped, token, with};
use crate::{
    error::AuthErrorKind,
    layer::extract::{Bearer, Cookie, Place, RequestHead, TokenExtractor},
};

const COOKIE: (&str, &str) = ("cookie", "a=1; at=a.b.c; z=2");
const HOST: (&str, &str) = ("host", "api.example:8443");

fn read(extractor: &Cookie, builder: Builder, lines: &[(&str, &str)]) -> Found {
    found(extractor, &with(builder, lines))
}

/// A POST with the cookie and these lines.
fn post(extractor: &Cookie, lines: &[(&str, &str)]) -> Found {
    let lines = [&[COOKIE, HOST], lines].concat();
    read(extractor, Request::post("/"), &lines)
}

fn passed() -> Found {
    token("a.b.c", Place::Cookie)
}

fn refused() -> Found {
    Err(AuthErrorKind::CrossSite)
}

fn of(lines: &[&str]) -> Found {
    let lines: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
    found(&Cookie::new("at").unwrap(), &get(&lines))
}

#[test]
fn n1_a_cookie_is_not_read_unless_asked_for() {
    assert_eq!(found(&Bearer::new(), &get(&[COOKIE])), Ok(None));
}

#[test]
fn n1_the_value_is_found_among_others() {
    for line in [
        "at=a.b.c",
        "a=1; at=a.b.c",
        "a=1;at=a.b.c ;b",
        "at=\"a.b.c\"",
        "\tat=a.b.c",
        // Some servers trim the name.
        "at =a.b.c",
        "at\t= a.b.c",
    ] {
        assert_eq!(of(&[line]), passed(), "{line}");
    }
    // HTTP/2 splits the header (RFC 9113 §8.2.3).
    assert_eq!(of(&["a=1", "at=a.b.c", "b=2"]), passed());
    for line in [
        "", "a=1", "AT=x", "xat=x", "at2=x", "at", "x=at=y", "at=", "at=\"\"", "=at=x",
    ] {
        assert_eq!(of(&[line]), Ok(None), "{line}");
    }
    assert_eq!(of(&["at=\""]), token("\"", Place::Cookie));
}

#[test]
fn n12_a_name_that_no_browser_could_send_is_refused() {
    for name in ["", "a b", "a=b", "a;b", "a,b", "\"a\"", "é", "a\n"] {
        let refused = Cookie::new(name).map(drop).unwrap_err().to_string();
        assert!(refused.starts_with("a cookie's name"), "{refused}");
    }
    assert!(Cookie::new("__Host-at.1").is_ok());
}

#[test]
fn n3_an_origin_is_brought_into_the_form_that_browsers_write() {
    for (written, sent) in [
        ("https://www.example/", "https://www.example"),
        ("HTTPS://WWW.Example", "https://www.example"),
        ("https://www.example:443", "https://www.example"),
        ("http://www.example:80/", "http://www.example"),
        ("https://www.example:8443/", "https://www.example:8443"),
        ("http://www.example:443", "http://www.example:443"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("tauri://localhost", "tauri://localhost"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ] {
        let origin = ("origin", sent);
        let cookie = || Cookie::new("at").unwrap();
        let public = cookie().public_origin(written).unwrap();
        assert_eq!(post(&public, &[origin]), passed(), "{written}");
        let trusting = cookie().trusted_origin(written).unwrap();
        let foreign = ("sec-fetch-site", "cross-site");
        assert_eq!(post(&trusting, &[foreign, origin]), passed(), "{written}");
    }
}

#[test]
fn n3_what_is_no_origin_is_refused() {
    for written in [
        "",
        "null",
        "*",
        "www.example",
        "https://",
        "https:///",
        "://www.example",
        "https://www.example/app",
        "https://www.example//",
        "https://www.example?a=b",
        "https://www.example#a",
        "https://user@www.example",
        "https://user:pw@www.example",
        "https://www.example:",
        "https://www.example:99999",
        "https://www.example:x",
        "https://w w.example",
        "https://é.example",
        "https://www.example, https://app.example",
        "1https://www.example",
        "https://user:pw@www.example/app",
        "https//user:pw@www.example",
    ] {
        let cookie = || Cookie::new("at").unwrap();
        let refused = cookie().public_origin(written).map(drop).unwrap_err();
        assert!(
            refused.to_string().starts_with("a public origin"),
            "{written}"
        );
        // It may be a password.
        assert!(
            !format!("{refused} {refused:?}").contains("pw"),
            "{refused}"
        );
        let refused = cookie().trusted_origin(written).map(drop).unwrap_err();
        assert!(
            refused.to_string().starts_with("a trusted origin"),
            "{written}"
        );
    }
}

#[test]
fn n2_a_post_from_another_site_is_refused() {
    let cookie = Cookie::new("at").unwrap();
    let from = |site| post(&cookie, &[("sec-fetch-site", site)]);
    assert_eq!(from("same-origin"), passed());
    assert_eq!(from("none"), passed());
    for site in ["cross-site", "same-site", "", "Same-Origin", "other"] {
        assert_eq!(from(site), refused(), "{site}");
    }
    let twice = [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "cross-site"),
    ];
    assert_eq!(post(&cookie, &twice), refused());
}

#[test]
fn n2_every_unsafe_method_is_checked() {
    let foreign = [COOKIE, ("sec-fetch-site", "cross-site")];
    for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
        let builder = Request::builder().method(method).uri("/");
        assert_eq!(
            read(&Cookie::new("at").unwrap(), builder, &foreign),
            refused(),
            "{method}"
        );
    }
    let connect = Request::connect("api.example:443");
    assert_eq!(
        read(&Cookie::new("at").unwrap(), connect, &foreign),
        refused()
    );
}

#[test]
fn n2_a_foreign_origin_does_not_pass_by_the_host_once_the_browser_said_cross_site() {
    let lines = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://api.example:8443"),
    ];
    assert_eq!(post(&Cookie::new("at").unwrap(), &lines), refused());
}

#[test]
fn n3_without_fetch_metadata_the_origin_must_be_the_public_one() {
    let cookie = Cookie::new("at")
        .unwrap()
        .public_origin("https://www.example")
        .unwrap();
    let from = |origin| post(&cookie, &[("origin", origin)]);
    assert_eq!(from("https://www.example"), passed());
    for origin in [
        "null",
        "",
        "https://evil.example",
        "http://www.example",
        "https://www.example:443",
        "https://www.example.evil.example",
        "https://WWW.example",
        // The host of the request does not count once the public origin is known.
        "https://api.example:8443",
    ] {
        assert_eq!(from(origin), refused(), "{origin}");
    }
    let twice = [
        ("origin", "https://www.example"),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(post(&cookie, &twice), refused());
}

#[test]
fn n3_without_a_public_origin_the_origins_host_must_be_the_one_asked_for() {
    let cookie = Cookie::new("at").unwrap();
    let from = |origin| post(&cookie, &[("origin", origin)]);
    assert_eq!(from("https://api.example:8443"), passed());
    assert_eq!(from("http://api.example:8443"), passed());
    for origin in [
        "null",
        "",
        "https://",
        "https://api.example",
        "https://x@api.example:8443",
        "https://api.example:8443/",
        "app://api.example:8443",
        "api.example:8443",
    ] {
        assert_eq!(from(origin), refused(), "{origin}");
    }
}

#[test]
fn n3_the_target_stands_above_the_host_header() {
    let cookie = Cookie::new("at").unwrap();
    let to = |target: &str, lines: &[(&str, &str)]| {
        read(&cookie, Request::post(target), &[&[COOKIE], lines].concat())
    };
    let origin = ("origin", "https://api.example");
    assert_eq!(to("https://api.example/", &[origin]), passed());
    assert_eq!(
        to("https://other.example/", &[origin, ("host", "api.example")]),
        refused()
    );
    assert_eq!(to("/", &[origin]), refused());
    let hosts = [origin, ("host", "api.example"), ("host", "x.example")];
    assert_eq!(to("/", &hosts), refused());
    // An empty host and an origin without one are not the same site.
    assert_eq!(to("/", &[("origin", "null"), ("host", "")]), refused());
}

#[test]
fn n4_same_site_passes_for_a_trusted_origin_only() {
    let cookie = Cookie::new("at")
        .unwrap()
        .trusted_origin("https://app.example")
        .unwrap()
        .trusted_origin("https://other.example")
        .unwrap();
    let from = |site, origin| post(&cookie, &[("sec-fetch-site", site), ("origin", origin)]);
    assert_eq!(from("same-site", "https://app.example"), passed());
    assert_eq!(from("cross-site", "https://other.example"), passed());
    assert_eq!(from("same-site", "https://sister.example"), refused());
    assert_eq!(from("same-site", "null"), refused());
    assert_eq!(post(&cookie, &[("sec-fetch-site", "same-site")]), refused());
    assert_eq!(
        post(&cookie, &[("origin", "https://app.example")]),
        passed()
    );
}

#[test]
fn n5_safe_methods_pass_from_anywhere() {
    let foreign = [COOKIE, ("sec-fetch-site", "cross-site"), ("origin", "null")];
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
        let builder = Request::builder().method(method).uri("/");
        assert_eq!(
            read(&Cookie::new("at").unwrap(), builder, &foreign),
            passed()
        );
    }
}

#[test]
fn n6_a_websocket_handshake_is_checked_though_it_is_a_get() {
    let cookie = Cookie::new("at").unwrap();
    let open = |line| {
        read(
            &cookie,
            Request::get("/"),
            &[COOKIE, HOST, ("upgrade", "WebSocket"), line],
        )
    };
    assert_eq!(open(("origin", "https://api.example:8443")), passed());
    assert_eq!(open(("sec-fetch-site", "same-origin")), passed());
    assert_eq!(open(("origin", "https://evil.example")), refused());
    assert_eq!(open(("sec-fetch-site", "cross-site")), refused());
    assert_eq!(open(("x-nothing", "said")), refused());
}

#[test]
fn n7_a_header_token_is_never_checked_for_its_site() {
    let places = (Bearer::new(), Cookie::new("at").unwrap());
    let foreign = [
        ("authorization", "Bearer x"),
        ("cookie", "other=1"),
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
    ];
    let request = with(Request::post("/"), &foreign);
    assert_eq!(found(&places, &request), token("x", Place::Authorization));
}

#[test]
fn n8_with_neither_header_an_unsafe_request_is_refused() {
    assert_eq!(post(&Cookie::new("at").unwrap(), &[]), refused());
    let cookie = Cookie::new("at")
        .unwrap()
        .public_origin("https://api.example")
        .unwrap();
    assert_eq!(post(&cookie, &[]), refused());
    let cookie = cookie.dangerous_without_csrf_check();
    assert_eq!(post(&cookie, &[]), passed());
}

#[test]
fn n9_the_same_name_twice_is_refused() {
    let multiple = Err(AuthErrorKind::MultipleCredentials);
    for line in [
        "at=x; at=y",
        "at=x; at=x",
        "at=x; a=1; at=",
        "at=; at=x",
        "at=;at=",
    ] {
        assert_eq!(of(&[line]), multiple, "{line}");
    }
    assert_eq!(of(&["at=x", "at=y"]), multiple);
}

#[test]
fn a_cookie_and_a_header_are_refused_even_when_equal() {
    let places = (Bearer::new(), Cookie::new("at").unwrap());
    let request = get(&[("authorization", "Bearer a.b.c"), COOKIE]);
    let found = found(&places, &request);
    assert_eq!(found, Err(AuthErrorKind::MultipleCredentials));
}

#[test]
fn n10_the_value_that_clears_a_cookie_carries_its_attributes() {
    let clear = |name: &str, plain: bool| {
        let cookie = Cookie::new(name).unwrap();
        let cookie = if plain { cookie.plain_http() } else { cookie };
        let line = format!("{name}=x");
        let request = get(&[("cookie", &line)]);
        let found = cookie.extract(RequestHead::of(&request)).unwrap().unwrap();
        found.clear().unwrap().to_str().unwrap().to_owned()
    };
    let attributes = "Max-Age=0; Path=/; HttpOnly; SameSite=Lax";
    assert_eq!(clear("at", false), format!("at=; {attributes}; Secure"));
    assert_eq!(clear("at", true), format!("at=; {attributes}"));
    for name in ["__Host-at", "__Secure-at"] {
        assert_eq!(clear(name, true), format!("{name}=; {attributes}; Secure"));
    }
}

#[test]
fn strip_takes_the_cookie_and_leaves_the_others() {
    let strip = |sent: &[&str]| {
        let sent: Vec<_> = sent.iter().map(|line| ("cookie", *line)).collect();
        let headers = stripped(&Cookie::new("at").unwrap(), get(&sent)).0;
        lines(&headers, "cookie")
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(strip(&["a=1; at=x; b=\"2\""]), ["a=1; b=\"2\""]);
    assert_eq!(strip(&["at=x"]), [""; 0]);
    assert_eq!(strip(&["at=x; at=y; a"]), ["a"]);
    assert_eq!(strip(&["a=1", "at=", "b=2"]), ["a=1", "b=2"]);
    assert_eq!(strip(&["a=1;b=2 ;  c"]), ["a=1;b=2 ;  c"]);
}
