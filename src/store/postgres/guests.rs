//! The statements about guests.

use super::{PostgresStore, sessions::now};
use crate::{
    error::StoreError,
    revocation::RETENTION,
    store::{
        ENDED_FOR,
        port::{
            ClaimOutcome, FIRST_RETRY, GuestPeek, GuestStore, LinkCondition, NewGuest,
            PendingClaim, judge,
        },
        sql::{Columns, guest_alive, guest_columns, guest_is_over, guest_retry, millis},
    },
};

const CREATE: &str = concat!(
    "INSERT INTO auth_guest (sub, device, created_at, written_at, expires_at)
     SELECT $1, $2, now, now, now + $3 FROM (SELECT ",
    now!(),
    " AS now) n
     ON CONFLICT (sub) DO NOTHING RETURNING 1"
);

const FIND: &str = concat!(
    "SELECT ",
    guest_columns!(),
    ", ",
    now!(),
    " AS now FROM auth_guest WHERE sub = $1"
);

const TOUCH: &str = concat!(
    "UPDATE auth_guest g SET written_at = ",
    now!(),
    " WHERE sub = $1 AND ",
    guest_alive!(now!()),
    " RETURNING 1"
);

/// The guest, the end of its sessions, and what tells the nodes of it, in one statement. A statement
/// that had to wait for another one looks at the row as that one left it.
macro_rules! link {
    ($set:expr) => {
        concat!(
            "WITH won AS (
               UPDATE auth_guest g SET ",
            $set,
            " WHERE g.sub = $1 AND ",
            guest_alive!(now!()),
            " AND g.device IS NOT DISTINCT FROM $2 AND g.written_at >= ",
            now!(),
            " - $3 RETURNING g.sub, ",
            now!(),
            " AS now
             ), up AS (
               INSERT INTO auth_subject (sub, epoch) SELECT sub, 1 FROM won
               ON CONFLICT (sub) DO UPDATE SET epoch = auth_subject.epoch + 1
               RETURNING sub, epoch
             ), log AS (
               INSERT INTO auth_revocation (kind, key, epoch, \"until\", at)
               SELECT 3, up.sub, up.epoch, won.now + $4, won.now FROM up, won
             )
             SELECT epoch FROM up"
        )
    };
}

const CLAIM: &str = link!(concat!(
    "claimed_by = $5, claimed_at = ",
    now!(),
    ", due_at = ",
    now!(),
    " + $6"
));
const PROMOTE: &str = link!(concat!("promoted_at = ", now!()));

const DUE: &str = concat!(
    "WITH due AS MATERIALIZED (
       SELECT sub FROM auth_guest WHERE due_at <= ",
    now!(),
    "
       ORDER BY due_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
     )
     UPDATE auth_guest g SET attempts = g.attempts + 1, due_at = ",
    now!(),
    " + ",
    guest_retry!("LEAST"),
    " FROM due WHERE g.sub = due.sub
     RETURNING g.sub, g.claimed_by, CAST(g.attempts AS bigint) AS attempts"
);

const SETTLE: &str = "UPDATE auth_guest SET due_at = NULL
     WHERE sub = $1 AND claimed_by = $2 AND due_at IS NOT NULL RETURNING 1";

const PURGE: &str = concat!(
    "WITH old AS MATERIALIZED (
       SELECT sub FROM auth_guest g WHERE due_at IS NULL AND expires_at <= ",
    now!(),
    " - $2 AND ",
    guest_is_over!(now!()),
    "
       LIMIT $1 FOR UPDATE SKIP LOCKED
     ), gone AS (
       DELETE FROM auth_guest g USING old WHERE g.sub = old.sub RETURNING g.sub, g.claimed_by
     ), forgotten AS (
       DELETE FROM auth_subject a USING gone WHERE a.sub = gone.sub AND gone.claimed_by IS NOT NULL
     )
     SELECT count(*) AS count FROM gone"
);

impl GuestStore for PostgresStore {
    async fn create_guest(&self, guest: NewGuest) -> Result<bool, StoreError> {
        let device = guest
            .device
            .as_ref()
            .map(|digest| digest.as_bytes().as_slice());
        let row = self
            .row(|| {
                sqlx::query(CREATE)
                    .bind(&guest.subject)
                    .bind(device)
                    .bind(millis(guest.lifetime))
            })
            .await?;
        Ok(row.is_some())
    }

    async fn find_guest(&self, subject: &str) -> Result<Option<GuestPeek>, StoreError> {
        let row = self.row(|| sqlx::query(FIND).bind(subject)).await?;
        row.map(|row| Columns(&row).guest()).transpose()
    }

    async fn touch_guest(&self, subject: &str) -> Result<bool, StoreError> {
        let row = self.row(|| sqlx::query(TOUCH).bind(subject)).await?;
        Ok(row.is_some())
    }

    async fn claim_guest(
        &self,
        link: LinkCondition,
        user: &str,
    ) -> Result<ClaimOutcome, StoreError> {
        let device = link
            .device
            .as_ref()
            .map(|digest| digest.as_bytes().as_slice());
        let won = self
            .row(|| {
                sqlx::query(CLAIM)
                    .bind(&link.guest)
                    .bind(device)
                    .bind(millis(link.within))
                    .bind(millis(RETENTION))
                    .bind(user)
                    .bind(millis(FIRST_RETRY))
            })
            .await?;
        match won {
            Some(row) => Ok(ClaimOutcome::Done {
                epoch: Columns(&row).epoch("epoch")?,
            }),
            None => self.reason(&link, Some(user)).await,
        }
    }

    async fn promote_guest(&self, link: LinkCondition) -> Result<ClaimOutcome, StoreError> {
        let device = link
            .device
            .as_ref()
            .map(|digest| digest.as_bytes().as_slice());
        let won = self
            .row(|| {
                sqlx::query(PROMOTE)
                    .bind(&link.guest)
                    .bind(device)
                    .bind(millis(link.within))
                    .bind(millis(RETENTION))
            })
            .await?;
        match won {
            Some(row) => Ok(ClaimOutcome::Done {
                epoch: Columns(&row).epoch("epoch")?,
            }),
            None => self.reason(&link, None).await,
        }
    }

    async fn due_claims(&self, limit: u32) -> Result<Vec<PendingClaim>, StoreError> {
        let rows = self
            .rows(|| sqlx::query(DUE).bind(i64::from(limit)))
            .await?;
        rows.iter()
            .map(|row| Columns(row).pending_claim())
            .collect()
    }

    async fn settle_claim(&self, guest: &str, user: &str) -> Result<bool, StoreError> {
        let row = self
            .row(|| sqlx::query(SETTLE).bind(guest).bind(user))
            .await?;
        Ok(row.is_some())
    }

    async fn purge_guests(&self, limit: u32) -> Result<u64, StoreError> {
        let row = self
            .only_row(|| {
                sqlx::query(PURGE)
                    .bind(i64::from(limit))
                    .bind(millis(ENDED_FOR))
            })
            .await?;
        Columns(&row).count()
    }
}

impl PostgresStore {
    /// Why nothing was written, which decides nothing any more.
    async fn reason(
        &self,
        link: &LinkCondition,
        user: Option<&str>,
    ) -> Result<ClaimOutcome, StoreError> {
        let peek = self.find_guest(&link.guest).await?;
        Ok(match peek {
            Some(peek) => judge(&peek.guest, link, user, peek.now).unwrap_or(ClaimOutcome::Stale),
            None => ClaimOutcome::Unknown,
        })
    }
}
