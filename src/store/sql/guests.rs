//! How rows of guests are read.

use sqlx::{ColumnIndex, Decode, Row, Type};

use super::{Columns, narrow};
use crate::{
    error::StoreError,
    store::port::{DeviceDigest, GuestClaim, GuestPeek, GuestRecord, PendingClaim},
    time::Timestamp,
};

/// What [`Columns::guest`] reads, besides `now`. What must be told no more is settled.
macro_rules! guest_columns {
    () => {
        "sub, device, created_at, written_at, expires_at, promoted_at, claimed_by, claimed_at, due_at"
    };
}

/// Whether the row `g` is alive.
macro_rules! guest_alive {
    ($now:expr) => {
        concat!(
            "g.claimed_by IS NULL AND g.promoted_at IS NULL AND g.expires_at > ",
            $now
        )
    };
}

/// Whether nothing of the row `g` needs its subject's epoch any more: a claim raised it, and the
/// sessions that are older end with it. Another subject's epoch may be an account's.
macro_rules! guest_is_over {
    ($now:expr) => {
        concat!(
            "(g.claimed_by IS NULL OR NOT EXISTS (SELECT 1 FROM auth_session s \
             WHERE s.sub = g.sub AND s.revoked_at IS NULL AND s.expires_at > ",
            $now,
            "))"
        )
    };
}

/// `retry_after` of as many attempts, in milliseconds.
macro_rules! guest_retry {
    ($least:literal) => {
        concat!(
            $least,
            "(30000 * (1 << ",
            $least,
            "(g.attempts + 1, 7)), 3600000)"
        )
    };
}

pub(in crate::store) use {guest_alive, guest_columns, guest_is_over, guest_retry};

impl<'r, R> Columns<'r, R>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    /// A guest, from [`guest_columns`] and `now`.
    pub(in crate::store) fn guest(&self) -> Result<GuestPeek, StoreError> {
        let claimed_at = self.maybe("claimed_at")?.map(Timestamp::from_millis);
        let claim = match claimed_at {
            Some(at) => Some(GuestClaim {
                user: self.text("claimed_by")?,
                at,
                settled: self.maybe("due_at")?.is_none(),
            }),
            None => None,
        };
        let device: Option<Vec<u8>> = self.0.try_get("device").map_err(StoreError::invalid)?;
        let device = device.map(<[u8; 32]>::try_from).transpose();
        let device = device.map_err(|_| StoreError::invalid("no digest of a device"))?;
        Ok(GuestPeek {
            guest: GuestRecord {
                subject: self.text("sub")?,
                device: device.map(DeviceDigest::from_bytes),
                created_at: self.time("created_at")?,
                written_at: self.time("written_at")?,
                expires_at: self.time("expires_at")?,
                promoted_at: self.maybe("promoted_at")?.map(Timestamp::from_millis),
                claim,
            },
            now: self.time("now")?,
        })
    }

    /// A pending claim, from `sub`, `claimed_by` and `attempts`.
    pub(in crate::store) fn pending_claim(&self) -> Result<PendingClaim, StoreError> {
        Ok(PendingClaim {
            guest: self.text("sub")?,
            user: self.text("claimed_by")?,
            attempts: narrow(self.number("attempts")?)?,
        })
    }
}
