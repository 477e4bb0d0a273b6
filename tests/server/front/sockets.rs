//! W8: a socket ends by everything that ends a request.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tower_jwt_auth::{
    AuthServer,
    key::{Algorithm, SigningKey},
    layer::socket::{CloseReason, SocketAuth},
    principal::Principal,
    revocation::{Revocation, RevocationStatus, check_fn},
    server::{
        issue::KeyRing,
        session::{StartSession, StaticClaims},
    },
    store::MemoryStore,
    test_util::TestClock,
    time::Timestamp,
};

use super::{Front, until};

/// The result of a check of the application, which queries something.
#[derive(Clone, Default)]
struct Outside(Arc<AtomicU8>);

const REVOKED: u8 = 1;
const UNKNOWN: u8 = 2;
const SILENT: u8 = 3;
const PANICS: u8 = 4;

impl Outside {
    fn becomes(&self, state: u8) {
        self.0.store(state, Ordering::SeqCst);
    }

    async fn status(self) -> RevocationStatus {
        tokio::task::yield_now().await;
        match self.0.load(Ordering::SeqCst) {
            REVOKED => RevocationStatus::Revoked,
            UNKNOWN => RevocationStatus::unavailable(1),
            SILENT => pending().await,
            PANICS => panic!("a check"),
            _ => RevocationStatus::Valid,
        }
    }
}

const EVERY: Duration = Duration::from_millis(20);

fn quick(front: &Front) -> SocketAuth {
    front.auth.sockets().check_every(EVERY)
}

#[tokio::test]
async fn w8_a_check_of_the_application_ends_sockets_as_it_ends_requests() {
    for (state, status, reason) in [
        (REVOKED, 401, CloseReason::Revoked),
        (UNKNOWN, 503, CloseReason::Unavailable),
        (PANICS, 503, CloseReason::Unavailable),
        (SILENT, 503, CloseReason::Unavailable),
    ] {
        let outside = Outside::default();
        let servers = Front::changed(&[], |builder| {
            let outside = outside.clone();
            builder.revocation(check_fn(move |_: &Principal| outside.clone().status()))
        });
        for front in servers.await {
            let case = format!("{state}, {}", front.kind());
            // Each wait for this one takes two seconds.
            if state == SILENT && front.kind() != "memory" {
                continue;
            }
            outside.becomes(0);
            let access = front.sign_in().await.access();
            assert_eq!(front.call(&access).await, 200, "{case}");
            let sockets = quick(&front);
            let mut open = sockets.guard(front.caller(&access)).unwrap();
            let message = json!({ "type": "auth", "token": access }).to_string();
            let first = async || sockets.first_message(async { Some(message.clone()) }).await;
            let mut named = first().await.unwrap();
            named.renew(&access).await.unwrap();
            // A loop that receives messages drops `closed` and calls it again.
            for _ in 0..20 {
                let still = tokio::time::timeout(EVERY / 4, open.closed()).await;
                assert!(still.is_err(), "{case}");
            }

            outside.becomes(state);
            assert_eq!(front.call(&access).await.as_u16(), status, "{case}");
            assert_eq!(first().await.err(), Some(reason), "{case}");
            let mut ended = None;
            until(&case, async || {
                let closed = tokio::time::timeout(EVERY / 4, open.closed()).await;
                ended = closed.ok();
                ended.is_some()
            })
            .await;
            assert_eq!(ended, Some(reason), "{case}");
            assert_eq!(open.end(), Some(reason), "{case}: it stays closed");
            assert_eq!(named.renew(&access).await, Err(reason), "{case}");
        }
    }
}

#[tokio::test]
async fn w8_a_withdrawn_key_ends_sockets_as_it_ends_requests() {
    let keys = || {
        let key = |kid: &str| {
            SigningKey::generate(Algorithm::EdDsa)
                .unwrap()
                .with_kid(kid)
        };
        let ring = KeyRing::builder(key("old")).next(key("new"));
        ring.build().unwrap()
    };
    for front in Front::changed(&[], |builder| builder.keys(keys())).await {
        let old = front.sign_in().await.access();
        let caller = front.caller(&old);
        let mut open = quick(&front).guard(caller.clone()).unwrap();
        let ring = front.auth.issuer().keys();
        ring.activate_now().unwrap();
        assert_eq!(front.call(&old).await, 200);
        assert_eq!(open.end(), None, "the old key still verifies");
        ring.withdraw("old").unwrap();
        assert_eq!(front.call(&old).await, 401);
        assert_eq!(open.closed().await, CloseReason::Revoked);
        let again = front.auth.sockets().guard(caller);
        assert_eq!(again.err(), Some(CloseReason::Revoked));

        let new = front.sign_in().await.access();
        let mut other = quick(&front).guard(front.caller(&new)).unwrap();
        assert_eq!(other.end(), None);
        assert_eq!(other.renew(&old).await, Err(CloseReason::Unauthenticated));
    }
}

#[tokio::test]
async fn w8_expiry_ends_sockets() {
    let clock = TestClock::new();
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let keys = KeyRing::builder(key).clock(clock.clone()).build().unwrap();
    let auth = AuthServer::builder(MemoryStore::with_clock(clock.clone()))
        .issuer("https://auth.example")
        .keys(keys)
        .claims_source(StaticClaims)
        .start()
        .await
        .unwrap();
    let start = StartSession::new("ada");
    let tokens = auth.sessions().start(start).await.unwrap();
    let token = auth.verifier().verify_now(tokens.access_token().expose());
    let sockets = auth.sockets().clock(clock.clone()).check_every(EVERY);
    let mut open = sockets.guard(token.unwrap().principal()).unwrap();
    assert_eq!(open.end(), None);
    clock.advance(Duration::from_secs(601));
    assert_eq!(open.closed().await, CloseReason::Expired);
}

#[tokio::test]
async fn w8_a_revocation_in_the_set_closes_without_an_interval() {
    for front in Front::on_each(&[]).await {
        let access = front.sign_in().await.access();
        let hour = Duration::from_secs(3600);
        let sockets = front.auth.sockets().check_every(hour);
        let mut open = sockets.guard(front.caller(&access)).unwrap();
        let session = front.caller(&access).session_id().unwrap().to_owned();
        let until = Timestamp::from(std::time::SystemTime::now()).plus(hour);
        front
            .auth
            .revocations()
            .insert(&Revocation::session(session, until));
        assert_eq!(
            open.closed().await,
            CloseReason::Revoked,
            "{}",
            front.kind()
        );
    }
}
