//! Guests.

use super::{Cells, Columns, Dialect, SqlStore, Statement, millis, narrow};
use crate::{
    error::StoreError,
    store::{
        ENDED_FOR,
        port::{
            DeviceDigest, GuestChange, GuestClaim, GuestRecord, GuestStore, LoadedGuest, NewGuest,
            StoreId,
        },
    },
    time::Timestamp,
};

macro_rules! columns {
    () => {
        "sub, version, device, created_at, written_at, expires_at, promoted_at, claimed_by, \
         claimed_at, attempts, due_at, {now} AS now"
    };
}

/// A trigger ends the guest's sessions if the guest becomes claimed or promoted.
macro_rules! change {
    () => {
        "UPDATE auth_guest SET version = $3, written_at = $4, promoted_at = $5, claimed_by = $6, \
           claimed_at = $7, attempts = $8, due_at = $9 \
         WHERE sub = $1 AND version = $2 RETURNING sub"
    };
}

/// The epoch of the guest `g` can be deleted: no session that it revokes is left. Applies only to
/// claimed guests. The epoch of another subject may be that of an account.
macro_rules! is_over {
    () => {
        "(g.claimed_by IS NULL OR NOT EXISTS (SELECT 1 FROM auth_session s \
         WHERE s.sub = g.sub AND s.revoked_at IS NULL AND s.expires_at > {now}))"
    };
}

static CREATE: Statement = Statement::write(
    "INSERT INTO auth_guest (sub, version, device, created_at, written_at, expires_at) \
     VALUES ($1, 0, $2, {now}, {now}, {now} + $3) ON CONFLICT (sub) DO NOTHING RETURNING sub",
);

static FIND: Statement = Statement::read(concat!(
    "SELECT ",
    columns!(),
    " FROM auth_guest WHERE sub = $1"
));

static CHANGE: Statement = Statement::write(change!());
static END: Statement = Statement::revoke(change!());

static DUE: Statement = Statement::read(concat!(
    "SELECT ",
    columns!(),
    " FROM auth_guest WHERE due_at <= {now} ORDER BY due_at LIMIT $1"
));

/// Deletes epochs. Runs before the guests are purged, because their rows name the subjects.
static FORGET: Statement = Statement::write(concat!(
    "DELETE FROM auth_subject WHERE sub IN ( \
       SELECT sub FROM auth_guest AS g WHERE due_at IS NULL AND expires_at <= {now} - $2 \
         AND claimed_by IS NOT NULL AND ",
    is_over!(),
    " AND EXISTS (SELECT 1 FROM auth_subject a WHERE a.sub = g.sub) LIMIT $1 {unlocked} \
     ) RETURNING sub"
));

static PURGE: Statement = Statement::write(
    "DELETE FROM auth_guest WHERE sub IN ( \
       SELECT sub FROM auth_guest AS g WHERE due_at IS NULL AND expires_at <= {now} - $2 \
         AND (claimed_by IS NULL OR NOT EXISTS (SELECT 1 FROM auth_subject a WHERE a.sub = g.sub)) \
       LIMIT $1 {unlocked} \
     ) RETURNING sub",
);

impl<D: Dialect> GuestStore for SqlStore<D> {
    async fn create_guest(&self, guest: NewGuest) -> Result<bool, StoreError> {
        let device = guest.device.as_ref().map(|digest| &digest.as_bytes()[..]);
        let values = [
            (&guest.subject).into(),
            device.into(),
            millis(guest.lifetime).into(),
        ];
        self.db.changed(&CREATE, &values).await
    }

    async fn find_guest(&self, subject: &str) -> Result<Option<LoadedGuest>, StoreError> {
        let row = self.db.row(&FIND, &[subject.into()]).await?;
        row.map(|row| Columns(&row).guest()).transpose()
    }

    async fn change_guest(&self, change: GuestChange) -> Result<bool, StoreError> {
        let GuestChange { from, to, .. } = &change;
        let claim = to.claim.as_ref();
        let due = claim.and_then(|claim| claim.due_at);
        let values = [
            (&from.subject).into(),
            column(from.version)?.into(),
            column(to.version)?.into(),
            to.written_at.as_millis().into(),
            to.promoted_at.map(Timestamp::as_millis).into(),
            claim.map(|claim| claim.user.as_str()).into(),
            claim.map(|claim| claim.at.as_millis()).into(),
            claim.map_or(0, |claim| i64::from(claim.attempts)).into(),
            due.map(Timestamp::as_millis).into(),
        ];
        let statement = match change.ends_sessions() {
            true => &END,
            false => &CHANGE,
        };
        self.db.changed(statement, &values).await
    }

    async fn due_claims(&self, limit: u32) -> Result<Vec<LoadedGuest>, StoreError> {
        let rows = self.db.rows(&DUE, &[i64::from(limit).into()]).await?;
        rows.iter().map(|row| Columns(row).guest()).collect()
    }

    async fn purge_guests(&self, limit: u32) -> Result<u64, StoreError> {
        let values = [i64::from(limit).into(), millis(ENDED_FOR).into()];
        self.db.rows(&FORGET, &values).await?;
        self.db.count(&PURGE, &values).await
    }

    fn sessions(&self) -> Option<StoreId> {
        Some(self.id)
    }
}

fn column(version: u64) -> Result<i64, StoreError> {
    i64::try_from(version).map_err(StoreError::invalid)
}

impl<R: Cells> Columns<'_, R> {
    fn guest(&self) -> Result<LoadedGuest, StoreError> {
        let claim = match self.maybe_time("claimed_at")? {
            Some(at) => {
                let mut claim = GuestClaim::new(self.text("claimed_by")?, at);
                claim.attempts = narrow(self.number("attempts")?)?;
                claim.due_at = self.maybe_time("due_at")?;
                Some(claim)
            }
            None => None,
        };
        let device = self.maybe_bytes("device")?;
        let device = device.map(<[u8; 32]>::try_from).transpose();
        let device = device.map_err(|_| StoreError::invalid("a digest is not of 32 bytes"))?;
        let mut guest = GuestRecord::new(self.text("sub")?, self.time("created_at")?);
        guest.version = narrow(self.number("version")?)?;
        guest.device = device.map(DeviceDigest::from_bytes);
        guest.written_at = self.time("written_at")?;
        guest.expires_at = self.time("expires_at")?;
        guest.promoted_at = self.maybe_time("promoted_at")?;
        guest.claim = claim;
        Ok(LoadedGuest::new(guest, self.time("now")?))
    }
}
