//! The feed of revocations.

use std::{fmt, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::time;

use super::{PLACE, PostgresDialect, fault};
use crate::{
    error::StoreError,
    revocation::{Feed, RevocationSet},
    store::sql::{Columns, Dialect, Statement},
};

/// The revocations of a [`PostgresStore`](super::PostgresStore): immediately by a notification, and
/// within a second without one.
///
/// The first `load` opens a separate connection, so that a busy pool does not delay revocations.
pub struct PostgresFeed {
    pool: PgPool,
    listener: Option<PgListener>,
    /// The oldest transaction that was running at the last read. The rows of all earlier ones were
    /// visible. Neither transaction numbers nor row numbers follow the order of commits: a later
    /// number may become visible first.
    horizon: String,
}

/// Returns at least one row, so that the horizon is read also if no revocation is new.
static PAGE_OF: Statement = Statement::read(
    "SELECT CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS horizon,
       CAST(r.tx AS text) AS tx, r.seq, r.kind, r.key, r.epoch, r.\"until\"
     FROM (VALUES (1)) one LEFT JOIN LATERAL (
       SELECT * FROM auth_revocation
       WHERE (tx, seq) > (CAST(CAST($1 AS text) AS xid8), CAST($2 AS bigint))
         AND \"until\" > {now}
       ORDER BY tx, seq LIMIT $3
     ) r ON true ORDER BY r.tx, r.seq",
);

impl PostgresFeed {
    pub(super) fn new(pool: &PgPool) -> Self {
        Self {
            pool: pool.clone(),
            listener: None,
            horizon: BEGINNING.to_owned(),
        }
    }

    async fn connect(&self) -> Result<PgListener, StoreError> {
        let options = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT)
            .max_lifetime(None)
            .idle_timeout(None);
        let own = options.connect_lazy_with((*self.pool.connect_options()).clone());
        let mut listener = PgListener::connect_with(&own)
            .await
            .map_err(StoreError::unavailable)?;
        // Only `load` reconnects, because it also reads what was missed.
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await.map_err(fault::store_error)?;
        Ok(listener)
    }

    /// Reads all revocations from the horizon on, page by page, and sets the new horizon.
    async fn read_new(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        let Some(listener) = &mut self.listener else {
            return Err(StoreError::unavailable("not connected"));
        };
        let (mut tx, mut seq) = (self.horizon.clone(), 0);
        let mut horizon = None;
        loop {
            let text = PAGE_OF.text(PLACE, PostgresDialect::WORDS);
            let page = sqlx::query(text).bind(&tx).bind(seq).bind(PAGE);
            let rows = page
                .fetch_all(&mut *listener)
                .await
                .map_err(fault::store_error)?;
            for row in &rows {
                let row = Columns(row);
                // The horizon of the first page: the next call reads what commits between two pages.
                if horizon.is_none() {
                    horizon = Some(row.text("horizon")?);
                }
                if let Some(number) = row.maybe("seq")? {
                    (tx, seq) = (row.text("tx")?, number);
                    if let Some(revocation) = row.revocation()? {
                        set.insert(&revocation);
                    }
                }
            }
            if i64::try_from(rows.len()).unwrap_or(PAGE) < PAGE {
                break;
            }
        }
        self.horizon = horizon.unwrap_or(tx);
        Ok(())
    }
}

impl Feed for PostgresFeed {
    async fn load(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        // A new connection listens before the first read. The old connection may hang, so it is
        // dropped without waiting.
        self.listener = None;
        self.listener = Some(self.connect().await?);
        self.horizon = BEGINNING.to_owned();
        self.read_new(set).await
    }

    async fn next(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        if let Some(listener) = &mut self.listener {
            match time::timeout(POLL, listener.try_recv()).await {
                Ok(Ok(Some(_))) => while listener.next_buffered().is_some() {},
                Ok(Ok(None)) => return Err(StoreError::unavailable("the connection was lost")),
                Ok(Err(error)) => return Err(StoreError::unavailable(error)),
                // Read also without a notification: a pooler does not pass notifications on.
                Err(_) => {}
            }
        }
        self.read_new(set).await
    }
}

impl fmt::Debug for PostgresFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresFeed")
            .field("connected", &self.listener.is_some())
            .finish_non_exhaustive()
    }
}

const CHANNEL: &str = "auth_revocation";
const BEGINNING: &str = "0";
const PAGE: i64 = 5000;
const POLL: Duration = Duration::from_secs(1);
const CONNECT: Duration = Duration::from_secs(5);
