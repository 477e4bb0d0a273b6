//! The proofs of the client's key (RFC 9449): at endpoints that return tokens, and beside bound access
//! tokens.
//!
//! A proof is examined in two steps. Everything but its signature comes first, before an attempt is counted,
//! a password is hashed or a code is spent. The signature comes last, directly before the session is written
//! or the token is used, after every limit. A wrong password thus costs no asymmetric operation, and a client
//! that has to repeat a request with a nonce loses no attempt.

use std::sync::{Arc, OnceLock};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::request::Parts;
use tokio::sync::OnceCell;

use super::{
    answer::{Answer, Refusal},
    challenge::Offered,
    login::Transport,
    service::Inner,
};
use crate::{
    error::{AuthError, AuthErrorKind, Scheme},
    layer::{
        dpop::{Dpop, invalid},
        extract::{Credential, PROOF, RequestHead, is_dpop},
        response::DPOP_NONCE,
    },
    principal::{Claims, Principal},
    verify::{
        Examined, Verifier,
        proof::{Claimed, OTHER_TOKEN},
    },
};

/// The proof of a request, which is examined once and used once.
#[derive(Clone, Default)]
struct RequestProof(Arc<State>);

#[derive(Default)]
struct State {
    /// The path that the client sent, if the host has removed a part of it.
    path: Option<String>,
    examined: OnceLock<Result<Arc<Claimed>, AuthError>>,
    confirmed: OnceCell<()>,
}

impl Inner {
    /// Prepares a request for the use of its proof, if it has one. `path` is the path that the client sent,
    /// unless it is that of the request.
    pub(super) fn keep_proof(&self, parts: &mut Parts, path: impl FnOnce() -> Option<String>) {
        if self.has_proof(parts) {
            let state = State {
                path: path(),
                ..State::default()
            };
            parts.extensions.insert(RequestProof(Arc::new(state)));
        }
    }

    /// Returns `true` if the request has a proof and proofs are accepted.
    pub(super) fn has_proof(&self, parts: &Parts) -> bool {
        self.dpop.is_some() && parts.headers.contains_key(&PROOF)
    }

    /// Examines the proof of a request that is to return tokens in this way. The signature is verified by
    /// [`prove`](Self::prove).
    pub(super) fn expect_proof(&self, parts: &Parts, transport: Transport) -> Result<(), Refusal> {
        let Some(dpop) = &self.dpop else {
            return Ok(());
        };
        if !self.has_proof(parts) {
            return match dpop.is_required() {
                true => Err(Refusal::of_proof(&invalid("the request has no proof"))),
                false => Ok(()),
            };
        }
        if transport == Transport::Cookie {
            return Err(Refusal::invalid_request(
                "Tokens that are bound to a key are not set as cookies",
            ));
        }
        let examined = self.examined(dpop, parts);
        examined
            .map(drop)
            .map_err(|error| Refusal::of_proof(&error))
    }

    /// Verifies the proof of a request that returns tokens. Returns the thumbprint of the key, or `None`
    /// without a proof.
    pub(super) async fn prove(&self, parts: &Parts) -> Result<Option<String>, Refusal> {
        let Some(dpop) = self.dpop.as_ref().filter(|_| self.has_proof(parts)) else {
            return Ok(None);
        };
        let proved = self.proved(dpop, parts).await;
        let claimed = proved.map_err(|error| Refusal::of_proof(&error))?;
        Ok(Some(URL_SAFE_NO_PAD.encode(claimed.key)))
    }

    /// Verifies the proof of a request with a refresh token, if the session of the token is bound to the key of
    /// the proof. Returns the thumbprint then.
    ///
    /// A proof by another key causes no asymmetric operation and takes no memory, so that the holder of one
    /// refresh token cannot fill the memory of used proofs with many keys.
    pub(super) async fn prove_for(
        &self,
        parts: &Parts,
        refresh_token: &str,
    ) -> Result<Option<String>, Refusal> {
        let Some(dpop) = self.dpop.as_ref().filter(|_| self.has_proof(parts)) else {
            return Ok(None);
        };
        let examined = self.examined(dpop, parts);
        let claimed = examined.map_err(|error| Refusal::of_proof(&error))?;
        let bound = self.sessions.bound_key(refresh_token).await?;
        match bound == Some(URL_SAFE_NO_PAD.encode(claimed.key)) {
            true => self.prove(parts).await,
            false => Ok(None),
        }
    }

