//! The start of a guest.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{DeviceDigest, Guests, SessionError};
use crate::{
    error::StoreError,
    principal::PrincipalKind,
    secret::{Secret, base62::base62, random},
    server::session::{SessionClaims, StartSession, TokenPair},
    store::port::NewGuest,
};

/// The parameters of a new guest.
#[derive(Clone, Debug)]
#[must_use = "no guest is created before `Guests::start`"]
pub struct GuestStart {
    start: StartSession,
    bound: bool,
}

impl GuestStart {
    /// Creates the start of a guest whose tokens the client keeps itself.
    pub fn new() -> Self {
        Self {
            start: StartSession::new("").kind(PrincipalKind::Guest),
            bound: false,
        }
    }

    /// Binds the guest to the device: it can be linked only with the [secret](GuestTokens::device)
    /// that the device receives now.
    ///
    /// # Security
    ///
    /// Needed if tokens are in cookies. An attacker who can plant a cookie can plant a guest token
    /// of the attacker. A sibling domain cannot set the device cookie, because its name starts with
    /// `__Host-`.
    pub fn bound_to_device(mut self) -> Self {
        self.bound = true;
        self
    }

    /// Binds the guest's session to a key of the client: [`StartSession::bound_to`].
    pub fn bound_to(self, thumbprint: impl Into<String>) -> Self {
        self.with(|start| start.bound_to(thumbprint))
    }

    /// Sets the client's IP address.
    pub fn ip(self, ip: IpAddr) -> Self {
        self.with(|start| start.ip(ip))
    }

    /// Sets the `User-Agent`; cut after 200 characters.
    pub fn user_agent(self, user_agent: impl AsRef<str>) -> Self {
        self.with(|start| start.user_agent(user_agent))
    }

    /// Sets the OAuth client, the claim `client_id`.
    pub fn client_id(self, client_id: impl Into<String>) -> Self {
        self.with(|start| start.client_id(client_id))
    }

    /// Sets the roles, scope and claims of the guest's tokens, unless a [`ClaimsSource`](crate::server::session::ClaimsSource)
    /// is set.
    pub fn claims(self, claims: SessionClaims) -> Self {
        self.with(|start| start.claims(claims))
    }

    fn with(mut self, change: impl FnOnce(StartSession) -> StartSession) -> Self {
        self.start = change(self.start);
        self
    }
}

impl Default for GuestStart {
    fn default() -> Self {
        Self::new()
    }
}

/// A guest's tokens and device secret.
#[derive(Clone)]
pub struct GuestTokens {
    tokens: TokenPair,
    subject: String,
    device: Option<Secret<String>>,
    lifetime: Duration,
}

impl GuestTokens {
    /// Returns the tokens.
    #[must_use]
    pub fn tokens(&self) -> &TokenPair {
        &self.tokens
    }

    /// Returns the guest's subject: `gst_` and a random id.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the device secret, if the guest was bound to a device. Store it in a separate
    /// cookie.
    #[must_use]
    pub fn device(&self) -> Option<&Secret<String>> {
        self.device.as_ref()
    }

    /// Returns the time until the guest expires, in whole seconds: the `Max-Age` of the device
    /// cookie. The guest's refresh token may end earlier, and is then exchanged for one that ends
    /// later.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

impl fmt::Debug for GuestTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestTokens")
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

impl Guests {
    /// Creates a guest and starts its session.
    ///
    /// Call it when a visitor writes for the first time, not when a page is shown, and behind a
    /// rate limit. Check [`is_alive`](Self::is_alive) first: a caller who is a guest already needs
    /// no second one.
    ///
    /// # Errors
    ///
    /// Those of [`Sessions::start`](crate::server::session::Sessions::start).
    pub async fn start(&self, start: GuestStart) -> Result<GuestTokens, SessionError> {
        self.inner.sessions.check_keys()?;
        let subject = format!("{PREFIX}{}", base62(random::<16>()));
        let device = start
            .bound
            .then(|| Secret::new(URL_SAFE_NO_PAD.encode(random::<32>())));
        let lifetime = self.inner.sessions.inner.guests.lifetime;
        let mut guest = NewGuest::new(&subject, lifetime);
        guest.device = device.as_ref().map(|held| DeviceDigest::of(held.expose()));
        let (sessions, store) = (&self.inner.sessions, Arc::clone(&self.inner.store));
        let created = sessions
            .write(move |_| async move { Ok(store.create_guest(guest).await?) })
            .await?;
        if !created {
            return Err(StoreError::invalid("a guest of this name exists").into());
        }
        // If the session cannot be started, the guest stays unused and is purged after it expires.
        let tokens = sessions.start(start.start.renamed(subject.clone())).await?;
        Ok(GuestTokens {
            tokens,
            subject,
            device,
            lifetime,
        })
    }
}

/// Makes subjects readable for operators. Code recognizes a guest by the claim `guest` of its
/// token.
const PREFIX: &str = "gst_";
