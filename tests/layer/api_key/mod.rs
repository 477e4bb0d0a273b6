//! API keys: issued, rolled, revoked, and let in beside tokens.
//!
//! A test that proves a rule is named after it.

mod beside;
mod form;
mod layer;
mod life;
mod owners;
mod remembered;
mod uses;
mod waiting;
