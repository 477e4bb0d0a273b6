//! Reading of rows.

use std::time::Duration;

use crate::{
    error::StoreError,
    principal::{PrincipalKind, SessionId},
    revocation::{Revocation, RevocationTarget},
    time::Timestamp,
};

/// A row of one dialect. NULL is `None`.
pub(in crate::store) trait Cells: Send + Sync + 'static {
    /// Returns a number.
    fn number(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error>;
    /// Returns a text.
    fn text(&self, column: &'static str) -> Result<Option<String>, sqlx::Error>;
    /// Returns bytes.
    fn bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, sqlx::Error>;
}

macro_rules! cells {
    ($row:ty) => {
        impl $crate::store::sql::Cells for $row {
            fn number(&self, column: &'static str) -> Result<Option<i64>, sqlx::Error> {
                sqlx::Row::try_get(self, column)
            }

            fn text(&self, column: &'static str) -> Result<Option<String>, sqlx::Error> {
                sqlx::Row::try_get(self, column)
            }

            fn bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, sqlx::Error> {
                sqlx::Row::try_get(self, column)
            }
        }
    };
}
pub(in crate::store) use cells;

/// The columns of a row. A row with NULL in a required column is invalid.
pub(in crate::store) struct Columns<'r, R>(pub(in crate::store) &'r R);

impl<R: Cells> Columns<'_, R> {
    pub(in crate::store) fn number(&self, name: &'static str) -> Result<i64, StoreError> {
        self.maybe(name)?.ok_or_else(null)
    }

    pub(in crate::store) fn maybe(&self, name: &'static str) -> Result<Option<i64>, StoreError> {
        self.0.number(name).map_err(StoreError::invalid)
    }

    pub(in crate::store) fn flag(&self, name: &'static str) -> Result<bool, StoreError> {
        Ok(self.number(name)? != 0)
    }

    pub(in crate::store) fn text(&self, name: &'static str) -> Result<String, StoreError> {
        self.maybe_text(name)?.ok_or_else(null)
    }

    pub(in crate::store) fn maybe_text(
        &self,
        name: &'static str,
    ) -> Result<Option<String>, StoreError> {
        self.0.text(name).map_err(StoreError::invalid)
    }

    pub(in crate::store) fn bytes(&self, name: &'static str) -> Result<Vec<u8>, StoreError> {
        self.maybe_bytes(name)?.ok_or_else(null)
    }

    pub(in crate::store) fn maybe_bytes(
        &self,
        name: &'static str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.bytes(name).map_err(StoreError::invalid)
    }

    pub(in crate::store) fn time(&self, name: &'static str) -> Result<Timestamp, StoreError> {
        self.number(name).map(Timestamp::from_millis)
    }

    pub(in crate::store) fn maybe_time(
        &self,
        name: &'static str,
    ) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.maybe(name)?.map(Timestamp::from_millis))
    }

    pub(in crate::store) fn epoch(&self, name: &'static str) -> Result<u32, StoreError> {
        narrow(self.number(name)?)
    }

    pub(in crate::store) fn session_id(&self) -> Result<SessionId, StoreError> {
        let id: [u8; 16] = self
            .bytes("sid")?
            .try_into()
            .map_err(|_| StoreError::invalid("a session id is not of 16 bytes"))?;
        Ok(SessionId::from_bytes(id))
    }

    /// Reads a revocation from `kind`, `key`, `epoch` and `until`. Returns `None` for a kind that is
    /// newer than this code.
    pub(in crate::store) fn revocation(&self) -> Result<Option<Revocation>, StoreError> {
        let key = self.text("key")?;
        let target = match self.number("kind")? {
            SESSION => RevocationTarget::Session(key),
            TOKEN => RevocationTarget::Token(key),
            SUBJECT => RevocationTarget::Subject {
                subject: key,
                epoch: self.epoch("epoch")?,
            },
            SUBJECT_TOKENS | SESSIONLESS_TOKENS => RevocationTarget::SubjectTokens {
                subject: key,
                issued_until: Timestamp::from_secs(self.number("epoch")?),
                without_session: self.number("kind")? == SESSIONLESS_TOKENS,
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

fn null() -> StoreError {
    StoreError::invalid("a required column is NULL")
}

/// The values of the column `kind` of a revocation.
const SESSION: i64 = 1;
const TOKEN: i64 = 2;
const SUBJECT: i64 = 3;
const EVERYTHING: i64 = 4;
const SUBJECT_TOKENS: i64 = 5;
const SESSIONLESS_TOKENS: i64 = 6;

/// Returns the `kind`, `key` and `epoch` of a revocation. For tokens of a subject, `epoch` is the
/// latest second of issue.
pub(super) fn target(revocation: &Revocation) -> (i64, String, i64) {
    match revocation.target() {
        RevocationTarget::Session(id) => (SESSION, id.clone(), 0),
        RevocationTarget::Token(id) => (TOKEN, id.clone(), 0),
        RevocationTarget::Subject { subject, epoch } => {
            (SUBJECT, subject.clone(), i64::from(*epoch))
        }
        RevocationTarget::SubjectTokens {
            subject,
            issued_until,
            without_session,
        } => {
            let kind = match without_session {
                true => SESSIONLESS_TOKENS,
                false => SUBJECT_TOKENS,
            };
            (kind, subject.clone(), issued_until.as_secs())
        }
        RevocationTarget::IssuedBefore(time) => (EVERYTHING, time.as_millis().to_string(), 0),
    }
}

pub(super) fn duration(millis: i64) -> Result<Duration, StoreError> {
    narrow(millis).map(Duration::from_millis)
}

pub(super) fn narrow<T: TryFrom<i64>>(number: i64) -> Result<T, StoreError> {
    T::try_from(number).map_err(|_| StoreError::invalid("a number is out of its range"))
}

pub(super) fn kind_code(kind: PrincipalKind) -> i64 {
    match kind {
        PrincipalKind::User => 0,
        PrincipalKind::Guest => 1,
        PrincipalKind::Service => 2,
    }
}

pub(super) fn kind_of(code: i64) -> Result<PrincipalKind, StoreError> {
    Ok(match code {
        0 => PrincipalKind::User,
        1 => PrincipalKind::Guest,
        2 => PrincipalKind::Service,
        _ => return Err(StoreError::invalid("an unknown kind of subject")),
    })
}

/// Returns the milliseconds, limited so that the sum of a time and two durations fits a column.
pub(super) fn millis(duration: Duration) -> i64 {
    let longest = 1 << 60;
    i64::try_from(duration.as_millis()).map_or(longest, |millis| millis.min(longest))
}
