//! Many sockets.

use std::time::Duration;

use tower_jwt_auth::store::port::RevokeReason;

use crate::support::chat::Chat;

#[tokio::test]
async fn w6_of_a_thousand_sockets_one_revocation_closes_exactly_its_own() {
    // A revocation is heard of, not found when the time is looked at.
    let chat = Chat::start_checking(Duration::from_secs(3600)).await;
    let mut sockets = Vec::new();
    for number in 0..1000 {
        let pair = chat.user(&format!("user {number}")).await;
        let socket = chat.socket(Some(pair.access_token().expose())).await;
        sockets.push((pair, socket));
    }
    for (number, (_, socket)) in sockets.iter_mut().enumerate() {
        assert_eq!(socket.echo("a").await, format!("user {number}: a"));
    }
    let (pair, mut socket) = sockets.remove(500);
    let id = pair.session_id();
    chat.sessions()
        .revoke(id, RevokeReason::Logout)
        .await
        .unwrap();
    assert_eq!(socket.closed().await, (4401, "token_revoked".to_owned()));
    for (_, socket) in &mut sockets {
        assert!(socket.echo("b").await.ends_with(": b"));
    }
}
