//! Requests that wait for keys or for an answer about their token.

use serde::de::DeserializeOwned;

use super::{
    config::{Config, Decision},
    wait::TokenWait,
};
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::middleware::Verdict,
    revocation::{CheckResult, RevocationCheck, RevocationStatus},
    verify::Waiting,
};
#[cfg(feature = "jwks")]
use crate::{
    layer::extract::{Kind, RequestHead},
    verify::Answered,
};

impl<C, R> Config<C, R>
where
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    /// Decides after the authorization server has answered about the token.
    #[cfg(feature = "jwks")]
    #[cold]
    pub(super) fn decide_answered(
        &self,
        head: RequestHead<'_>,
        answered: &Answered,
    ) -> Decision<C, R::Future> {
        match self.extractor.extract(head) {
            Ok(Some(credential)) if credential.kind() == Kind::Bound => {
                self.judge_bound_as(&credential, head, |token| {
                    self.verifier.settle_bound(token, answered)
                })
            }
            Ok(Some(credential)) if self.senders.mtls.is_some() => {
                self.judge_certified_as(&credential, head, |token| {
                    self.verifier.settle_bound(token, answered)
                })
            }
            Ok(Some(credential)) => {
                let examined = self.verifier.settle(credential.token(), answered);
                self.judge_examined(examined, &credential)
            }
            // An extractor of the application that returns something else after the wait.
            Ok(None) => Verdict::Refuse(AuthErrorKind::MissingCredential.into()),
            Err(error) => Verdict::Refuse(error),
        }
    }

    #[cold]
    pub(super) fn wait_for(waiting: Waiting) -> Decision<C, R::Future> {
        let wait = waiting.wait;
        Verdict::Wait(TokenWait::Token { wait }, waiting.error)
    }

    /// Returns the refusal of a token that is known as revoked before it is waited for. A check that
    /// queries a store runs after the wait.
    #[cold]
    pub(super) fn known_as_revoked(&self, waiting: &Waiting) -> Option<AuthError> {
        let known = waiting.known.as_ref()?;
        match self.revocation.check(known) {
            CheckResult::Ready(RevocationStatus::Revoked) => {
                let error = AuthError::from(AuthErrorKind::Revoked);
                Some(error.of_subject(known.subject()))
            }
            _ => None,
        }
    }
}
