//! A process that is killed in the middle of a refresh.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::sync::Notify;
use tower_jwt_auth::{
    error::StoreError,
    event::{RefreshOutcome, SessionEvent},
    principal::SessionId,
    server::session::Sessions,
    store::{
        AnyStore,
        port::{
            CreateOutcome, Family, LoadedSession, NewSessionRecord, RevokeReason, SessionRecord,
            SessionStore,
        },
    },
};

use super::{
    node::{Node, issuer, secret},
    place::{Kind, Place},
};

const STORE: &str = "STORES_KILLED_STORE";
const TOKEN: &str = "STORES_KILLED_TOKEN";
const POINT: &str = "STORES_KILLED_AT";

/// A store in memory dies with its process, and the client signs in anew; so for that one the call
/// dies at these points instead, as where its client hangs up.
pub(super) async fn t8_a_process_killed_at_any_point_leaves_what_the_client_can_repeat(
    place: Place,
) {
    let node = Node::of(&place).await;
    let mut met = Vec::new();
    for point in ["before", "within", "within", "within", "after", "answered"] {
        let first = node.sign_in("alice").await;
        let token = first.refresh_token().expose().to_owned();
        if let Kind::Memory(_) = place.kind {
            dropped_at(point, &place.store().await, &token).await;
        } else {
            let (url, moment) = (place.url(), Duration::from_micros(150 << met.len()));
            tokio::task::spawn_blocking(move || kill_at(point, &url, &token, moment))
                .await
                .unwrap();
        }
        node.take_events();
        let second = node.refresh(&first).await;
        assert_eq!(node.generation(&second), 1, "{point}");
        let events = node.take_events();
        let [SessionEvent::Refreshed { outcome, .. }] = &events[..] else {
            panic!("{point}: {events:?}")
        };
        match point {
            "before" => assert_eq!(*outcome, RefreshOutcome::Rotated),
            "within" => {
                assert!([RefreshOutcome::Rotated, RefreshOutcome::Retried].contains(outcome))
            }
            _ => assert_eq!(*outcome, RefreshOutcome::Retried, "it had been written"),
        }
        met.push((point, *outcome));
        place.age(first.session_id(), Duration::from_secs(31)).await;
        node.refresh(&second).await;
    }
    println!("{}: {met:?}", place.name());
}

/// Lets a process refresh, and kills it where it says that it is there.
fn kill_at(point: &str, url: &str, token: &str, moment: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sessions::killed::refreshes_for_its_parent"])
        .args(["--ignored", "--nocapture"])
        .env(STORE, url)
        .env(TOKEN, token)
        .env(POINT, point)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The test harness speaks as well.
    assert!(
        lines.any(|line| line.unwrap().ends_with("here")),
        "{point}: it never came there"
    );
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "for other tests, as a process of its own"]
async fn refreshes_for_its_parent() {
    let Ok(url) = std::env::var(STORE) else {
        return;
    };
    let point = std::env::var(POINT).unwrap();
    let stops = Stops {
        store: AnyStore::open(&url).await.unwrap(),
        point: point.clone(),
        dies: true,
        there: Arc::default(),
    };
    let sessions = Sessions::builder(issuer(), stops).secret(secret()).build();
    let token = std::env::var(TOKEN).unwrap();
    sessions.unwrap().refresh(&token).await.unwrap();
    // Nobody was given the answer yet.
    Stops::here();
    std::future::pending().await
}

async fn dropped_at(point: &str, store: &AnyStore, token: &str) {
    let there = Arc::new(Notify::new());
    let stops = Stops {
        store: store.clone(),
        point: point.to_owned(),
        dies: false,
        there: Arc::clone(&there),
    };
    let sessions = Sessions::builder(issuer(), stops).secret(secret()).build();
    let sessions = sessions.unwrap();
    tokio::select! {
        _ = sessions.refresh(token) => {}
        () = there.notified() => {}
    }
}

/// Stops for good at a point of its rotation.
#[derive(Clone)]
struct Stops {
    store: AnyStore,
    point: String,
    /// It is waited for.
    dies: bool,
    /// Told when it stops.
    there: Arc<Notify>,
}

impl Stops {
    fn here() {
        println!("\nhere");
    }

    async fn stop(&self, point: &str) {
        if self.point == point {
            Self::here();
            self.there.notify_one();
            std::future::pending().await
        }
    }
}

impl SessionStore for Stops {
    async fn advance_live(
        &self,
        id: SessionId,
        live: u64,
        grace: Duration,
        bound_key: Option<&str>,
    ) -> Result<Option<LoadedSession>, StoreError> {
        self.stop("before").await;
        if self.point == "within" && self.dies {
            Self::here();
        }
        let advanced = self.store.advance_live(id, live, grace, bound_key).await;
        self.stop("after").await;
        advanced
    }

    async fn advance(
        &self,
        _: SessionId,
        _: &Family,
        _: &Family,
    ) -> Result<Option<LoadedSession>, StoreError> {
        unreachable!()
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        self.store.load(id).await
    }

    async fn create(&self, _: NewSessionRecord) -> Result<CreateOutcome, StoreError> {
        unreachable!()
    }

    async fn confirm(&self, _: SessionId, _: u64) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn revoke(&self, _: SessionId, _: RevokeReason) -> Result<bool, StoreError> {
        unreachable!()
    }

    async fn revoke_others(
        &self,
        _: &str,
        _: SessionId,
        _: RevokeReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        unreachable!()
    }

    async fn revoke_all(&self, _: &str, _: RevokeReason) -> Result<u32, StoreError> {
        unreachable!()
    }

    async fn epoch(&self, _: &str) -> Result<u32, StoreError> {
        unreachable!()
    }

    async fn list(&self, _: &str, _: u32) -> Result<Vec<SessionRecord>, StoreError> {
        unreachable!()
    }

    async fn purge(&self, _: u32) -> Result<u64, StoreError> {
        unreachable!()
    }
}
