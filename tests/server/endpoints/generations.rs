//! T14: every way in which an access token is used confirms the refresh token that came with it.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Principal, layer::socket::SocketAuth, server::refresh::RefreshPolicy,
    store::port::SessionStore,
};

use crate::{
    front::until,
    support::endpoints::{Answer, PASSWORD, Server, bearer, json as post, request},
};

/// A session that was refreshed once.
struct Refreshed {
    server: Server,
    first: Answer,
    second: Answer,
}

impl Refreshed {
    async fn start() -> Self {
        let server = Server::with_policy(true, RefreshPolicy::balanced()).await;
        let first = server.sign_in().await;
        let body = json!({ "refresh_token": first.refresh() });
        let second = server.post("refresh", &body).await;
        assert_eq!(second.status, 200, "{second:?}");
        Self {
            server,
            first,
            second,
        }
    }

    fn caller(&self, answer: &Answer) -> Principal {
        let token = self.server.verifier.verify_now(answer.access());
        token.unwrap().principal()
    }

    fn sockets(&self) -> SocketAuth {
        SocketAuth::new(self.server.verifier.clone())
            .clock(self.server.clock.clone())
            .confirmations(self.server.confirmations.clone())
    }

    /// The spent refresh token comes once more, after the grace window.
    async fn spent(&self) -> Answer {
        self.server.advance(Duration::from_secs(60));
        let body = json!({ "refresh_token": self.first.refresh() });
        self.server.post("refresh", &body).await
    }

    /// The second generation was confirmed, so that the spent token ends the session.
    async fn ends_as_reuse(&self, case: &str) {
        let caller = self.caller(&self.second);
        let session = caller.session_id().unwrap().parse().unwrap();
        until(case, async || {
            let peek = self.server.store.load(session).await.unwrap().unwrap();
            peek.session.family.confirmed == caller.refresh_generation()
        })
        .await;
        let refused = self.spent().await.is(400, "invalid_grant");
        assert_eq!(refused.text("code"), "refresh_token_reused", "{case}");
        let body = json!({ "refresh_token": self.second.refresh() });
        let owner = self.server.post("refresh", &body).await;
        assert_eq!(owner.text("code"), "session_revoked", "{case}");
    }
}

#[tokio::test]
async fn t14_while_nobody_used_the_successor_its_parent_is_answered() {
    let refreshed = Refreshed::start().await;
    assert_eq!(refreshed.spent().await.status, 200);
}

#[tokio::test]
async fn t14_a_request_through_the_layer_confirms() {
    let refreshed = Refreshed::start().await;
    let layer = JwtAuthLayer::new(refreshed.server.verifier.clone())
        .confirmations(refreshed.server.confirmations.clone());
    async fn inner(_: Request<()>) -> Result<http::Response<String>, ()> {
        Ok(http::Response::new(String::new()))
    }
    let request = Request::get("/")
        .header(
            "authorization",
            format!("Bearer {}", refreshed.second.access()),
        )
        .body(())
        .unwrap();
    let answer = layer
        .layer(service_fn(inner))
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    refreshed.ends_as_reuse("layer").await;
}

#[tokio::test]
async fn t14_a_socket_that_a_layer_let_in_confirms() {
    let refreshed = Refreshed::start().await;
    let caller = refreshed.caller(&refreshed.second);
    let _guard = refreshed.sockets().guard(caller).unwrap();
    refreshed.ends_as_reuse("handshake").await;
}

#[tokio::test]
async fn t14_the_first_message_of_a_socket_confirms() {
    let refreshed = Refreshed::start().await;
    let message = json!({ "type": "auth", "token": refreshed.second.access() }).to_string();
    let sockets = refreshed.sockets();
    let _guard = sockets
        .first_message(async { Some(message) })
        .await
        .unwrap();
    refreshed.ends_as_reuse("first message").await;
}

#[tokio::test]
async fn t14_the_renewal_of_a_socket_confirms() {
    let refreshed = Refreshed::start().await;
    let caller = refreshed.caller(&refreshed.first);
    let mut guard = refreshed.sockets().guard(caller).unwrap();
    guard.renew(&refreshed.second.access()).await.unwrap();
    refreshed.ends_as_reuse("renewal").await;
}

#[tokio::test]
async fn t14_every_endpoint_that_takes_an_access_token_confirms() {
    let empty = json!({});
    let linked = json!({ "email": "ada@example.org", "password": PASSWORD, "link": true });
    let wrong = json!({ "current_password": "not this one", "new_password": "another one" });
    let others = json!({ "scope": "others" });
    for (method, path, body) in [
        ("GET", "sessions", None),
        ("DELETE", "sessions/none", None),
        ("POST", "logout", Some(&others)),
        ("POST", "password", Some(&wrong)),
        ("POST", "guest", Some(&empty)),
        ("POST", "login", Some(&linked)),
    ] {
        let refreshed = Refreshed::start().await;
        let request = match body {
            Some(body) => post(path, body),
            None => request(method, path).body(Full::default()).unwrap(),
        };
        let request = bearer(request, &refreshed.second.access());
        let answer = refreshed.server.send(request).await;
        assert_ne!(answer.status, 401, "{path}");
        refreshed.ends_as_reuse(path).await;
    }
}

#[tokio::test]
async fn t14_a_cookie_at_an_endpoint_confirms() {
    let server = Server::with_policy(true, RefreshPolicy::balanced()).await;
    let mut browser = server.browser().await;
    let spent = browser.clone();
    let refreshed = server.send(browser.request("refresh")).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    browser.keep(&refreshed);
    let mut list = browser.request("sessions");
    *list.method_mut() = http::Method::GET;
    let listed = server.send(list).await;
    assert_eq!(listed.status, 200, "{listed:?}");
    let id = listed.json()["sessions"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let session = id.parse().unwrap();
    until("a cookie", async || {
        let peek = server.store.load(session).await.unwrap().unwrap();
        peek.session.family.confirmed.is_some()
    })
    .await;
    server.advance(Duration::from_secs(60));
    let reused = server.send(spent.request("refresh")).await;
    assert_eq!(reused.text("code"), "refresh_token_reused");
}

#[tokio::test]
async fn t14_a_token_for_a_conversation_is_bought_by_a_token_that_arrived() {
    let refreshed = Refreshed::start().await;
    let caller = refreshed.caller(&refreshed.second);
    let sessions = &refreshed.server.sessions;
    sessions.conversation_token(&caller, "c1").await.unwrap();
    refreshed.ends_as_reuse("conversation token").await;
}
