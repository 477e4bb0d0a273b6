//! Log lines about mistakes in the application, which every request would repeat.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// The mistakes that were logged in this process.
static LOGGED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A program has few mistakes of its own. The limit holds if a text comes from elsewhere.
const MOST: usize = 64;

/// Returns `true` the first time that this mistake is seen in the process.
pub(super) fn is_new(mistake: &str) -> bool {
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if logged.len() >= MOST || logged.contains(mistake) {
        return false;
    }
    logged.insert(mistake.to_owned())
}
