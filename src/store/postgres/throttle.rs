//! Counters of login attempts.

use super::{PostgresStore, sessions::now};
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

/// A statement that had to wait for the row's lock sees the row as it is once it has it: that is what
/// `ON CONFLICT DO UPDATE` and `read committed` do with the expressions that it is set to.
const RESERVE: &str = reserve!(now!());
const SETTLE: &str = settle!(now!());

impl ThrottleStore for PostgresStore {
    async fn reserve(
        &self,
        key: &ThrottleKey,
        rule: &ThrottleRule,
    ) -> Result<Reserve<Reservation>, StoreError> {
        // What is refused writes nothing and waits for no lock, so that a flood of guesses is cheap.
        let row = self
            .row(|| sqlx::query(ROW).bind(key.as_bytes().as_slice()))
            .await?;
        if let Some(row) = row
            && let Some(refused) = Columns(&row).refusal(rule)?
        {
            return Ok(refused);
        }
        // Decided once more under the lock; this decision is the one that counts.
        let row = self
            .only_row(|| {
                let reserve = sqlx::query(RESERVE).bind(key.as_bytes().as_slice());
                numbers(rule)
                    .into_iter()
                    .fold(reserve, |query, number| query.bind(number))
            })
            .await?;
        Columns(&row).reserved(key, rule)
    }

    async fn settle(
        &self,
        reservation: Reservation,
        outcome: AttemptOutcome,
    ) -> Result<Settled, StoreError> {
        let row = self
            .row(|| {
                let settle = sqlx::query(SETTLE).bind(reservation.key().as_bytes().as_slice());
                numbers(reservation.rule())
                    .into_iter()
                    .fold(settle, |query, number| query.bind(number))
                    .bind(reservation.batch().as_millis())
                    .bind(outcome_code(outcome))
            })
            .await?;
        // A row that is gone says nothing any more.
        row.map_or(Ok(Settled::default()), |row| Columns(&row).settled())
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        self.rows(|| {
            sqlx::query("DELETE FROM auth_throttle WHERE key = $1").bind(key.as_bytes().as_slice())
        })
        .await?;
        Ok(())
    }
}
