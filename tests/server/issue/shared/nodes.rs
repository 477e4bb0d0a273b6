//! Nodes that start, rotate, lose their store and come back.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tokio::task::JoinSet;
use tower::ServiceExt;
use tower_jwt_auth::{
    ConfigError, JwtAuthLayer,
    error::AuthErrorKind,
    event::{AuthEvent, sink_fn},
    key::Algorithm,
    server::{
        endpoints::AuthEndpoints,
        issue::{
            AccessTokenClaims, IssueError, KeyRing, KeyState, RotationError, SharedKeyRing,
            SharedRingError, TokenIssuer,
        },
        login::{Argon2Cost, Identifier, Login, PasswordHasher},
        refresh::RefreshPolicy,
        session::{GuestStart, Guests, LinkRequest, SessionErrorKind, Sessions, StartSession},
    },
    store::{
        MemoryStore,
        port::{KeyRingStore, UserStore},
    },
    test_util::TestClock,
    time::Clock,
};

use super::{HOUR, LEAD, Link, MINUTE, Node, ROTATE, key, stored};
use crate::support::issuing::{AUDIENCE, alice, generated, issuer, kids};

#[tokio::test]
async fn s8_of_many_nodes_that_start_one_creates_the_ring_and_one_rotates_it() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let mut starting = JoinSet::new();
    for _ in 0..20 {
        let (store, clock) = (store.clone(), clock.clone());
        starting.spawn(async move { Node::start(&store, &clock).await });
    }
    let nodes = Arc::new(starting.join_all().await);
    let mut rotating = JoinSet::new();
    for node in 0..20 {
        let nodes = Arc::clone(&nodes);
        rotating.spawn(async move { nodes[node].ring.rotate().await.unwrap() });
    }
    rotating.join_all().await;
    let sets: std::collections::HashSet<_> = {
        for node in nodes.iter() {
            node.ring.refresh().await.unwrap();
        }
        nodes.iter().map(|node| node.issuer.keys().jwks()).collect()
    };
    assert_eq!(sets.len(), 1);
    assert_eq!(nodes[0].ring.statuses().len(), 2);
    assert_eq!(stored(&store).await.revision, 2);
}

#[tokio::test]
async fn s8_a_key_is_published_signs_at_its_time_on_every_node_and_goes() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let rotations = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&rotations);
    let count = sink_fn(move |event| {
        if let AuthEvent::KeyRotated { .. } = event {
            *counted.lock().unwrap() += 1;
        }
    });
    let a = Node::start(&store, &clock).await;
    let link = Link::new(&store);
    let b = Node::builder(&link, &clock, "a")
        .events(count)
        .open()
        .await
        .unwrap();
    let first = kids(&b.keys(), KeyState::Active);
    let old = a.token();

    clock.advance(ROTATE - LEAD);
    a.ring.refresh().await.unwrap();
    b.refresh().await.unwrap();
    let next = kids(&b.keys(), KeyState::Next);
    assert_eq!(
        (next.len(), kids(&a.ring.keys(), KeyState::Next)),
        (1, next.clone())
    );
    clock.advance(LEAD - Duration::from_secs(1));
    assert_eq!(kids(&b.keys(), KeyState::Active), first);
    // No node loads anything at the moment itself.
    clock.advance(Duration::from_secs(1));
    for keys in [a.ring.keys(), b.keys()] {
        assert_eq!(kids(&keys, KeyState::Active), next);
        assert_eq!(kids(&keys, KeyState::Retiring), first);
    }
    b.refresh().await.unwrap();
    assert_eq!(*rotations.lock().unwrap(), 1);

    let private = stored(&store).await.keys.matches("\"signing\"").count();
    clock.advance(MINUTE);
    b.refresh().await.unwrap();
    let left = stored(&store).await.keys.matches("\"signing\"").count();
    assert_eq!((private, left), (2, 1), "the old private part is deleted");
    assert_eq!(b.statuses().len(), 2);
    let renewed = issuer_of(&b)
        .verifier()
        .leeway(HOUR / 12)
        .without_cache()
        .build()
        .unwrap();
    assert_eq!(
        renewed.verify_now(&old).unwrap_err().kind(),
        AuthErrorKind::Expired
    );
    clock.advance(35 * MINUTE);
    b.refresh().await.unwrap();
    assert!(
        kids(&b.keys(), KeyState::Retiring).is_empty(),
        "{:?}",
        b.statuses()
    );
}

