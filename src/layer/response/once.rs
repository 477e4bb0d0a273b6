//! Log lines about mistakes in the application, each written once per process.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// The mistakes that this process has logged.
static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// An application has few such mistakes. The limit applies if a text comes from elsewhere.
const MOST: usize = 64;

/// Returns `true` on the first call for this mistake in the process.
pub(super) fn is_new(mistake: &str) -> bool {
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if logged.len() >= MOST || logged.contains(mistake) {
        return false;
    }
    logged.insert(mistake.to_owned())
}
