//! Counters of login attempts.

use super::{SqliteStore, sessions::now};
use crate::{
    error::StoreError,
    server::login::{ThrottleKey, ThrottleRule},
    store::{
        port::{AttemptOutcome, Reservation, Reserve, Settled, ThrottleStore},
        sql::{
            Columns,
            throttle::{
                catch_up, kept_until, numbers, outcome_code, reserve, row, settle, wait, written,
            },
        },
    },
};

const ROW: &str = row!(now!());
const RESERVE: &str = reserve!(now!());
const SETTLE: &str = settle!(now!());

impl ThrottleStore for SqliteStore {
    async fn reserve(
        &self,
        key: &ThrottleKey,
        rule: &ThrottleRule,
    ) -> Result<Reserve<Reservation>, StoreError> {
        // What is refused waits for no writer and no disk.
        let row = self
            .read(sqlx::query(ROW).bind(key.as_bytes().to_vec()))
            .await?;
        if let Some(row) = row.first()
            && let Some(refused) = Columns(row).refusal(rule)?
        {
            return Ok(refused);
        }
        // Decided once more under the lock; this decision is the one that counts.
        let reserve = sqlx::query(RESERVE).bind(key.as_bytes().to_vec());
        let reserve = numbers(rule)
            .into_iter()
            .fold(reserve, |query, number| query.bind(number));
        let rows = self.write(reserve).await?;
        let row = rows.first();
        let row = row.ok_or_else(|| StoreError::invalid("a statement without its row"))?;
        Columns(row).reserved(key, rule)
    }

    async fn settle(
        &self,
        reservation: Reservation,
        outcome: AttemptOutcome,
    ) -> Result<Settled, StoreError> {
        let settle = sqlx::query(SETTLE).bind(reservation.key().as_bytes().to_vec());
        let settle = numbers(reservation.rule())
            .into_iter()
            .fold(settle, |query, number| query.bind(number))
            .bind(reservation.batch().as_millis())
            .bind(outcome_code(outcome));
        let rows = self.write(settle).await?;
        // A row that is gone says nothing any more.
        rows.first()
            .map_or(Ok(Settled::default()), |row| Columns(row).settled())
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        let clear = sqlx::query("DELETE FROM auth_throttle WHERE key = $1");
        self.write(clear.bind(key.as_bytes().to_vec())).await?;
        Ok(())
    }
}