fn issuer_of(ring: &SharedKeyRing) -> TokenIssuer {
    issuer(ring.keys())
}

#[tokio::test]
async fn s8_a_node_without_its_store_stops_signing_after_the_lead_and_comes_back() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let a = Node::start(&store, &clock).await;
    let link = Link::new(&store);
    let ring = Node::builder(&link, &clock, "a").events(sink_fn(move |event| {
        heard.lock().unwrap().push(event.name())
    }));
    let ring = ring.open().await.unwrap();
    let issuer = issuer_of(&ring);
    let layer = JwtAuthLayer::new(issuer.verifier().without_cache().build().unwrap());
    let sessions = Sessions::builder(issuer.clone(), store.clone())
        .secret(key("s"))
        .policy(RefreshPolicy::strict())
        .build()
        .unwrap();
    let pair = sessions.start(StartSession::new("bob")).await.unwrap();
    let minted = || issuer.issue_access_token(AccessTokenClaims::for_subject("alice"));

    link.up.store(false, Ordering::Relaxed);
    a.ring.rotate().await.unwrap();
    clock.advance(LEAD);
    assert!(minted().is_ok() && layer.is_ready());
    clock.advance(Duration::from_millis(1));
    assert!(matches!(minted(), Err(IssueError::KeysUnavailable)));
    assert!(!layer.is_ready());
    let refused = sessions
        .start(StartSession::new("alice"))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), SessionErrorKind::KeysUnavailable);
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.retry_after().is_some());
    // Nothing is spent by a refresh that this node cannot answer, even without a grace window.
    let presented = pair.refresh_token().expose();
    let refused = sessions.refresh(presented).await.unwrap_err();
    assert_eq!(refused.kind(), SessionErrorKind::KeysUnavailable);
    let answer = issuer.jwks().oneshot(Request::new(())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);

    // By now the other node signs with a key that this one never saw: not 401.
    clock.advance(MINUTE);
    a.ring.refresh().await.unwrap();
    let token = a.token();
    let verifier = issuer.verifier().build().unwrap();
    let refused = verifier.verify_now(&token).unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::KeysUnavailable);
    // A token of another issuer waits for nothing.
    let foreign = TokenIssuer::builder(KeyRing::new(generated(Algorithm::EdDsa)).unwrap())
        .issuer("https://another.example")
        .audience(AUDIENCE)
        .build()
        .unwrap();
    let refused = verifier.verify_now(alice(&foreign)).unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::UnknownKey);

    link.up.store(true, Ordering::Relaxed);
    ring.refresh().await.unwrap();
    assert!(layer.is_ready() && minted().is_ok());
    assert!(verifier.verify_now(&token).is_ok());
    assert!(sessions.refresh(presented).await.is_ok());
    let events = || events.lock().unwrap().clone();
    let stale = || {
        events()
            .iter()
            .filter(|name| **name == "key_ring.stale")
            .count()
    };
    assert!(stale() <= 1, "{:?}", events());
}

#[tokio::test]
async fn s8_a_machine_that_slept_notices_it_by_its_wall_clock() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(TestClock::new());
    let link = Link::new(&store);
    let node = Node::open(link, &clock, "a").await.unwrap();
    node.link.up.store(false, Ordering::Relaxed);
    let slept = clock.now().plus(LEAD + MINUTE);
    clock.set(slept);
    let token = AccessTokenClaims::for_subject("alice");
    assert!(matches!(
        node.issuer.issue_access_token(token),
        Err(IssueError::KeysUnavailable)
    ));
    // A wall clock that is set back changes nothing.
    clock.set(slept.minus(2 * LEAD));
    assert!(
        node.issuer
            .issue_access_token(AccessTokenClaims::for_subject("alice"))
            .is_ok()
    );
}

#[tokio::test]
async fn s8_a_node_that_was_away_catches_up_when_it_starts() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let a = Node::start(&store, &clock).await;
    let first = kids(&a.ring.keys(), KeyState::Active);
    drop(a);
    clock.advance(100 * ROTATE);
    let b = Node::start(&store, &clock).await;
    assert_eq!(
        kids(&b.ring.keys(), KeyState::Active),
        first,
        "verifiers know no other"
    );
    assert_eq!(kids(&b.ring.keys(), KeyState::Next).len(), 1);
    assert!(b.verify(&b.token()).is_ok());
}

