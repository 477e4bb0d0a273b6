//! Where credentials are found, and where they are refused.

mod cookie;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Request, header::AUTHORIZATION};
use proptest::prelude::{
    any, prop, prop_assert, prop_assert_eq, prop_assume, prop_oneof, proptest,
};

use super::*;

const APP: HeaderName = HeaderName::from_static("x-app-jwt");

type Found = Result<Option<(Vec<u8>, Place)>, AuthErrorKind>;

fn found(extractor: &dyn TokenExtractor, request: &Request<()>) -> Found {
    extractor
        .extract(RequestHead::of(request))
        .map(|found| found.map(|found| (found.token().to_vec(), found.place())))
        .map_err(|error| error.kind())
}

fn token(token: impl AsRef<[u8]>, place: Place) -> Found {
    Ok(Some((token.as_ref().to_vec(), place)))
}

/// A GET with these header lines.
fn get(lines: &[(&str, &str)]) -> Request<()> {
    with(Request::get("/"), lines)
}

fn with(mut builder: http::request::Builder, lines: &[(&str, &str)]) -> Request<()> {
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        builder = builder.header(*name, value);
    }
    builder.body(()).unwrap()
}

fn bearer(lines: &[(&str, &str)]) -> Found {
    found(&Bearer::new(), &get(lines))
}

fn query(target: &str) -> Found {
    let request = Request::get(target).body(()).unwrap();
    found(&Query::new("access_token"), &request)
}

fn handshake(lines: &[&str]) -> Request<()> {
    let mut all = vec![("connection", "upgrade"), ("upgrade", "WebSocket")];
    all.extend(lines.iter().map(|line| ("sec-websocket-protocol", *line)));
    get(&all)
}

fn websocket(lines: &[&str]) -> Found {
    found(&WebSocketProtocol::new("bearer"), &handshake(lines))
}

fn stripped(extractor: &impl TokenExtractor, request: Request<()>) -> (HeaderMap, Uri) {
    let (mut parts, ()) = request.into_parts();
    extractor.strip(&mut parts.headers, &mut parts.uri);
    (parts.headers, parts.uri)
}

fn lines<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn a1_no_authorization_is_no_credential() {
    assert_eq!(bearer(&[]), Ok(None));
}

#[test]
fn a3_the_scheme_is_compared_without_case() {
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let value = format!("{scheme} a.b.c");
        let found = bearer(&[("authorization", &value)]);
        assert_eq!(found, token("a.b.c", Place::Authorization));
    }
}

#[test]
fn a4_several_spaces_after_the_scheme_are_allowed() {
    let found = bearer(&[("authorization", "Bearer    a.b.c")]);
    assert_eq!(found, token("a.b.c", Place::Authorization));
}

#[test]
fn a5_a_scheme_without_a_token_is_malformed() {
    for value in [
        "Bearer",
        "bearer",
        "Bearer ",
        "Bearer    ",
        "Bearer\tabc",
        "Bearer:abc",
        "Bearer, abc",
    ] {
        let found = bearer(&[("authorization", value)]);
        assert_eq!(found, Err(AuthErrorKind::MalformedCredential), "{value}");
    }
}

#[test]
fn a6_only_a_b64token_is_one() {
    for good in ["a", "a.b.c", "AZaz09-._~+/", "a=", "a=="] {
        assert!(is_b64token(good.as_bytes()), "{good}");
    }
    for bad in [
        "", "=", "==", "a b", "a,b", "a\"", "{}", "a=b", "=a", "a\t", "a:b", "\u{e9}", "a\0",
    ] {
        assert!(!is_b64token(bad.as_bytes()), "{bad}");
    }
}

#[test]
fn a7_bytes_outside_ascii_are_handed_on_and_are_no_b64token() {
    let value = HeaderValue::from_bytes(b"Bearer \xff\xc3").unwrap();
    let request = Request::get("/")
        .header(AUTHORIZATION, value)
        .body(())
        .unwrap();
    let found = found(&Bearer::new(), &request);
    assert_eq!(found, token(b"\xff\xc3", Place::Authorization));
    assert!(!is_b64token(b"\xff\xc3"));
}

#[test]
fn a8_two_authorization_lines_are_refused_whatever_they_hold() {
    for second in ["Bearer a.b.c", "Bearer other", "Basic dTpw", ""] {
        let mut lines = vec![("authorization", "Bearer a.b.c"), ("authorization", second)];
        assert_eq!(bearer(&lines), Err(AuthErrorKind::MultipleCredentials));
        // Among many lines a name is found in another way.
        lines.splice(1..1, [("accept", "*/*"); 12]);
        assert_eq!(bearer(&lines), Err(AuthErrorKind::MultipleCredentials));
        lines.pop();
        assert_eq!(bearer(&lines), token("a.b.c", Place::Authorization));
    }
}

