//! Streams of events.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_jwt_auth::store::port::RevokeReason;

use crate::support::chat::Chat;

async fn events(chat: &Chat, token: &str) -> BodyDataStream {
    let request = Request::get("/chat/events")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    let response = chat.app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut events = response.into_body().into_data_stream();
    assert_eq!(next(&mut events).await, Some("data: hello\n\n".to_owned()));
    events
}

async fn next(events: &mut BodyDataStream) -> Option<String> {
    let next = tokio::time::timeout(Duration::from_secs(60), events.next()).await;
    let event = next.expect("something comes, or the end")?;
    Some(String::from_utf8(event.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn w6_a_stream_of_events_ends_as_a_socket_does() {
    let chat = Chat::start().await;
    let alice = chat.user("alice").await;
    let mut stream = events(&chat, alice.access_token().expose()).await;
    let id = alice.session_id();
    chat.sessions()
        .revoke(id, RevokeReason::Logout)
        .await
        .unwrap();
    let last = next(&mut stream).await;
    assert_eq!(
        last.as_deref(),
        Some("event: close\ndata: token_revoked\n\n")
    );
    assert_eq!(next(&mut stream).await, None);

    let guest = chat.guest().await;
    let mut stream = events(&chat, guest.access_token().expose()).await;
    chat.clock.advance(Duration::from_secs(600));
    let last = next(&mut stream).await;
    assert_eq!(
        last.as_deref(),
        Some("event: close\ndata: token_expired\n\n")
    );
    assert_eq!(next(&mut stream).await, None);
}