#[tokio::test]
async fn s8_a_withdrawn_key_is_refused_and_the_new_one_is_known_without_a_signal() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let (a, b) = (
        Node::start(&store, &clock).await,
        Node::start(&store, &clock).await,
    );
    let stolen = kids(&a.ring.keys(), KeyState::Active).remove(0);
    let token = b.token();
    let cached = a.issuer.verifier().build().unwrap();
    assert!(a.verify(&token).is_ok() && cached.verify_now(&token).is_ok());
    let unknown = a.ring.withdraw("no such key").await;
    assert!(matches!(unknown, Err(SharedRingError::UnknownKey)));
    a.ring.withdraw(&stolen).await.unwrap();
    assert_eq!(a.verify(&token), Err(AuthErrorKind::UnknownKey));
    let refused = cached.verify_now(&token).unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::UnknownKey);
    let fresh = a.token();
    assert!(a.verify(&fresh).is_ok());
    // The other node has heard nothing. A key that it does not know makes it look, once a second.
    assert_eq!(b.verify(&fresh), Err(AuthErrorKind::UnknownKey));
    clock.advance(Duration::from_secs(1));
    assert!(b.verifier.verify(&fresh).await.is_ok());
    assert_eq!(b.verify(&token), Err(AuthErrorKind::UnknownKey));
    // A next key takes over, so that readers of the set know it already.
    a.ring.rotate().await.unwrap();
    let next = kids(&a.ring.keys(), KeyState::Next);
    let active = kids(&a.ring.keys(), KeyState::Active).remove(0);
    a.ring.withdraw(&active).await.unwrap();
    assert_eq!(kids(&a.ring.keys(), KeyState::Active), next);
}

#[tokio::test]
async fn s8_a_running_node_follows_the_stores_signal() {
    let store = MemoryStore::new();
    let open = || SharedKeyRing::builder(store.clone(), key("a")).open();
    let (a, b) = (open().await.unwrap(), open().await.unwrap());
    let keys = b.keys();
    drop(b);
    a.rotate().await.unwrap();
    for _ in 0..6000 {
        if keys.statuses().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(keys.statuses(), a.statuses());
}

#[tokio::test]
async fn s8_a_store_that_lost_its_last_writes_gets_the_ring_back() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let a = Node::start(&store, &clock).await;
    let before = stored(&store).await;
    a.ring.rotate().await.unwrap();
    let set = a.issuer.keys().jwks();
    for (revision, keys) in [(before.revision, &*before.keys), (0, "")] {
        let now = stored(&store).await;
        assert!(
            store
                .swap_key_ring(now.revision, revision, keys)
                .await
                .unwrap()
        );
        a.ring.refresh().await.unwrap();
        assert!(stored(&store).await.revision > now.revision);
        let b = Node::start(&store, &clock).await;
        assert_eq!(
            (b.issuer.keys().jwks(), a.issuer.keys().jwks()),
            (set.clone(), set.clone())
        );
    }
}

