//! The contract of a store, as tests. The stores of this crate pass them, and a custom store should.
//!
//! A store loads, compares and sets. The rules of refreshes are not part of the contract, because a
//! store does not implement them. Each function tests one promise of a store and panics if the store
//! breaks it. [`session_store_contract!`](crate::session_store_contract) makes a test of each.
//!
//! ```no_run
//! use std::time::Duration;
//! use tower_jwt_auth::{revocation::BroadcastFeed, store::{MemoryStore, contract::Fixture}};
//! use tower_jwt_auth::principal::SessionId;
//!
//! struct Memory(MemoryStore);
//!
//! impl Fixture for Memory {
//!     type Store = MemoryStore;
//!     type Feed = BroadcastFeed;
//!
//!     fn store(&self) -> MemoryStore {
//!         self.0.clone()
//!     }
//!
//!     fn feed(&self) -> BroadcastFeed {
//!         self.0.feed()
//!     }
//!
//!     async fn age(&self, id: SessionId, by: Duration) {
//!         self.0.age(id, by);
//!     }
//!
//!     async fn set_back(&self, id: SessionId, by: Duration) {
//!         self.0.set_back(id, by);
//!     }
//! }
//!
//! tower_jwt_auth::session_store_contract!(Memory(MemoryStore::new()));
//! ```

// A test kit fails by panicking; each function says when.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing
)]

mod advance;
mod api_keys;
mod feed;
mod guests;
mod housekeeping;
mod key_ring;
mod model;
mod one_time;
mod race;
mod sessions;
mod throttle;
mod users;

use std::{future::Future, time::Duration};

pub use self::{
    advance::*, api_keys::*, feed::*, guests::*, key_ring::*, model::*, race::*, sessions::*,
};
pub use self::{housekeeping::*, one_time::*, throttle::*, users::*};
use crate::{
    principal::SessionId,
    revocation::{Feed, RevocationLog},
    secret,
    server::refresh::{
        RefreshOutcome, RefreshPolicy,
        machine::{self, Rotation},
    },
    store::port::{
        CreateOutcome, LoadedSession, NewSessionRecord, SecretStore, SessionRecord, SessionStore,
    },
};

/// A store under test.
///
/// It may already hold other data, and other tests may run on it: the suite makes up names of its
/// own.
pub trait Fixture: Send + Sync {
    /// The store.
    type Store: SessionStore + RevocationLog + SecretStore + Clone;
    /// Its feed.
    type Feed: Feed;

    /// A handle on the store. Handles on the same data may be different ones, with connections of
    /// their own, as other processes would have.
    fn store(&self) -> Self::Store;

    /// A feed that nothing was loaded from yet.
    fn feed(&self) -> Self::Feed;

    /// Makes a session older: takes this much from every time that its row holds (whole
    /// milliseconds). Stores have no other clock than their own, so tests let rows age instead of
    /// waiting.
    fn age(&self, id: SessionId, by: Duration) -> impl Future<Output = ()> + Send;

    /// Sets the clock back, as far as this session can tell: adds this much to every time that its row
    /// holds (whole milliseconds).
    fn set_back(&self, id: SessionId, by: Duration) -> impl Future<Output = ()> + Send;
}

/// A store under test of which nothing needs to age: of users, API keys, tokens for one use.
///
/// It may already hold other data, and other tests may run on it.
pub trait Handles: Send + Sync {
    /// The store.
    type Store: Clone + Send + Sync + 'static;

    /// A handle on the store; as other processes would have, where that makes a difference.
    fn store(&self) -> Self::Store;
}

