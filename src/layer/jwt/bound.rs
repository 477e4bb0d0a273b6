//! The decision about a token that is sent with a proof of its key.
//!
//! The order is by cost (RFC 9449 §4.3 leaves it open): the form of the proof's header field, the token
//! (usually from the cache), the certificate of the client, a revocation that is known in this process, the proof
//! with its signature last, the store of used proofs, and a revocation check that queries its source.

use http::HeaderValue;
use serde::de::DeserializeOwned;

use super::{
    config::{Caller, Config, Decision, Pass, Pending},
    wait::TokenWait,
};
use crate::{
    error::{AuthError, AuthErrorKind, Scheme, StoreError},
    layer::{
        dpop::Dpop,
        extract::{Cleared, Credential, Place, RequestHead},
        middleware::Verdict,
    },
    principal::Principal,
    revocation::{CheckResult, RevocationCheck, RevocationStatus},
    verify::{Examined, Verified},
};

/// The nonce for the next proof, if the current one is ageing.
pub(crate) type NextNonce = Option<HeaderValue>;

/// A caller who proved possession of the token's key.
pub(crate) struct Proven<C, F> {
    caller: Caller<C>,
    next_nonce: NextNonce,
    /// The revocation check, if it has to wait.
    check: Option<F>,
}

impl<C, R> Config<C, R>
where
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    pub(super) fn judge_bound(
        &self,
        credential: &Credential<'_>,
        head: RequestHead<'_>,
    ) -> Decision<C, R::Future> {
        self.judge_bound_as(credential, head, |token| self.verifier.examine_bound(token))
    }

    /// Decides about the token by this function, after the form of the proof.
    pub(super) fn judge_bound_as(
        &self,
        credential: &Credential<'_>,
        head: RequestHead<'_>,
        examine: impl FnOnce(&[u8]) -> Examined<C>,
    ) -> Decision<C, R::Future> {
        let Some(dpop) = self.senders.dpop.as_ref().map(|dpop| &dpop.rules) else {
            return Verdict::Refuse(AuthErrorKind::MissingCredential.into());
        };
        let refuse = |error: AuthError| Verdict::Refuse(error.of_scheme(Scheme::Dpop));
        if head.extensions().get().is_some_and(Principal::is_by_key) {
            return refuse(AuthErrorKind::MultipleCredentials.into());
        }
        let proof = match dpop.proof(head.headers()) {
            Ok(proof) => proof,
            Err(error) => return refuse(error),
        };
        let certificate = match self.certificate(head) {
            Ok(certificate) => certificate,
            Err(error) => return refuse(error),
        };
        let (token, remembered) = match examine(credential.token()) {
            Examined::Accepted(token) => (token, false),
            Examined::Remembered(token) => (token, true),
            // A value that cannot be a token causes no fetch.
            Examined::Wait(mut waiting) if self.may_be_a_token(credential.token()) => {
                if let Some(error) = self.known_as_revoked(&waiting) {
                    return refuse(error);
                }
                waiting.error = waiting.error.of_scheme(Scheme::Dpop);
                return Self::wait_for(*waiting);
            }
            Examined::Wait(_) => return refuse(AuthErrorKind::MalformedCredential.into()),
            Examined::Refused(error) => return refuse(self.explain(error, credential)),
        };
        let caller = self.caller_of(token, remembered);
        // RFC 9449 §7.1: the token must be bound to the key of the proof.
        let Some(binding) = caller.token.binding() else {
            return refuse(self.explain(AuthErrorKind::NotSenderConstrained.into(), credential));
        };
        let Some(key) = binding.confirmation.key else {
            return refuse(self.explain(AuthErrorKind::SenderConstrained.into(), credential));
        };
        // RFC 7800 §3.1 leaves open how two members combine. A token that names both needs both.
        if let Err(error) =
            self.check_certificate(Some(&binding.confirmation), certificate.as_ref())
        {
            return refuse(self.explain(error, credential));
        }
        // A token that is known as revoked causes no signature.
        let check = match self.check_now(&caller.principal) {
            Ok(check) => check,
            Err(status) => return self.conclude_bound(status, caller, None),
        };
        let proved = match dpop.check(proof, (key, &binding.token_digest), head) {
            Ok(proved) => proved,
            Err(error) => return refuse(error),
        };
        let recording = dpop.record(&proved);
        let next_nonce = proved.next_nonce.and_then(|nonce| nonce.try_into().ok());
        let proven = Proven {
            caller,
            next_nonce,
            check,
        };
        match recording {
            None => self.finish_bound(proven),
            Some(query) => {
                let proven = Some(Box::new(proven));
                let error = AuthError::unavailable(AuthErrorKind::StoreUnavailable, 1);
                Verdict::Wait(TokenWait::Replay { query, proven }, error)
            }
        }
    }

    /// Continues after the store of used proofs has responded.
    pub(super) fn resume_bound(
        &self,
        recorded: Result<bool, StoreError>,
        mut proven: Proven<C, R::Future>,
    ) -> Decision<C, R::Future> {
        match recorded {
            Ok(true) => {}
            Ok(false) => return Verdict::Refuse(Dpop::used_elsewhere()),
            Err(error) => return Verdict::Refuse(Dpop::unrecorded(error)),
        }
        if proven.check.is_none() {
            // A revocation may have arrived during the wait.
            match self.check_now(&proven.caller.principal) {
                Ok(check) => proven.check = check,
                Err(status) => return self.conclude_bound(status, proven.caller, None),
            }
        }
        self.finish_bound(proven)
    }

    fn caller_of(&self, token: Verified<C>, remembered: bool) -> Caller<C> {
        let origins = self.senders.dpop.as_ref().map(|dpop| &dpop.origins);
        let origin = origins.map(|origins| origins.of_thread().clone());
        Caller {
            principal: token.principal_from(origin),
            token,
            remembered,
            place: Place::Authorization,
        }
    }

    /// Runs the revocation check. Returns the check if it has to wait, and the status of a token that is
    /// not valid as the error.
    fn check_now(&self, caller: &Principal) -> Result<Option<R::Future>, RevocationStatus> {
        match self.revocation.check(caller) {
            CheckResult::Ready(RevocationStatus::Valid) => Ok(None),
            CheckResult::Ready(status) => Err(status),
            CheckResult::Pending(check) => Ok(Some(check)),
        }
    }

    /// Passes a caller with a proof, after a revocation check that has to wait.
    fn finish_bound(&self, proven: Proven<C, R::Future>) -> Decision<C, R::Future> {
        let (caller, next_nonce) = (proven.caller, proven.next_nonce);
        let Some(check) = proven.check else {
            return self.conclude_bound(RevocationStatus::Valid, caller, next_nonce);
        };
        let pending = Some(Pending {
            caller,
            clear: Cleared::Nothing,
            proved: Some(next_nonce),
        });
        let refusal = AuthError::unavailable(AuthErrorKind::RevocationUnavailable, 1);
        Verdict::Wait(TokenWait::Check { check, pending }, refusal)
    }

    pub(super) fn conclude_bound(
        &self,
        status: RevocationStatus,
        caller: Caller<C>,
        next_nonce: NextNonce,
    ) -> Decision<C, R::Future> {
        match (
            self.conclude(status, caller, || Cleared::Nothing),
            next_nonce,
        ) {
            (Verdict::Pass(Pass::Caller(caller)), Some(nonce)) => {
                Verdict::Pass(Pass::WithNonce(Box::new((caller, nonce))))
            }
            (Verdict::Refuse(error), _) => Verdict::Refuse(error.of_scheme(Scheme::Dpop)),
            (decision, _) => decision,
        }
    }
}
