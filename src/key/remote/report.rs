//! Log lines about failed fetches of keys.

use std::time::{Duration, Instant};

use super::{error::FetchError, refresh::Origin};
use crate::error::KeyProblem;

/// Limits the log to one line a minute for each kind of failure.
#[derive(Default)]
pub(super) struct Reports {
    written: Vec<(KeyProblem, Instant)>,
}

impl Reports {
    /// Logs that plain http is accepted from any host.
    pub(super) fn http_allowed(&self, origin: &Origin) {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            of = origin.shown(),
            "verification keys may be fetched over plain http: an attacker on the path to the key \
             server can replace them"
        );
        #[cfg(not(feature = "tracing"))]
        let _ = origin;
    }

    pub(super) fn fetch_failed(
        &mut self,
        origin: &Origin,
        error: &FetchError,
        retry_in: Duration,
        now: Instant,
    ) {
        if !self.is_due(error.problem(), now) {
            return;
        }
        #[cfg(feature = "tracing")]
        tracing::warn!(
            reason = error.problem().as_str(),
            of = origin.shown(),
            %error,
            cause = error.causes(origin.url()),
            ?retry_in,
            "verification keys could not be fetched"
        );
        #[cfg(not(feature = "tracing"))]
        let _ = (origin, retry_in);
    }

    /// Logs that the metadata cannot be used, and that the keys are fetched from the previous URL.
    pub(super) fn metadata_failed(&mut self, origin: &Origin, error: &FetchError, now: Instant) {
        if !self.is_due(error.problem(), now) {
            return;
        }
        #[cfg(feature = "tracing")]
        tracing::warn!(
            reason = error.problem().as_str(),
            of = origin.shown(),
            %error,
            cause = error.causes(origin.url()),
            "the issuer's metadata, or the keys at their new URL, cannot be used; the keys were \
             fetched from the previous URL"
        );
        #[cfg(not(feature = "tracing"))]
        let _ = origin;
    }

    fn is_due(&mut self, problem: KeyProblem, now: Instant) -> bool {
        match self.written.iter_mut().find(|(kind, _)| *kind == problem) {
            Some((_, last)) if now.saturating_duration_since(*last) < INTERVAL => false,
            Some((_, last)) => {
                *last = now;
                true
            }
            None => {
                self.written.push((problem, now));
                true
            }
        }
    }
}

/// Logs that the fetch task has ended or does not run, although the set is in use.
pub(super) fn log_stopped() {
    #[cfg(feature = "tracing")]
    tracing::error!(
        reason = KeyProblem::Stopped.as_str(),
        "verification keys are no longer fetched: the fetch task has ended, or its runtime does \
         not run; requests that need new keys are refused with 503"
    );
}

const INTERVAL: Duration = Duration::from_secs(60);
