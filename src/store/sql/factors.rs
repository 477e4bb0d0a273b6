//! Second factors: one row per subject, with compare and set.

use super::{Columns, Dialect, SqlStore, Statement, narrow};
use crate::{
    error::StoreError,
    store::port::{FactorStore, StoredFactors},
};

static LOAD: Statement = Statement::read(
    "SELECT {now} AS now, \
       COALESCE((SELECT revision FROM auth_factor WHERE sub = $1), 0) AS revision, \
       COALESCE((SELECT factors FROM auth_factor WHERE sub = $1), '') AS factors",
);

static INSERT: Statement = Statement::write(
    "INSERT INTO auth_factor (sub, revision, factors) VALUES ($1, $2, $3) \
     ON CONFLICT DO NOTHING RETURNING revision",
);

static UPDATE: Statement = Statement::write(
    "UPDATE auth_factor SET revision = $2, factors = $3 WHERE sub = $1 AND revision = $4 \
     RETURNING revision",
);

impl<D: Dialect> FactorStore for SqlStore<D> {
    async fn load_factors(&self, subject: &str) -> Result<StoredFactors, StoreError> {
        let row = self.db.only_row(&LOAD, &[subject.into()]).await?;
        let row = Columns(&row);
        let revision = narrow(row.number("revision")?)?;
        let factors = row.text("factors")?;
        Ok(StoredFactors::new(revision, factors, row.time("now")?))
    }

    async fn swap_factors(
        &self,
        subject: &str,
        from: u64,
        to: u64,
        factors: &str,
    ) -> Result<bool, StoreError> {
        let (from, to) = (column(from)?, column(to)?);
        match from {
            0 => {
                let values = [subject.into(), to.into(), factors.into()];
                self.db.changed(&INSERT, &values).await
            }
            from => {
                let values = [subject.into(), to.into(), factors.into(), from.into()];
                self.db.changed(&UPDATE, &values).await
            }
        }
    }
}

fn column(revision: u64) -> Result<i64, StoreError> {
    i64::try_from(revision).map_err(StoreError::invalid)
}
