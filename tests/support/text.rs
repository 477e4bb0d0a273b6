//! Tokens of other algorithms, and tokens that are edited as text.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tower_jwt_auth::{key::Algorithm, test_util::TestIssuer};

use super::fixture::Fixture;

impl Fixture {
    pub(crate) fn issuer(&self, algorithm: Algorithm) -> TestIssuer {
        TestIssuer::new(algorithm).clock(self.clock.clone())
    }

    /// A good token with one claim written as it stands here.
    pub(crate) fn with_text(&self, claim: &str, value: &str) -> String {
        let claims = self.payload(|claims| claims.remove(claim));
        self.with_payload(claims.replacen('{', &format!("{{\"{claim}\":{value},"), 1))
    }
}

pub(crate) fn segments(token: &str) -> [String; 3] {
    let segments: Vec<_> = token.split('.').map(str::to_owned).collect();
    segments.try_into().unwrap()
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
