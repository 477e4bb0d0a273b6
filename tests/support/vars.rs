//! Variables, and the files that they name.

use std::fs;

use tempfile::NamedTempFile;
use tower_jwt_auth::{ConfigError, JwtSettings, key::Algorithm, test_util::TestKeys};

pub(crate) const SECRET: &str = "first test secret, never in use.";
pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const AUDIENCE: &str = "https://api.example";

pub(crate) fn read<V: AsRef<str>>(pairs: &[(&str, V)]) -> Result<JwtSettings, ConfigError> {
    let owned = |(name, value): &(&str, V)| ((*name).to_owned(), value.as_ref().to_owned());
    JwtSettings::from_vars(pairs.iter().map(owned))
}

/// The one line that refuses these variables.
pub(crate) fn refusal<V: AsRef<str>>(pairs: &[(&str, V)]) -> String {
    let line = read(pairs)
        .expect_err("these variables are refused")
        .to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

/// A file that is gone when this is dropped.
pub(crate) struct File(NamedTempFile);

impl File {
    pub(crate) fn new(contents: impl AsRef<[u8]>) -> Self {
        let file = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::write(file.path(), contents).unwrap();
        Self(file)
    }

    pub(crate) fn jwks() -> Self {
        Self::new(TestKeys::new().jwks())
    }

    pub(crate) fn pem(algorithm: Algorithm) -> Self {
        Self::new(TestKeys::new().public_pem(algorithm))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// An RSA key of 1024 bits; its private half was never kept.
pub(crate) const WEAK_PEM: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDQBmhAJoxB/qw2WIo825yQfq/E
/r9R9s9PPkF6rL8Jc/vrtc2/DFr732+kPUjoLplZS61B/CFWsNZFRsml992mVhX5
eiExglis8tfYDuxgc2qySvjb6mxfYuhfS1iAFHUswbbe8HLnEHMVU5YUKWiyAOgN
sDUAaV4rl5J3nxevoQIDAQAB
-----END PUBLIC KEY-----
";
