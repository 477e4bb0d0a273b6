//! When sessions end by themselves, and what the builder refuses.

use std::time::Duration;

use tower_jwt_auth::{
    event::SessionEvent,
    principal::PrincipalKind,
    secret::SecretKey,
    server::{
        refresh::RefreshPolicy,
        session::{Sessions, StartSession},
    },
    store::MemoryStore,
};

use crate::support::sessions::{issuer, service, service_with};

const DAY: u64 = 24 * 60 * 60;

#[tokio::test]
async fn t6_an_unused_session_ends() {
    let service = service();
    let mut pair = service.sign_in().await;
    for _ in 0..3 {
        service.pass(14 * DAY - 1);
        pair = service.refresh(&pair).await;
    }
    service.pass(14 * DAY);
    service.events.take();
    assert_eq!(service.refused(&pair).await, "session_expired");
    let told = service.events.take();
    let [
        SessionEvent::Expired {
            session, subject, ..
        },
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((*session, &**subject), (pair.session_id(), "alice"));
}

#[tokio::test]
async fn t6_the_end_never_moves_and_no_token_outlives_it() {
    let service = service();
    let mut pair = service.sign_in().await;
    for _ in 0..8 {
        service.pass(11 * DAY);
        pair = service.refresh(&pair).await;
    }
    assert_eq!(pair.refresh_expires_in().as_secs(), 2 * DAY);
    service.pass(2 * DAY - 300);
    pair = service.refresh(&pair).await;
    assert_eq!(pair.refresh_expires_in().as_secs(), 300);
    assert!(pair.expires_in().as_secs() <= 300);
    service.pass(299);
    let last = service.refresh(&pair).await;
    assert_eq!(last.expires_in().as_secs(), 1);
    service.pass(1);
    for pair in [&pair, &last] {
        assert_eq!(service.refused(pair).await, "session_expired");
    }
}

#[tokio::test]
async fn t6_the_clock_of_the_store_is_the_only_one() {
    let service = service();
    let pair = service.sign_in().await;
    // The issuer's clock has stood still at the same time all along.
    service.pass(13 * DAY);
    let pair = service.refresh(&pair).await;
    service.caller(&pair);
    service.pass(14 * DAY);
    assert_eq!(service.refused(&pair).await, "session_expired");
}

#[tokio::test]
async fn guests_have_lifetimes_of_their_own() {
    let service = service_with(|builder, _| builder.guest_idle(Duration::from_secs(3 * DAY)));
    let guest = StartSession::new("gst_1").kind(PrincipalKind::Guest);
    let pair = service.sessions.start(guest).await.unwrap();
    assert_eq!(pair.refresh_expires_in().as_secs(), 3 * DAY);
    assert_eq!(service.caller(&pair).kind(), PrincipalKind::Guest);
    service.pass(3 * DAY);
    assert_eq!(service.refused(&pair).await, "session_expired");
}

#[tokio::test]
async fn the_builder_refuses_what_makes_no_sense() {
    let keys = || {
        let key = tower_jwt_auth::key::SigningKey::generate(tower_jwt_auth::key::Algorithm::EdDsa);
        tower_jwt_auth::server::issue::KeyRing::new(key.unwrap()).unwrap()
    };
    let builder =
        || Sessions::builder(issuer(keys()), MemoryStore::new()).secret(SecretKey::generate());
    assert!(builder().build().is_ok());
    let second = Duration::from_secs(1);
    for (bad, why) in [
        (builder().idle(59 * second), "idle"),
        (builder().idle(91 * 24 * 3600 * second), "must not exceed"),
        (builder().lifetime(401 * 24 * 3600 * second), "lifetime"),
        (
            builder().idle(Duration::from_millis(60_500)),
            "whole seconds",
        ),
        (builder().guest_lifetime(Duration::ZERO), "guest_lifetime"),
        (builder().claims_timeout(Duration::ZERO), "claims_timeout"),
        (builder().policy(RefreshPolicy::balanced()), "confirmations"),
        (
            Sessions::builder(issuer(keys()), MemoryStore::new()),
            "secret",
        ),
    ] {
        let error = bad.build().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
