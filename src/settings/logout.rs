//! The settings of back-channel logout.

#[cfg(feature = "jwks")]
use super::JwtSettings;
use super::{
    policy::Policy,
    vars::{Vars, refuse},
};
#[cfg(all(feature = "jwks", feature = "server"))]
use crate::event::Events;
use crate::{error::ConfigError, secret::Secret};
#[cfg(feature = "jwks")]
use crate::{layer::logout::BackChannelLogout, revocation::RevocationSet, verify::Verifier};

/// The receiver of logout tokens.
#[derive(Clone)]
#[cfg_attr(
    not(feature = "jwks"),
    allow(dead_code, reason = "refused without the feature")
)]
pub(super) struct Logout {
    pub(super) client: String,
    /// The URL of the store that several nodes share. It may contain a password.
    pub(super) store: Option<Secret<String>>,
}

/// Returns the receiver of logout tokens, if they are accepted.
pub(super) fn read(vars: &mut Vars, policy: &Policy) -> Result<Option<Logout>, ConfigError> {
    let client = vars.text(CLIENT)?;
    let store = vars.text(STORE)?.map(Secret::new);
    if !vars.switch(SWITCH)?.unwrap_or(false) {
        let off = "needs JWT_BACKCHANNEL_LOGOUT=true";
        return match (client, store) {
            (Some(_), _) => Err(refuse(CLIENT, off)),
            (None, Some(_)) => Err(refuse(STORE, off)),
            (None, None) => Ok(None),
        };
    }
    if cfg!(not(feature = "jwks")) {
        return Err(refuse(SWITCH, "needs the feature `jwks`"));
    }
    if policy.issuers().is_empty() {
        return Err(refuse(
            SWITCH,
            "needs JWT_ISSUER, whose logouts are received",
        ));
    }
    if policy.chooses_subject() {
        let problem = "contradicts JWT_SUBJECT_CLAIM: logout tokens identify the subject by `sub`";
        return Err(refuse(SWITCH, problem));
    }
    if store.is_some() && cfg!(not(feature = "server")) {
        return Err(refuse(STORE, "needs the feature `server`"));
    }
    let client = client.or_else(|| policy.only_client());
    let problem = "needs JWT_LOGOUT_CLIENT_ID, or a single JWT_CLIENT_ID or JWT_AUDIENCE";
    let client = client.ok_or_else(|| refuse(SWITCH, problem))?;
    Ok(Some(Logout { client, store }))
}

#[cfg(feature = "jwks")]
impl JwtSettings {
    /// Returns the service for the issuer's logout tokens, or `None` if `JWT_BACKCHANNEL_LOGOUT` is not
    /// set. The [`layer`](Self::layer) must check the same set
    /// ([`revocation`](crate::JwtAuthLayer::revocation)).
    ///
    /// With the feature `server`, `JwtSettings::open_back_channel_logout` also opens the store of several
    /// nodes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with `JWT_LOGOUT_STORE` as its name, if that variable is set. This method
    /// does not open the store.
    #[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
    pub fn back_channel_logout<C>(
        &self,
        verifier: &Verifier<C>,
        revoked: &RevocationSet,
    ) -> Result<Option<BackChannelLogout>, ConfigError>
    where
        C: Send + Sync + 'static,
    {
        if self
            .logout
            .as_ref()
            .is_some_and(|logout| logout.store.is_some())
        {
            return Err(refuse(STORE, "this program does not open the store"));
        }
        self.receiver(verifier, revoked)
    }

    /// Returns the service without its store.
    pub(crate) fn receiver<C>(
        &self,
        verifier: &Verifier<C>,
        revoked: &RevocationSet,
    ) -> Result<Option<BackChannelLogout>, ConfigError>
    where
        C: Send + Sync + 'static,
    {
        let Some(logout) = &self.logout else {
            return Ok(None);
        };
        let service = BackChannelLogout::new(verifier, &logout.client, revoked)?;
        Ok(Some(service.with_events(self.events.clone())))
    }

    #[cfg(feature = "server")]
    pub(crate) fn logout_store(&self) -> Option<&str> {
        let store = self.logout.as_ref()?.store.as_ref()?;
        Some(store.expose())
    }

    #[cfg(feature = "server")]
    pub(crate) fn sink(&self) -> Events {
        self.events.clone()
    }
}

const SWITCH: &str = "JWT_BACKCHANNEL_LOGOUT";
const CLIENT: &str = "JWT_LOGOUT_CLIENT_ID";
const STORE: &str = "JWT_LOGOUT_STORE";