    /// Returns the caller of a bound access token, or `None` if this verifier does not accept the token.
    pub(super) async fn bound_caller(
        &self,
        parts: &Parts,
        credential: &Credential<'_>,
        verifier: &Verifier<Claims>,
    ) -> Result<Option<Principal>, Refusal> {
        let Some(dpop) = &self.dpop else {
            return Ok(None);
        };
        if !self.has_proof(parts) {
            return Err(Refusal::of_bound(&invalid("the request has no proof")));
        }
        let refused = |error: AuthError| Refusal::of_bound(&error);
        let claimed = self.examined(dpop, parts).map_err(refused)?;
        let token = match verifier.examine_bound(credential.token()) {
            Examined::Accepted(token) | Examined::Remembered(token) => token,
            Examined::Refused(_) | Examined::Wait(_) => return Ok(None),
        };
        let Some(binding) = token.binding() else {
            return Ok(None);
        };
        // This server binds its tokens to keys only.
        let needs = &binding.confirmation;
        if needs.key != Some(claimed.key) || needs.certificate.is_some() {
            return Err(refused(AuthErrorKind::WrongProofKey.into()));
        }
        let digest = claimed.token_digest.as_deref();
        if digest.map(str::as_bytes) != Some(&binding.token_digest[..]) {
            return Err(refused(invalid(OTHER_TOKEN)));
        }
        self.proved(dpop, parts).await.map_err(refused)?;
        Ok(Some(token.principal()))
    }

    /// Examines everything but the signature.
    fn examined(&self, dpop: &Dpop, parts: &Parts) -> Result<Arc<Claimed>, AuthError> {
        let state = state(parts);
        let head = RequestHead::of_parts(parts);
        let examine = || {
            let proof = dpop.proof(&parts.headers)?;
            let examined = dpop.examine(proof, head, state.path.as_deref());
            examined.map(Arc::new)
        };
        state.examined.get_or_init(examine).clone()
    }

    /// Verifies the signature, and records the proof as used, once for the request.
    async fn proved(&self, dpop: &Dpop, parts: &Parts) -> Result<Arc<Claimed>, AuthError> {
        let claimed = self.examined(dpop, parts)?;
        let state = state(parts);
        let confirm = async {
            dpop.confirm(dpop.proof(&parts.headers)?, &claimed)?;
            match dpop.record(&claimed.proved) {
                None => Ok(()),
                Some(recorded) => match recorded.await {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(Dpop::used_elsewhere()),
                    Err(error) => Err(Dpop::unrecorded(error)),
                },
            }
        };
        state.confirmed.get_or_try_init(|| confirm).await?;
        Ok(claimed)
    }

    /// Adds the next nonce to a response, if that of the proof is ageing.
    pub(super) fn complete_answer(&self, parts: &Parts, answer: &mut Answer) {
        let Some(state) = parts.extensions.get::<RequestProof>() else {
            return;
        };
        let next = match state.0.examined.get() {
            Some(Ok(claimed)) => claimed.proved.next_nonce.as_deref(),
            _ => None,
        };
        // RFC 9449 §8.2: every response of the endpoints is `no-store` already.
        if let Some(nonce) = next.and_then(|nonce| nonce.parse().ok()) {
            answer.headers_mut().insert(&DPOP_NONCE, nonce);
        }
    }

    /// Returns the schemes of the challenges in a refusal of this request.
    pub(super) fn offered(&self, parts: &Parts) -> Offered {
        let Some(dpop) = &self.dpop else {
            return Offered::default();
        };
        let used = match dpop.is_required() || is_dpop(&parts.headers) {
            true => Scheme::Dpop,
            false => Scheme::Bearer,
        };
        Offered {
            algorithms: Some(dpop.algorithms().collect::<Vec<_>>().join(" ")),
            only_dpop: dpop.is_required(),
            used,
        }
    }
}

fn state(parts: &Parts) -> Arc<State> {
    // Every request with a proof has been prepared.
    let kept = parts.extensions.get::<RequestProof>().cloned();
    kept.unwrap_or_default().0
}
