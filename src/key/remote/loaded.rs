//! A key set as it was fetched.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Uri};

use crate::key::KeySet;

/// The numbers of a remote key set.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    /// `None`: ten minutes, moved by `Cache-Control`.
    pub(super) max_age: Option<Duration>,
    pub(super) cooldown: Duration,
    pub(super) timeout: Duration,
    pub(super) wait: Duration,
    pub(super) stale: Duration,
    pub(super) max_keys: usize,
}

impl Numbers {
    /// The time for which keys are fresh, if their answer says this or nothing about it.
    pub(super) fn max_age(&self, fresh: Option<Duration>) -> Duration {
        self.max_age.unwrap_or_else(|| {
            let fresh = fresh.unwrap_or(DEFAULT_MAX_AGE);
            fresh.clamp(LEAST_MAX_AGE, MOST_MAX_AGE)
        })
    }
}

/// A key set as it was fetched.
pub(super) struct Loaded {
    pub(super) set: KeySet,
    /// The document itself: the same bytes are not read again.
    pub(super) document: Bytes,
    /// The tag, and whose it is: another URL may use the same one.
    pub(super) etag: Option<(Uri, HeaderValue)>,
    pub(super) fetched: Instant,
    pub(super) max_age: Duration,
    /// When a look-up starts a refresh in the background.
    pub(super) refresh: Duration,
    /// Counts how often the keys have changed.
    pub(super) generation: u64,
}

/// What the age of a key set asks for.
pub(super) struct Age {
    /// Nothing: what was not found a moment ago need not be asked for again.
    pub(super) young: bool,
    /// A refresh.
    pub(super) due: bool,
    /// A refresh that should have come already.
    pub(super) stale: bool,
}

/// What came of a fetch.
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
