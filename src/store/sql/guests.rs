//! Guests.

use super::{Cells, Columns, Dialect, SqlStore, Statement, millis, narrow};
use crate::{
    error::StoreError,
    store::{
        ENDED_FOR,
        port::{
            ClaimOutcome, DeviceDigest, FIRST_RETRY, GuestClaim, GuestPeek, GuestRecord,
            GuestStore, LinkCondition, NewGuest, PendingClaim, SessionStore, judge,
        },
    },
};

/// The guest `g` is alive.
macro_rules! alive {
    () => {
        "g.claimed_by IS NULL AND g.promoted_at IS NULL AND g.expires_at > {now}"
    };
}

/// Nothing of the guest `g` needs its subject's epoch any more: a claim raised it, and the sessions
/// that are older end with it. Another subject's epoch may be an account's.
macro_rules! is_over {
    () => {
        "(g.claimed_by IS NULL OR NOT EXISTS (SELECT 1 FROM auth_session s \
         WHERE s.sub = g.sub AND s.revoked_at IS NULL AND s.expires_at > {now}))"
    };
}

static CREATE: Statement = Statement::write(
    "INSERT INTO auth_guest (sub, device, created_at, written_at, expires_at) \
     VALUES ($1, $2, {now}, {now}, {now} + $3) ON CONFLICT (sub) DO NOTHING RETURNING sub",
);

static FIND: Statement = Statement::read(
    "SELECT sub, device, created_at, written_at, expires_at, promoted_at, claimed_by, claimed_at, \
     due_at, {now} AS now FROM auth_guest WHERE sub = $1",
);

static TOUCH: Statement = Statement::write(concat!(
    "UPDATE auth_guest AS g SET written_at = {now} WHERE sub = $1 AND ",
    alive!(),
    " RETURNING sub"
));

/// A trigger ends the guest's sessions in the same step. A statement that had to wait for another
/// one sees the row as that one left it.
macro_rules! link {
    ($set:literal) => {
        concat!(
            "UPDATE auth_guest AS g SET ",
            $set,
            " WHERE sub = $1 AND ",
            alive!(),
            " AND device IS NOT DISTINCT FROM $2 AND written_at >= {now} - $3 RETURNING sub"
        )
    };
}

static CLAIM: Statement = Statement::revoke(link!(
    "claimed_by = $4, claimed_at = {now}, due_at = {now} + $5"
));
static PROMOTE: Statement = Statement::revoke(link!("promoted_at = {now}"));

static DUE: Statement = Statement::write(
    "UPDATE auth_guest AS g SET attempts = attempts + 1, due_at = {now} + \
       {least}(30000 * (1 << CAST({least}(g.attempts + 1, 7) AS integer)), 3600000) \
     WHERE sub IN ( \
       SELECT sub FROM auth_guest WHERE due_at <= {now} ORDER BY due_at LIMIT $1 {unlocked} \
     ) RETURNING sub, claimed_by, attempts",
);

static SETTLE: Statement = Statement::write(
    "UPDATE auth_guest SET due_at = NULL \
     WHERE sub = $1 AND claimed_by = $2 AND due_at IS NOT NULL RETURNING sub",
);

/// Before the guests, whose rows name these subjects.
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

    async fn find_guest(&self, subject: &str) -> Result<Option<GuestPeek>, StoreError> {
        let row = self.db.row(&FIND, &[subject.into()]).await?;
        row.map(|row| Columns(&row).guest()).transpose()
    }

    async fn touch_guest(&self, subject: &str) -> Result<bool, StoreError> {
        self.db.changed(&TOUCH, &[subject.into()]).await
    }

    async fn claim_guest(
        &self,
        link: LinkCondition,
        user: &str,
    ) -> Result<ClaimOutcome, StoreError> {
        let device = link.device.as_ref().map(|digest| &digest.as_bytes()[..]);
        let values = [
            (&link.guest).into(),
            device.into(),
            millis(link.within).into(),
            user.into(),
            millis(FIRST_RETRY).into(),
        ];
        let done = self.db.changed(&CLAIM, &values).await?;
        linked(self, done, &link, Some(user)).await
    }

    async fn promote_guest(&self, link: LinkCondition) -> Result<ClaimOutcome, StoreError> {
        let device = link.device.as_ref().map(|digest| &digest.as_bytes()[..]);
        let values = [
            (&link.guest).into(),
            device.into(),
            millis(link.within).into(),
        ];
        let done = self.db.changed(&PROMOTE, &values).await?;
        linked(self, done, &link, None).await
    }

    async fn due_claims(&self, limit: u32) -> Result<Vec<PendingClaim>, StoreError> {
        let rows = self.db.rows(&DUE, &[i64::from(limit).into()]).await?;
        rows.iter()
            .map(|row| Columns(row).pending_claim())
            .collect()
    }

    async fn settle_claim(&self, guest: &str, user: &str) -> Result<bool, StoreError> {
        self.db.changed(&SETTLE, &[guest.into(), user.into()]).await
    }

    async fn purge_guests(&self, limit: u32) -> Result<u64, StoreError> {
        let values = [i64::from(limit).into(), millis(ENDED_FOR).into()];
        self.db.rows(&FORGET, &values).await?;
        self.db.count(&PURGE, &values).await
    }
}

/// The result of a link: the new epoch if a row was changed, otherwise the reason, which decides nothing
/// any more.
async fn linked<D: Dialect>(
    store: &SqlStore<D>,
    done: bool,
    link: &LinkCondition,
    user: Option<&str>,
) -> Result<ClaimOutcome, StoreError> {
    if done {
        let epoch = store.epoch(&link.guest).await?;
        return Ok(ClaimOutcome::Done { epoch });
    }
    let peek = store.find_guest(&link.guest).await?;
    Ok(match peek {
        Some(peek) => judge(&peek.guest, link, user, peek.now).unwrap_or(ClaimOutcome::Stale),
        None => ClaimOutcome::Unknown,
    })
}

impl<R: Cells> Columns<'_, R> {
    fn guest(&self) -> Result<GuestPeek, StoreError> {
        let claim = match self.maybe_time("claimed_at")? {
            Some(at) => Some(GuestClaim {
                user: self.text("claimed_by")?,
                at,
                settled: self.maybe("due_at")?.is_none(),
            }),
            None => None,
        };
        let device = self.maybe_bytes("device")?;
        let device = device.map(<[u8; 32]>::try_from).transpose();
        let device = device.map_err(|_| StoreError::invalid("a digest is not of 32 bytes"))?;
        Ok(GuestPeek {
            guest: GuestRecord {
                subject: self.text("sub")?,
                device: device.map(DeviceDigest::from_bytes),
                created_at: self.time("created_at")?,
                written_at: self.time("written_at")?,
                expires_at: self.time("expires_at")?,
                promoted_at: self.maybe_time("promoted_at")?,
                claim,
            },
            now: self.time("now")?,
        })
    }

    fn pending_claim(&self) -> Result<PendingClaim, StoreError> {
        Ok(PendingClaim {
            guest: self.text("sub")?,
            user: self.text("claimed_by")?,
            attempts: narrow(self.number("attempts")?)?,
        })
    }
}
