//! The second factors of a subject, as one row that is compared and set.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

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

    /// Spends the token of a first step.
    ///
    /// # Errors
    ///
    /// [`SecondFactorError::Spent`] if it was spent before.
    pub(super) fn spend(&mut self, facts: &Facts, now: Timestamp) -> Result<(), SecondFactorError> {
        let kept = |until: &i64| now < Timestamp::from_millis(*until).plus(MARGIN);
        self.spent.retain(|(_, until)| kept(until));
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
    pub(super) async fn read(&self, subject: &str) -> Result<State, StoreError> {
        State::read(&self.0.load_factors(subject).await?)
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

const FORMAT: u8 = 1;
/// The most sign-ins that a subject completes within the lifetime of a token.
const MOST_SPENT: usize = 200;
/// More than the clocks of the nodes and of the store differ.
const MARGIN: Duration = Duration::from_secs(10 * 60);
