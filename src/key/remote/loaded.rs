//! A fetched key set.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Uri};

use crate::key::KeySet;

/// The limits and times of a remote key set.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    /// `None`: determined by `Cache-Control`, 10 minutes without it.
    pub(super) max_age: Option<Duration>,
    pub(super) cooldown: Duration,
    pub(super) timeout: Duration,
    pub(super) wait: Duration,
    pub(super) stale: Duration,
    pub(super) max_keys: usize,
}

impl Numbers {
    /// Returns the time for which keys are fresh. `fresh` is the time that their response states.
    pub(super) fn max_age(&self, fresh: Option<Duration>) -> Duration {
        self.max_age.unwrap_or_else(|| {
            let fresh = fresh.unwrap_or(DEFAULT_MAX_AGE);
            fresh.clamp(LEAST_MAX_AGE, MOST_MAX_AGE)
        })
    }
}

/// A fetched key set with its age and cache data.
pub(super) struct Loaded {
    pub(super) set: KeySet,
    /// The document. An identical document is not parsed again.
    pub(super) document: Bytes,
    /// The entity tag and the URL to which it belongs. Another URL may use the same tag.
    pub(super) etag: Option<(Uri, HeaderValue)>,
    pub(super) fetched: Instant,
    pub(super) max_age: Duration,
    /// The age at which a refresh in the background is started.
    pub(super) refresh: Duration,
    /// The number of times that the keys have changed.
    pub(super) generation: u64,
}

/// The age of a key set, as far as it matters for an unknown `kid`.
pub(super) struct Age {
    /// The set is so new that no fetch is needed for a `kid` that it does not contain.
    pub(super) young: bool,
    /// A refresh is due.
    pub(super) due: bool,
    /// The set is older than `max_age`.
    pub(super) stale: bool,
}

/// The result of a successful fetch.
pub(super) enum Fetched {
    Document {
        set: KeySet,
        document: Bytes,
        etag: Option<(Uri, HeaderValue)>,
        fresh: Option<Duration>,
    },
    NotModified {
        before: Arc<Loaded>,
        fresh: Option<Duration>,
    },
}

impl Fetched {
    pub(super) fn set(&self) -> &KeySet {
        match self {
            Self::Document { set, .. } => set,
            Self::NotModified { before, .. } => &before.set,
        }
    }
}

impl Loaded {
    pub(super) fn new(set: KeySet, document: Bytes, etag: Option<(Uri, HeaderValue)>) -> Self {
        Self {
            set,
            document,
            etag,
            fetched: Instant::now(),
            max_age: Duration::ZERO,
            refresh: Duration::ZERO,
            generation: 0,
        }
    }

    pub(super) fn renewed(&self) -> Self {
        Self::new(self.set.clone(), self.document.clone(), self.etag.clone())
    }
}

const DEFAULT_MAX_AGE: Duration = Duration::from_secs(600);
const LEAST_MAX_AGE: Duration = Duration::from_secs(60);
const MOST_MAX_AGE: Duration = Duration::from_secs(3600);
