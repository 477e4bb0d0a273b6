//! The phases of the keys of a ring.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value};

use super::{RETIREMENT, Timing};
use crate::{
    key::{Algorithm, SigningKey, VerifyingKey},
    server::issue::RotationError,
    time::Clock,
};

/// The keys of a ring in their phases. Ages are measured by the monotonic clock. If the wall clock
/// is set forward, the ring must neither activate a key before verifiers have it, nor remove a key
/// with valid tokens.
#[derive(Clone)]
pub(super) struct Phases {
    pub(super) next: Option<Signing>,
    pub(super) active: Signing,
    pub(super) retiring: Vec<Retiring>,
    /// The earliest time of the next attempt to generate a key, after a failure.
    pause: Option<Instant>,
}

/// The active or the next key.
#[derive(Clone)]
pub(super) struct Signing {
    pub(super) key: Arc<SigningKey>,
    since: Instant,
}

/// The public part of a key that no longer signs.
#[derive(Clone)]
pub(super) struct Retiring {
    pub(super) verifying: VerifyingKey,
    pub(super) jwk: Option<Map<String, Value>>,
    pub(super) algorithm: Algorithm,
    /// The end of the retirement. `None` if it is unknown when the key last signed: the key then
    /// verifies until it is withdrawn.
    until: Option<Instant>,
}

impl Phases {
    pub(super) fn new(
        active: SigningKey,
        next: Option<SigningKey>,
        retiring: &[SigningKey],
        now: Instant,
    ) -> Self {
        let retiring = retiring.iter().map(|key| Retiring::of(key, None));
        Self {
            next: next.map(|key| Signing::since(key, now)),
            active: Signing::since(active, now),
            retiring: retiring.collect(),
            pause: None,
        }
    }

    pub(super) fn publish(&mut self, next: SigningKey, now: Instant) -> Result<(), RotationError> {
        if self.next.is_some() {
            return Err(RotationError::NextPresent);
        }
        self.next = Some(Signing::since(next, now));
        Ok(())
    }

    pub(super) fn activate(
        &mut self,
        now: Instant,
        publish_ahead: Duration,
    ) -> Result<(), RotationError> {
        let next = self.next.take().ok_or(RotationError::NoNext)?;
        let published = now.saturating_duration_since(next.since);
        if published < publish_ahead {
            return Err(RotationError::TooEarly {
                ready_in: publish_ahead - published,
            });
        }
        let until = now.checked_add(RETIREMENT);
        self.retiring.push(Retiring::of(&self.active.key, until));
        self.active = Signing {
            key: next.key,
            since: now,
        };
        Ok(())
    }

    pub(super) fn withdraw(&mut self, kid: &str) -> Result<(), RotationError> {
        let named = |key: &SigningKey| key.kid() == Some(kid);
        if named(&self.active.key) {
            return Err(RotationError::Active);
        }
        if self.next.as_ref().is_some_and(|next| named(&next.key)) {
            self.next = None;
            return Ok(());
        }
        let before = self.retiring.len();
        self.retiring.retain(|one| one.verifying.kid() != Some(kid));
        match self.retiring.len() == before {
            true => Err(RotationError::UnknownKey),
            false => Ok(()),
        }
    }

    pub(super) fn withdraw_others(&mut self) {
        self.next = None;
        self.retiring.clear();
    }

    /// Activates and removes the keys that are due. Generates no key.
    pub(super) fn pass_time(&mut self, now: Instant, timing: &Timing) {
        self.retiring
            .retain(|one| one.until.is_none_or(|until| now < until));
        let due = self.activation(timing).is_some_and(|due| now >= due);
        if due {
            // Cannot fail: a key that is due was published for long enough.
            let _ = self.activate(now, timing.publish_ahead);
        }
    }

    pub(super) fn lacks_next(&self, now: Instant, timing: &Timing) -> bool {
        self.publication(timing).is_some_and(|due| now >= due)
    }

    /// Generates the next key.
    pub(super) fn generate_next(&mut self, clock: &dyn Clock) {
        match SigningKey::generate(self.active.key.algorithm()) {
            // The publication starts after the generation, which may take a while.
            Ok(key) => {
                self.next = Some(Signing::since(key, clock.monotonic()));
                self.pause = None;
            }
            Err(_) => self.pause = clock.monotonic().checked_add(PAUSE),
        }
    }

    /// Returns the time of the next change.
    pub(super) fn due(&self, timing: &Timing) -> Option<Instant> {
        let retired = self.retiring.iter().filter_map(|one| one.until);
        let own = [self.activation(timing), self.publication(timing)];
        retired.chain(own.into_iter().flatten()).min()
    }

    fn activation(&self, timing: &Timing) -> Option<Instant> {
        let known = self.next.as_ref()?.since.checked_add(timing.publish_ahead);
        let old = self.active.since.checked_add(timing.rotate_every?);
        Some(known?.max(old?))
    }

    fn publication(&self, timing: &Timing) -> Option<Instant> {
        if self.next.is_some() {
            return None;
        }
        let after = timing.rotate_every?.checked_sub(timing.publish_ahead)?;
        let due = self.active.since.checked_add(after)?;
        Some(self.pause.map_or(due, |pause| due.max(pause)))
    }
}

impl Signing {
    fn since(key: SigningKey, since: Instant) -> Self {
        Self {
            key: Arc::new(key),
            since,
        }
    }
}

impl Retiring {
    fn of(key: &SigningKey, until: Option<Instant>) -> Self {
        Self {
            verifying: key.verifying_key(),
            jwk: key.jwk(),
            algorithm: key.algorithm(),
            until,
        }
    }
}

/// The pause between two attempts to generate a key.
const PAUSE: Duration = Duration::from_secs(60);
