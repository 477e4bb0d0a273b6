//! The second factors of a subject, as one row that is compared and set.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

#[cfg(feature = "totp")]
use super::remembered::Remembered;
use super::{Facts, SecondFactorError};
use crate::{
    error::StoreError,
    store::port::{ErasedFactorStore, StoredFactors},
    task::Contention,
    time::Timestamp,
};

/// The content of a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) totp: Option<Enrolled>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Pending>,
    /// The digests of the unused recovery codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) codes: Vec<String>,
    #[cfg(feature = "totp")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) remembered: Vec<Remembered>,
    /// The epoch of the take-over by the owner of the address. Sessions and first steps of older epochs
    /// change nothing any more.
    #[serde(default, skip_serializing_if = "is_zero")]
    since: u32,
    /// The subject has signed in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    seen: bool,
    /// The tokens of completed sign-ins, and their expiry in milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spent: Vec<(String, i64)>,
}

/// An authenticator that was confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Enrolled {
    /// The encrypted secret.
    pub(super) sealed: String,
    /// The last time step of which a code was accepted.
    pub(super) step: u64,
}

/// An authenticator that waits for its first code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) sealed: String,
    /// Milliseconds since 1970.
    pub(super) until: i64,
}

impl State {
    pub(super) fn read(stored: &StoredFactors) -> Result<Self, StoreError> {
        if stored.revision == 0 {
            return Ok(Self::default());
        }
        let state: Self = serde_json::from_str(&stored.factors).map_err(StoreError::invalid)?;
        match state.v {
            FORMAT => Ok(state),
            _ => Err(StoreError::invalid("second factors in an unknown format")),
        }
    }

    fn to_text(&self) -> Result<String, StoreError> {
        let state = Self {
            v: FORMAT,
            ..self.clone()
        };
        serde_json::to_string(&state).map_err(StoreError::invalid)
    }

    /// Removes the authenticator, its recovery codes, and the devices on which it was used.
    #[cfg(feature = "totp")]
    pub(super) fn remove_totp(&mut self) {
        self.totp = None;
        self.codes.clear();
        self.remembered.clear();
    }

    /// Removes all factors. Returns `true` if there was an authenticator.
    fn take_over(&mut self, epoch: u32) -> bool {
        let had_totp = self.totp.is_some();
        *self = Self {
            v: self.v,
            since: epoch.max(self.since),
            spent: std::mem::take(&mut self.spent),
            ..Self::default()
        };
        had_totp
    }

    /// # Errors
    ///
    /// [`SecondFactorError::Ended`] if the account was taken over after a session of this epoch started.
    #[cfg(feature = "totp")]
    pub(super) fn check_epoch(&self, epoch: Option<u32>) -> Result<(), SecondFactorError> {
        match epoch.is_some_and(|epoch| epoch < self.since) {
            true => Err(SecondFactorError::Ended),
            false => Ok(()),
        }
    }

    /// Spends the token of a first step.
    ///
    /// # Errors
    ///
    /// [`SecondFactorError::Spent`] if it was spent before, or if the account was taken over since.
    pub(super) fn spend(&mut self, facts: &Facts, now: Timestamp) -> Result<(), SecondFactorError> {
        let kept = |until: &i64| now < Timestamp::from_millis(*until).plus(MARGIN);
        self.spent.retain(|(_, until)| kept(until));
        if facts.epoch < self.since {
            return Err(SecondFactorError::Spent);
        }
        if self.spent.len() >= MOST_SPENT || self.spent.iter().any(|(id, _)| *id == facts.id) {
            return Err(SecondFactorError::Spent);
        }
        let until = facts.expires_at().as_millis();
        self.spent.push((facts.id.clone(), until));
        Ok(())
    }
}

/// The rows of all subjects.
#[derive(Clone)]
pub(in crate::server::login) struct Rows(pub(super) Arc<dyn ErasedFactorStore>);

