//! Proofs that a request was made by a page which can read this site's cookies.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::secret::{DerivedKey, SecretKey};

/// Creates and verifies the signed double-submit proofs of sessions.
///
/// The proof of a session is a MAC of the session's identifier. It is set as a cookie that pages of the
/// site can read, and returns in the header [`X-CSRF-Token`](CSRF_HEADER), which no other site can make
/// a browser send. The proof is bound to the session, so that a planted proof of another session is
/// refused ([OWASP, signed double-submit cookie]).
///
/// [OWASP, signed double-submit cookie]: https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{layer::extract::CsrfProofs, secret::SecretKey};
///
/// let proofs = CsrfProofs::new(&SecretKey::generate());
/// let proof = proofs.of("1f0953f2e859f2e1f589274be44a2338");
/// assert!(proofs.proves("1f0953f2e859f2e1f589274be44a2338", proof.as_bytes()));
/// assert!(!proofs.proves("another session", proof.as_bytes()));
/// ```
#[derive(Clone, Debug)]
pub struct CsrfProofs {
    // Never empty. The first key creates the proofs.
    keys: Vec<DerivedKey>,
}

/// The header that carries the proof.
pub const CSRF_HEADER: http::HeaderName = http::HeaderName::from_static("x-csrf-token");

impl CsrfProofs {
    /// Creates proofs by a key that is derived from the server's secret. Proofs by older secrets still
    /// verify.
    #[must_use]
    pub fn new(secret: &SecretKey) -> Self {
        Self {
            keys: secret.derive("tower-jwt-auth csrf proof"),
        }
    }

    /// Returns the proof of a session: 43 characters that are valid in a cookie and in a header.
    #[must_use]
    pub fn of(&self, session: &str) -> String {
        let mac = self.keys.first().and_then(|key| mac(key, session));
        let tag = mac.map(|mac| mac.finalize().into_bytes());
        tag.map(|tag| URL_SAFE_NO_PAD.encode(tag))
            .unwrap_or_default()
    }

    /// Returns `true` if this is the proof of the session. The comparison takes constant time.
    #[must_use]
    pub fn proves(&self, session: &str, proof: &[u8]) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(proof) else {
            return false;
        };
        let mut macs = self.keys.iter().filter_map(|key| mac(key, session));
        macs.any(|mac| mac.verify_slice(&tag).is_ok())
    }
}

fn mac(key: &DerivedKey, session: &str) -> Option<Hmac<Sha256>> {
    // HMAC accepts keys of any length, so that the MAC always exists.
    let mac = Hmac::<Sha256>::new_from_slice(key.key.expose()).ok()?;
    Some(mac.chain_update(session))
}
