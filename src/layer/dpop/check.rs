//! The check of the proof of a request.

use std::sync::Arc;

use http::HeaderMap;

use super::Dpop;
#[cfg(feature = "server")]
use crate::verify::proof::Claimed;
use crate::{
    erased::Boxed,
    error::{AuthError, AuthErrorKind, Scheme, StoreError},
    key::Thumbprint,
    layer::extract::{PROOF, RequestHead},
    verify::proof::{Checker, Expected, Fault, Moment, Origin, Proved, is_same_target},
};

/// The rule for the URI of a request.
pub(super) enum Target {
    /// This origin, and the path of the request.
    Request(Origin),
    Custom(Arc<TargetOf>),
}

type TargetOf = dyn Fn(RequestHead<'_>) -> Option<String> + Send + Sync;

/// The wait for the store of used proofs.
pub(crate) type Recorded = Boxed<'static, Result<bool, StoreError>>;

impl Dpop {
    /// Returns the only proof of a request, unless it is too long.
    pub(crate) fn proof<'a>(&self, headers: &'a HeaderMap) -> Result<&'a [u8], AuthError> {
        let mut proofs = headers.get_all(&PROOF).iter();
        // RFC 9449 §4.3: not more than one header field.
        match (proofs.next(), proofs.next()) {
            (Some(proof), None) if proof.len() <= MAX_BYTES => Ok(proof.as_bytes()),
            (Some(_), None) => Err(invalid("the proof is too long")),
            (Some(_), Some(_)) => Err(invalid("the request has several proofs")),
            (None, _) => Err(invalid("the request has no proof")),
        }
    }

    /// Checks the proof of a request against the key and the digest of its token, and records it in this
    /// process.
    pub(crate) fn check(
        &self,
        proof: &[u8],
        token: (Thumbprint, &[u8]),
        head: RequestHead<'_>,
    ) -> Result<Proved, AuthError> {
        let path = path_of(head);
        self.judge(head, path, Some(token), |checker, expected| {
            checker.check(proof, expected)
        })
    }

    /// Checks everything about a proof except its signature, for a request whose token is not known yet.
    /// `path` is that of the request, if the host has changed it.
    #[cfg(feature = "server")]
    pub(crate) fn examine(
        &self,
        proof: &[u8],
        head: RequestHead<'_>,
        path: Option<&str>,
    ) -> Result<Claimed, AuthError> {
        let path = path.unwrap_or_else(|| path_of(head));
        self.judge(head, path, None, |checker, expected| {
            checker.examine(proof, expected)
        })
    }

    /// Verifies the signature of an examined proof, and records it in this process.
    #[cfg(feature = "server")]
    pub(crate) fn confirm(&self, proof: &[u8], claimed: &Claimed) -> Result<(), AuthError> {
        let now = self.now();
        let confirmed = self.rules.checker.confirm(proof, claimed, now);
        confirmed.map_err(|fault| self.blame(fault, ""))
    }

    fn now(&self) -> Moment {
        Moment {
            wall: self.rules.clock.now(),
            monotonic: self.rules.clock.monotonic(),
        }
    }

    fn judge<T>(
        &self,
        head: RequestHead<'_>,
        path: &str,
        token: Option<(Thumbprint, &[u8])>,
        check: impl FnOnce(&Checker, &Expected<'_>) -> Result<T, Fault>,
    ) -> Result<T, AuthError> {
        let rules = &*self.rules;
        let method = match &rules.method {
            None => None,
            Some(of) => Some(of(head).ok_or_else(|| misconfigured("`target_method` has none"))?),
        };
        let custom = match &rules.target {
            Target::Request(_) => None,
            Target::Custom(of) => {
                Some(of(head).ok_or_else(|| misconfigured("`target_uri` has none"))?)
            }
        };
        let is_target = |uri: &str| match (&rules.target, &custom) {
            (Target::Request(origin), _) => origin.is_target(uri, path),
            (Target::Custom(_), Some(target)) => is_same_target(uri, target),
            (Target::Custom(_), None) => false,
        };
        let expected = Expected {
            token,
            method: method.as_ref().unwrap_or(head.method()).as_str(),
            is_target: &is_target,
            now: self.now(),
        };
        check(&rules.checker, &expected).map_err(|fault| self.blame(fault, path))
    }

    fn blame(&self, fault: Fault, path: &str) -> AuthError {
        match fault {
            Fault::Invalid(cause) => invalid(cause),
            Fault::OtherKey => AuthError::from(AuthErrorKind::WrongProofKey),
            Fault::Nonce(nonce) => AuthError::nonce_required(nonce),
            Fault::Unavailable => AuthError::unavailable(AuthErrorKind::CheckUnavailable, 1),
            Fault::Target(uri) => match &self.rules.target {
                // RFC 9449 has no error for it, and a 401 would send every client for another token.
                Target::Request(origin) if origin.is_target_with_prefix(&uri, path) => {
                    misconfigured(STRIPPED)
                }
                _ => invalid("the proof is for another target"),
            },
        }
    }

    /// Records a proof in the store that the nodes share. `None` if there is no store.
    pub(crate) fn record(&self, proved: &Proved) -> Option<Recorded> {
        let store = Arc::clone(self.rules.store.as_ref()?);
        let (id, until) = (proved.id, proved.until);
        Some(Box::pin(async move { store.first_use(&id, until).await }))
    }

    /// Returns the error for a proof that another node received before.
    pub(crate) fn used_elsewhere() -> AuthError {
        invalid("the proof was used before on another node")
    }

    /// Returns the error for a store that does not answer.
    pub(crate) fn unrecorded(error: StoreError) -> AuthError {
        AuthError::unavailable_by(AuthErrorKind::StoreUnavailable, 1, error)
    }
}

/// Returns the path of a request, as the client sent it.
fn path_of(head: RequestHead<'_>) -> &str {
    // A nested router of axum keeps the whole URI.
    #[cfg(feature = "axum")]
    if let Some(original) = head.extensions().get::<::axum::extract::OriginalUri>() {
        return original.0.path();
    }
    head.uri().path()
}

pub(crate) fn invalid(cause: &'static str) -> AuthError {
    AuthError::caused_by(AuthErrorKind::InvalidProof, cause).of_scheme(Scheme::Dpop)
}

fn misconfigured(cause: &'static str) -> AuthError {
    AuthError::caused_by(AuthErrorKind::Misconfigured, cause)
}

const STRIPPED: &str = "proofs have a longer path than the requests that reach the layer: a router or a \
                        proxy removes a prefix; set `Dpop::target_uri`, or enable the feature `axum`";
/// A proof with an RSA key of 4096 bits has less than 3 KiB.
const MAX_BYTES: usize = 8 * 1024;
