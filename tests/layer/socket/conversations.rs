//! Tokens for one conversation.

use std::time::Duration;

use http::StatusCode;
use tower_jwt_auth::{
    error::AuthErrorKind,
    layer::socket::{ChatContext, Owner},
    server::session::SessionErrorKind,
    store::port::RevokeReason,
};

use crate::support::chat::Chat;

#[tokio::test]
async fn w7_a_conversation_token_chats_there_and_does_nothing_else() {
    let chat = Chat::start().await;
    let alice = chat.user("alice").await;
    let session = chat.caller_of(&alice);
    let minted = chat
        .sessions()
        .conversation_token(&session, "c1")
        .await
        .unwrap();
    assert!(minted.lifetime() <= Duration::from_secs(30 * 60));
    assert!(minted.lifetime() > Duration::from_secs(25 * 60));

    let token = minted.token().expose();
    let elsewhere = chat.sessions().issuer().verifier().build().unwrap();
    let refused = elsewhere.verify_now(token).unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::WrongType);
    let caller = chat.caller(token);
    assert_eq!(caller.conversation(), Some("c1"));
    assert_eq!(caller.scope().collect::<Vec<_>>(), ["chat"]);
    assert_eq!(
        (caller.roles().count(), caller.permissions().count()),
        (0, 0)
    );
    assert_eq!(caller.session_id(), session.session_id());
    let context = chat.context(Some(token)).await;
    assert_eq!(context["user_id"], "alice");
    assert_eq!(context["conversation"], "c1");
    assert_eq!(context["can_manage_tasks"], false);
    assert_eq!(chat.status("/any", token).await, StatusCode::OK);
    assert_eq!(chat.status("/user", token).await, StatusCode::FORBIDDEN);

    // It buys no token for another one, and dies with its session.
    let other = chat.sessions().conversation_token(&caller, "c2").await;
    assert_eq!(other.unwrap_err().kind(), SessionErrorKind::Invalid);
    let id = alice.session_id();
    chat.sessions()
        .revoke(id, RevokeReason::Logout)
        .await
        .unwrap();
    chat.all_nodes_refuse(&caller).await;
    assert_eq!(chat.status("/any", token).await, StatusCode::UNAUTHORIZED);
    let late = chat.sessions().conversation_token(&session, "c1").await;
    assert_eq!(late.unwrap_err().kind(), SessionErrorKind::Revoked);
}

#[tokio::test]
async fn another_issuers_token_buys_no_conversation() {
    let chat = Chat::start().await;
    let alice = chat.caller_of(&chat.user("alice").await);
    let foreign = tower_jwt_auth::Principal::builder()
        .issuer("https://other.example")
        .subject("alice")
        .session_id(alice.session_id().unwrap())
        .build();
    let refused = chat.sessions().conversation_token(&foreign, "c1").await;
    assert_eq!(refused.unwrap_err().kind(), SessionErrorKind::Invalid);
}

#[tokio::test]
async fn a_guests_conversation_token_is_a_guests() {
    let chat = Chat::start().await;
    let session = chat.caller_of(&chat.guest().await);
    let minted = chat
        .sessions()
        .conversation_token(&session, "c1")
        .await
        .unwrap();
    let token = minted.token().expose();
    assert_eq!(chat.status("/any", token).await, StatusCode::OK);
    assert_eq!(chat.status("/guest", token).await, StatusCode::FORBIDDEN);
    assert!(!chat.guests.is_alive(&chat.caller(token)).await.unwrap());
    for nameless in ["".to_owned(), "c".repeat(256)] {
        let refused = chat
            .sessions()
            .conversation_token(&session, &nameless)
            .await;
        assert_eq!(refused.unwrap_err().kind(), SessionErrorKind::NotMinted);
    }
}

#[tokio::test]
async fn a_conversation_is_entered_by_its_owner_with_a_token_that_is_good_there() {
    let chat = Chat::start().await;
    let session = chat.caller_of(&chat.user("alice").await);
    let minted = chat
        .sessions()
        .conversation_token(&session, "c1")
        .await
        .unwrap();
    let scoped = chat.caller(minted.token().expose());
    for (caller, conversation, owner, may) in [
        (&session, "c1", "alice", true),
        (&session, "c2", "alice", true),
        (&session, "c1", "bob", false),
        (&scoped, "c1", "alice", true),
        (&scoped, "c2", "alice", false),
        (&scoped, "c1", "bob", false),
    ] {
        let context = context_of(caller.clone()).await;
        let answer =
            context.may_enter(conversation, &Owner::new(Some("https://as.example"), owner));
        assert_eq!(answer, may, "{conversation} of {owner}");
    }
}

async fn context_of(caller: tower_jwt_auth::Principal) -> ChatContext {
    use tower::{ServiceBuilder, ServiceExt, service_fn};

    let inner = service_fn(async |request: http::Request<()>| {
        let context = ChatContext::from_extensions(request.extensions())
            .unwrap()
            .clone();
        let mut response = http::Response::new(String::new());
        response.extensions_mut().insert(context);
        Ok::<_, ()>(response)
    });
    let layers = ServiceBuilder::new().layer(tower_jwt_auth::test_util::signed_in(caller));
    let service = layers
        .layer(tower_jwt_auth::layer::socket::ChatLayer::new())
        .service(inner);
    let response = service.oneshot(http::Request::new(())).await.unwrap();
    response.extensions().get::<ChatContext>().unwrap().clone()
}
