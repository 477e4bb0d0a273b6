//! A store that is away, through the use cases and over HTTP.

use std::time::{Duration, Instant};

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tower::ServiceExt;
use tower_jwt_auth::{
    layer::rate_limit::PeerAddr,
    server::{
        endpoints::AuthEndpoints,
        login::{Argon2Cost, Identifier, Login, MemoryThrottle, Password, PasswordHasher},
        refresh::RefreshPolicy,
        session::{SessionErrorKind, StartSession},
    },
    store::{
        MemoryStore,
        port::{NewUser, UserStore},
    },
};

use super::{
    node::{Node, secret},
    place::Place,
};

const ORIGIN: &str = "https://app.example";

/// Ada alone.
async fn users() -> (MemoryStore, PasswordHasher) {
    let cheap = Argon2Cost::dangerous_custom(16, 1, 1).unwrap();
    let hasher = PasswordHasher::builder().cost(cheap).build().unwrap();
    let password = Password::new("correct horse battery staple".to_owned()).unwrap();
    let hash = hasher.hash(&password).await.unwrap();
    let users = MemoryStore::new();
    let name = Identifier::new("ada@example.org").unwrap();
    assert!(
        users
            .create(NewUser::new("u-ada", name, hash))
            .await
            .unwrap()
    );
    (users, hasher)
}

fn post(path: &str, cookies: &str, csrf: &str, body: &str) -> Request<Full<bytes::Bytes>> {
    let request = Request::post(format!("/api/auth/{path}"))
        .extension(PeerAddr("203.0.113.9:50000".parse().unwrap()))
        .header(header::CONTENT_TYPE, "application/json")
        .header("sec-fetch-site", "same-origin");
    let request = match cookies.is_empty() {
        true => request,
        false => request
            .header(header::COOKIE, cookies)
            .header("x-csrf-token", csrf),
    };
    request.body(Full::from(body.to_owned())).unwrap()
}

pub(super) async fn t9_a_store_that_is_away_is_503_and_no_cookie_goes(mut place: Place) {
    let node = Node::over(place.impatient_node().await, RefreshPolicy::browser());
    let pair = node.sign_in("u-ada").await;
    let token = pair.refresh_token().expose();
    let (users, hasher) = users().await;
    let login = Login::builder(users, MemoryThrottle::new(), secret())
        .hasher(hasher)
        .build();
    let endpoints = AuthEndpoints::builder(node.sessions.clone(), login, secret())
        .public_origin(ORIGIN)
        .build()
        .unwrap();
    let send = async |request| endpoints.clone().oneshot(request).await.unwrap();

    let ada = r#"{"email":"ada@example.org","password":"correct horse battery staple"}"#;
    let signed_in = send(post("login?transport=cookie", "", "", ada)).await;
    assert_eq!(signed_in.status(), StatusCode::OK);
    let set = signed_in.headers().get_all(header::SET_COOKIE).iter();
    let pairs = set.map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap());
    let pairs: Vec<_> = pairs.collect();
    let csrf = pairs
        .iter()
        .find_map(|pair| pair.strip_prefix("__Host-csrf="));
    let (cookies, csrf) = (pairs.join("; "), csrf.unwrap());
    let by_cookie = || post("refresh", &cookies, csrf, "{}");
    let by_body = || {
        post(
            "refresh",
            "",
            "",
            &format!(r#"{{"refresh_token":"{token}"}}"#),
        )
    };
    let out = || post("logout", &cookies, csrf, "{}");

    place.take_away().await;
    for error in [
        node.sessions.refresh(token).await.unwrap_err(),
        node.sessions.revoke_token(token).await.unwrap_err(),
        node.sessions
            .start(StartSession::new("u-ada"))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), SessionErrorKind::StoreUnavailable);
        assert_eq!(
            (error.status().as_u16(), error.retry_after()),
            (503, Some(1))
        );
    }
    for request in [by_cookie(), by_body(), out()] {
        let path = request.uri().clone();
        let answer = send(request).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.headers()[header::RETRY_AFTER], "1", "{path}");
        assert_eq!(
            answer.headers()[header::CACHE_CONTROL],
            "no-store",
            "{path}"
        );
        assert!(!answer.headers().contains_key(header::SET_COOKIE), "{path}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"], "temporarily_unavailable", "{path}: {body}");
    }

    place.bring_back().await;
    // The first connections may be those that were lost.
    let back = Instant::now();
    let served = async |request: &dyn Fn() -> Request<Full<bytes::Bytes>>| loop {
        let answer = send(request()).await;
        if answer.status() != StatusCode::SERVICE_UNAVAILABLE {
            return answer;
        }
        assert!(back.elapsed() < Duration::from_secs(60), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let refreshed = served(&by_cookie).await;
    assert_eq!(refreshed.status(), StatusCode::OK);
    assert!(refreshed.headers().contains_key(header::SET_COOKIE));
    assert_eq!(served(&by_body).await.status(), StatusCode::OK);
    assert_eq!(served(&out).await.status(), StatusCode::NO_CONTENT);
}