#[test]
fn a9_another_scheme_is_no_credential() {
    for value in [
        "Basic dTpw",
        "Bearera.b.c",
        "Bearer2 a.b.c",
        "Bear er",
        "B",
        "",
    ] {
        assert_eq!(bearer(&[("authorization", value)]), Ok(None), "{value}");
    }
    // A token that is bound to a key is one.
    for value in ["DPoP a.b.c", "dpop a.b.c", "DPoP"] {
        let refused = bearer(&[("authorization", value)]);
        assert_eq!(refused, Err(AuthErrorKind::MissingCredential), "{value}");
    }
}

#[test]
fn a11_a_token_in_header_and_query_is_refused() {
    let places = (Bearer::new(), Query::new("access_token"));
    for query in ["a.b.c", "other"] {
        let builder = Request::get(format!("/?access_token={query}"));
        let request = with(builder, &[("authorization", "Bearer a.b.c")]);
        let found = found(&places, &request);
        assert_eq!(found, Err(AuthErrorKind::MultipleCredentials));
    }
}

#[test]
fn a12_a_repeated_query_parameter_is_refused() {
    for target in [
        "/?access_token=a&access_token=a",
        "/?access_token=a&x=1&access_token=b",
        "/?access_token=a&access%5Ftoken=b",
        "/?access_token=a&access_token",
    ] {
        assert_eq!(
            query(target),
            Err(AuthErrorKind::MultipleCredentials),
            "{target}"
        );
    }
}

#[test]
fn a13_a_query_token_is_not_read_unless_asked_for() {
    let request = Request::get("/?access_token=a.b.c").body(()).unwrap();
    assert_eq!(found(&Bearer::new(), &request), Ok(None));
}

#[test]
fn a16_proxy_authorization_is_never_read() {
    for value in ["Bearer a.b.c", "DPoP a.b.c"] {
        assert_eq!(bearer(&[("proxy-authorization", value)]), Ok(None));
    }
}

#[test]
fn a17_of_several_places_the_one_that_is_filled_is_used() {
    let places = (
        Bearer::new(),
        Header::new(APP),
        Query::new("access_token"),
        WebSocketProtocol::new("bearer"),
    );
    let request = get(&[("authorization", "Bearer a")]);
    assert_eq!(found(&places, &request), token("a", Place::Authorization));
    let request = get(&[("x-app-jwt", "b")]);
    assert_eq!(found(&places, &request), token("b", Place::Header));
    let request = Request::get("/?access_token=c").body(()).unwrap();
    assert_eq!(found(&places, &request), token("c", Place::Query));
    let request = handshake(&["bearer, d"]);
    assert_eq!(found(&places, &request), token("d", Place::WebSocket));
    assert_eq!(found(&places, &get(&[])), Ok(None));
}

#[test]
fn a18_two_places_are_refused_even_when_equal_and_in_any_order() {
    let request = get(&[("authorization", "Bearer a"), ("x-app-jwt", "a")]);
    let multiple = Err(AuthErrorKind::MultipleCredentials);
    assert_eq!(
        found(&(Bearer::new(), Header::new(APP)), &request),
        multiple
    );
    assert_eq!(
        found(&(Header::new(APP), Bearer::new()), &request),
        multiple
    );
    let three = (Query::new("access_token"), Header::new(APP), Bearer::new());
    assert_eq!(found(&three, &request), multiple);
}

#[test]
fn a18_an_error_in_one_place_is_not_outvoted_by_another() {
    let request = get(&[("authorization", "Bearer"), ("x-app-jwt", "a")]);
    let malformed = Err(AuthErrorKind::MalformedCredential);
    assert_eq!(
        found(&(Bearer::new(), Header::new(APP)), &request),
        malformed
    );
    assert_eq!(
        found(&(Header::new(APP), Bearer::new()), &request),
        malformed
    );
}

#[test]
fn a_header_of_its_own_holds_nothing_but_the_token() {
    let extractor = Header::new(APP);
    let read = |lines: &[(&str, &str)]| found(&extractor, &get(lines));
    assert_eq!(
        read(&[("x-app-jwt", "a.b.c")]),
        token("a.b.c", Place::Header)
    );
    assert_eq!(read(&[("authorization", "Bearer a")]), Ok(None));
    assert_eq!(
        read(&[("x-app-jwt", "")]),
        Err(AuthErrorKind::MalformedCredential)
    );
    assert_eq!(
        read(&[("x-app-jwt", "a"), ("x-app-jwt", "a")]),
        Err(AuthErrorKind::MultipleCredentials)
    );
}

