//! The log lines about keys that cannot be had.

use std::time::{Duration, Instant};

use super::{error::FetchError, refresh::Origin};
use crate::error::KeyProblem;

/// Writes one line a minute for each kind of failure.
#[derive(Default)]
pub(super) struct Reports {
    written: Vec<(KeyProblem, Instant)>,
}

impl Reports {
    /// The operator accepts plain http from any host.
    pub(super) fn http_allowed(&self, origin: &Origin) {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            of = origin.shown(),
            "verification keys may be fetched over plain http: whoever is on the way to the key \
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

    /// The keys were fetched from the place that the metadata named earlier.
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
            "the issuer's metadata, or the keys that they name now, cannot be used; the keys are \
             fetched from where they were"
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

/// The set was not dropped, and nothing fetches for it.
pub(super) fn log_stopped() {
    #[cfg(feature = "tracing")]
    tracing::error!(
        reason = KeyProblem::Stopped.as_str(),
        "verification keys are no longer fetched: the task that fetches them has ended, or its \
         runtime does not run; requests that need new keys are answered with 503"
    );
}

const INTERVAL: Duration = Duration::from_secs(60);
