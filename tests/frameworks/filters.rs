//! warp's filters, and the answers to their rejections.

use bytes::Bytes;
use http::{Response, StatusCode, header::HOST};
use http_body_util::Full;
use tower_jwt_auth::{
    AuthError, Claims, JwtAuthLayer, Verified, Verifier,
    error::AuthErrorKind,
    layer::{
        extract::{Bearer, Query},
        response::Refusal,
    },
    warp::{AuthRejected, authenticated, maybe_authenticated, recover},
};
use warp::{Filter, Rejection, Reply};

use crate::support::{
    http_client::{Http, get, raw, request, send},
    http_server::Server,
    late_keys::LateKeys,
    tokens::{expecting, forged, good, layer},
};

#[allow(
    clippy::needless_pass_by_value,
    reason = "warp hands over what it extracted"
)]
fn name(user: Verified<Claims>) -> String {
    user.subject().unwrap_or_default().to_owned()
}

fn maybe_name(user: Option<Verified<Claims>>) -> String {
    user.map_or_else(|| "nobody".to_owned(), name)
}

async fn serve<F>(routes: F) -> Server
where
    F: Filter<Extract: Reply, Error = Rejection> + Clone + Send + Sync + 'static,
{
    Server::run(|listener| warp::serve(routes).incoming(listener).run()).await
}

async fn me(auth: JwtAuthLayer) -> Server {
    serve(
        warp::path!("me")
            .and(authenticated(auth))
            .map(name)
            .recover(recover),
    )
    .await
}

#[tokio::test]
async fn a_filter_decides_as_the_layer_does() {
    let server = me(layer().realm("orders")).await;
    for http in [Http::One, Http::Two] {
        let ask = async |token: Option<String>| {
            let request = request(server.addr, "/me", token.as_deref());
            send(http, request.body(Full::default()).unwrap()).await
        };
        // A2.
        let answer = ask(Some(good())).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "alice"));
        // A1, B1.
        let answer = ask(None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.challenge(), Some(r#"Bearer realm="orders""#));
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert!(!answer.body.is_empty());
        // B7.
        let answer = ask(Some(forged())).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(
            answer
                .challenge()
                .unwrap()
                .contains(r#"error="invalid_token""#)
        );
    }
}

#[tokio::test]
async fn a8_two_authorization_headers_are_bad_request_for_a_filter_too() {
    let server = me(layer()).await;
    let token = good();
    let twice = format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}");
    let head = "GET /me HTTP/1.1\r\nHost: localhost\r\nConnection: close";
    let answer = raw(server.addr, &format!("{head}\r\n{twice}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains(r#"error="invalid_request""#), "{answer}");
}

#[tokio::test]
async fn b10_a_filters_refusal_of_head_has_no_content() {
    let server = me(layer()).await;
    let head = "HEAD /me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = raw(server.addr, head).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn b16_an_optional_filter_serves_nobody_and_refuses_a_bad_token() {
    let greet = warp::path::end()
        .and(maybe_authenticated(layer().optional()))
        .map(maybe_name);
    let needy = warp::path!("me")
        .and(authenticated(layer().optional()))
        .map(name);
    let server = serve(greet.or(needy).recover(recover)).await;
    assert_eq!(get(server.addr, "/", None).await.text(), "nobody");
    assert_eq!(get(server.addr, "/", Some(&good())).await.text(), "alice");
    assert_eq!(
        get(server.addr, "/", Some(&forged())).await.status,
        StatusCode::UNAUTHORIZED
    );
    // Whatever the layer lets pass, this filter asks for somebody.
    let answer = get(server.addr, "/me", None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.challenge(), Some(r#"Bearer realm="api""#));
    assert_eq!(get(server.addr, "/me", Some(&good())).await.text(), "alice");
}

#[tokio::test]
async fn a_filter_sees_method_target_and_headers() {
    let auth = layer()
        .extractor((Bearer::new(), Query::new("access_token")))
        .skip_if(|head| {
            head.method() == http::Method::GET
                && head.uri().path() == "/a%20b/health"
                && head.headers().contains_key(HOST)
        })
        .optional();
    let server = serve(maybe_authenticated(auth).map(maybe_name).recover(recover)).await;
    // Not looked at, because the route is skipped.
    let answer = get(server.addr, "/a%20b/health", Some(&forged())).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "nobody"));
    let answer = get(server.addr, "/other", Some(&forged())).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let answer = get(
        server.addr,
        &format!("/?x=%20&access_token={}", good()),
        None,
    )
    .await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "alice"));
    // A12.
    let twice = format!("/?access_token={0}&access_token={0}", good());
    assert_eq!(
        get(server.addr, &twice, None).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_filter_waits_for_its_key() {
    let keys = LateKeys::default();
    let verifier = expecting(Verifier::key_source(keys.clone()))
        .build()
        .unwrap();
    let server = me(JwtAuthLayer::new(verifier)).await;
    let token = good();
    let (answer, ()) = tokio::join!(get(server.addr, "/me", Some(&token)), async {
        keys.asked().await;
        keys.arrive();
    });
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "alice"));
}