#[test]
fn a_query_token_is_percent_decoded() {
    assert_eq!(query("/?access_token=a.b.c"), token("a.b.c", Place::Query));
    assert_eq!(
        query("/?x=1&access_token=a%2eb%2Ec&y"),
        token("a.b.c", Place::Query)
    );
    assert_eq!(
        query("/?access%5ftoken=a+b%3D"),
        token("a+b=", Place::Query)
    );
    assert_eq!(query("/?access_token=a=b"), token("a=b", Place::Query));
    assert_eq!(query("/?access_token=%ff"), token(b"\xff", Place::Query));
    for none in [
        "/",
        "/?",
        "/?x=access_token",
        "/?ACCESS_TOKEN=a",
        "/?access_token2=a",
        "/access_token=a",
    ] {
        assert_eq!(query(none), Ok(None), "{none}");
    }
    for malformed in ["", "=", "=%", "=%4", "=%4g", "=a%zz", "=%+1"] {
        let found = query(&format!("/?access_token{malformed}"));
        assert_eq!(
            found,
            Err(AuthErrorKind::MalformedCredential),
            "{malformed}"
        );
    }
}

#[test]
fn a_websocket_token_stands_right_after_the_marker() {
    let read = token("a.b.c", Place::WebSocket);
    assert_eq!(websocket(&["bearer, a.b.c"]), read);
    assert_eq!(websocket(&["chat.v1 ,bearer,\ta.b.c, chat.v2"]), read);
    assert_eq!(websocket(&["chat.v1, bearer", "a.b.c"]), read);
    assert_eq!(websocket(&["bearer,, ,a.b.c"]), read);
    assert_eq!(websocket(&["chat.v1"]), Ok(None));
    assert_eq!(websocket(&["Bearer, a.b.c"]), Ok(None));
    assert_eq!(websocket(&[]), Ok(None));
    for malformed in ["bearer", "chat, bearer", "bearer, ,"] {
        assert_eq!(
            websocket(&[malformed]),
            Err(AuthErrorKind::MalformedCredential)
        );
    }
    for multiple in [
        "bearer, bearer",
        "bearer, a, bearer, b",
        "bearer, a, bearer",
    ] {
        assert_eq!(
            websocket(&[multiple]),
            Err(AuthErrorKind::MultipleCredentials)
        );
    }
}

#[test]
fn a_websocket_token_is_read_in_a_handshake_only() {
    let extractor = WebSocketProtocol::new("bearer");
    let protocol = ("sec-websocket-protocol", "bearer, a");
    let read = token("a", Place::WebSocket);

    let list = get(&[("upgrade", "h2c, websocket"), protocol]);
    assert_eq!(found(&extractor, &list), read);
    // RFC 8441 §5: over HTTP/2 the handshake is a CONNECT.
    let connect = with(Request::connect("api.example:443"), &[protocol]);
    assert_eq!(found(&extractor, &connect), read);

    assert_eq!(found(&extractor, &get(&[protocol])), Ok(None));
    let other = get(&[("upgrade", "websocket2"), protocol]);
    assert_eq!(found(&extractor, &other), Ok(None));
    let post = with(Request::post("/"), &[("upgrade", "websocket"), protocol]);
    assert_eq!(found(&extractor, &post), Ok(None));
}

#[test]
fn strip_takes_the_credential_and_leaves_the_rest() {
    let places = (Bearer::new(), Header::new(APP), Query::new("access_token"));
    let builder = Request::get("https://api.example/p?a=%20&access%5Ftoken=x&b&access_token=y&c=1");
    let request = with(
        builder,
        &[
            ("authorization", "Bearer a"),
            ("x-app-jwt", "b"),
            ("x-other", "c"),
        ],
    );
    let (headers, uri) = stripped(&places, request);
    assert_eq!(uri, "https://api.example/p?a=%20&b&c=1");
    assert_eq!(headers.len(), 1);
    assert_eq!(headers["x-other"], "c");
}

#[test]
fn strip_leaves_no_question_mark_behind() {
    let request = Request::get("/p?access_token=x").body(()).unwrap();
    assert_eq!(stripped(&Query::new("access_token"), request).1, "/p");
}

#[test]
fn strip_touches_nothing_that_is_not_ours() {
    let places = (
        Bearer::new(),
        Query::new("access_token"),
        WebSocketProtocol::new("bearer"),
    );
    let kept = [
        ("authorization", "Basic dTpw"),
        ("sec-websocket-protocol", "chat.v1 ,chat.v2"),
    ];
    for target in ["/p?", "/p?&x=&", "*", "https://api.example/p"] {
        let before = with(Request::get(target), &kept);
        let (headers, uri) = stripped(&places, with(Request::get(target), &kept));
        assert_eq!(&uri, before.uri());
        assert_eq!(&headers, before.headers());
    }
    let connect = with(Request::connect("api.example:443"), &kept);
    assert_eq!(stripped(&places, connect).1, "api.example:443");
}

