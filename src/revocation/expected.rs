//! The issuers whose tokens are revoked in this process, for a warning about places that accept
//! these tokens without a revocation check.

use std::sync::{
    Mutex, PoisonError, Weak,
    atomic::{AtomicBool, Ordering},
};

#[cfg(feature = "server")]
use super::set::RevocationSet;
use super::set::Shared;
use crate::principal::Principal;

/// One entry for each issuer with a set that is alive.
static EXPECTED: Mutex<Vec<Expected>> = Mutex::new(Vec::new());

/// `true` if an entry was not noted. Most processes have no entry, and take no lock for a token.
static HAS_UNNOTED: AtomicBool = AtomicBool::new(false);

struct Expected {
    issuer: String,
    sets: Vec<Weak<Shared>>,
    is_noted: bool,
}

/// Records that the sessions of this issuer end in this set.
#[cfg(feature = "server")]
pub(crate) fn expect(issuer: &str, set: &RevocationSet) {
    let mut expected = EXPECTED.lock().unwrap_or_else(PoisonError::into_inner);
    for known in expected.iter_mut() {
        known.sets.retain(|set| set.strong_count() > 0);
    }
    expected.retain(|known| !known.sets.is_empty());
    let set = std::sync::Arc::downgrade(&set.shared);
    match expected.iter_mut().find(|known| known.issuer == issuer) {
        Some(known) => known.sets.push(set),
        None => expected.push(Expected {
            issuer: issuer.to_owned(),
            sets: vec![set],
            is_noted: false,
        }),
    }
    update(&expected);
}

fn update(expected: &[Expected]) {
    let has_unnoted = expected.iter().any(|known| !known.is_noted);
    HAS_UNNOTED.store(has_unnoted, Ordering::Relaxed);
}

/// Logs a warning if a place without a revocation check accepts a session that another place of this
/// process revokes. Once per issuer.
#[cold]
pub(crate) fn note_unchecked(caller: &Principal) {
    if !HAS_UNNOTED.load(Ordering::Relaxed) {
        return;
    }
    let (Some(issuer), Some(_)) = (caller.issuer(), caller.session_id()) else {
        return;
    };
    let mut expected = EXPECTED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(known) = expected.iter_mut().find(|known| known.issuer == issuer) else {
        return;
    };
    let is_alive = known.sets.iter().any(|set| set.strong_count() > 0);
    if known.is_noted || !is_alive {
        return;
    }
    known.is_noted = true;
    update(&expected);
    #[cfg(feature = "tracing")]
    tracing::warn!(
        issuer,
        "a layer or socket without a revocation set accepts tokens of sessions that have one: a \
         session that has ended is accepted there until its token expires; call `revocation` on it"
    );
}
