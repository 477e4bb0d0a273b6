//! The store of logouts that the settings of a resource server name.

use std::time::Duration;

use super::AnyStore;
use crate::{
    error::ConfigError, layer::logout::BackChannelLogout, revocation::RevocationSet,
    settings::JwtSettings, verify::Verifier,
};

impl JwtSettings {
    /// Returns the service for the issuer's logout tokens with the set that it fills, and opens the store of
    /// `JWT_LOGOUT_STORE`. The [`layer`](Self::layer) must check the set
    /// ([`revocation`](crate::JwtAuthLayer::revocation)).
    ///
    /// With the store, the set contains the logouts of all nodes, also of those before the start. Waits for
    /// them for at most five seconds. If the store takes longer, requests are answered with 503 until the
    /// set is loaded. Without the store, the set belongs to this process. It is empty and there is no service
    /// if `JWT_BACKCHANNEL_LOGOUT` is not set.
    ///
    /// Call it once, within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with `JWT_LOGOUT_STORE` as its name, if the store cannot be opened. The
    /// message has the cause, without the password of the URL.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a store that can be opened again.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # #[cfg(feature = "axum")]
    /// # async fn app() -> Result<axum::Router, Box<dyn std::error::Error>> {
    /// use axum::{Router, routing::get};
    /// use tower_jwt_auth::JwtSettings;
    ///
    /// let settings = JwtSettings::from_env()?;
    /// let auth = settings.layer()?;
    /// let (logout, revoked) = settings.open_back_channel_logout(auth.verifier()).await?;
    /// let app = Router::new()
    ///     .route("/orders", get(async || "none"))
    ///     .route_layer(auth.revocation(revoked));
    /// # Ok(
    /// match logout {
    ///     Some(logout) => app.route_service("/backchannel-logout", logout),
    ///     None => app,
    /// }
    /// # )
    /// # }
    /// ```
    pub async fn open_back_channel_logout<C>(
        &self,
        verifier: &Verifier<C>,
    ) -> Result<(Option<BackChannelLogout>, RevocationSet), ConfigError>
    where
        C: Send + Sync + 'static,
    {
        let Some(url) = self.logout_store() else {
            let revoked = RevocationSet::local();
            let logout = self.receiver(verifier, &revoked)?;
            return Ok((logout, revoked));
        };
        let store = AnyStore::open(url).await.map_err(|error| match error {
            ConfigError::Invalid { problem, .. } => ConfigError::invalid(STORE, problem),
            other => ConfigError::invalid(STORE, other.to_string()),
        })?;
        let revoked = store.revocations()?.with_events(self.sink());
        let logout = self.receiver(verifier, &revoked)?;
        let logout = logout.map(|logout| logout.log(store));
        revoked.loaded(LOADED_WITHIN).await;
        Ok((logout, revoked))
    }
}

const STORE: &str = "JWT_LOGOUT_STORE";
const LOADED_WITHIN: Duration = Duration::from_secs(5);