#[test]
fn strip_keeps_the_marker_for_the_server_to_choose() {
    let extractor = WebSocketProtocol::new("bearer");
    let strip = |lines: &[&str]| {
        let headers = stripped(&extractor, handshake(lines)).0;
        headers
            .get("sec-websocket-protocol")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        strip(&["chat, bearer, a.b.c, chat.v2"]),
        "chat, bearer, chat.v2"
    );
    assert_eq!(strip(&["bearer", "a.b.c"]), "bearer");
    assert_eq!(strip(&["bearer, a, bearer, b"]), "bearer, bearer");
}

#[test]
fn q3_debug_of_a_credential_shows_no_token() {
    let set_cookie = HeaderValue::from_static("at=; Max-Age=0");
    let credential = Credential::new(b"s3cret".to_vec(), Place::Query).cleared_by(&set_cookie);
    assert_eq!(format!("{credential:?}"), "Credential { place: Query, .. }");
    assert_eq!(credential.clear(), Some(&set_cookie));
}

#[test]
fn an_extractor_may_be_chosen_at_run_time() {
    let extractor: Arc<dyn TokenExtractor> = Arc::new((Bearer::new(), Header::new(APP)));
    let request = get(&[("x-app-jwt", "a")]);
    assert_eq!(found(&extractor, &request), token("a", Place::Header));
    assert!(stripped(&extractor, request).0.is_empty());
}

/// Bytes that a header value may hold, shaped so that the interesting branches are reached.
fn header_bytes() -> impl prop::strategy::Strategy<Value = Vec<u8>> {
    use prop::strategy::Strategy;

    let piece = prop::sample::select(vec![
        "Bearer", "bearer", " ", "  ", ",", ";", "=", "\"", "at", "at=", "a.b.c", "\t", "%", "&",
    ]);
    let pieces = prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes());
    let noise = prop::collection::vec(any::<u8>(), 0..24);
    prop_oneof![pieces, noise]
}

proptest! {
    #[test]
    fn what_bearer_finds_is_the_end_of_the_header(bytes in header_bytes()) {
        let value = HeaderValue::from_bytes(&bytes);
        prop_assume!(value.is_ok());
        let request = Request::get("/").header(AUTHORIZATION, value.unwrap()).body(()).unwrap();
        if let Ok(Some((token, place))) = found(&Bearer::new(), &request) {
            prop_assert!(!token.is_empty() && !token.starts_with(b" "));
            prop_assert!(bytes.ends_with(&token));
            prop_assert_eq!(place, Place::Authorization);
            let scheme = bytes.trim_ascii_start();
            prop_assert!(scheme[..6].eq_ignore_ascii_case(b"bearer"));
        }
    }

    #[test]
    fn no_header_panics_and_nothing_is_found_after_strip(
        values in prop::collection::vec(header_bytes(), 0..3),
    ) {
        let places = (Bearer::new(), Header::new(APP), Cookie::new("at").unwrap());
        let mut request = Request::new(());
        for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
            for name in ["authorization", "x-app-jwt", "cookie", "sec-websocket-protocol"] {
                request.headers_mut().append(name, value.clone());
            }
        }
        request.headers_mut().insert("upgrade", HeaderValue::from_static("websocket"));
        let websocket = WebSocketProtocol::new("bearer");
        let _ = (found(&places, &request), found(&websocket, &request));

        let (mut parts, ()) = request.into_parts();
        places.strip(&mut parts.headers, &mut parts.uri);
        websocket.strip(&mut parts.headers, &mut parts.uri);
        let request = Request::from_parts(parts, ());
        // Two lines of other schemes stay, and stay refused.
        prop_assert!(!matches!(found(&places, &request), Ok(Some(_))));
    }

    #[test]
    fn no_target_panics_and_nothing_is_found_after_strip(
        query in "([a-z=&%+]|access_token|%4|%41|%5F){0,12}",
    ) {
        let target: Uri = format!("/p?{query}").parse().unwrap();
        let extractor = Query::new("access_token");
        let request = Request::get(target.clone()).body(()).unwrap();
        let before = found(&extractor, &request);

        let (_, uri) = stripped(&extractor, request);
        prop_assert_eq!(uri == target, before == Ok(None));
        let request = Request::get(uri).body(()).unwrap();
        prop_assert_eq!(found(&extractor, &request), Ok(None));
    }
}
