//! Guests who turn out to be somebody.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tower_jwt_auth::{
    error::StoreError,
    event::channel,
    revocation::RevocationSet,
    secret::SecretKey,
    server::session::{
        ClaimHook, GuestStart, Guests, LinkOutcome, LinkRequest, Promotion, SessionErrorKind,
        Sessions, StartSession,
    },
    store::{
        MemoryStore,
        port::{GuestStore, RevokeReason},
    },
    test_util::TestClock,
};

use crate::support::chat::{Chat, user};

/// Conversations that move, unless they are told not to.
#[derive(Default)]
struct Hook {
    moved: Mutex<Vec<(String, String)>>,
    down: AtomicBool,
    panics: AtomicBool,
    /// How often it was asked.
    asked: AtomicU32,
}

impl ClaimHook for Hook {
    async fn on_claim(&self, guest: &str, user: &str) -> Result<(), StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "the hook panics");
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("the conversations are down"));
        }
        let moved = (guest.to_owned(), user.to_owned());
        self.moved.lock().unwrap().push(moved);
        Ok(())
    }
}

/// A chat, the store below it, and the hook of its claims.
struct Guesthouse {
    chat: Chat,
    store: MemoryStore,
    hook: Arc<Hook>,
}

impl Guesthouse {
    async fn start() -> Self {
        let (clock, hook) = (TestClock::new(), Arc::<Hook>::default());
        let store = MemoryStore::with_clock(clock.clone());
        let times = [Duration::from_millis(5), Duration::from_secs(60)];
        let claims = Arc::clone(&hook);
        let chat = Chat::on(
            store.clone(),
            clock,
            |guests| guests.on_claim(claims),
            times,
        )
        .await;
        Self { chat, store, hook }
    }
}

impl Deref for Guesthouse {
    type Target = Chat;

    fn deref(&self) -> &Chat {
        &self.chat
    }
}

