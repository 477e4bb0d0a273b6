//! The background task that makes all fetches.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{StatusCode, Uri};

use super::{
    discovery::{Issuer, Wanted},
    error::FetchError,
    fetch::{Fetcher, etag, freshness, get},
    loaded::{Fetched, Numbers},
    report::Reports,
    state::Shared,
};
use crate::{
    error::{ConfigError, KeyProblem},
    event::{AuthEvent, Events},
    key::{KeySet, set::NO_USABLE_KEY},
    task::{Panicked, caught},
};

/// The location of the keys.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Jwks(Uri),
    Issuer(Issuer),
}

impl Origin {
    pub(super) fn is_https(&self) -> bool {
        self.url().scheme_str() == Some("https")
    }

    /// Returns the URL, or the issuer's URL.
    pub(super) fn url(&self) -> &Uri {
        match self {
            Self::Jwks(url) => url,
            Self::Issuer(issuer) => issuer.url(),
        }
    }

    /// Returns the URL or the issuer for the log, without a query, which may be secret.
    #[cfg(feature = "tracing")]
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Jwks(url) => {
                let text = url.to_string();
                text.split(['?', '#']).next().unwrap_or_default().to_owned()
            }
            Self::Issuer(issuer) => issuer.name().to_owned(),
        }
    }
}

/// The key set of an issuer, as found in its metadata.
#[derive(Clone, Debug)]
pub(super) struct Found {
    url: Uri,
    /// The place of the metadata.
    place: usize,
    /// The time at which the metadata were read.
    read: Instant,
    /// `true` if the last fetch of keys from there succeeded.
    works: bool,
}

pub(super) struct Worker<F> {
    pub(super) shared: Arc<Shared>,
    pub(super) client: F,
    pub(super) origin: Origin,
    pub(super) allow_http: bool,
    pub(super) events: Events,
    pub(super) found: Option<Found>,
    pub(super) reports: Reports,
    /// A field, so that it is dropped with the worker even if the worker never ran.
    pub(super) _closing: Closing,
}

impl<F: Fetcher> Worker<F> {
    /// Fetches keys when a lookup requests it or the keys are due, until the set is dropped. Only
    /// one fetch runs at a time.
    ///
    /// A late response therefore never replaces a newer one.
    pub(super) async fn run(mut self) {
        if self.allow_http {
            self.reports.http_allowed(&self.origin);
        }
        while !self.shared.is_closed() {
            tokio::select! {
                () = self.shared.wanted.notified() => {
                    if let Some(outcome) = self.fetch_in_time().await {
                        self.conclude(outcome);
                    }
                }
                // The clock of the set decides, which may be slower than that of the runtime.
                () = tokio::time::sleep(self.shared.until_due()) => self.shared.start_due(),
            }
        }
    }

    /// Fetches with the timeout. Returns `None` if the set was dropped in the meantime.
    async fn fetch_in_time(&mut self) -> Option<Result<Fetched, FetchError>> {
        let shared = Arc::clone(&self.shared);
        if shared.is_closed() {
            return None;
        }
        shared.begun();
        // A panic of the client counts as a failure and must not end the task.
        let fetch = caught("key fetch", self.fetch());
        let limited = tokio::time::timeout(shared.numbers.timeout, fetch);
        tokio::pin!(limited);
        loop {
            tokio::select! {
                outcome = &mut limited => {
                    return Some(match outcome {
                        Ok(Ok(fetched)) => fetched,
                        Ok(Err(Panicked)) => Err(FetchError::panicked()),
                        Err(_) => Err(FetchError::late()),
                    });
                }
                () = shared.wanted.notified() => {
                    if shared.is_closed() {
                        return None;
                    }
                }
            }
        }
    }

