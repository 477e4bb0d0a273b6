//! The decision about a token that is sent with a proof of its key.
//!
//! The order is by cost (RFC 9449 §4.3 leaves it open): the form of the proof's header field, the token
//! (usually from the cache), the certificate of the client, the proof with its signature last, the store of
//! used proofs, and the revocation check.

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

/// A token whose client proved possession of its key.
pub(crate) struct Proven<C> {
    token: Verified<C>,
    remembered: bool,
    next_nonce: NextNonce,
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
        let (token, remembered) = match self.verifier.examine_bound(credential.token()) {
            Examined::Accepted(token) => (token, false),
            Examined::Remembered(token) => (token, true),
            // A value that cannot be a token causes no fetch.
            Examined::Wait(waiting) if self.may_be_a_token(credential.token()) => {
                let wait = waiting.wait;
                let error = waiting.error.of_scheme(Scheme::Dpop);
                return Verdict::Wait(TokenWait::Keys { wait }, error);
            }
            Examined::Wait(_) => return refuse(AuthErrorKind::MalformedCredential.into()),
            Examined::Refused(error) => return refuse(self.explain(error, credential)),
        };
        // RFC 9449 §7.1: the token must be bound to the key of the proof.
        let Some(binding) = token.binding() else {
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
        let proved = match dpop.check(proof, (key, &binding.token_digest), head) {
            Ok(proved) => proved,
            Err(error) => return refuse(error),
        };
        let recording = dpop.record(&proved);
        let next_nonce = proved.next_nonce.and_then(|nonce| nonce.try_into().ok());
        let proven = Proven {
            token,
            remembered,
            next_nonce,
        };
        match recording {
            None => self.check_bound(proven),
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
        proven: Proven<C>,
    ) -> Decision<C, R::Future> {
        match recorded {
            Ok(true) => self.check_bound(proven),
            Ok(false) => Verdict::Refuse(Dpop::used_elsewhere()),
            Err(error) => Verdict::Refuse(Dpop::unrecorded(error)),
        }
    }

    /// Runs the revocation check.
    fn check_bound(&self, proven: Proven<C>) -> Decision<C, R::Future> {
        let origins = self.senders.dpop.as_ref().map(|dpop| &dpop.origins);
        let origin = origins.map(|origins| origins.of_thread().clone());
        let principal = proven.token.principal_from(origin);
        let check = self.revocation.check(&principal);
        let caller = Caller {
            token: proven.token,
            principal,
            remembered: proven.remembered,
            place: Place::Authorization,
        };
        match check {
            CheckResult::Ready(status) => self.conclude_bound(status, caller, proven.next_nonce),
            CheckResult::Pending(check) => {
                let pending = Some(Pending {
                    caller,
                    clear: Cleared::Nothing,
                    proved: Some(proven.next_nonce),
                });
                let refusal = AuthError::unavailable(AuthErrorKind::RevocationUnavailable, 1);
                Verdict::Wait(TokenWait::Check { check, pending }, refusal)
            }
        }
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
