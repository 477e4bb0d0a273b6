//! A guest comes.

use std::{fmt, net::IpAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{ClaimHook, DeviceDigest, GrantSource, GuestStore, Guests, SessionError};
use crate::{
    error::StoreError,
    principal::PrincipalKind,
    refresh::SessionStore,
    secret::{Secret, random},
    session::{Grants, NewGuest, SessionStart, TokenPair},
    token::base62::base62,
};

/// What a guest begins with.
#[derive(Clone, Debug)]
#[must_use = "nobody comes before `Guests::start`"]
pub struct GuestStart {
    start: SessionStart,
    bound: bool,
}

impl GuestStart {
    /// A guest whose tokens the client keeps itself.
    pub fn new() -> Self {
        Self {
            start: SessionStart::new("").kind(PrincipalKind::Guest),
            bound: false,
        }
    }

    /// Binds the guest to the device: it can be linked only with the
    /// [secret](GuestTokens::device) that the device is given here.
    ///
    /// # Security
    ///
    /// Needed where tokens are in cookies. Who can plant a cookie can plant his own guest; the
    /// device's cookie, named `__Host-…`, is one that a neighbouring domain cannot set.
    pub fn bound_to_device(mut self) -> Self {
        self.bound = true;
        self
    }

    /// Where the request came from.
    pub fn ip(self, ip: IpAddr) -> Self {
        self.with(|start| start.ip(ip))
    }

    /// The `User-Agent`; cut after 200 characters.
    pub fn user_agent(self, user_agent: impl AsRef<str>) -> Self {
        self.with(|start| start.user_agent(user_agent))
    }

    /// The OAuth client: the claim `client_id`.
    pub fn client_id(self, client_id: impl Into<String>) -> Self {
        self.with(|start| start.client_id(client_id))
    }

    /// What a guest's tokens grant, unless a [`GrantSource`](crate::session::GrantSource) says.
    pub fn grants(self, grants: Grants) -> Self {
        self.with(|start| start.grants(grants))
    }

    fn with(mut self, change: impl FnOnce(SessionStart) -> SessionStart) -> Self {
        self.start = change(self.start);
        self
    }
}

impl Default for GuestStart {
    fn default() -> Self {
        Self::new()
    }
}

/// A guest's tokens, and what proves its device.
#[derive(Clone)]
pub struct GuestTokens {
    tokens: TokenPair,
    subject: String,
    device: Option<Secret<String>>,
    lifetime: Duration,
}

impl GuestTokens {
    /// The tokens.
    #[must_use]
    pub fn tokens(&self) -> &TokenPair {
        &self.tokens
    }

    /// The guest: `gst_` and a name of its own.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What the device keeps, in a cookie of its own, where the guest was bound to it.
    #[must_use]
    pub fn device(&self) -> Option<&Secret<String>> {
        self.device.as_ref()
    }

    /// How long the guest is kept, in whole seconds: the `Max-Age` of the device's cookie. The
    /// guest's refresh token may end before, and be exchanged for one that ends later.
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

impl<S, G, H> Guests<S, G, H>
where
    S: SessionStore + GuestStore,
    G: GrantSource,
    H: ClaimHook,
{
    /// Starts a guest and its session.
    ///
    /// To be called when somebody writes the first time, not when a page is shown, and behind a
    /// rate limit. Who [is a guest already](Self::is_alive) needs no other one.
    ///
    /// # Errors
    ///
    /// Those of [`Sessions::start`](crate::session::Sessions::start).
    pub async fn start(&self, start: GuestStart) -> Result<GuestTokens, SessionError> {
        let subject = format!("{PREFIX}{}", base62(random::<16>()));
        let device = start
            .bound
            .then(|| Secret::new(URL_SAFE_NO_PAD.encode(random::<32>())));
        let lifetime = self.inner.sessions.inner.guests.lifetime;
        let guest = NewGuest {
            subject: subject.clone(),
            device: device.as_ref().map(|held| DeviceDigest::of(held.expose())),
            lifetime,
        };
        let sessions = &self.inner.sessions;
        let created = sessions
            .write(move |inner| async move { Ok(inner.store.create_guest(guest).await?) })
            .await?;
        if !created {
            return Err(StoreError::invalid("a guest of this name exists").into());
        }
        // A guest without a session is nobody's, and is purged with the others.
        let tokens = sessions.start(start.start.renamed(subject.clone())).await?;
        Ok(GuestTokens {
            tokens,
            subject,
            device,
            lifetime,
        })
    }
}

/// A guest is told from other subjects by its token's `guest`, not by its name; this is for people.
const PREFIX: &str = "gst_";
