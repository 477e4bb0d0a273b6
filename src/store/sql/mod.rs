//! What the SQL stores share: the rows, the state machine in SQL, how rows are read.
//!
//! Both dialects take the same text for it, so that there is one state machine to get right. Times
//! are whole milliseconds since 1970 in columns of 64 bits, which is what
//! [`decide`](crate::server::refresh::decide) counts in.

pub(super) mod api_key;
mod guests;
pub(super) mod login;
pub(super) mod throttle;

use std::time::Duration;

use sqlx::{ColumnIndex, Decode, Row, Type};

use crate::{
    error::StoreError,
    principal::{PrincipalKind, SessionId},
    revocation::{Revocation, RevocationTarget},
    server::refresh::{Family, RefreshOutcome, RefreshPolicy},
    store::port::{LoadedSession, RevokeReason, Rotation, SessionRecord},
    time::Timestamp,
};

/// Whether the row `s` was ended by itself or by its subject's epoch: 1 or 0.
macro_rules! ended {
    () => {
        "CASE WHEN s.revoked_at IS NOT NULL OR s.ep < COALESCE(\
         (SELECT a.epoch FROM auth_subject a WHERE a.sub = s.sub), 0) THEN 1 ELSE 0 END"
    };
}

/// What [`record`] reads, from something that has `ended`.
macro_rules! columns {
    () => {
        "sid, sub, CAST(kind AS bigint) AS kind, CAST(ep AS bigint) AS ep, gen, parent_gen, \
         confirmed_gen, rotated_at, CAST(reissues AS bigint) AS reissues, used_at, idle_ms, \
         expires_at, created_at, CAST(revoke_reason AS bigint) AS revoke_reason, \
         CAST(ended AS bigint) AS ended, details"
    };
}

/// `decide` and `apply`: from the row `cur` to the row `next`, which has an `outcome`.
macro_rules! rotate {
    () => {
        include_str!("../sql/rotate.sql")
    };
}

pub(super) use self::guests::{guest_alive, guest_columns, guest_is_over, guest_retry};
pub(super) use {columns, ended, rotate};

/// A migration: its statements. Its number is its place, from 1.
pub(super) type Migration = &'static str;

/// The columns of a row, of whichever database.
pub(super) struct Columns<'r, R>(pub(super) &'r R);

impl<'r, R> Columns<'r, R>
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    pub(super) fn number(&self, name: &'static str) -> Result<i64, StoreError> {
        self.0.try_get(name).map_err(StoreError::invalid)
    }

    /// `None`: NULL.
    pub(super) fn maybe(&self, name: &'static str) -> Result<Option<i64>, StoreError> {
        self.0.try_get(name).map_err(StoreError::invalid)
    }

    pub(super) fn text(&self, name: &'static str) -> Result<String, StoreError> {
        self.0.try_get(name).map_err(StoreError::invalid)
    }

    pub(super) fn maybe_text(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        self.0.try_get(name).map_err(StoreError::invalid)
    }

    pub(super) fn maybe_bytes(&self, name: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.try_get(name).map_err(StoreError::invalid)
    }

    pub(super) fn bytes(&self, name: &'static str) -> Result<Vec<u8>, StoreError> {
        self.0.try_get(name).map_err(StoreError::invalid)
    }

    #[cfg(feature = "postgres")]
    pub(super) fn count(&self) -> Result<u64, StoreError> {
        narrow(self.number("count")?)
    }

    pub(super) fn epoch(&self, name: &'static str) -> Result<u32, StoreError> {
        narrow(self.number(name)?)
    }

    fn time(&self, name: &'static str) -> Result<Timestamp, StoreError> {
        self.number(name).map(Timestamp::from_millis)
    }

    pub(super) fn session_id(&self) -> Result<SessionId, StoreError> {
        let id: [u8; 16] = self
            .bytes("sid")?
            .try_into()
            .map_err(|_| StoreError::invalid("a session's name is not of 16 bytes"))?;
        Ok(SessionId::from_bytes(id))
    }

    /// A session, from [`columns`].
    pub(super) fn record(&self) -> Result<SessionRecord, StoreError> {
        let reason = self.maybe("revoke_reason")?;
        Ok(SessionRecord {
            id: self.session_id()?,
            subject: self.text("sub")?,
            kind: kind_of(self.number("kind")?)?,
            epoch: self.epoch("ep")?,
            family: Family {
                generation: narrow(self.number("gen")?)?,
                parent: self.maybe("parent_gen")?.map(narrow).transpose()?,
                confirmed: self.maybe("confirmed_gen")?.map(narrow).transpose()?,
                rotated_at: self.maybe("rotated_at")?.map(Timestamp::from_millis),
                reissues: narrow(self.number("reissues")?)?,
                used_at: self.time("used_at")?,
                idle: duration(self.number("idle_ms")?)?,
                expires_at: self.time("expires_at")?,
                revoked: self.number("ended")? != 0,
            },
            created_at: self.time("created_at")?,
            // One whose number is newer than this code was ended all the same.
            revoked: reason.and_then(|code| RevokeReason::from_code(i16::try_from(code).ok()?)),
            details: self.text("details")?,
        })
    }

    pub(super) fn peek(&self) -> Result<LoadedSession, StoreError> {
        Ok(LoadedSession {
            session: self.record()?,
            now: self.time("now")?,
        })
    }

    /// A rotation, from [`columns`], `now` and `outcome`.
    pub(super) fn rotation(&self) -> Result<Rotation, StoreError> {
        let outcome = RefreshOutcome::from_name(&self.text("outcome")?)
            .ok_or_else(|| StoreError::invalid("an outcome that is none"))?;
        Ok(Rotation {
            outcome,
            session: self.record()?,
            now: self.time("now")?,
        })
    }

    /// A revocation, from its `kind`, `key`, `epoch` and `until`. `None`: of a kind that is newer
    /// than this code.
    pub(super) fn revocation(&self) -> Result<Option<Revocation>, StoreError> {
        let key = self.text("key")?;
        let target = match self.number("kind")? {
            SESSION => RevocationTarget::Session(key),
            TOKEN => RevocationTarget::Token(key),
            SUBJECT => RevocationTarget::Subject {
                subject: key,
                epoch: self.epoch("epoch")?,
            },
            EVERYTHING => {
                let millis = key.parse().map_err(StoreError::invalid)?;
                RevocationTarget::IssuedBefore(Timestamp::from_millis(millis))
            }
            _ => return Ok(None),
        };
        Ok(Some(Revocation::of(target, self.time("until")?)))
    }
}

