//! An authenticator app.

use totp_rs::{Builder, Secret, Totp};
use tower_jwt_auth::time::Timestamp;

pub(crate) struct App(Totp);

impl App {
    /// With the secret in base 32 that the server has shown.
    pub(crate) fn with(secret: &str) -> Self {
        let secret = Secret::try_from_base32(secret).unwrap();
        Self(Builder::new().with_secret(secret).build().unwrap())
    }

    pub(crate) fn code(&self, now: Timestamp) -> String {
        let seconds = u64::try_from(now.as_millis() / 1000).unwrap();
        self.0.generate(seconds).to_string()
    }

    /// A code that is wrong at this time and around it.
    pub(crate) fn wrong(&self, now: Timestamp) -> String {
        let seconds = u64::try_from(now.as_millis() / 1000).unwrap();
        let near: Vec<_> = (0..5)
            .map(|step| self.0.generate(seconds + 30 * step - 60).to_string())
            .collect();
        let codes = (0..).map(|number: u32| format!("{number:06}"));
        codes.into_iter().find(|code| !near.contains(code)).unwrap()
    }
}
