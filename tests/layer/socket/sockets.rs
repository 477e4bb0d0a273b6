//! WebSockets across expiry, refresh and revocation.

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tower_jwt_auth::{
    Principal, Verifier,
    layer::socket::{CloseReason, SocketAuth},
    revocation::{RETENTION, Revocation, RevocationSet},
    server::session::{LinkOutcome, LinkRequest},
    store::port::RevokeReason,
    test_util::TestClock,
    time::Clock,
};

use crate::support::chat::{Chat, user};

fn expired() -> (u16, String) {
    (4401, "token_expired".to_owned())
}

fn revoked() -> (u16, String) {
    (4401, "token_revoked".to_owned())
}

fn unauthenticated() -> (u16, String) {
    (4401, "unauthenticated".to_owned())
}

#[tokio::test]
async fn w6_a_socket_lives_across_refreshes_and_ends_with_its_session() {
    let chat = Chat::start().await;
    // Over TCP, with a server as users run it.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = chat.app.clone();
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let stream = TcpStream::connect(address).await.unwrap();

    let mut pair = chat.user("alice").await;
    let token = pair.access_token().expose().clone();
    let mut socket = chat.socket_over(stream, Some(&token)).await;
    for _ in 0..3 {
        chat.clock.advance(Duration::from_secs(500));
        assert_eq!(socket.echo("hello").await, "alice: hello");
        pair = chat.refresh(&pair).await;
        socket.authenticate(pair.access_token().expose()).await;
        assert_eq!(socket.echo("again").await, "alice: again");
    }
    let id = pair.session_id();
    chat.sessions()
        .revoke(id, RevokeReason::Logout)
        .await
        .unwrap();
    assert_eq!(socket.closed().await, revoked());
    server.abort();
}

#[tokio::test]
async fn w6_a_socket_closes_at_expiry_and_a_ping_is_no_activity() {
    let chat = Chat::start().await;
    let token = chat.user("alice").await.access_token().expose().clone();
    let left = chat.caller(&token).expires_at().unwrap().as_secs();
    let mut socket = chat.socket(Some(&token)).await;
    let now = Clock::now(&chat.clock);
    let left = u64::try_from(left - now.as_secs()).unwrap();
    chat.clock.advance(Duration::from_secs(left - 2));
    for _ in 0..5 {
        socket.ping().await;
        assert_eq!(socket.echo("still here").await, "alice: still here");
    }
    // No leeway: that is for clocks that differ, and this one has measured the time itself.
    chat.clock.advance(Duration::from_secs(3));
    assert_eq!(socket.closed().await, expired());
}

