//! Hearing of changes, for connections that outlive the check at their start.

use std::{fmt, future};

use tokio::sync::watch;

/// Tells that a [`RevocationSet`](super::RevocationSet) has learned of something; made by
/// [`RevocationSet::changes`](super::RevocationSet::changes).
///
/// It does not tell of what: whoever hears asks the set about its own caller, which costs some tens
/// of nanoseconds. A set that nobody listens to pays nothing for it.
#[derive(Clone)]
pub struct Changes {
    news: watch::Receiver<()>,
}

impl Changes {
    pub(super) fn new(news: watch::Receiver<()>) -> Self {
        Self { news }
    }

    /// Waits until the set has learned of something since the last time, or since this was made.
    /// Several things at once are one change.
    ///
    /// Where the set is gone, nothing will ever change.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) {
        if self.news.changed().await.is_err() {
            future::pending().await
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}
