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

// A test kit fails by panicking. The docs of each function state the tested rule.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing
)]

mod advance;
mod api_keys;
mod credentials;
mod email;
mod factors;
mod feed;
mod guests;
mod housekeeping;
mod key_ring;
mod model;
mod one_time;
mod race;
mod replace;
mod sessions;
mod throttle;
mod users;

use std::{future::Future, time::Duration};

pub use self::{
    advance::*, api_keys::*, credentials::*, factors::*, feed::*, guests::*, key_ring::*, model::*,
    race::*, replace::*, sessions::*,
};
pub use self::{email::*, housekeeping::*, one_time::*, throttle::*, users::*};
use crate::{
    event::RefreshOutcome,
    principal::SessionId,
    revocation::{Feed, RevocationLog},
    secret,
    server::refresh::{
        RefreshPolicy,
        machine::{self, Rotation},
    },
    store::port::{
        CreateOutcome, LoadedSession, NewSessionRecord, SecretStore, SessionRecord, SessionStore,
    },
};

/// A store under test.
///
/// The store may contain other data, and other tests may run on it concurrently: the suite generates
/// unique names.
pub trait Fixture: Send + Sync {
    /// The store.
    type Store: SessionStore + RevocationLog + SecretStore + Clone;
    /// The feed of the store.
    type Feed: Feed;

    /// Returns a handle to the store. If separate connections are possible, return a handle with its
    /// own connection each time, to stand for another process.
    fn store(&self) -> Self::Store;

    /// Returns a feed from which nothing was loaded yet.
    fn feed(&self) -> Self::Feed;

    /// Subtracts `by` (whole milliseconds) from every time in the session's row. A store has its own
    /// clock, so tests age the rows instead of waiting.
    fn age(&self, id: SessionId, by: Duration) -> impl Future<Output = ()> + Send;

    /// Adds `by` (whole milliseconds) to every time in the session's row, as if the store's clock had
    /// been set back.
    fn set_back(&self, id: SessionId, by: Duration) -> impl Future<Output = ()> + Send;
}

/// A store under test whose rows need no ageing: of users, API keys, one-time tokens.
///
/// The store may contain other data, and other tests may run on it concurrently.
pub trait Handles: Send + Sync {
    /// The store.
    type Store: Clone + Send + Sync + 'static;

    /// Returns a handle to the store, with its own connection if that is possible.
    fn store(&self) -> Self::Store;
}

/// Creates a `#[tokio::test]` for every rule of [`contract`](crate::store::contract).
///
/// Takes an expression that creates a [`Fixture`](crate::store::contract::Fixture) and may `await`.
/// An attribute before it is added to each test. Call the macro in a separate module, in a crate that
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
            u25_a_session_is_replaced
            u25_what_has_ended_is_not_replaced
            u25_one_of_many_replacements_succeeds
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

/// Returns a new session of a new subject.
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
        other => panic!("a new session was not created: {other:?}"),
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
        .expect("rotate finds the session that was created")
}

/// Rotates a session. Returns the outcome and the live generation.
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
    peek.expect("load finds the session that was created")
}

const IDLE: Duration = Duration::from_secs(14 * 24 * 3600);
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
const SECOND: Duration = Duration::from_secs(1);
