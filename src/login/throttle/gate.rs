//! Wakes those of this process who wait for an open attempt.

use tokio::sync::{Notify, futures::Notified};

use super::{AttemptOutcome, ThrottleKey};

/// A fixed number of places to wait at; keys share them. A wake-up that goes to the wrong key costs
/// one look, and the one that is missed is made up for by looking again after a moment, as is one of
/// another process.
#[derive(Debug)]
pub(super) struct Gate {
    places: [Notify; 64],
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            places: std::array::from_fn(|_| Notify::new()),
        }
    }

    /// A wait that notices what happens from now on.
    pub(super) fn wait(&self, key: &ThrottleKey) -> Option<Notified<'_>> {
        Some(self.place(key)?.notified())
    }

    /// An attempt at this key was settled.
    pub(super) fn wake(&self, key: &ThrottleKey, outcome: AttemptOutcome) {
        let Some(place) = self.place(key) else {
            return;
        };
        match outcome {
            // Perhaps nobody may go on now: all shall know.
            AttemptOutcome::Failed => place.notify_waiters(),
            // One place is free.
            AttemptOutcome::Succeeded | AttemptOutcome::Undecided => place.notify_one(),
        }
    }

    fn place(&self, key: &ThrottleKey) -> Option<&Notify> {
        let [first, ..] = *key.as_bytes();
        self.places.get(usize::from(first) % self.places.len())
    }
}
