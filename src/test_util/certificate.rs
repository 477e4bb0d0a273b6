//! Tokens that are bound to a certificate, for tests.

use serde_json::{Map, Value, json};

use super::TestIssuer;
use crate::layer::peer::PeerCertificate;

impl TestIssuer {
    /// Returns a signed token that is bound to a certificate (RFC 8705 §3.1), after the closure has edited its
    /// claims. The certificate may be any bytes.
    pub fn token_for<R>(
        &self,
        certificate: &PeerCertificate,
        edit: impl FnOnce(&mut Map<String, Value>) -> R,
    ) -> String {
        self.token(|claims| {
            claims.insert(
                "cnf".into(),
                json!({ "x5t#S256": certificate.thumbprint() }),
            );
            edit(claims)
        })
    }
}