    async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        match self.origin.clone() {
            Origin::Jwks(url) => self.fetch_keys(&url).await,
            Origin::Issuer(issuer) => self.fetch_of(&issuer).await,
        }
    }

    /// Fetches an issuer's keys from the URL in the known metadata, or reads the metadata again.
    ///
    /// The metadata are read again if the keys are not available at that URL, if a requested `kid`
    /// is still unknown, and if they are older than 3.5 h. If the new URL has no keys, the keys from the old URL are
    /// used.
    async fn fetch_of(&mut self, issuer: &Issuer) -> Result<Fetched, FetchError> {
        let before = self.found.clone();
        let begun = tokio::time::Instant::now();
        let Numbers { timeout, wait, .. } = self.shared.numbers;
        let now = self.shared.clock.monotonic();
        let fits =
            |found: &Found| found.works && now.saturating_duration_since(found.read) < METADATA_AGE;
        if let Some(known) = before.clone().filter(fits) {
            // Reset before the fetch, in case the fetch is cancelled.
            self.works(false);
            let fetched = self.fetch_keys(&known.url).await?;
            self.works(true);
            if !self.shared.lacks_requested(fetched.set()) {
                return Ok(fetched);
            }
            // A metadata server that hangs must neither lose the fetched keys nor delay the
            // requests that wait for them.
            let until = (tokio::time::Instant::now() + wait / 2).min(begun + timeout.mul_f64(0.9));
            return Ok(
                match limited(until, self.look_again(issuer, &known.url)).await {
                    Ok((found, moved)) => {
                        self.found = Some(Found {
                            works: true,
                            ..found
                        });
                        moved.unwrap_or(fetched)
                    }
                    Err(error) => {
                        self.report_metadata(&error);
                        fetched
                    }
                },
            );
        }
        let found = match before {
            None => self.discover(issuer).await?,
            Some(old) => {
                // Leave time for a fetch from the old URL.
                let share = if old.works { 0.5 } else { 0.75 };
                let until = begun + timeout.mul_f64(share);
                match limited(until, self.look_again(issuer, &old.url)).await {
                    Ok((found, Some(fetched))) => {
                        self.found = Some(Found {
                            works: true,
                            ..found
                        });
                        return Ok(fetched);
                    }
                    Ok((found, None)) => found,
                    Err(error) => {
                        self.report_metadata(&error);
                        old
                    }
                }
            }
        };
        let url = found.url.clone();
        self.found = Some(Found {
            works: false,
            ..found
        });
        let fetched = self.fetch_keys(&url).await?;
        self.works(true);
        Ok(fetched)
    }

    /// Reads the metadata again, and fetches the keys if their URL differs from `known`.
    async fn look_again(
        &self,
        issuer: &Issuer,
        known: &Uri,
    ) -> Result<(Found, Option<Fetched>), FetchError> {
        let found = self.discover(issuer).await?;
        if found.url == *known {
            return Ok((found, None));
        }
        let moved = self.fetch_keys(&found.url).await?;
        Ok((found, Some(moved)))
    }

    async fn discover(&self, issuer: &Issuer) -> Result<Found, FetchError> {
        let last = self.found.as_ref().map(|found| found.place);
        let discovered = issuer.discover(&self.client, last, Wanted::Keys).await?;
        Ok(Found {
            url: discovered.url,
            place: discovered.place,
            read: self.shared.clock.monotonic(),
            works: false,
        })
    }

    fn works(&mut self, works: bool) {
        if let Some(found) = &mut self.found {
            found.works = works;
        }
    }

    async fn fetch_keys(&self, url: &Uri) -> Result<Fetched, FetchError> {
        let before = self.shared.loaded();
        let known = before.as_ref().and_then(|before| before.etag.as_ref());
        let known = known.filter(|(of, _)| of == url).map(|(_, tag)| tag);
        let response = get(&self.client, url, known).await?;
        let fresh = freshness(response.headers());
        let before = match before {
            Some(before) if response.status() == StatusCode::NOT_MODIFIED => {
                return Ok(Fetched::NotModified { before, fresh });
            }
            before => before,
        };
        let etag = etag(response.headers()).map(|tag| (url.clone(), tag));
        let document = response.into_body();
        // An identical document has the same keys, which need not be prepared again.
        let set = match before.filter(|before| before.document == document) {
            Some(before) => before.set.clone(),
            None => {
                KeySet::from_network(&document, self.shared.numbers.max_keys).map_err(unusable)?
            }
        };
        Ok(Fetched::Document {
            set,
            document,
            etag,
            fresh,
        })
    }

    fn conclude(&mut self, outcome: Result<Fetched, FetchError>) {
        match outcome {
            Ok(fetched) => {
                let before = self.shared.loaded();
                let changed = self.shared.succeeded(fetched);
                let loaded = self.shared.loaded();
                let keys = loaded.as_ref().map_or(0, |loaded| loaded.set.len());
                #[cfg(feature = "tracing")]
                tracing::debug!(keys, changed, "verification keys fetched");
                self.events
                    .emit(|| AuthEvent::KeysFetched { keys, changed });
                if let Some(loaded) = loaded.filter(|_| changed) {
                    let before = before.as_ref().map(|before| &before.set);
                    for event in loaded.set.report_skipped(before) {
                        self.events.emit(|| event);
                    }
                }
            }
            Err(error) => {
                let retry_in = self.shared.failed(error.clone());
                let now = self.shared.clock.monotonic();
                self.reports
                    .fetch_failed(&self.origin, &error, retry_in, now);
                let problem = error.problem();
                let error = &error;
                self.events.emit(|| AuthEvent::KeyFetchFailed {
                    error,
                    problem,
                    retry_in,
                });
            }
        }
    }

    /// Logs that the keys were fetched, but the issuer's metadata cannot be used.
    fn report_metadata(&mut self, error: &FetchError) {
        let now = self.shared.clock.monotonic();
        self.reports.metadata_failed(&self.origin, error, now);
    }
}

/// Runs a fetch with a deadline.
async fn limited<T>(
    until: tokio::time::Instant,
    work: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    let outcome = tokio::time::timeout_at(until, work).await;
    outcome.unwrap_or_else(|_| Err(FetchError::late()))
}

fn unusable(error: ConfigError) -> FetchError {
    let problem = match &error {
        ConfigError::KeySet(why) if why.starts_with(NO_USABLE_KEY) => KeyProblem::NoUsableKey,
        _ => KeyProblem::NotAKeySet,
    };
    FetchError::because(problem, "the response is not a usable key set", error)
}

/// Closes the set when the worker ends or is aborted, so that no request waits in vain.
pub(super) struct Closing(pub(super) Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The age from which the next fetch reads the metadata again. Fetches are at most 85 % of a day apart,
/// so the metadata are less than a day old even if the last fetch came just before this age.
const METADATA_AGE: Duration = Duration::from_secs(210 * 60);