#[tokio::test]
async fn w6_the_first_message_brings_the_token() {
    let chat = Chat::start().await;
    let token = chat.guest().await.access_token().expose().clone();
    let subject = chat.caller(&token).subject().unwrap().to_owned();
    let mut socket = chat.socket(None).await;
    socket.authenticate(&token).await;
    assert_eq!(socket.echo("hi").await, format!("{subject}: hi"));

    for first in [
        "hello",
        r#"{"type":"auth"}"#,
        r#"{"type":"auth","token":"not.a.token"}"#,
        &format!(r#"{{"type":"message","token":"{token}"}}"#),
        &format!(r#"{{"type":"auth","token":"{}"}}"#, "a".repeat(20_000)),
    ] {
        let mut socket = chat.socket(None).await;
        socket.say(first).await;
        assert_eq!(socket.closed().await, unauthenticated());
    }
    // Nothing at all, for too long; a ping is no message.
    let hasty = Chat::start_hasty(Duration::from_millis(500)).await;
    let mut socket = hasty.socket(None).await;
    socket.ping().await;
    assert_eq!(socket.closed().await, unauthenticated());
}

#[tokio::test]
async fn w6_a_socket_is_renewed_by_its_own_session_alone() {
    let chat = Chat::start().await;
    let alice = chat.user("alice").await;
    let elsewhere = chat.user("alice").await;
    let (bob, guest) = (chat.user("bob").await, chat.guest().await);
    let caller = chat.caller_of(&alice);
    let scoped = chat
        .sessions()
        .conversation_token(&caller, "c1")
        .await
        .unwrap();
    let token = alice.access_token().expose();
    for foreign in [
        bob.access_token().expose(),
        guest.access_token().expose(),
        elsewhere.access_token().expose(),
        scoped.token().expose(),
    ] {
        let mut socket = chat.socket(Some(token)).await;
        assert_eq!(socket.echo("1").await, "alice: 1");
        socket.authenticate(foreign).await;
        assert_eq!(socket.closed().await, unauthenticated());
    }
    // Nor is one for a conversation widened to all of them.
    let mut socket = chat.socket(Some(scoped.token().expose())).await;
    socket.authenticate(token).await;
    assert_eq!(socket.closed().await, unauthenticated());
    // A second token for the conversation is welcome.
    let again = chat
        .sessions()
        .conversation_token(&caller, "c1")
        .await
        .unwrap();
    let mut socket = chat.socket(Some(scoped.token().expose())).await;
    socket.authenticate(again.token().expose()).await;
    assert_eq!(socket.echo("2").await, "alice: 2");
}

#[tokio::test]
async fn w6_a_token_that_is_revoked_or_expired_renews_nothing() {
    let chat = Chat::start().await;
    let alice = chat.user("alice").await;
    let token = alice.access_token().expose();
    let mut socket = chat.socket(Some(token)).await;
    chat.clock.advance(Duration::from_secs(300));
    let renewed = chat.refresh(&alice).await;
    chat.clock.advance(Duration::from_secs(200));
    socket.authenticate(renewed.access_token().expose()).await;
    assert_eq!(socket.echo("1").await, "alice: 1");
    // Long past its leeway.
    chat.clock.advance(Duration::from_secs(250));
    socket.authenticate(token).await;
    assert_eq!(socket.closed().await, expired());

    let mut socket = chat.socket(Some(renewed.access_token().expose())).await;
    chat.sessions()
        .revoke_all("alice", RevokeReason::CredentialsChanged)
        .await
        .unwrap();
    assert_eq!(socket.closed().await, revoked());
}

#[tokio::test]
async fn w5_w6_a_guests_socket_closes_when_the_guest_is_claimed() {
    let chat = Chat::start().await;
    let guest = chat.guest().await;
    let mut socket = chat.socket(Some(guest.access_token().expose())).await;
    let link = LinkRequest::from_body(chat.caller_of(&guest));
    let signed_in = chat.guests.sign_in(user("alice"), link).await.unwrap();
    assert_eq!(signed_in.outcome(), LinkOutcome::Linked);
    assert_eq!(socket.closed().await, revoked());
    // It is not turned into a user's: that is another one.
    let token = signed_in.tokens().access_token().expose();
    let mut socket = chat.socket(Some(token)).await;
    assert_eq!(socket.echo("it is me").await, "alice: it is me");
}

#[tokio::test]
async fn q12_two_revocation_sets_of_a_socket_both_count() {
    let clock = TestClock::new();
    let until = clock.now().plus(RETENTION);
    let hour = Duration::from_secs(3600);
    let verifier = Verifier::hs256("a secret of at least thirty-two bytes");
    let verifier = verifier.build().unwrap();
    let caller = || {
        Principal::builder()
            .subject("alice")
            .session_id("s")
            .build()
    };
    for second in [false, true] {
        let sets = [(); 2].map(|()| RevocationSet::local_with_clock(clock.clone()));
        // Nothing but a change wakes it.
        let auth = SocketAuth::new(verifier.clone())
            .clock(clock.clone())
            .check_every(hour)
            .revocation(sets[0].clone())
            .revocation(sets[1].clone());
        let mut guard = auth.guard(caller()).unwrap();
        let revoke = async {
            tokio::task::yield_now().await;
            sets[usize::from(second)].insert(&Revocation::session("s", until));
        };
        let closed = async { tokio::time::timeout(hour, guard.closed()).await };
        let (closed, ()) = tokio::join!(closed, revoke);
        assert_eq!(closed, Ok(CloseReason::Revoked));
        assert_eq!(auth.guard(caller()).unwrap_err(), CloseReason::Revoked);
    }
}
