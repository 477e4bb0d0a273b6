//! T14 with `AUTH_REFRESH_POLICY=balanced`: each place where an access token is used, alone, confirms
//! its refresh token, so that a spent one ends the session.

use std::time::Duration;

use http::{Request, header::SEC_WEBSOCKET_PROTOCOL};
use http_body_util::Full;
use serde_json::json;
use tower_jwt_auth::store::port::SessionStore;

use super::{Answer, Front, bearer, request, until};

/// The grace is a second, so that a test need not wait for half a minute.
const BALANCED: [(&str, &str); 2] = [
    ("AUTH_REFRESH_POLICY", "balanced"),
    ("AUTH_REFRESH_GRACE_SECONDS", "1"),
];

/// A session that was refreshed once.
struct Refreshed {
    front: Front,
    first: Answer,
    second: Answer,
}

impl Refreshed {
    async fn on_each() -> Vec<Self> {
        let mut refreshed = Vec::new();
        for front in Front::on_each(&BALANCED).await {
            let first = front.sign_in().await;
            let second = front.refresh(&first.refresh()).await;
            assert_eq!(second.status, 200, "{second:?}");
            refreshed.push(Self {
                front,
                first,
                second,
            });
        }
        refreshed
    }

    /// The spent refresh token comes once more, after the grace.
    async fn spent(&self) -> Answer {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        self.front.refresh(&self.first.refresh()).await
    }

    /// The successor was confirmed, so that the spent token ends the session everywhere.
    async fn ends(&self, case: &str) {
        let case = format!("{case}, {}", self.front.kind());
        let access = self.second.access();
        let generation = self.front.caller(&access).refresh_generation();
        let session = self.front.session(&access);
        until(&case, async || {
            let loaded = SessionStore::load(&self.front.store, session).await;
            loaded.unwrap().unwrap().session.family.confirmed == generation
        })
        .await;
        let spent = self.spent().await;
        assert_eq!(spent.status, 400, "{case}: {spent:?}");
        assert_eq!(spent.text("code"), "refresh_token_reused", "{case}");
        let owner = self.front.refresh(&self.second.refresh()).await;
        assert_eq!(owner.text("code"), "session_revoked", "{case}");
        assert_eq!(self.front.call(&access).await, 401, "{case}");
        assert!(self.front.events.take().contains(&"session.reuse_detected"));
    }
}

#[tokio::test]
async fn t14_an_unused_successor_leaves_the_session_alive() {
    for refreshed in Refreshed::on_each().await {
        assert_eq!(refreshed.spent().await.status, 200);
    }
}

#[tokio::test]
async fn t14_a_request_through_the_layer_alone_confirms() {
    for refreshed in Refreshed::on_each().await {
        let access = refreshed.second.access();
        assert_eq!(refreshed.front.call(&access).await, 200);
        refreshed.ends("layer").await;
    }
}

#[tokio::test]
async fn t14_a_cookie_through_the_layer_alone_confirms() {
    for refreshed in Refreshed::on_each().await {
        let request = Request::get("/").header("sec-fetch-site", "same-origin");
        let request = request.header("cookie", format!("at={}", refreshed.second.access()));
        let request = request.body(()).unwrap();
        let (status, caller) = refreshed.front.through_layer(request).await;
        assert_eq!(status, 200);
        assert!(caller.is_some());
        refreshed.ends("cookie").await;
    }
}

#[tokio::test]
async fn t14_a_handshake_alone_confirms() {
    for refreshed in Refreshed::on_each().await {
        let caller = refreshed.front.caller(&refreshed.second.access());
        let guard = refreshed.front.auth.sockets().guard(caller).unwrap();
        refreshed.ends("handshake").await;
        drop(guard);
    }
}

#[tokio::test]
async fn t14_a_first_message_alone_confirms() {
    for refreshed in Refreshed::on_each().await {
        let message = json!({ "type": "auth", "token": refreshed.second.access() }).to_string();
        let sockets = refreshed.front.auth.sockets();
        let guard = sockets.first_message(async { Some(message) }).await;
        assert!(guard.is_ok());
        refreshed.ends("first message").await;
    }
}

#[tokio::test]
async fn t14_the_layer_for_handshakes_alone_confirms() {
    use tower::{Layer, ServiceExt, service_fn};

    for refreshed in Refreshed::on_each().await {
        let protocols = format!("bearer, {}", refreshed.second.access());
        let request = Request::get("/").header(SEC_WEBSOCKET_PROTOCOL, protocols);
        let request = request.header("upgrade", "websocket").body(()).unwrap();
        let inner = service_fn(async |request: Request<()>| {
            let caller = request.extensions().get::<tower_jwt_auth::Principal>();
            assert!(caller.is_some());
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        });
        let layer = refreshed.front.auth.socket_layer();
        let Ok(answer) = layer.layer(inner).oneshot(request).await;
        assert_eq!(answer.status(), 200);
        refreshed.ends("handshake layer").await;
    }
}

#[tokio::test]
async fn t14_an_endpoint_alone_confirms() {
    for refreshed in Refreshed::on_each().await {
        let list = request("GET", "sessions").body(Full::default()).unwrap();
        let list = bearer(list, &refreshed.second.access());
        assert_eq!(refreshed.front.send(list).await.status, 200);
        refreshed.ends("endpoint").await;
    }
}
