//! Which secrets a server works with, and which of them last.

use super::{AuthSettings, vars::refuse};
use crate::{
    error::ConfigError,
    secret::{SecretKey, SecretStore},
};

/// The secrets of a login server: see [`AuthSettings::secrets`].
#[derive(Clone, Debug)]
pub struct AuthSecrets {
    sessions: SecretKey,
    login: SecretKey,
    lasting: bool,
}

impl AuthSecrets {
    /// What refresh tokens rest on, for
    /// [`SessionsBuilder::secret`](crate::session::SessionsBuilder::secret).
    #[must_use]
    pub fn sessions(&self) -> &SecretKey {
        &self.sessions
    }

    /// What trusted devices, the counters of guesses and CSRF proofs rest on, for
    /// [`Login::builder`](crate::login::Login::builder) and
    /// [`AuthEndpoints::builder`](crate::endpoints::AuthEndpoints::builder).
    #[must_use]
    pub fn login(&self) -> &SecretKey {
        &self.login
    }

    /// Whether all of them outlive the process and are the same in every other one: whether
    /// `AUTH_SECRET_KEY` was given. Otherwise [`login`](Self::login) is this process's own.
    #[must_use]
    pub fn are_lasting(&self) -> bool {
        self.lasting
    }
}

impl AuthSettings {
    /// The secrets of this server: `AUTH_SECRET_KEY` for everything, where it was given.
    ///
    /// Where it was not, refresh tokens alone go on to work after a restart and on other nodes: their
    /// secret is made once and kept in the store, under the name `refresh`. A copy of the store still
    /// forges no token, because the other half of each is with its client. What the rest stands on
    /// would be worth something in such a copy, so it is random, and this process's own.
    ///
    /// | without `AUTH_SECRET_KEY` | after a restart | with two processes on one store |
    /// |---|---|---|
    /// | refresh tokens | work | work on both |
    /// | CSRF proofs | are refused: refresh and logout by cookie are 403 until the next login | are refused by the other one |
    /// | trusted devices | are strangers again | are trusted by one of the two |
    /// | counters of guesses | begin anew | count apart: twice the guesses |
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with `AUTH_STORE` as its name: the store did not answer, or what it
    /// holds is no secret. It is asked only where `AUTH_SECRET_KEY` was not given.
    ///
    /// # Cancel safety
    ///
    /// May be dropped. At most the secret was kept, and the next call finds it.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_jwt_auth::ConfigError> {
    /// use tower_jwt_auth::{settings::AuthSettings, store::MemoryStore};
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
        if let Some(secret) = self.secret() {
            return Ok(AuthSecrets {
                sessions: secret.clone(),
                login: secret.clone(),
                lasting: true,
            });
        }
        let fresh = SecretKey::generate_bytes();
        let kept = store.secret_or_insert("refresh", fresh.expose()).await;
        let kept = kept.map_err(|error| refuse(STORE, error.causes()))?;
        let short = |_| refuse(STORE, "its secret of refresh tokens is too short");
        Ok(AuthSecrets {
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

    /// What tells two secrets apart.
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
