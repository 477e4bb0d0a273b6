//! The one task that fetches.

use std::{
    future::{Future, poll_fn},
    panic::{self, AssertUnwindSafe},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use http::{StatusCode, Uri};

use super::{
    discovery::Issuer,
    fetch::{Fetch, FetchError, etag, freshness, get},
    state::{Fetched, Shared},
};
use crate::{
    event::{AuthEvent, Events},
    key::KeySet,
};

/// Where the keys are.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Jwks(Uri),
    Issuer(Issuer),
}

impl Origin {
    pub(super) fn is_https(&self) -> bool {
        match self {
            Self::Jwks(url) => url.scheme_str() == Some("https"),
            Self::Issuer(issuer) => issuer.is_https(),
        }
    }
}

pub(super) struct Worker<F> {
    pub(super) shared: Arc<Shared>,
    pub(super) client: F,
    pub(super) origin: Origin,
    pub(super) events: Events,
    /// What discovery found; forgotten when it no longer works.
    pub(super) discovered: Option<Uri>,
    /// A part of the worker, so that it does its duty also where the worker never ran.
    pub(super) _closing: Closing,
}

impl<F: Fetch> Worker<F> {
    /// Fetches whenever a look-up asks for it or the keys are due, one fetch at a time, until the
    /// set is dropped.
    ///
    /// So an answer that comes late can never overwrite a newer one.
    pub(super) async fn run(mut self) {
        while !self.shared.is_closed() {
            tokio::select! {
                () = self.shared.wanted.notified() => {
                    if let Some(outcome) = self.fetch_with_deadlines().await {
                        self.conclude(outcome);
                    }
                }
                // The set's own clock decides: it may go slower than the runtime's.
                () = tokio::time::sleep(self.shared.until_due()) => self.shared.start_due(),
            }
        }
    }

    /// `None` where the set was dropped in the meantime.
    async fn fetch_with_deadlines(&mut self) -> Option<Result<Fetched, FetchError>> {
        let shared = Arc::clone(&self.shared);
        if shared.is_closed() {
            return None;
        }
        let limited = tokio::time::timeout(shared.numbers.timeout, caught(self.fetch()));
        tokio::pin!(limited);
        loop {
            let next = shared.expire_waiters();
            let deadline = async {
                match next {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                outcome = &mut limited => {
                    let late = |_| Err(FetchError::plain("no answer in time"));
                    return Some(outcome.unwrap_or_else(late));
                }
                () = shared.wanted.notified() => {
                    if shared.is_closed() {
                        return None;
                    }
                }
                () = deadline => {}
                () = shared.joined.notified() => {}
            }
        }
    }

    async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        let url = match (&self.origin, &self.discovered) {
            (Origin::Jwks(url), _) | (Origin::Issuer(_), Some(url)) => url.clone(),
            (Origin::Issuer(issuer), None) => {
                let url = issuer.discover(&self.client).await?;
                self.discovered.insert(url).clone()
            }
        };
        let outcome = self.fetch_keys(&url).await;
        if outcome.is_err() {
            self.discovered = None;
        }
        outcome
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
        // The same bytes are the same keys: nothing is prepared again.
        let set = match before.filter(|before| before.document == document) {
            Some(before) => before.set.clone(),
            None => KeySet::from_network(&document, self.shared.numbers.max_keys)
                .map_err(|error| FetchError::because("the answer is no usable key set", error))?,
        };
        Ok(Fetched::Document {
            set,
            document,
            etag,
            fresh,
        })
    }

    fn conclude(&self, outcome: Result<Fetched, FetchError>) {
        match outcome {
            Ok(fetched) => {
                let before = self.shared.loaded();
                let changed = self.shared.succeeded(fetched);
                let loaded = self.shared.loaded();
                let keys = loaded.as_ref().map_or(0, |loaded| loaded.set.len());
                #[cfg(feature = "tracing")]
                tracing::debug!(keys, changed, "verification keys fetched");
                self.tell(&AuthEvent::KeysFetched { keys, changed });
                if let Some(loaded) = loaded.filter(|_| changed) {
                    let before = before.as_ref().map(|before| &before.set);
                    for event in loaded.set.report_skipped(before) {
                        self.tell(&event);
                    }
                }
            }
            Err(error) => {
                let retry_in = self.shared.failed(error.clone());
                #[cfg(feature = "tracing")]
                {
                    let cause = error.causes();
                    tracing::warn!(%error, cause, ?retry_in, "verification keys could not be fetched");
                }
                let error = &error;
                self.tell(&AuthEvent::KeyFetchFailed { error, retry_in });
            }
        }
    }

    fn tell(&self, event: &AuthEvent<'_>) {
        // A sink's panic must not end the fetching.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| self.events.tell(|| *event)));
    }
}

/// A client's panic is a failure like any other: it must not end the fetching.
async fn caught<T>(fetch: impl Future<Output = Result<T, FetchError>>) -> Result<T, FetchError> {
    let mut fetch = pin!(fetch);
    poll_fn(|cx| {
        panic::catch_unwind(AssertUnwindSafe(|| fetch.as_mut().poll(cx)))
            .unwrap_or_else(|_| Poll::Ready(Err(FetchError::plain("the client panicked"))))
    })
    .await
}

/// Closes the set when the worker ends, also where it is aborted: nobody waits in vain.
pub(super) struct Closing(pub(super) Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}
