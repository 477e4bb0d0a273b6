//! The key ring of an issuer: one row, with compare and set.

use std::time::Duration;

use tokio::time::{self, Instant};

use super::{Columns, Dialect, SqlStore, Statement, narrow};
use crate::{
    error::StoreError,
    store::port::{KEY_RING_WAIT, KeyRingStore, StoredKeyRing},
    time::Timestamp,
};

static LOAD: Statement = Statement::read(
    "SELECT {now} AS now, \
       COALESCE((SELECT revision FROM auth_key_ring WHERE name = 'signing'), 0) AS revision, \
       COALESCE((SELECT keys FROM auth_key_ring WHERE name = 'signing'), '') AS keys",
);

static REVISION: Statement = Statement::read(
    "SELECT COALESCE(max(revision), 0) AS revision FROM auth_key_ring WHERE name = 'signing'",
);

static INSERT: Statement = Statement::write(
    "INSERT INTO auth_key_ring (name, revision, keys) VALUES ('signing', $1, $2) \
     ON CONFLICT DO NOTHING RETURNING revision",
);

static UPDATE: Statement = Statement::write(
    "UPDATE auth_key_ring SET revision = $1, keys = $2 \
     WHERE name = 'signing' AND revision = $3 RETURNING revision",
);

impl<D: Dialect> KeyRingStore for SqlStore<D> {
    async fn load_key_ring(&self) -> Result<StoredKeyRing, StoreError> {
        let row = self.db.only_row(&LOAD, &[]).await?;
        let row = Columns(&row);
        let now = Timestamp::from_millis(row.number("now")?);
        let revision = narrow(row.number("revision")?)?;
        Ok(StoredKeyRing::new(revision, row.text("keys")?, now))
    }

    async fn swap_key_ring(&self, from: u64, to: u64, keys: &str) -> Result<bool, StoreError> {
        let (from, to) = (column(from)?, column(to)?);
        match from {
            0 => self.db.changed(&INSERT, &[to.into(), keys.into()]).await,
            from => {
                let values = [to.into(), keys.into(), from.into()];
                self.db.changed(&UPDATE, &values).await
            }
        }
    }

    /// Polls. A next key is published long before it signs, and a node that meets an unknown `kid` loads
    /// the ring immediately, so a notification would only speed up a withdrawal, by a second at most. It
    /// would need a connection that listens, and the poll as well, because poolers drop notifications.
    async fn key_ring_changed(&self, seen: u64) -> Result<(), StoreError> {
        let end = Instant::now() + KEY_RING_WAIT;
        while Instant::now() < end {
            time::sleep(POLL).await;
            let row = self.db.only_row(&REVISION, &[]).await?;
            if narrow::<u64>(Columns(&row).number("revision")?)? != seen {
                break;
            }
        }
        Ok(())
    }
}

fn column(revision: u64) -> Result<i64, StoreError> {
    i64::try_from(revision).map_err(StoreError::invalid)
}

const POLL: Duration = Duration::from_secs(1);
