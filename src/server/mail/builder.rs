//! The builder of the mails.

use std::{fmt, sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::{
    MailFlows,
    flows::Inner,
    letter::{Letters, Target},
    mailer::ErasedMailer,
    outbox::{Outbox, Post},
    page::Page,
};
use crate::{
    error::ConfigError,
    event::{EventSink, Events},
    server::{login::Login, session::Sessions},
};

/// A builder of [`MailFlows`].
///
/// # Pages
///
/// A link leads to a page of your application, which sends the token in a `POST` request. A page is a
/// path of the public origin with the place `{token}`. By default the token is in the fragment, which
/// browsers send neither to servers nor in `Referer`. The page reads it in JavaScript. A page without
/// JavaScript uses `?token={token}` and a form with a hidden field.
///
/// # Security
///
/// A page must not send the token before the user presses a button, because mail scanners open links
/// and some of them run scripts.
#[must_use = "nothing is sent before `build`"]
pub struct MailFlowsBuilder {
    mailer: Arc<dyn ErasedMailer>,
    login: Login,
    sessions: Sessions,
    origin: String,
    reset: Link,
    verify: Link,
    change: Link,
    sign_in: Link,
    signs_in: bool,
    requires_verified: bool,
    notices_devices: bool,
    timeout: Duration,
    queue: u32,
    events: Events,
}

struct Link {
    page: String,
    lifetime: Duration,
}

impl Link {
    fn new(page: &str, minutes: u64) -> Self {
        Self {
            page: page.to_owned(),
            lifetime: Duration::from_secs(60 * minutes),
        }
    }

    fn target(&self) -> Result<Target, ConfigError> {
        let day = Duration::from_secs(24 * 60 * 60);
        if !(MINUTE..=7 * day).contains(&self.lifetime) {
            let problem = "must be between a minute and seven days";
            return Err(ConfigError::invalid("the lifetime of a link", problem));
        }
        Ok(Target {
            page: Page::new(&self.page)?,
            lifetime: self.lifetime,
        })
    }
}

impl MailFlowsBuilder {
    pub(super) fn new(
        mailer: Arc<dyn ErasedMailer>,
        (login, sessions): (Login, Sessions),
        origin: String,
    ) -> Self {
        Self {
            mailer,
            login,
            sessions,
            origin,
            reset: Link::new("/reset-password#token={token}", 30),
            verify: Link::new("/verify-email#token={token}", 24 * 60),
            change: Link::new("/change-email#token={token}", 60),
            sign_in: Link::new("/sign-in#code={token}", 10),
            signs_in: false,
            requires_verified: false,
            notices_devices: true,
            timeout: Duration::from_secs(30),
            queue: 1000,
            events: Events::default(),
        }
    }

    /// Sets the page on which the user enters a new password; `/reset-password#token={token}` by
    /// default. It sends the token to `password/reset`.
    pub fn reset_page(mut self, path: impl Into<String>) -> Self {
        self.reset.page = path.into();
        self
    }

    /// Sets the lifetime of a link for a new password; 30 minutes by default.
    pub fn reset_lifetime(mut self, lifetime: Duration) -> Self {
        self.reset.lifetime = lifetime;
        self
    }

    /// Sets the page on which the user confirms the address of the account;
    /// `/verify-email#token={token}` by default. It sends the token to `email/verify`.
    pub fn verify_page(mut self, path: impl Into<String>) -> Self {
        self.verify.page = path.into();
        self
    }

    /// Sets the lifetime of a link that verifies an address; 24 hours by default.
    pub fn verify_lifetime(mut self, lifetime: Duration) -> Self {
        self.verify.lifetime = lifetime;
        self
    }

    /// Sets the page on which the user confirms a new address; `/change-email#token={token}` by default.
    /// It sends the token to `email/confirm`.
    pub fn change_page(mut self, path: impl Into<String>) -> Self {
        self.change.page = path.into();
        self
    }

    /// Sets the lifetime of a link that confirms a new address; one hour by default.
    pub fn change_lifetime(mut self, lifetime: Duration) -> Self {
        self.change.lifetime = lifetime;
        self
    }

    /// Lets users sign in by a code from a mail instead of a password; off by default.
    ///
    /// # Security
    ///
    /// - The mailbox then opens the account without its password, as it does by a reset. A second factor
    ///   is still required.
    /// - A code works only in the client that asked for it, for five guesses. A user who opens the mail
    ///   on another device types the code.
    /// - If the address was not verified before, the person who registered the account may not be its owner.
    ///   Everything that opened the account is then removed before the owner is signed in, as
    ///   [`Login::prove_email`](crate::server::login::Login::prove_email) says. This needs users that [keep
    ///   addresses](crate::store::port::UserStore::keeps_email). If they do not, only a user whose record says
    ///   that the address is verified gets a code.
    /// - Other clients can request codes for an address until its limit is exceeded. A [known
    ///   device](crate::server::login::DeviceTokens) of the user then still gets five codes in an hour.
    pub fn sign_in(mut self, enabled: bool) -> Self {
        self.signs_in = enabled;
        self
    }

    /// Lets only users with a verified address sign in; off by default.
    ///
    /// - A correct password of another user is answered with 403 `email_not_verified`, and another mail
    ///   with a link is sent, within the limit. A wrong password is answered as always.
    /// - `register` requires an address, starts no session, and is answered with 202. The user signs in
    ///   after the address is verified.
    /// - A link for a new password and a code verify the address as well.
    /// - A user without an address, whom only your code creates, is not affected. Sessions that exist
    ///   continue.
    ///
    /// It needs users that [keep addresses](crate::store::port::UserStore::keeps_email).
    pub fn require_verified(mut self, required: bool) -> Self {
        self.requires_verified = required;
        self
    }

    /// Sends a notice at a sign-in from a device without a valid [device
    /// token](crate::server::login::DeviceTokens), after the first sign-in of the account; on by default. It
    /// states the time and roughly the network, and has no link. One address gets five of them in an hour.
    ///
    /// It needs a login with a [store of second factors](crate::server::login::LoginBuilder::factors), in
    /// which the first sign-in of an account is recorded.
    pub fn new_device_notice(mut self, enabled: bool) -> Self {
        self.notices_devices = enabled;
        self
    }

    /// Sets the page that sends the code of a link to `login/code`; `/sign-in#code={token}` by default.
    /// It works in the browser that asked for the code.
    pub fn sign_in_page(mut self, path: impl Into<String>) -> Self {
        self.sign_in.page = path.into();
        self
    }

    /// Sets the lifetime of a code; 10 minutes by default, at most 30.
    pub fn sign_in_lifetime(mut self, lifetime: Duration) -> Self {
        self.sign_in.lifetime = lifetime;
        self
    }

    /// Sets the time in which the mailer has to answer; 30 s by default. The lookups before it have the
    /// same time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the maximum number of mails that wait; 1000 by default. Requests beyond it are refused.
    pub fn queue(mut self, mails: u32) -> Self {
        self.queue = mails;
        self
    }

    /// Sets the event sink. It receives one event per requested mail.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.events = Events::to(sink);
        self
    }

    /// Starts the tasks that send the mails.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if the origin or a page is invalid, if a lifetime is less than a minute
    /// or more than seven days, if the queue has no place, if the login has no store of one-time
    /// tokens, or outside a tokio runtime.
    pub fn build(self) -> Result<MailFlows, ConfigError> {
        let refused =
            |name: &'static str, problem: &'static str| Err(ConfigError::invalid(name, problem));
        let Ok(runtime) = Handle::try_current() else {
            return refused("mailer", "needs a tokio runtime");
        };
        if !self.login.has_one_time() {
            return refused("mailer", "the login has no store of one-time tokens");
        }
        // The counter of guesses is cleared after an hour.
        if self.sign_in.lifetime > 30 * MINUTE {
            return refused("the lifetime of a code", "must be at most 30 minutes");
        }
        if self.requires_verified && !self.login.users().keeps_email() {
            let problem = "the user store does not keep addresses (`UserStore::keeps_email`)";
            return refused("require_verified", problem);
        }
        if self.queue == 0 {
            return refused("the queue of mails", "must have a place");
        }
        let uri = self.origin.parse::<http::Uri>().ok();
        let site = uri.as_ref().and_then(http::Uri::authority);
        let is_origin = uri
            .as_ref()
            .is_some_and(|uri| matches!(uri.path(), "" | "/"));
        let (Some(site), true) = (site, is_origin) else {
            return refused(
                "mailer",
                "needs the public origin, such as `https://app.example`",
            );
        };
        let letters = Letters {
            login: self.login.clone(),
            site: site.as_str().to_owned(),
            origin: self.origin.trim_end_matches('/').to_owned(),
            reset: self.reset.target()?,
            verify: self.verify.target()?,
            change: self.change.target()?,
            sign_in: self.sign_in.target()?,
            sessions: self.sessions.clone(),
        };
        let post = Post {
            letters,
            mailer: self.mailer,
            timeout: self.timeout,
            events: self.events,
        };
        Ok(MailFlows::new(Inner {
            outbox: Outbox::start(&runtime, post, self.queue),
            login: self.login,
            sessions: self.sessions,
            signs_in: self.signs_in,
            requires_verified: self.requires_verified,
            notices_devices: self.notices_devices,
            code_lifetime: self.sign_in.lifetime,
        }))
    }
}

impl fmt::Debug for MailFlowsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailFlowsBuilder")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

const MINUTE: Duration = Duration::from_secs(60);