#[tokio::test]
async fn s8_times_that_would_leave_a_gap_are_refused() {
    let second = Duration::from_secs(1);
    let build = || Node::builder(&Link::new(&MemoryStore::new()), &TestClock::new(), "a");
    for (builder, name) in [
        (build().max_age(15 * MINUTE + second), "max_age"),
        (build().max_age(Duration::ZERO), "max_age"),
        (
            build()
                .max_age(10 * MINUTE)
                .publish_ahead(11 * MINUTE - second),
            "publish_ahead",
        ),
        (build().publish_ahead(HOUR), "rotate_every"),
        (build().rotate_every(80 * second), "rotate_every"),
        (build().algorithm(Algorithm::Hs256), "algorithm"),
    ] {
        match builder.open().await {
            Err(ConfigError::Invalid { name: told, .. }) => assert_eq!(told, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let node = build()
        .max_age(15 * MINUTE)
        .publish_ahead(16 * MINUTE)
        .open()
        .await;
    assert!(node.is_ok());
    assert!(build().rotate_every(2 * MINUTE).open().await.is_ok());
}

#[tokio::test]
async fn s8_every_algorithm_of_key_pairs_is_kept_and_signs_again() {
    for algorithm in crate::support::issuing::PUBLIC {
        let clock = TestClock::new();
        let store = MemoryStore::with_clock(clock.clone());
        let open = || async {
            let link = Link::new(&store);
            let ring = Node::builder(&link, &clock, "a")
                .algorithm(algorithm)
                .open()
                .await
                .unwrap();
            issuer(ring.keys())
        };
        let (one, two) = (open().await, open().await);
        let token = alice(&one);
        assert!(
            two.verifier().build().unwrap().verify_now(&token).is_ok(),
            "{algorithm}"
        );
        assert_eq!(one.keys().jwks(), two.keys().jwks());
    }
}

#[tokio::test]
async fn s8_the_keys_of_a_shared_ring_change_through_it_alone() {
    let store = MemoryStore::new();
    let ring = SharedKeyRing::builder(store, key("a"))
        .open()
        .await
        .unwrap();
    let keys = ring.keys();
    let next = generated(Algorithm::EdDsa);
    for refused in [
        keys.publish(next),
        keys.activate(),
        keys.activate_now(),
        keys.withdraw("one"),
        keys.withdraw_others(),
    ] {
        assert!(matches!(refused, Err(RotationError::Shared)));
    }
}

/// What has to be followed by a new session is not begun.
#[tokio::test]
async fn s8_a_node_that_cannot_sign_ends_nothing_and_creates_nothing() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let node = Node::start(&store, &clock).await;
    let sessions = Sessions::builder(node.issuer.clone(), store.clone())
        .secret(key("s"))
        .build()
        .unwrap();
    let guests = Guests::builder(sessions.clone(), store.clone()).build();
    let guests = guests.unwrap();
    let cost = Argon2Cost::dangerous_custom(16, 1, 1).unwrap();
    let hasher = PasswordHasher::builder().cost(cost).build().unwrap();
    let login = Login::builder(store.clone(), store.clone(), key("s"))
        .hasher(hasher)
        .clock(clock.clone())
        .build();
    let endpoints = AuthEndpoints::builder(sessions.clone(), login, key("s"))
        .guests(guests.clone())
        .registration(true)
        .build()
        .unwrap();
    let post = async |path: &str, token: Option<&str>, body: serde_json::Value| {
        let mut request = Request::post(format!("/api/auth/{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.header("content-type", "application/json");
        let request = request.body(Full::new(Bytes::from(body.to_string())));
        let Ok(answer) = endpoints.clone().oneshot(request.unwrap()).await;
        answer.status().as_u16()
    };
    let bob = json!({ "email": "bob@example.org", "password": "a long password" });
    assert_eq!(post("register", None, bob).await, 201);
    let name = |name: &str| Identifier::new(name).unwrap();
    let found = UserStore::find(&store, &name("bob@example.org")).await;
    let bob = found.unwrap().unwrap().subject;

    // The access tokens outlive the lead, by which the node is out of date.
    clock.advance(LEAD - MINUTE);
    let guest = guests.start(GuestStart::new()).await.unwrap();
    let signed_in = sessions.start(StartSession::new(&bob)).await.unwrap();
    node.link.up.store(false, Ordering::Relaxed);
    clock.advance(MINUTE + Duration::from_millis(1));
    assert!(!node.verifier.is_ready());

    let token = guest.tokens().access_token().expose();
    let caller = node.verifier.verify_now(token).unwrap().principal();
    let refused = guests.promote(&LinkRequest::from_body(caller)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), SessionErrorKind::KeysUnavailable);
    let refused = guests.start(GuestStart::new()).await.unwrap_err();
    assert_eq!(refused.kind(), SessionErrorKind::KeysUnavailable);
    let refused = sessions.restart(StartSession::new(&bob)).await;
    assert_eq!(
        refused.unwrap_err().kind(),
        SessionErrorKind::KeysUnavailable
    );
    let link = json!({ "email": "eve@example.org", "password": "a long password", "link": true });
    assert_eq!(post("register", Some(token), link).await, 503);
    let change =
        json!({ "current_password": "a long password", "new_password": "a longer password" });
    let access = signed_in.access_token().expose();
    assert_eq!(post("password", Some(access), change).await, 503);

    node.link.up.store(true, Ordering::Relaxed);
    node.ring.refresh().await.unwrap();
    let eve = UserStore::find(&store, &name("eve@example.org")).await;
    assert!(eve.unwrap().is_none());
    for pair in [guest.tokens(), &signed_in] {
        let token = pair.refresh_token().expose();
        sessions.refresh(token).await.unwrap();
    }
}
