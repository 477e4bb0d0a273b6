//! The decision about a token whose client may have a certificate (RFC 8705 §3).

use serde::de::DeserializeOwned;

use super::config::{Config, Decision};
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{
        extract::{Credential, RequestHead},
        middleware::Verdict,
        peer::PeerCertificate,
    },
    principal::Principal,
    revocation::RevocationCheck,
    verify::{Confirmation, Examined, Verified},
};

impl<C, R> Config<C, R>
where
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    /// Decides about a token without a proof of a key.
    pub(super) fn judge_certified(
        &self,
        credential: &Credential<'_>,
        head: RequestHead<'_>,
    ) -> Decision<C, R::Future> {
        self.judge_certified_as(credential, head, |token| self.verifier.examine_bound(token))
    }

    /// Decides about the token by this function, after the form of the certificate.
    pub(super) fn judge_certified_as(
        &self,
        credential: &Credential<'_>,
        head: RequestHead<'_>,
        examine: impl FnOnce(&[u8]) -> Examined<C>,
    ) -> Decision<C, R::Future> {
        if head.extensions().get().is_some_and(Principal::is_by_key) {
            return Verdict::Refuse(AuthErrorKind::MultipleCredentials.into());
        }
        // A malformed header is refused beside every token: it shows a proxy that forwards what clients send.
        let certificate = match self.certificate(head) {
            Ok(certificate) => certificate,
            Err(error) => return Verdict::Refuse(error),
        };
        let refuse =
            |error: AuthError| self.refuse(self.explain(error, credential), credential.clearing());
        let (token, remembered) = match examine(credential.token()) {
            Examined::Accepted(token) => (token, false),
            Examined::Remembered(token) => (token, true),
            // A value that cannot be a token causes no fetch.
            Examined::Wait(waiting) if self.may_be_a_token(credential.token()) => {
                return match self.known_as_revoked(&waiting) {
                    Some(error) => refuse(error),
                    None => Self::wait_for(*waiting),
                };
            }
            Examined::Wait(_) => return refuse(AuthErrorKind::MalformedCredential.into()),
            Examined::Refused(error) => return refuse(error),
        };
        match self.check_sender(&token, certificate.as_ref()) {
            Ok(()) => self.check(token, remembered, credential),
            Err(error) => refuse(error),
        }
    }

    /// Returns the certificate of the client, if the layer reads certificates and the client has one.
    pub(super) fn certificate(
        &self,
        head: RequestHead<'_>,
    ) -> Result<Option<PeerCertificate>, AuthError> {
        let mtls = self.senders.mtls.as_ref();
        mtls.map_or(Ok(None), |mtls| mtls.certificate(head))
    }

    fn check_sender(
        &self,
        token: &Verified<C>,
        certificate: Option<&PeerCertificate>,
    ) -> Result<(), AuthError> {
        let confirmation = token.binding().map(|binding| &binding.confirmation);
        // RFC 9449 §7.2.
        if confirmation.is_some_and(|confirmation| confirmation.key.is_some()) {
            return Err(AuthErrorKind::SenderConstrained.into());
        }
        self.check_certificate(confirmation, certificate)
    }

    /// Checks the certificate of the client against what a token needs. `None` for a token that is not bound.
    pub(super) fn check_certificate(
        &self,
        token: Option<&Confirmation>,
        certificate: Option<&PeerCertificate>,
    ) -> Result<(), AuthError> {
        match &self.senders.mtls {
            Some(mtls) => mtls.check(token, certificate),
            None if token.is_some_and(|token| token.certificate.is_some()) => {
                Err(AuthErrorKind::SenderConstrained.into())
            }
            None => Ok(()),
        }
    }
}