impl Rows {
    #[cfg(feature = "totp")]
    pub(super) async fn read(&self, subject: &str) -> Result<(State, Timestamp), StoreError> {
        let stored = self.0.load_factors(subject).await?;
        Ok((State::read(&stored)?, stored.now))
    }

    /// Removes the factors of a subject that its owner takes over. Returns `true` if there was an
    /// authenticator.
    pub(super) async fn take_over(&self, subject: &str, epoch: u32) -> Result<bool, StoreError> {
        let removed = self.change(subject, |state, _| Ok(state.take_over(epoch)));
        removed.await.map_err(of_store)
    }

    /// Records a sign-in. Returns `true` if the subject has signed in before.
    pub(super) async fn has_signed_in(&self, subject: &str) -> Result<bool, StoreError> {
        let seen = self.change(subject, |state, _| {
            Ok(std::mem::replace(&mut state.seen, true))
        });
        seen.await.map_err(of_store)
    }

    /// Changes a row by load, decide and swap. Repeats the decision if another node changed the row in
    /// between. An unchanged row is not written.
    pub(super) async fn change<T>(
        &self,
        subject: &str,
        decide: impl Fn(&mut State, Timestamp) -> Result<T, SecondFactorError> + Send + Sync,
    ) -> Result<T, SecondFactorError> {
        let mut contention = Contention::new();
        loop {
            let stored = self.0.load_factors(subject).await?;
            let before = State::read(&stored)?;
            let mut state = before.clone();
            let decided = decide(&mut state, stored.now)?;
            if state == before {
                return Ok(decided);
            }
            let from = stored.revision;
            let text = state.to_text()?;
            let swapped = self.0.swap_factors(subject, from, from + 1, &text);
            if swapped.await? {
                return Ok(decided);
            }
            if !contention.wait().await {
                let wait = Duration::from_secs(1);
                return Err(SecondFactorError::Overloaded { retry_after: wait });
            }
        }
    }
}

/// Returns the error of a change that decides nothing.
fn of_store(error: SecondFactorError) -> StoreError {
    match error {
        SecondFactorError::Unavailable(error) => error,
        other => StoreError::unavailable(other),
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

const FORMAT: u8 = 1;
/// The most sign-ins that a subject completes within the lifetime of a token.
const MOST_SPENT: usize = 200;
/// More than the clocks of the nodes and of the store differ.
const MARGIN: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secret::SecretKey,
        server::login::{AskingDevice, SignIn, StepTokens},
    };

    fn facts(epoch: u32) -> Facts {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let tokens = StepTokens::new(&SecretKey::from_bytes([1; 32]).unwrap());
        let device = AskingDevice::Cookie("nonce");
        let text = tokens.mint(&SignIn::new("ada"), epoch, Vec::new(), device, now);
        let pending = tokens.read(text.unwrap().expose(), device, now);
        pending.unwrap().facts
    }

    #[test]
    fn u34_sessions_and_first_steps_from_before_a_take_over_change_nothing() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let mut state = State {
            totp: Some(Enrolled {
                sealed: String::new(),
                step: 7,
            }),
            codes: vec!["digest".to_owned()],
            ..State::default()
        };
        let spent = facts(2);
        state.spend(&spent, now).unwrap();
        assert!(state.take_over(3));
        assert_eq!((&state.totp, state.codes.len()), (&None, 0));
        // Also after the row was written and read again.
        let text = state.to_text().unwrap();
        let mut state = State::read(&StoredFactors::new(2, text, now)).unwrap();
        for (epoch, is_open) in [(2, false), (3, true), (4, true)] {
            assert_eq!(state.spend(&facts(epoch), now).is_ok(), is_open, "{epoch}");
            #[cfg(feature = "totp")]
            assert_eq!(state.check_epoch(Some(epoch)).is_ok(), is_open, "{epoch}");
        }
        assert!(state.spend(&spent, now).is_err());
        assert!(!state.take_over(5));
    }
}
