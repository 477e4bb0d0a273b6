//! Keys that cannot be had.

use tower_jwt_auth::key::{KeyLookup, KeyQuery, KeySource};

/// A source of keys that cannot be reached.
#[derive(Clone, Copy)]
pub(crate) struct Unreachable;

impl KeySource for Unreachable {
    fn lookup(&self, _: &KeyQuery<'_>) -> KeyLookup {
        KeyLookup::Unavailable { retry_after: 7 }
    }
}
