//! The secrets of a login server.

use super::AuthSettings;
use crate::{
    error::ConfigError, secret::SecretKey, settings::vars::refuse, store::port::SecretStore,
};

/// The secrets of a login server: see [`AuthSettings::secrets`].
#[derive(Clone, Debug)]
pub struct AuthSecrets {
    sessions: SecretKey,
    login: SecretKey,
    lasting: bool,
}

impl AuthSecrets {
    /// Returns the secret of refresh tokens, for
    /// [`SessionsBuilder::secret`](crate::server::session::SessionsBuilder::secret).
    #[must_use]
    pub fn sessions(&self) -> &SecretKey {
        &self.sessions
    }

    /// Returns the secret of trusted devices, login throttling and CSRF proofs, for
    /// [`Login::builder`](crate::server::login::Login::builder) and
    /// [`AuthEndpoints::builder`](crate::server::endpoints::AuthEndpoints::builder).
    #[must_use]
    pub fn login(&self) -> &SecretKey {
        &self.login
    }

    /// Returns `true` if `AUTH_SECRET_KEY` is set, so that all secrets survive a restart and are the
    /// same in every process. Otherwise [`login`](Self::login) is random in each process.
    #[must_use]
    pub fn are_lasting(&self) -> bool {
        self.lasting
    }
}

impl AuthSettings {
    /// Returns the secrets of this server. If `AUTH_SECRET_KEY` is set, it is used for all of them.
    ///
    /// Without it, only refresh tokens survive a restart and work on other nodes. Their secret is
    /// created once and stored in the store, under the name `refresh`. A copy of the store still cannot
    /// forge a refresh token, because the client holds the other half of each token. The secret for
    /// everything else would be useful to an attacker with such a copy, so it is random in each process
    /// and never stored.
    ///
    /// | without `AUTH_SECRET_KEY` | after a restart | with two processes on one store |
    /// |---|---|---|
    /// | refresh tokens | work | work on both |
    /// | access tokens, if no key is configured: see [`issuer`](Self::issuer) | are refused | are refused by the other process |
    /// | CSRF proofs | are refused: refresh and logout by cookie are 403 until the next login | are refused by the other process |
    /// | trusted devices | are no longer trusted | are trusted by one of the two |
    /// | second steps, flows of a browser and codes from mails that have begun | are refused | are refused by the other process |
    /// | counters of the login throttle | restart at zero | are counted separately: twice the attempts |
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with `AUTH_STORE` as its name, if the store is unavailable or its entry
    /// is not a secret. The store is queried only if `AUTH_SECRET_KEY` is not set.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is safe. The secret may have been stored, and the next call finds it.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_jwt_auth::ConfigError> {
    /// use tower_jwt_auth::{AuthSettings, store::MemoryStore};
    ///
    /// # #[cfg(feature = "aws-lc-rs")] {
    /// let settings = AuthSettings::from_vars([])?;
    /// let secrets = settings.secrets(&MemoryStore::new()).await?;
    /// if !secrets.are_lasting() {
    ///     println!("AUTH_SECRET_KEY is not set");
    /// }
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn secrets(&self, store: &impl SecretStore) -> Result<AuthSecrets, ConfigError> {
        AuthSecrets::load(self.secret(), store).await
    }
}

impl AuthSecrets {
    pub(crate) async fn load(
        secret: Option<&SecretKey>,
        store: &impl SecretStore,
    ) -> Result<Self, ConfigError> {
        if let Some(secret) = secret {
            return Ok(Self {
                sessions: secret.clone(),
                login: secret.clone(),
                lasting: true,
            });
        }
        let fresh = SecretKey::generate_bytes();
        let kept = store.secret_or_insert("refresh", fresh.expose()).await;
        let kept = kept.map_err(|error| refuse(STORE, error.causes()))?;
        let short = |_| refuse(STORE, "its secret of refresh tokens is too short");
        Ok(Self {
            sessions: SecretKey::from_bytes(kept.expose()).map_err(short)?,
            login: SecretKey::generate(),
            lasting: false,
        })
    }
}

const STORE: &str = "AUTH_STORE";

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use super::*;
    use crate::{error::StoreError, secret::Secret, store::MemoryStore};

    const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";

    fn settings(vars: &[(&str, &str)]) -> AuthSettings {
        let vars = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        AuthSettings::from_vars(vars).unwrap()
    }

    /// Returns bytes that distinguish two secrets.
    fn of(secret: &SecretKey) -> [u8; 32] {
        *secret.derive("a test")[0].key.expose()
    }

    #[tokio::test]
    async fn a_given_secret_is_everybodys_and_the_store_is_not_asked() {
        let given = settings(&[("AUTH_SECRET_KEY", KEY)]);
        for _ in 0..2 {
            let secrets = given.secrets(&Silent).await.unwrap();
            assert!(secrets.are_lasting());
            assert_eq!(of(secrets.sessions()), of(&KEY.parse().unwrap()));
            assert_eq!(of(secrets.login()), of(&KEY.parse().unwrap()));
        }
    }

    #[tokio::test]
    async fn without_one_that_of_refresh_tokens_alone_is_kept() {
        let (store, none) = (MemoryStore::new(), settings(&[]));
        let one = none.secrets(&store).await.unwrap();
        let two = none.secrets(&store).await.unwrap();
        assert!(!one.are_lasting() && !two.are_lasting());
        assert_eq!(of(one.sessions()), of(two.sessions()));
        assert_ne!(of(one.login()), of(two.login()));
        assert_ne!(of(one.login()), of(one.sessions()));
        let elsewhere = none.secrets(&MemoryStore::new()).await.unwrap();
        assert_ne!(of(one.sessions()), of(elsewhere.sessions()));
    }

    #[tokio::test]
    async fn a_store_that_is_away_or_holds_less_is_an_error_that_names_the_store() {
        let none = settings(&[]);
        let away = none.secrets(&Silent).await.unwrap_err().to_string();
        assert!(away.starts_with("AUTH_STORE: "), "{away}");
        let short = none.secrets(&Short).await.unwrap_err().to_string();
        assert!(short.starts_with("AUTH_STORE: "), "{short}");
    }

    struct Silent;

    impl SecretStore for Silent {
        async fn secret_or_insert(&self, _: &str, _: &[u8]) -> Result<Secret<Vec<u8>>, StoreError> {
            Err(StoreError::unavailable("unplugged"))
        }
    }

    struct Short;

    impl SecretStore for Short {
        async fn secret_or_insert(&self, _: &str, _: &[u8]) -> Result<Secret<Vec<u8>>, StoreError> {
            Ok(Secret::new(vec![7; 31]))
        }
    }
}
