//! Variables, and the files that they name.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

use tower_jwt_auth::{ConfigError, JwtSettings, key::Algorithm, test_util::TestKeys};

pub(crate) const SECRET: &str = "first test secret, never in use.";
pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const AUDIENCE: &str = "https://api.example";

pub(crate) fn vars<V: AsRef<str>>(pairs: &[(&str, V)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_ref().to_owned()))
        .collect()
}

pub(crate) fn read<V: AsRef<str>>(pairs: &[(&str, V)]) -> Result<JwtSettings, ConfigError> {
    JwtSettings::from_vars(vars(pairs))
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
pub(crate) struct File(PathBuf);

impl File {
    pub(crate) fn new(contents: impl AsRef<[u8]>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);

        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("resource-server-{}-{number}", process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, contents).expect("the folder for tests is writable");
        Self(path)
    }

    pub(crate) fn jwks() -> Self {
        Self::new(TestKeys::new().jwks())
    }

    pub(crate) fn pem(algorithm: Algorithm) -> Self {
        Self::new(TestKeys::new().public_pem(algorithm))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("the target folder's path is UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
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
/// The same key in a set.
pub(crate) const WEAK_JWKS: &str = r#"{"keys":[{"kty":"RSA","e":"AQAB","n":"0AZoQCaMQf6sNliKPNuckH6vxP6_UfbPTz5Beqy_CXP767XNvwxa-99vpD1I6C6ZWUutQfwhVrDWRUbJpffdplYV-XohMYJYrPLX2A7sYHNqskr42-psX2LoX0tYgBR1LMG23vBy5xBzFVOWFClosgDoDbA1AGleK5eSd58Xr6E"}]}"#;
