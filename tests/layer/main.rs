//! Rules of authentication and authorization, proved through the public API.
//!
//! A test's name starts with the id of the rule that it proves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod algorithms;
mod architecture;
mod background;
mod builders;
mod certificates;
mod challenges;
mod chosen_claims;
mod claims;
mod cookies;
mod credentials;
mod events;
mod explained;
mod form;
mod forwarded;
mod gateway;
mod grpc;
mod json;
mod jwks;
mod key_choice;
mod key_loading;
mod keys;
mod layer;
mod logged;
mod operation;
mod optional;
mod own_bodies;
mod presets;
mod private;
mod problem;
mod profile;
#[cfg(feature = "rate-limit")]
mod rate_limit;
mod remains;
#[cfg(feature = "rate-limit")]
mod require_https;
mod requirements;
mod revocation;
mod role_claims;
mod roles;
mod rules;
#[path = "../support/waiting.rs"]
mod rules_of_waiting;
mod secrecy;
mod several_checks;
mod support;
mod times;
mod token_use;
mod unreadable_roles;
mod verdicts;
mod waiting;
