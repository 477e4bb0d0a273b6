//! The verification of a presented key.

use std::{fmt, sync::Arc};

use super::{
    ApiKeyFormat, ApiKeyRefusal, PresentedApiKey,
    lookup::{Answer, Found, Lookups, Row, RowWait},
    uses::Uses,
};
use crate::{
    error::{AuthError, AuthErrorKind},
    revocation::{RevocationSet, RevocationStatus},
    time::Clock,
};

/// Verifies presented keys. All layers of an [`ApiKeys`](super::ApiKeys) share one.
pub(super) struct Examiner {
    pub(super) format: ApiKeyFormat,
    pub(super) lookups: Arc<Lookups>,
    pub(super) uses: Uses,
    pub(super) revoked: Vec<RevocationSet>,
    pub(super) clock: Arc<dyn Clock>,
}

pub(super) enum Examined {
    Done(Result<Arc<Row>, AuthError>),
    Wait(RowWait, PresentedApiKey),
}

impl Examiner {
    pub(super) fn examine(&self, credential: &[u8]) -> Examined {
        self.look_up(credential)
            .unwrap_or_else(|error| Examined::Done(Err(error)))
    }

    /// Decides with the row from the store.
    pub(super) fn conclude(
        &self,
        answer: Answer,
        presented: &PresentedApiKey,
    ) -> Result<Arc<Row>, AuthError> {
        let row = answer?.ok_or(AuthErrorKind::InvalidApiKey)?;
        self.open(&row, presented).map_err(refused)?;
        self.admit(row)
    }

    fn look_up(&self, credential: &[u8]) -> Result<Examined, AuthError> {
        let text = str::from_utf8(credential).ok();
        // A text that this format never produced is refused without a query.
        let presented = text
            .and_then(|text| self.format.parse(text))
            .ok_or(AuthErrorKind::InvalidApiKey)?;
        let recalled = self.lookups.recall(presented.id());
        if let Some(recalled) = &recalled {
            match &recalled.row {
                None => return Err(AuthErrorKind::InvalidApiKey.into()),
                Some(row) => match self.open(row, &presented) {
                    Ok(()) => {
                        return self
                            .admit(Arc::clone(row))
                            .map(|row| Examined::Done(Ok(row)));
                    }
                    // The cached row may be older than a roll on another node.
                    Err(ApiKeyRefusal::WrongSecret) if !recalled.refuses() => {}
                    Err(refusal) => return Err(refused(refusal)),
                },
            }
        }
        match self.lookups.ask(presented.id(), recalled.as_ref())? {
            Found::Wait(wait) => Ok(Examined::Wait(wait, presented)),
            Found::Recalled(recalled) => {
                let verdict = self.conclude(Ok(recalled.row), &presented);
                Ok(Examined::Done(verdict))
            }
        }
    }

    fn open(&self, row: &Row, presented: &PresentedApiKey) -> Result<(), ApiKeyRefusal> {
        row.record.check(presented, self.clock.now())
    }

    /// Runs the checks that apply to every request after the secret was verified.
    fn admit(&self, row: Arc<Row>) -> Result<Arc<Row>, AuthError> {
        if !row.is_active {
            return Err(AuthErrorKind::Revoked.into());
        }
        let sets = self.revoked.iter();
        let status = sets.fold(RevocationStatus::Valid, |status, set| {
            status.and(set.status_of(row.record.id.as_str()))
        });
        match status {
            RevocationStatus::Valid => {}
            RevocationStatus::Revoked => return Err(AuthErrorKind::Revoked.into()),
            RevocationStatus::Unavailable { retry_after } => {
                let kind = AuthErrorKind::RevocationUnavailable;
                return Err(AuthError::unavailable(kind, retry_after));
            }
        }
        self.uses.saw(&row.record, self.clock.now());
        Ok(row)
    }
}

impl fmt::Debug for Examiner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examiner")
            .field("format", &self.format)
            .field("lookups", &self.lookups)
            .finish_non_exhaustive()
    }
}

fn refused(refusal: ApiKeyRefusal) -> AuthError {
    match refusal {
        ApiKeyRefusal::WrongSecret => AuthErrorKind::InvalidApiKey.into(),
        ApiKeyRefusal::Revoked => AuthErrorKind::Revoked.into(),
        ApiKeyRefusal::Expired => AuthErrorKind::Expired.into(),
    }
}
