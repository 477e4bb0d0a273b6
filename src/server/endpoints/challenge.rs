//! The challenges of refusals.

use crate::error::Scheme;

/// The challenge of a refusal (RFC 6750 §3).
#[derive(Clone, Copy, Debug)]
pub(super) enum Challenge {
    Missing,
    Invalid,
    Malformed,
    Stale,
    Proof,
    Nonce,
}

impl Challenge {
    /// Returns the attributes of the error.
    pub(super) fn error(self) -> &'static str {
        match self {
            Self::Missing => "",
            Self::Invalid => {
                "error=\"invalid_token\", error_description=\"A valid access token is required\""
            }
            Self::Malformed => {
                "error=\"invalid_request\", error_description=\"The credential is malformed\""
            }
            Self::Stale => {
                "error=\"insufficient_user_authentication\", \
                 error_description=\"A more recent sign-in is required\", max_age=\"900\""
            }
            Self::Proof => {
                "error=\"invalid_dpop_proof\", error_description=\"The DPoP proof is invalid\""
            }
            Self::Nonce => {
                "error=\"use_dpop_nonce\", \
                 error_description=\"The DPoP proof needs the nonce of this response\""
            }
        }
    }
}

/// The schemes that the challenges of a refusal offer.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// The algorithms of proofs, if they are accepted.
    pub(super) algorithms: Option<String>,
    pub(super) only_dpop: bool,
    /// The scheme whose challenge has the error (RFC 9449 §7.2).
    pub(super) used: Scheme,
}

impl Offered {
    /// Returns the challenges. `error` has the attributes of the error.
    pub(super) fn challenges(&self, error: &str) -> impl Iterator<Item = String> {
        let error_in = |scheme| match self.used == scheme && !error.is_empty() {
            true => format!(", {error}"),
            false => String::new(),
        };
        let bearer = (!self.only_dpop).then(|| {
            let error = error_in(Scheme::Bearer);
            format!("Bearer realm=\"api\"{error}")
        });
        let dpop = self.algorithms.as_ref().map(|algorithms| {
            let error = error_in(Scheme::Dpop);
            format!("DPoP realm=\"api\"{error}, algs=\"{algorithms}\"")
        });
        [bearer, dpop].into_iter().flatten()
    }
}
