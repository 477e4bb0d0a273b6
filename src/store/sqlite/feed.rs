//! The feed of revocations.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time,
};

use super::SqliteDialect;
use crate::{
    error::StoreError,
    revocation::{Feed, RevocationSet},
    store::sql::{Columns, Dialect, Statement},
};

/// The revocations of a [`SqliteStore`](super::SqliteStore): those of this process immediately, those
/// of other processes within a quarter of a second.
pub struct SqliteFeed {
    db: SqliteDialect,
    /// Notified of each revocation of this process since the creation of the value.
    notified: Pin<Box<OwnedNotified>>,
    /// The number of the last row that was read. One transaction writes at a time, so numbers rise.
    seen: i64,
}

static PAGE_OF: Statement = Statement::read(
    "SELECT seq, kind, key, epoch, \"until\" FROM auth_revocation \
     WHERE seq > $1 AND \"until\" > {now} ORDER BY seq LIMIT $2",
);

impl SqliteFeed {
    pub(super) fn new(db: SqliteDialect) -> Self {
        Self {
            notified: listen(&db.news),
            db,
            seen: 0,
        }
    }

    async fn read_new(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        loop {
            let values = [self.seen.into(), PAGE.into()];
            let rows = self.db.rows(&PAGE_OF, &values).await?;
            for row in &rows {
                let row = Columns(row);
                if let Some(revocation) = row.revocation()? {
                    set.insert(&revocation);
                }
                self.seen = row.number("seq")?;
            }
            if i64::try_from(rows.len()).unwrap_or(PAGE) < PAGE {
                return Ok(());
            }
        }
    }
}

impl Feed for SqliteFeed {
    async fn load(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        self.seen = 0;
        self.read_new(set).await
    }

    async fn next(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        // The file does not notify of the writes of other processes, so the wait is short.
        let _ = time::timeout(POLL, &mut self.notified).await;
        // Registered before the read: a revocation that the read misses wakes the next call.
        self.notified = listen(&self.db.news);
        self.read_new(set).await
    }
}

fn listen(news: &Arc<Notify>) -> Pin<Box<OwnedNotified>> {
    let mut notified = Box::pin(Arc::clone(news).notified_owned());
    notified.as_mut().enable();
    notified
}

impl fmt::Debug for SqliteFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteFeed")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

const PAGE: i64 = 5000;
const POLL: Duration = Duration::from_millis(250);