#[tokio::test]
async fn q1_a_filter_cannot_keep_a_layers_promise_to_change_requests() {
    let server = me(layer().strip_credential()).await;
    let answer = get(server.addr, "/me", Some(&good())).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn other_rejections_stay_what_they_are() {
    let server = me(layer()).await;
    assert_eq!(
        get(server.addr, "/nowhere", None).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_later_route_may_still_fit() {
    let private = warp::path!("it").and(authenticated(layer())).map(name);
    let public = warp::path!("it").map(|| "public".to_owned());
    let server = serve(private.or(public).unify().recover(recover)).await;
    assert_eq!(get(server.addr, "/it", None).await.text(), "public");
    assert_eq!(get(server.addr, "/it", Some(&good())).await.text(), "alice");
}

#[tokio::test]
async fn an_unrecovered_rejection_is_a_terse_server_error() {
    let server = serve(warp::path!("me").and(authenticated(layer())).map(name)).await;
    let token = forged();
    let answer = get(server.addr, "/me", Some(&token)).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.text().ends_with("AuthRejected"), "{}", answer.text());
}

#[tokio::test]
async fn a_recover_of_ones_own_finds_cause_and_answer() {
    async fn own(rejection: Rejection) -> Result<impl Reply, Rejection> {
        let ours = rejection.find::<AuthRejected>().ok_or_else(warp::reject)?;
        assert_eq!(ours.error().kind(), AuthErrorKind::InvalidSignature);
        let mut response = ours.to_response();
        assert!(response.extensions().get::<AuthError>().is_some());
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        Ok(response)
    }

    let words = |denial: &Refusal<'_>| {
        let mut response = Response::new(Bytes::from_static(b"the layer's own words"));
        *response.status_mut() = denial.status();
        response
    };
    let me = warp::path!("me")
        .and(authenticated(layer().responder(words)))
        .map(name);
    let server = serve(me.recover(own)).await;
    let answer = get(server.addr, "/me", Some(&forged())).await;
    assert_eq!(
        (answer.status, answer.text()),
        (StatusCode::IM_A_TEAPOT, "the layer's own words")
    );
}

#[tokio::test]
async fn p8_a_filter_of_a_layer_in_gateway_mode_never_speaks_grpc() {
    let server = me(layer().gateway()).await;
    for (http, kind) in [
        (Http::One, "application/grpc-web"),
        (Http::Two, "application/grpc-web-text"),
        (Http::Two, "application/grpc"),
    ] {
        let request = request(server.addr, "/me", None)
            .method("POST")
            .header("content-type", kind)
            .body(Full::default())
            .unwrap();
        let answer = send(http, request).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{kind}");
        assert!(answer.challenge().is_some());
    }
    // A filter that asks for no caller does not let strangers in either.
    let routes = warp::path!("me").and(maybe_authenticated(layer().gateway().optional()));
    let server = serve(routes.map(maybe_name).recover(recover)).await;
    for token in [None, Some(good())] {
        let answer = get(server.addr, "/me", token.as_deref()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn p7_a_filter_answers_with_the_http_status() {
    let server = me(layer()).await;
    for (http, method, kind, status) in [
        (Http::One, "GET", "application/grpc", 401),
        (Http::Two, "GET", "application/grpc", 401),
        (Http::One, "POST", "application/grpc", 401),
        // warp does not show a filter the version.
        (Http::Two, "POST", "application/grpc", 401),
        (Http::One, "GET", "application/grpc-web", 401),
        (Http::One, "POST", "application/grpc-web", 200),
    ] {
        let request = request(server.addr, "/me", None)
            .method(method)
            .header("content-type", kind)
            .body(Full::default())
            .unwrap();
        let answer = send(http, request).await;
        assert_eq!(answer.status, status, "{http:?} {method} {kind}");
        assert_eq!(answer.header("grpc-status"), None);
    }
}