/// Makes a `#[tokio::test]` of every rule of [`contract`](crate::store::contract).
///
/// Takes an expression that makes a [`Fixture`](crate::store::contract::Fixture), which may `await`,
/// and before it an attribute for the tests. To be called in a module of its own, in a crate that
/// depends on tokio with the features `macros` and `rt-multi-thread`.
///
/// ```no_run
/// # use tower_jwt_auth::{revocation::BroadcastFeed, store::{MemoryStore, contract::Fixture}};
/// # struct Server(MemoryStore);
/// # impl Fixture for Server {
/// #     type Store = MemoryStore;
/// #     type Feed = BroadcastFeed;
/// #     fn store(&self) -> MemoryStore { self.0.clone() }
/// #     fn feed(&self) -> BroadcastFeed { self.0.feed() }
/// #     async fn age(&self, id: tower_jwt_auth::principal::SessionId, by: std::time::Duration) { self.0.age(id, by); }
/// #     async fn set_back(&self, id: tower_jwt_auth::principal::SessionId, by: std::time::Duration) { self.0.set_back(id, by); }
/// # }
/// # async fn start_server() -> Server { Server(MemoryStore::new()) }
/// mod contract {
///     tower_jwt_auth::session_store_contract!(
///         #[ignore = "needs a server"]
///         super::start_server().await
///     );
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! session_store_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::session_store_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            every_step_is_as_decided
            the_windows_have_their_edges
            a_clock_that_was_ahead_opens_no_window
            t1_hundred_refreshes_are_one_rotation
            t1_strict_lets_one_of_a_hundred_through
            only_the_live_generation_is_confirmed
            t6_the_end_never_moves
            advance_sets_what_it_is_given
            advance_compares_what_was_loaded
            t10_what_has_ended_is_not_advanced
            t16_the_live_generation_advances_in_one_round_trip
            t10_one_session_ends
            t10_the_other_sessions_end
            t10_all_sessions_end
            t10_a_login_that_read_the_old_epoch_starts_nothing
            t10_no_refresh_survives_the_end
            t10_no_login_survives_the_end_of_all
            t15_many_sessions_end_and_leave_the_list
            t11_what_was_revoked_is_loaded
            t11_news_arrive
            t11_a_revocation_ends
            a_node_whose_clock_is_ahead_knows_what_was_revoked
            starting_never_overwrites
            one_of_many_starts_succeeds
            what_is_unknown_is_none
            all_text_is_kept
            lists_hold_what_is_alive
            what_ended_long_ago_is_purged
            all_are_given_one_secret
        }
    };
    ($fixture:expr) => {
        $crate::session_store_contract!([] $fixture);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __session_store_contract {
    ($metas:tt $fixture:expr; $($rule:ident)*) => {
        $($crate::__session_store_rule! { $metas $fixture; $rule })*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __session_store_rule {
    ([$($meta:tt)*] $fixture:expr; $rule:ident) => {
        $($meta)*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            let fixture = $fixture;
            $crate::store::contract::$rule(&fixture).await;
        }
    };
}

/// A session of its own, for a subject of its own.
fn new_session() -> NewSessionRecord {
    NewSessionRecord {
        details: r#"{"label":"a browser"}"#.to_owned(),
        ..NewSessionRecord::new(new_id(), new_name("subject"), IDLE, LIFETIME)
    }
}

fn session_of(subject: &str) -> NewSessionRecord {
    NewSessionRecord {
        subject: subject.to_owned(),
        ..new_session()
    }
}

fn new_id() -> SessionId {
    SessionId::from_bytes(secret::random())
}

fn new_name(what: &str) -> String {
    format!("{what}-{}", new_id())
}

async fn start(store: &impl SessionStore, session: NewSessionRecord) -> SessionRecord {
    match store.create(session).await.expect("create") {
        CreateOutcome::Created(record) => record,
        other => panic!("a new session was not started: {other:?}"),
    }
}

async fn rotate(
    store: &impl SessionStore,
    id: SessionId,
    presented: u64,
    policy: RefreshPolicy,
) -> Rotation {
    let rotation = machine::rotate(store, id, presented, policy).await;
    rotation
        .expect("rotate")
        .expect("rotate finds the session that was started")
}

/// Rotates, and says the outcome and the live generation.
async fn outcome(
    store: &impl SessionStore,
    id: SessionId,
    presented: u64,
    policy: RefreshPolicy,
) -> (RefreshOutcome, u64) {
    let rotation = rotate(store, id, presented, policy).await;
    (rotation.outcome, rotation.session.family.generation)
}

async fn peek(store: &impl SessionStore, id: SessionId) -> LoadedSession {
    let peek = store.load(id).await.expect("load");
    peek.expect("load finds the session that was started")
}

const IDLE: Duration = Duration::from_secs(14 * 24 * 3600);
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
const SECOND: Duration = Duration::from_secs(1);
