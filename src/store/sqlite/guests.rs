//! The statements about guests.

use sqlx::sqlite::SqliteRow;

use super::{SqliteStore, sessions::now};
use crate::{
    error::StoreError,
    store::{
        ENDED_FOR,
        port::{
            ClaimOutcome, FIRST_RETRY, GuestPeek, GuestStore, LinkCondition, NewGuest,
            PendingClaim, SessionStore, judge,
        },
        sql::{Columns, guest_alive, guest_columns, guest_is_over, guest_retry, millis},
    },
};

const CREATE: &str = concat!(
    "INSERT INTO auth_guest (sub, device, created_at, written_at, expires_at)
     SELECT $1, $2, now, now, now + $3 FROM (SELECT ",
    now!(),
    " AS now) WHERE true
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
    "UPDATE auth_guest AS g SET written_at = ",
    now!(),
    " WHERE sub = $1 AND ",
    guest_alive!(now!()),
    " RETURNING 1"
);

/// A trigger ends the guest's sessions in the same step.
macro_rules! link {
    ($set:expr) => {
        concat!(
            "UPDATE auth_guest AS g SET ",
            $set,
            " WHERE sub = $1 AND ",
            guest_alive!(now!()),
            " AND device IS $2 AND written_at >= ",
            now!(),
            " - $3 RETURNING 1"
        )
    };
}

const CLAIM: &str = link!(concat!(
    "claimed_by = $4, claimed_at = ",
    now!(),
    ", due_at = ",
    now!(),
    " + $5"
));
const PROMOTE: &str = link!(concat!("promoted_at = ", now!()));

const DUE: &str = concat!(
    "UPDATE auth_guest AS g SET attempts = attempts + 1, due_at = ",
    now!(),
    " + ",
    guest_retry!("MIN"),
    " WHERE sub IN (
       SELECT sub FROM auth_guest WHERE due_at <= ",
    now!(),
    " ORDER BY due_at LIMIT $1
     ) RETURNING sub, claimed_by, attempts"
);

const SETTLE: &str = "UPDATE auth_guest SET due_at = NULL
     WHERE sub = $1 AND claimed_by = $2 AND due_at IS NOT NULL RETURNING 1";

/// Before the guests, whose rows tell which these are.
const FORGET: &str = concat!(
    "DELETE FROM auth_subject WHERE sub IN (
       SELECT sub FROM auth_guest AS g WHERE due_at IS NULL AND expires_at <= ",
    now!(),
    " - $2 AND claimed_by IS NOT NULL AND ",
    guest_is_over!(now!()),
    " AND EXISTS (SELECT 1 FROM auth_subject a WHERE a.sub = g.sub) LIMIT $1
     ) RETURNING 1"
);

const PURGE: &str = concat!(
    "DELETE FROM auth_guest WHERE sub IN (
       SELECT sub FROM auth_guest AS g WHERE due_at IS NULL AND expires_at <= ",
    now!(),
    " - $2 AND (claimed_by IS NULL OR NOT EXISTS (
         SELECT 1 FROM auth_subject a WHERE a.sub = g.sub
       )) LIMIT $1
     ) RETURNING 1"
);

impl GuestStore for SqliteStore {
    async fn create_guest(&self, guest: NewGuest) -> Result<bool, StoreError> {
        let device = guest.device.map(|digest| digest.as_bytes().to_vec());
        let create = sqlx::query(CREATE)
            .bind(guest.subject)
            .bind(device)
            .bind(millis(guest.lifetime));
        Ok(!self.write(create).await?.is_empty())
    }

    async fn find_guest(&self, subject: &str) -> Result<Option<GuestPeek>, StoreError> {
        let rows = self.read(sqlx::query(FIND).bind(subject)).await?;
        rows.first().map(|row| Columns(row).guest()).transpose()
    }

    async fn touch_guest(&self, subject: &str) -> Result<bool, StoreError> {
        let rows = self.write(sqlx::query(TOUCH).bind(subject)).await?;
        Ok(!rows.is_empty())
    }

    async fn claim_guest(
        &self,
        link: LinkCondition,
        user: &str,
    ) -> Result<ClaimOutcome, StoreError> {
        let device = link.device.map(|digest| digest.as_bytes().to_vec());
        let claim = sqlx::query(CLAIM)
            .bind(&link.guest)
            .bind(device)
            .bind(millis(link.within))
            .bind(user)
            .bind(millis(FIRST_RETRY));
        let rows = self.revoke_by(claim).await?;
        self.linked(&rows, &link, Some(user)).await
    }

    async fn promote_guest(&self, link: LinkCondition) -> Result<ClaimOutcome, StoreError> {
        let device = link.device.map(|digest| digest.as_bytes().to_vec());
        let promote = sqlx::query(PROMOTE)
            .bind(&link.guest)
            .bind(device)
            .bind(millis(link.within));
        let rows = self.revoke_by(promote).await?;
        self.linked(&rows, &link, None).await
    }

    async fn due_claims(&self, limit: u32) -> Result<Vec<PendingClaim>, StoreError> {
        let rows = self.write(sqlx::query(DUE).bind(i64::from(limit))).await?;
        rows.iter()
            .map(|row| Columns(row).pending_claim())
            .collect()
    }

    async fn settle_claim(&self, guest: &str, user: &str) -> Result<bool, StoreError> {
        let settle = sqlx::query(SETTLE).bind(guest).bind(user);
        Ok(!self.write(settle).await?.is_empty())
    }

    async fn purge_guests(&self, limit: u32) -> Result<u64, StoreError> {
        let statement = |sql: &'static str| {
            let query = sqlx::query(sql).bind(i64::from(limit));
            query.bind(millis(ENDED_FOR))
        };
        self.write(statement(FORGET)).await?;
        Ok(self.write(statement(PURGE)).await?.len() as u64)
    }
}

impl SqliteStore {
    /// What became of it: where a row was changed the new epoch, otherwise the reason, which
    /// decides nothing any more.
    async fn linked(
        &self,
        rows: &[SqliteRow],
        link: &LinkCondition,
        user: Option<&str>,
    ) -> Result<ClaimOutcome, StoreError> {
        if !rows.is_empty() {
            let epoch = self.epoch(&link.guest).await?;
            return Ok(ClaimOutcome::Done { epoch });
        }
        let peek = self.find_guest(&link.guest).await?;
        Ok(match peek {
            Some(peek) => judge(&peek.guest, link, user, peek.now).unwrap_or(ClaimOutcome::Stale),
            None => ClaimOutcome::Unknown,
        })
    }
}