#[tokio::test]
async fn w1_routes_demand_a_user_a_guest_or_either() {
    let chat = Guesthouse::start().await;
    let (alice, guest) = (chat.user("alice").await, chat.guest().await);
    let [alice, guest] = [&alice, &guest].map(|pair| pair.access_token().expose().as_str());
    for (path, of_user, of_guest) in [
        ("/user", StatusCode::OK, StatusCode::FORBIDDEN),
        ("/guest", StatusCode::FORBIDDEN, StatusCode::OK),
        ("/any", StatusCode::OK, StatusCode::OK),
    ] {
        assert_eq!(chat.status(path, alice).await, of_user, "{path}");
        assert_eq!(chat.status(path, guest).await, of_guest, "{path}");
        let (nobody, _) = chat.get(path, None).await;
        assert_eq!(nobody, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(chat.get("/any", Some(guest)).await.1, "true");
}

#[tokio::test]
async fn w1_a_guest_is_a_subject_of_its_own_and_asked_for_twice_the_same() {
    let chat = Guesthouse::start().await;
    let (one, other) = (chat.guest().await, chat.guest().await);
    let [one, other] = [&one, &other].map(|pair| chat.caller_of(pair));
    assert!(one.subject().unwrap().starts_with("gst_"));
    assert_ne!(one.subject(), other.subject());
    assert_ne!(one.session_id(), other.session_id());
    assert_eq!(one.roles().count(), 0);
    assert!(chat.guests.is_alive(&one).await.unwrap());

    // A user is no guest, nor is a guest who signed out, though its token has not expired.
    let alice = chat.user("alice").await;
    assert!(!chat.guests.is_alive(&chat.caller_of(&alice)).await.unwrap());
    let id = other.session_id().unwrap().parse().unwrap();
    chat.sessions()
        .revoke(id, RevokeReason::Logout)
        .await
        .unwrap();
    assert!(!chat.guests.is_alive(&other).await.unwrap());
    let link = LinkRequest::from_body(other);
    let signed_in = chat.guests.sign_in(user("alice"), link).await.unwrap();
    assert_eq!(signed_in.outcome(), LinkOutcome::Expired);
}

#[tokio::test]
async fn guests_of_another_store_than_the_sessions_are_refused() {
    let chat = Guesthouse::start().await;
    let build = |store| Guests::builder(chat.sessions().clone(), store).build();
    assert!(build(chat.store.clone()).is_ok());
    let error = build(MemoryStore::new()).unwrap_err().to_string();
    assert!(
        error.contains("must be the store of the sessions"),
        "{error}"
    );
}

/// No feed fills this set: what ends is in it by the sessions' own word.
#[tokio::test]
async fn t11_the_node_of_a_claim_or_a_promotion_refuses_the_guest_at_once() {
    let chat = Guesthouse::start().await;
    let own = RevocationSet::local_with_clock(chat.clock.clone());
    let (sink, mut told) = channel(10);
    let sessions = Sessions::builder(chat.sessions().issuer().clone(), chat.store.clone())
        .secret(SecretKey::generate())
        .revocation(own.clone())
        .events(sink)
        .build()
        .unwrap();
    let guests = Guests::builder(sessions, chat.store.clone())
        .build()
        .unwrap();

    let [claimed, promoted] = [chat.guest().await, chat.guest().await];
    let [claimed, promoted] = [&claimed, &promoted].map(|pair| chat.caller_of(pair));
    let link = LinkRequest::from_body(claimed.clone());
    let signed_in = guests.sign_in(user("alice"), link).await.unwrap();
    assert_eq!(signed_in.outcome(), LinkOutcome::Linked);
    assert!(own.contains(&claimed) && !own.contains(&promoted));

    let link = LinkRequest::from_body(promoted.clone());
    let promotion = guests.promote(&link).await.unwrap();
    assert!(matches!(promotion, Promotion::Promoted { .. }));
    assert!(own.contains(&promoted));

    // Each of it is told as what it is.
    guests.start(GuestStart::new()).await.unwrap();
    let mut heard = Vec::new();
    while let Some(record) = told.try_recv() {
        heard.push((record.name, record.object));
    }
    let claimed = claimed.subject().map(str::to_owned);
    assert_eq!(
        heard,
        [
            ("session.created", None),
            ("guest.claimed", claimed),
            ("guest.promoted", None),
            ("guest.created", None),
        ]
    );
}

#[tokio::test]
async fn w2_signing_in_mints_a_new_family_and_revokes_the_guests() {
    let chat = Guesthouse::start().await;
    let guest = chat.guest().await;
    let caller = chat.caller_of(&guest);
    let link = LinkRequest::from_body(caller.clone());
    let signed_in = chat.guests.sign_in(user("alice"), link).await.unwrap();
    assert_eq!(signed_in.outcome(), LinkOutcome::Linked);

    let alice = chat.caller_of(signed_in.tokens());
    assert_eq!(alice.subject(), Some("alice"));
    assert_ne!(alice.session_id(), caller.session_id());
    let refused = chat
        .sessions()
        .refresh(guest.refresh_token().expose())
        .await;
    assert_eq!(refused.unwrap_err().kind(), SessionErrorKind::Revoked);
    chat.refresh(signed_in.tokens()).await;
    // The conversation goes on: the application was told to move it, once.
    let moved = chat.hook.moved.lock().unwrap().clone();
    let of_guest = caller.subject().unwrap().to_owned();
    assert_eq!(moved, [(of_guest, "alice".to_owned())]);
}

#[tokio::test]
async fn w3_of_two_users_who_claim_one_guest_at_once_one_wins() {
    for _ in 0..20 {
        let chat = Guesthouse::start().await;
        let caller = chat.caller_of(&chat.guest().await);
        let sign_in = |name: &str| {
            let link = LinkRequest::from_body(caller.clone());
            chat.guests.sign_in(user(name), link)
        };
        let (alice, bob) = tokio::join!(sign_in("alice"), sign_in("bob"));
        let outcomes = [alice.unwrap().outcome(), bob.unwrap().outcome()];
        let won = |outcome: &&LinkOutcome| **outcome == LinkOutcome::Linked;
        assert_eq!(outcomes.iter().filter(won).count(), 1, "{outcomes:?}");
        assert!(
            outcomes.contains(&LinkOutcome::AlreadyClaimed),
            "{outcomes:?}"
        );
        assert_eq!(chat.hook.moved.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn w4_a_planted_guest_cookie_without_the_link_flag_is_ignored() {
    let chat = Guesthouse::start().await;
    let planted = chat.guest().await;
    let caller = chat.caller_of(&planted);
    // Without the flag there is no `LinkRequest`, and a login knows no guest.
    chat.sessions().start(user("alice")).await.unwrap();
    let kept = chat
        .store
        .find_guest(caller.subject().unwrap())
        .await
        .unwrap();
    assert_eq!(kept.unwrap().guest.claim, None);
    assert!(chat.hook.moved.lock().unwrap().is_empty());
    assert!(chat.guests.is_alive(&caller).await.unwrap());
}

#[tokio::test]
async fn w4_a_planted_guest_cookie_is_refused_without_its_device_also_where_the_person_says_yes() {
    let chat = Guesthouse::start().await;
    let start = GuestStart::new().bound_to_device();
    let [own, attackers] = [
        chat.guests.start(start.clone()).await.unwrap(),
        chat.guests.start(start).await.unwrap(),
    ];
    let planted = chat.caller_of(attackers.tokens());
    let unbound = chat.caller_of(&chat.guest().await);
    let device = own.device().unwrap().expose().as_str();
    for link in [
        LinkRequest::from_cookie(planted.clone(), None),
        LinkRequest::from_cookie(planted.clone(), Some(device)),
        LinkRequest::from_cookie(planted.clone(), Some("")),
        LinkRequest::from_body(planted.clone()),
        // Started where no cookies were, to be planted where they are.
        LinkRequest::from_cookie(unbound.clone(), None),
        LinkRequest::from_cookie(unbound, Some(device)),
    ] {
        let signed_in = chat.guests.sign_in(user("alice"), link).await.unwrap();
        assert_eq!(signed_in.outcome(), LinkOutcome::NotFound);
    }
    assert!(chat.hook.moved.lock().unwrap().is_empty());

    let link = LinkRequest::from_cookie(chat.caller_of(own.tokens()), Some(device));
    let signed_in = chat.guests.sign_in(user("alice"), link).await.unwrap();
    assert_eq!(signed_in.outcome(), LinkOutcome::Linked);
}

#[tokio::test]
async fn w4_who_is_a_user_or_did_not_write_for_an_hour_is_not_linked() {
    let chat = Guesthouse::start().await;
    let bob = chat.user("bob").await;
    let link = LinkRequest::from_body(chat.caller_of(&bob));
    let signed_in = chat.guests.sign_in(user("alice"), link).await.unwrap();
    assert_eq!(signed_in.outcome(), LinkOutcome::NotFound);
    chat.refresh(&bob).await;

    let guest = chat.guest().await;
    let subject = chat.caller_of(&guest).subject().unwrap().to_owned();
    chat.clock.advance(Duration::from_secs(3601));
    let caller = chat.caller_of(&chat.refresh(&guest).await);
    let link = LinkRequest::from_body(caller.clone());
    let signed_in = chat.guests.sign_in(user("alice"), link).await.unwrap();
    assert_eq!(signed_in.outcome(), LinkOutcome::Expired);
    assert!(chat.guests.touch(&subject).await.unwrap());
    let link = LinkRequest::from_body(caller);
    let signed_in = chat.guests.sign_in(user("alice"), link).await.unwrap();
    assert_eq!(signed_in.outcome(), LinkOutcome::Linked);
    assert!(!chat.guests.touch(&subject).await.unwrap());
}

#[tokio::test]
async fn w5_the_guests_token_is_dead_on_all_nodes_after_the_claim() {
    let chat = Guesthouse::start().await;
    let guest = chat.guest().await;
    let token = guest.access_token().expose();
    let caller = chat.caller_of(&guest);
    let conversation = chat.sessions().conversation_token(&caller, "c1").await;
    let conversation = conversation.unwrap();
    let of_conversation = chat.caller(conversation.token().expose());
    assert_eq!(chat.status("/guest", token).await, StatusCode::OK);
    for node in &chat.nodes {
        assert!(!node.contains(&caller));
    }
    let link = LinkRequest::from_body(caller.clone());
    let signed_in = chat.guests.sign_in(user("alice"), link).await.unwrap();
    chat.all_nodes_refuse(&caller).await;
    chat.all_nodes_refuse(&of_conversation).await;
    for path in ["/guest", "/any", "/chat/context"] {
        assert_eq!(chat.status(path, token).await, StatusCode::UNAUTHORIZED);
    }
    let token = conversation.token().expose();
    assert_eq!(chat.status("/any", token).await, StatusCode::UNAUTHORIZED);
    let token = signed_in.tokens().access_token().expose();
    assert_eq!(chat.status("/user", token).await, StatusCode::OK);
}

#[tokio::test]
async fn a_promoted_guest_keeps_its_subject_and_none_of_its_tokens() {
    let chat = Guesthouse::start().await;
    let guest = chat.guest().await;
    let caller = chat.caller_of(&guest);
    let link = LinkRequest::from_body(caller.clone());
    let promoted = chat.guests.promote(&link).await.unwrap();
    let Promotion::Promoted { subject, epoch, .. } = promoted else {
        panic!("{promoted:?}");
    };
    assert_eq!(caller.subject(), Some(subject.as_str()));
    let account = chat.sessions().start(user(&subject).epoch(epoch)).await;
    let account = account.unwrap();

    chat.all_nodes_refuse(&caller).await;
    let token = guest.access_token().expose();
    assert_eq!(chat.status("/any", token).await, StatusCode::UNAUTHORIZED);
    let token = account.access_token().expose();
    assert_eq!(
        chat.get("/user", Some(token)).await,
        (StatusCode::OK, subject.clone())
    );
    assert_eq!(
        chat.guests.owner(&subject).await.unwrap(),
        Some(subject.clone())
    );
    // It is nobody's guest any more, and not promoted twice: who asks again may go on with what was
    // begun, within the hour.
    match chat.guests.promote(&link).await.unwrap() {
        Promotion::Before {
            subject: again,
            epoch: since,
            ..
        } => assert_eq!((again, since), (subject.clone(), epoch)),
        other => panic!("{other:?}"),
    }
    let signed_in = chat.guests.sign_in(user("bob"), link.clone()).await;
    assert_eq!(signed_in.unwrap().outcome(), LinkOutcome::AlreadyClaimed);
    let other = link.clone().device("another");
    let promoted = chat.guests.promote(&other).await.unwrap();
    assert_eq!(promoted, Promotion::Refused);
    chat.store.age_guest(&subject, Duration::from_secs(3601));
    assert_eq!(chat.guests.promote(&link).await.unwrap(), Promotion::Taken);
}

#[tokio::test]
async fn a_claimed_guest_is_not_promoted_and_one_that_went_is_nobodys() {
    let chat = Guesthouse::start().await;
    let [claimed, gone] = [chat.guest().await, chat.guest().await];
    let [claimed, gone] = [&claimed, &gone].map(|pair| chat.caller_of(pair));
    let link = LinkRequest::from_body(claimed);
    let signed_in = chat.guests.sign_in(user("alice"), link.clone()).await;
    assert_eq!(signed_in.unwrap().outcome(), LinkOutcome::Linked);
    assert_eq!(chat.guests.promote(&link).await.unwrap(), Promotion::Taken);

    let session = gone.session_id().unwrap().parse().unwrap();
    let ended = chat.sessions().revoke(session, RevokeReason::Logout).await;
    ended.unwrap();
    let link = LinkRequest::from_body(gone);
    assert_eq!(
        chat.guests.promote(&link).await.unwrap(),
        Promotion::Expired
    );
}

#[tokio::test]
async fn a_hook_that_fails_signs_in_all_the_same_and_is_called_again() {
    let chat = Guesthouse::start().await;
    let caller = chat.caller_of(&chat.guest().await);
    chat.hook.down.store(true, Ordering::SeqCst);
    let link = LinkRequest::from_body(caller.clone());
    let signed_in = chat.guests.sign_in(user("alice"), link).await.unwrap();
    assert_eq!(signed_in.outcome(), LinkOutcome::Pending);
    chat.all_nodes_refuse(&caller).await;
    chat.refresh(signed_in.tokens()).await;

    // Not due yet; then due and failing; then told.
    let retried = chat.guests.run_pending_claims().await.unwrap();
    assert_eq!((retried.settled, retried.failed), (0, 0));
    chat.clock.advance(Duration::from_secs(31));
    let retried = chat.guests.run_pending_claims().await.unwrap();
    assert_eq!((retried.settled, retried.failed), (0, 1));
    chat.hook.down.store(false, Ordering::SeqCst);
    chat.clock.advance(Duration::from_secs(61));
    let retried = chat.guests.run_pending_claims().await.unwrap();
    assert_eq!((retried.settled, retried.failed), (1, 0));
    chat.clock.advance(Duration::from_secs(7200));
    let retried = chat.guests.run_pending_claims().await.unwrap();
    assert_eq!((retried.settled, retried.failed), (0, 0));
    assert_eq!(chat.hook.moved.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn the_servers_own_late_writes_follow_a_claim_for_30_seconds() {
    let chat = Guesthouse::start().await;
    let caller = chat.caller_of(&chat.guest().await);
    let guest = caller.subject().unwrap().to_owned();
    let owner = async || chat.guests.owner(&guest).await.unwrap();
    assert_eq!(owner().await.as_ref(), Some(&guest));
    let link = LinkRequest::from_body(caller);
    chat.guests.sign_in(user("alice"), link).await.unwrap();
    assert_eq!(owner().await.as_deref(), Some("alice"));
    chat.clock.advance(Duration::from_millis(29_999));
    assert_eq!(owner().await.as_deref(), Some("alice"));
    chat.clock.advance(Duration::from_millis(1));
    assert_eq!(owner().await, None);
    assert_eq!(chat.guests.owner("gst_unknown").await.unwrap(), None);
}

#[tokio::test]
async fn a_login_that_fails_claims_nothing() {
    let chat = Guesthouse::start().await;
    let caller = chat.caller_of(&chat.guest().await);
    chat.sessions()
        .revoke_all("alice", RevokeReason::Logout)
        .await
        .unwrap();
    // All of Alice's sessions were ended while her password was looked at.
    let late = StartSession::new("alice").epoch(0);
    let refused = chat
        .guests
        .sign_in(late, LinkRequest::from_body(caller.clone()))
        .await;
    assert_eq!(refused.unwrap_err().kind(), SessionErrorKind::Superseded);
    assert!(chat.guests.is_alive(&caller).await.unwrap());
}

#[tokio::test]
async fn q11_pending_claims_go_on_after_a_hook_that_panicked() {
    let chat = Guesthouse::start().await;
    chat.hook.panics.store(true, Ordering::SeqCst);
    let link = LinkRequest::from_body(chat.caller_of(&chat.guest().await));
    let signed_in = chat.guests.sign_in(user("alice"), link).await.unwrap();
    assert_eq!(signed_in.outcome(), LinkOutcome::Pending);
    let worker = chat.guests.spawn_claim_worker();
    let asked = chat.hook.asked.load(Ordering::SeqCst);
    while chat.hook.asked.load(Ordering::SeqCst) < asked + 2 {
        chat.clock.advance(Duration::from_secs(3600));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    chat.hook.panics.store(false, Ordering::SeqCst);
    while chat.hook.moved.lock().unwrap().is_empty() {
        chat.clock.advance(Duration::from_secs(3600));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(worker);
}
