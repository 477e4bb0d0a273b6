//! The ports that a store implements, and the records that it keeps.
//!
//! | port | rows | used by | contract |
//! |---|---|---|---|
//! | [`SessionStore`] | sessions, epochs of subjects | [`Sessions`](crate::server::session::Sessions) | [`session_store_contract!`](crate::session_store_contract) |
//! | [`SecretStore`] | generated secrets | [`Sessions`](crate::server::session::Sessions), if no secret is configured | the same |
//! | [`RevocationLog`](crate::revocation::RevocationLog), with a [`Feed`](crate::revocation::Feed) | revocations | [`RevocationSet`](crate::revocation::RevocationSet) | the same |
//! | [`GuestStore`] | guests and their claims | [`Guests`](crate::server::session::Guests) | [`guest_store_contract!`](crate::guest_store_contract) |
//! | [`UserStore`] | users | [`Login`](crate::server::login::Login) | [`user_store_contract!`](crate::user_store_contract), [`user_email_contract!`](crate::user_email_contract) |
//! | [`UserAdmin`] | users | your administration | [`user_admin_contract!`](crate::user_admin_contract) |
//! | [`ThrottleStore`] | counters of login attempts | [`Login`](crate::server::login::Login) | [`throttle_store_contract!`](crate::throttle_store_contract) |
//! | [`OneTimeStore`] | tokens for resets, unlocks, verifications and sign-ins | [`Login`](crate::server::login::Login) | [`one_time_store_contract!`](crate::one_time_store_contract) |
//! | [`FactorStore`] | second factors | [`Login`](crate::server::login::Login) | [`factor_store_contract!`](crate::factor_store_contract) |
//! | [`CredentialStore`] | linked credentials: accounts at identity providers, passkeys | [`Login`](crate::server::login::Login), your sign-in by passkeys | [`credential_store_contract!`](crate::credential_store_contract) |
//! | [`ApiKeyStore`](crate::layer::api_key::ApiKeyStore) | API keys | [`ApiKeys`](crate::layer::api_key::ApiKeys) | [`api_key_store_contract!`](crate::api_key_store_contract) |
//!
//! [`AuthStore`] combines the ports that an [`AuthServer`](crate::AuthServer) uses.
//!
//! Two ports are in the modules of the types that use them.
//!
//! # Implementing a port
//!
//! - Implement only the ports that you need. A project with its own users table implements
//!   [`UserStore`], usually only `find`, `find_by_subject` and `replace_hash`, and takes everything
//!   else from a store of this crate.
//! - Write `async fn`s. The builders that take a store box the futures, so no type of this crate has
//!   the store as a parameter.
//! - Every method is one atomic operation unless its docs state otherwise.
//! - The store's clock is the only clock. No method takes the current time.
//! - No row contains a password or a token. A reader of the store cannot sign in.
//! - A dropped future leaves a write either done or not done.
//! - Return [`StoreError::unavailable`](crate::error::StoreError::unavailable) for a failure that may
//!   pass. It is answered with 503. Return
//!   [`StoreError::invalid`](crate::error::StoreError::invalid) for data that cannot be read.
//!
//! # Running the contract
//!
//! The contract is a set of tests, one per rule. Enable the feature `test-util` in `dev-dependencies`,
//! implement a fixture that opens the store, and call the macro in a separate module. It needs tokio
//! with `macros` and `rt-multi-thread`. [`contract`](crate::store::contract) has an example with a
//! fixture for sessions. A store of users needs only its handle:
//!
//! ```no_run
//! use tower_jwt_auth::store::{MemoryStore, contract::Handles};
//!
//! struct Memory(MemoryStore);
//!
//! impl Handles for Memory {
//!     type Store = MemoryStore; // your store
//!
//!     fn store(&self) -> MemoryStore {
//!         self.0.clone()
//!     }
//! }
//!
//! mod contract {
//!     tower_jwt_auth::user_store_contract!(super::Memory(super::MemoryStore::new()));
//! }
//! # fn main() {}
//! ```

mod auth;
mod credentials;
mod erased;
mod factors;
mod guests;
mod key_ring;
mod one_time;
mod secret;
mod sessions;
mod throttle;
mod user_admin;
mod users;

pub use self::{
    auth::*, credentials::*, factors::*, guests::*, key_ring::*, one_time::*, secret::*,
    sessions::*, throttle::*, user_admin::*, users::*,
};
pub(crate) use self::{
    credentials::{LISTED_CREDENTIALS, UNFINISHED},
    erased::*,
    sessions::LISTED,
};
