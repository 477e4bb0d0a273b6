//! Counters of login attempts, compared and set as texts.

use super::{Cells, Columns, Dialect, SqlStore, Statement};
use crate::{
    error::StoreError,
    store::port::{LoadedThrottle, ThrottleKey, ThrottleRow, ThrottleStore},
};

static LOAD: Statement = Statement::read(
    "SELECT (SELECT state FROM auth_throttle WHERE key = $1) AS state, {now} AS now",
);

static INSERT: Statement = Statement::write(
    "INSERT INTO auth_throttle (key, state, kept_until) VALUES ($1, $2, $3) \
     ON CONFLICT (key) DO NOTHING RETURNING key",
);

static UPDATE: Statement = Statement::write(
    "UPDATE auth_throttle SET state = $2, kept_until = $3 WHERE key = $1 AND state = $4 \
     RETURNING key",
);

static DELETE: Statement =
    Statement::write("DELETE FROM auth_throttle WHERE key = $1 AND state = $2 RETURNING key");

static CLEAR: Statement = Statement::write("DELETE FROM auth_throttle WHERE key = $1");

impl<D: Dialect> ThrottleStore for SqlStore<D> {
    async fn load(&self, key: &ThrottleKey) -> Result<LoadedThrottle, StoreError> {
        let row = self.db.only_row(&LOAD, &[key.as_bytes().into()]).await?;
        Columns(&row).throttle()
    }

    async fn swap(
        &self,
        key: &ThrottleKey,
        from: Option<&ThrottleRow>,
        to: Option<&ThrottleRow>,
    ) -> Result<bool, StoreError> {
        let key = key.as_bytes().into();
        let from = from.map(ThrottleRow::to_text);
        let Some(to) = to else {
            let from = from.as_deref().into();
            return self.db.changed(&DELETE, &[key, from]).await;
        };
        let (state, until) = (to.to_text(), to.expires_at().as_millis());
        let (state, until) = (state.as_str().into(), until.into());
        match from.as_deref() {
            None => self.db.changed(&INSERT, &[key, state, until]).await,
            Some(from) => {
                let values = [key, state, until, from.into()];
                self.db.changed(&UPDATE, &values).await
            }
        }
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        self.db.rows(&CLEAR, &[key.as_bytes().into()]).await?;
        Ok(())
    }
}

impl<R: Cells> Columns<'_, R> {
    /// Reads a counter from a row of [`LOAD`].
    fn throttle(&self) -> Result<LoadedThrottle, StoreError> {
        let state = self.maybe_text("state")?;
        let row = state.as_deref().map(ThrottleRow::from_text).transpose()?;
        Ok(LoadedThrottle::new(row, self.time("now")?))
    }
}
