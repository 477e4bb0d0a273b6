//! The store that the settings of a login server name.

use super::AnyStore;
use crate::{error::ConfigError, server::AuthSettings};

impl AuthSettings {
    /// Opens the store of `AUTH_STORE`.
    ///
    /// If `AUTH_STORE` is not set, the store is for a trial: a new SQLite file in a temporary folder
    /// that only this user can read, or the memory of the process without the feature `sqlite`.
    /// [`AuthServer::warnings`](crate::AuthServer::warnings) names it. The file is not deleted.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with `AUTH_STORE` as its name. The message has the cause, without the
    /// password of the URL.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a store that can be opened again.
    pub async fn open_store(&self) -> Result<AnyStore, ConfigError> {
        let url = match self.store() {
            Some(url) => url.to_owned(),
            None => {
                let url = trial()?;
                self.use_trial_store(url.clone());
                url
            }
        };
        AnyStore::open(&url).await.map_err(|error| match error {
            ConfigError::Invalid { problem, .. } => ConfigError::invalid(STORE, problem),
            other => ConfigError::invalid(STORE, other.to_string()),
        })
    }
}

/// Creates a folder of this user for a store that is not configured.
#[cfg(feature = "sqlite")]
fn trial() -> Result<String, ConfigError> {
    use std::{env, fs::DirBuilder};

    use crate::secret::{base62::base62, random};

    let name = format!("auth_server-{}", base62(random::<16>()));
    let folder = env::temp_dir().join(name);
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    // Fails if something with this name exists.
    builder.create(&folder).map_err(|error| {
        let problem = format!("not set, and {} is not created: {error}", folder.display());
        ConfigError::invalid(STORE, problem)
    })?;
    Ok(format!("sqlite:{}", folder.join("auth.db").display()))
}

#[cfg(not(feature = "sqlite"))]
#[expect(clippy::unnecessary_wraps, reason = "as with `sqlite`")]
fn trial() -> Result<String, ConfigError> {
    Ok("memory:".to_owned())
}

const STORE: &str = "AUTH_STORE";