/// The `kind` of a revocation.
const SESSION: i64 = 1;
const TOKEN: i64 = 2;
const SUBJECT: i64 = 3;
const EVERYTHING: i64 = 4;

/// A revocation's `kind`, `key` and `epoch`.
pub(super) fn target(revocation: &Revocation) -> (i64, String, i64) {
    match revocation.target() {
        RevocationTarget::Session(id) => (SESSION, id.clone(), 0),
        RevocationTarget::Token(id) => (TOKEN, id.clone(), 0),
        RevocationTarget::Subject { subject, epoch } => {
            (SUBJECT, subject.clone(), i64::from(*epoch))
        }
        RevocationTarget::IssuedBefore(time) => (EVERYTHING, time.as_millis().to_string(), 0),
    }
}

fn duration(millis: i64) -> Result<Duration, StoreError> {
    narrow(millis).map(Duration::from_millis)
}

fn narrow<T: TryFrom<i64>>(number: i64) -> Result<T, StoreError> {
    T::try_from(number).map_err(|_| StoreError::invalid("a number that is out of its range"))
}

pub(super) fn kind_code(kind: PrincipalKind) -> i64 {
    match kind {
        PrincipalKind::User => 0,
        PrincipalKind::Guest => 1,
        PrincipalKind::Service => 2,
    }
}

fn kind_of(code: i64) -> Result<PrincipalKind, StoreError> {
    Ok(match code {
        0 => PrincipalKind::User,
        1 => PrincipalKind::Guest,
        2 => PrincipalKind::Service,
        _ => return Err(StoreError::invalid("a kind of subject that is none")),
    })
}

/// In milliseconds; so many at most that a time and two of them fit a column.
pub(super) fn millis(duration: Duration) -> i64 {
    let longest = 1 << 60;
    i64::try_from(duration.as_millis()).map_or(longest, |millis| millis.min(longest))
}

/// The four numbers that [`rotate`] needs besides the row.
pub(super) fn rule(presented: u64, policy: &RefreshPolicy) -> Result<[i64; 4], StoreError> {
    let presented = i64::try_from(presented)
        .ok()
        .filter(|presented| *presented < i64::MAX)
        .ok_or_else(|| StoreError::invalid("a generation that was never issued"))?;
    Ok([
        presented,
        millis(policy.grace_window()),
        millis(policy.late_parent_window()),
        i64::from(policy.max_reissues()),
    ])
}
