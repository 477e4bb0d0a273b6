//! The counters of login attempts in SQL, for both dialects.
//!
//! It is [`ThrottleRow`](crate::server::login::ThrottleRow) line by line; the contract walks through both at
//! random and compares.

use super::{Cells, Columns, Dialect, SqlStore, Statement, Value, duration, millis, narrow};
use crate::{
    error::StoreError,
    server::login::{ThrottleKey, ThrottleRow, ThrottleRule},
    store::port::{AttemptOutcome, Reservation, Reserve, Settled, ThrottleStore},
    time::Timestamp,
};

/// `ThrottleRule::wait` after so many failures. By division, because a product may not fit.
macro_rules! wait {
    ($failures:literal) => {
        concat!(
            "CASE WHEN ",
            $failures,
            " < free THEN 0
                  WHEN ",
            $failures,
            " - free > 31
                  THEN CASE WHEN first > longest / 4294967295 THEN longest ELSE first * 4294967295 END
                  WHEN first > longest / (CAST(1 AS bigint) << CAST(",
            $failures,
            " - free AS integer)) THEN longest
                  ELSE first * (CAST(1 AS bigint) << CAST(",
            $failures,
            " - free AS integer)) END"
        )
    };
}

/// `ThrottleRow::catch_up`: from the table's row `t` and the rule to the row `seen`.
macro_rules! catch_up {
    () => {
        concat!(
            "WITH cur AS (
               SELECT t.failures AS failures, t.open AS open, t.batch AS batch,
                 t.open_until AS open_until, t.blocked_until AS blocked_until,
                 t.forgotten_at AS forgotten_at, {now} AS now,
                 CAST($2 AS bigint) AS free, CAST($3 AS bigint) AS first,
                 CAST($4 AS bigint) AS longest, CAST($5 AS bigint) AS memory,
                 CAST($6 AS bigint) AS slides, CAST($7 AS bigint) AS clears,
                 CAST($8 AS bigint) AS hold, CAST($9 AS bigint) AS forever
             ), expired AS (
               SELECT cur.*, CASE WHEN open > 0 AND now >= open_until THEN open ELSE 0 END AS lost
               FROM cur
             ), remembered AS (
               SELECT expired.*,
                 CASE WHEN lost > 0 AND open_until >= forgotten_at THEN 0 ELSE failures END AS kept,
                 CASE WHEN lost > 0 AND open_until >= forgotten_at THEN 0 ELSE blocked_until END AS block
               FROM expired
             ), failing AS (
               SELECT remembered.*, ", wait!("(kept + lost)"), " AS pause FROM remembered
             ), failed AS (
               SELECT failing.*, kept + lost AS total,
                 CASE WHEN lost > 0 AND pause > 0 THEN open_until + pause ELSE block END AS until,
                 CASE WHEN lost = 0 THEN forgotten_at
                      WHEN pause >= forever THEN open_until + pause
                      WHEN kept = 0 OR slides = 1 THEN open_until + pause + memory
                      ELSE forgotten_at END AS forget
               FROM failing
             ), seen AS (
               SELECT now, free, first, longest, memory, slides, clears, hold, forever,
                 CASE WHEN lost > 0 THEN 0 ELSE open END AS open, batch, open_until,
                 CASE WHEN now >= forget THEN 0 ELSE total END AS failures,
                 CASE WHEN total > 0 AND now >= forget THEN 0 ELSE until END AS blocked_until,
                 forget AS forgotten_at
               FROM failed
             )"
        )
    };
}

/// When the row `next` says no more than no row, also if what is open is never settled.
macro_rules! kept_until {
    () => {
        concat!(
            "CASE WHEN open > 0 THEN
               CASE WHEN failures > 0 AND forgotten_at > open_until + ",
            wait!("(failures + open)"),
            " + memory THEN forgotten_at ELSE open_until + ",
            wait!("(failures + open)"),
            " + memory END
             WHEN failures > 0 THEN forgotten_at ELSE now END"
        )
    };
}

/// The columns that both transitions set.
macro_rules! written {
    () => {
        "(failures, open, batch, open_until, blocked_until, forgotten_at, kept_until, said)"
    };
}

/// `ThrottleRow::reserve`; `said` is 1 where the attempt is let through. A row that is not there lets
/// the first one through.
macro_rules! reserve {
    () => {
        concat!(
            "INSERT INTO auth_throttle AS t
               (key, failures, open, batch, open_until, blocked_until, forgotten_at, kept_until, said)
             SELECT $1, 0, 1, now, now + hold, 0, 0, now + hold + ", wait!("1"), " + memory, 1
             FROM (
               SELECT {now} AS now, CAST($2 AS bigint) AS free, CAST($3 AS bigint) AS first,
                 CAST($4 AS bigint) AS longest, CAST($5 AS bigint) AS memory,
                 CAST($8 AS bigint) AS hold
             ) fresh
             WHERE true
             ON CONFLICT (key) DO UPDATE SET ", written!(), " = (",
            catch_up!(), ", judged AS (
               SELECT seen.*, CASE WHEN now < blocked_until THEN 0
                 WHEN open >= CASE WHEN free - failures > 1 THEN free - failures ELSE 1 END THEN 0
                 ELSE 1 END AS said
               FROM seen
             ), next AS (
               SELECT now, free, first, longest, memory, failures, blocked_until, forgotten_at, said,
                 open + said AS open,
                 CASE WHEN said = 1 AND open = 0 THEN now ELSE batch END AS batch,
                 CASE WHEN said = 1 THEN now + hold ELSE open_until END AS open_until
               FROM judged
             )
             SELECT failures, open, batch, open_until, blocked_until, forgotten_at, ",
            kept_until!(), ", said FROM next)
             RETURNING failures, open, batch, open_until, blocked_until, forgotten_at, said, {now} AS now"
        )
    };
}

/// `ThrottleRow::settle`; `said` is the wait that begins.
macro_rules! settle {
    () => {
        concat!(
            "UPDATE auth_throttle AS t SET ",
            written!(),
            " = (",
            catch_up!(),
            ", judged AS (
               SELECT seen.*,
                 CASE WHEN open > 0 AND batch = CAST($10 AS bigint) THEN 1 ELSE 0 END AS mine,
                 CASE WHEN CAST($11 AS bigint) = 1 AND clears = 1 THEN 1 ELSE 0 END AS cleared,
                 CASE WHEN CAST($11 AS bigint) = 0 AND open > 0 AND batch = CAST($10 AS bigint)
                      THEN 1 ELSE 0 END AS failed
               FROM seen
             ), punished AS (
               SELECT judged.*, CASE WHEN failed = 1 THEN ",
            wait!("(failures + 1)"),
            " ELSE 0 END AS said
               FROM judged
             ), next AS (
               SELECT now, free, first, longest, memory, batch, open_until, said,
                 open - mine AS open,
                 CASE WHEN cleared = 1 THEN 0 ELSE failures + failed END AS failures,
                 CASE WHEN cleared = 1 THEN 0 WHEN said > 0 THEN now + said
                      ELSE blocked_until END AS blocked_until,
                 CASE WHEN failed = 0 THEN forgotten_at
                      WHEN said >= forever THEN now + said
                      WHEN failures = 0 OR slides = 1 THEN now + said + memory
                      ELSE forgotten_at END AS forgotten_at
               FROM punished
             )
             SELECT failures, open, batch, open_until, blocked_until, forgotten_at, ",
            kept_until!(),
            ", said FROM next)
             WHERE key = $1 RETURNING said"
        )
    };
}

/// The row, to see whether there is anything to write: what is refused writes nothing.
static ROW: Statement = Statement::read(
    "SELECT failures, open, batch, open_until, blocked_until, forgotten_at, {now} AS now \
     FROM auth_throttle WHERE key = $1",
);

static RESERVE: Statement = Statement::write(reserve!());
static SETTLE: Statement = Statement::write(settle!());
static CLEAR: Statement = Statement::write("DELETE FROM auth_throttle WHERE key = $1");

impl<D: Dialect> ThrottleStore for SqlStore<D> {
    async fn reserve(
        &self,
        key: &ThrottleKey,
        rule: &ThrottleRule,
    ) -> Result<Reserve<Reservation>, StoreError> {
        // A refused attempt writes nothing and waits for no lock.
        if let Some(row) = self.db.row(&ROW, &[key.as_bytes().into()]).await?
            && let Some(refused) = Columns(&row).refusal(rule)?
        {
            return Ok(refused);
        }
        // Decided again under the lock; this decision counts.
        let mut values: Vec<Value<'_>> = vec![key.as_bytes().into()];
        values.extend(numbers(rule).map(Value::from));
        let row = self.db.only_row(&RESERVE, &values).await?;
        Columns(&row).reserved(key, rule)
    }

    async fn settle(
        &self,
        reservation: Reservation,
        outcome: AttemptOutcome,
    ) -> Result<Settled, StoreError> {
        let mut values: Vec<Value<'_>> = vec![reservation.key().as_bytes().into()];
        values.extend(numbers(reservation.rule()).map(Value::from));
        values.push(reservation.batch().as_millis().into());
        values.push(outcome_code(outcome).into());
        // A row that is gone limits nothing any more.
        match self.db.row(&SETTLE, &values).await? {
            Some(row) => Columns(&row).settled(),
            None => Ok(Settled::default()),
        }
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        self.db.rows(&CLEAR, &[key.as_bytes().into()]).await?;
        Ok(())
    }
}

/// The numbers from `$2` on.
fn numbers(rule: &ThrottleRule) -> [i64; 8] {
    [
        i64::from(rule.free),
        millis(rule.first_wait),
        millis(rule.longest_wait),
        millis(rule.memory),
        i64::from(rule.memory_slides),
        i64::from(rule.success_clears),
        millis(rule.hold),
        millis(ThrottleRule::FOREVER),
    ]
}

/// The number `$11`.
fn outcome_code(outcome: AttemptOutcome) -> i64 {
    match outcome {
        AttemptOutcome::Failed => 0,
        AttemptOutcome::Succeeded => 1,
        AttemptOutcome::Undecided => 2,
    }
}

impl<R: Cells> Columns<'_, R> {
    /// What [`row`] says of an attempt; `None` where it might be let through.
    fn refusal(&self, rule: &ThrottleRule) -> Result<Option<Reserve<Reservation>>, StoreError> {
        let mut row = ThrottleRow {
            failures: narrow(self.number("failures")?)?,
            open: narrow(self.number("open")?)?,
            batch: self.time("batch")?,
            open_until: self.time("open_until")?,
            blocked_until: self.time("blocked_until")?,
            forgotten_at: self.time("forgotten_at")?,
        };
        Ok(match row.reserve(rule, self.time("now")?) {
            Reserve::Granted(_) => None,
            Reserve::Pending(held) => Some(Reserve::Pending(held)),
            Reserve::Wait(wait) => Some(Reserve::Wait(wait)),
        })
    }

    /// What [`reserve`] decided.
    fn reserved(
        &self,
        key: &ThrottleKey,
        rule: &ThrottleRule,
    ) -> Result<Reserve<Reservation>, StoreError> {
        if self.number("said")? == 1 {
            let batch: Timestamp = self.time("batch")?;
            return Ok(Reserve::Granted(Reservation::new(*key, *rule, batch)));
        }
        // A refusal changes nothing, so that the row says once more why.
        self.refusal(rule)?
            .ok_or_else(|| StoreError::invalid("a counter that refuses without a reason"))
    }

    /// What [`settle`] brought about.
    fn settled(&self) -> Result<Settled, StoreError> {
        Ok(Settled::wait(duration(self.number("said")?)?))
    }
}
