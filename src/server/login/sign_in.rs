//! A subject that was authenticated, as the input of a sign-in.

use super::second::Facts;
use crate::{
    server::login::PendingSignIn,
    server::session::{SessionClaims, StartSession},
    time::Timestamp,
};

/// An authenticated subject: the input of [`AuthServer::sign_in`](crate::AuthServer::sign_in) and
/// [`AuthEndpoints::sign_in`](crate::server::endpoints::AuthEndpoints::sign_in).
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::server::login::SignIn;
///
/// // The assertion of a passkey was verified (RFC 8176 §2: `hwk`, `user`).
/// let who = SignIn::new("usr_1").amr(["hwk", "user"]).label("A phone");
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is started before `sign_in`"]
pub struct SignIn {
    pub(crate) subject: String,
    pub(crate) start: StartSession,
    pub(crate) epoch: Option<u32>,
    pub(crate) claims: Option<SessionClaims>,
    pub(crate) is_linked: bool,
    pub(crate) in_cookies: Option<bool>,
    pub(crate) is_cross_site: bool,
    /// The device is no new one of the user.
    pub(crate) is_known: bool,
    /// A path of this site.
    pub(crate) location: Option<String>,
    /// The first step, if this sign-in is its second one.
    pub(crate) completes: Option<Box<Facts>>,
}

impl SignIn {
    /// Creates a sign-in of this subject.
    ///
    /// # Security
    ///
    /// Call it only after your code has authenticated the subject.
    pub fn new(subject: impl Into<String>) -> Self {
        let subject = subject.into();
        Self {
            start: StartSession::new(&subject),
            subject,
            epoch: None,
            claims: None,
            is_linked: false,
            in_cookies: None,
            is_cross_site: false,
            is_known: false,
            location: None,
            completes: None,
        }
    }

    /// Creates the sign-in of a subject who has proved a second factor. `methods` are added to those of
    /// the first step.
    ///
    /// The token of the first step completes one sign-in. `None` if it was minted by an incompatible
    /// version of this crate.
    ///
    /// # Security
    ///
    /// Call it only after your code has verified the factor of [`PendingSignIn::subject`].
    pub fn completing<I>(pending: PendingSignIn, methods: I) -> Option<Self>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        pending.complete(methods)
    }

    /// Sets the authentication methods, by the names of RFC 8176 §2: the claim `amr`.
    pub fn amr<I>(mut self, methods: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.start = self.start.amr(methods);
        self
    }

    /// Sets the authentication context class, the claim `acr`. See [`StartSession::acr`].
    pub fn acr(mut self, class: impl Into<String>) -> Self {
        self.start = self.start.acr(class);
        self
    }

    /// Sets the time of the authentication, the claim `auth_time`; the time of the sign-in by default.
    pub fn auth_time(mut self, time: impl Into<Timestamp>) -> Self {
        self.start = self.start.auth_time(time);
        self
    }

    /// Sets the subject's [epoch](crate::server::session::Sessions::epoch), read before the subject was
    /// authenticated.
    ///
    /// With it, a sign-in that overlaps the end of all sessions, as at a password change, is answered
    /// with 503, and the subject has to be authenticated again. Without it such a sign-in succeeds.
    pub fn epoch(mut self, epoch: u32) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Sets the roles, scope and claims of the session's tokens. The default is the roles of the user
    /// store. A [`ClaimsSource`](crate::server::session::ClaimsSource) takes precedence over both.
    pub fn claims(mut self, claims: SessionClaims) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Sets the OAuth client, the claim `client_id`.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.start = self.start.client_id(client_id);
        self
    }

    /// Sets the name in the user's list of devices.
    pub fn label(mut self, label: impl AsRef<str>) -> Self {
        self.start = self.start.label(label);
        self
    }

    /// Links the guest whose token is in the request, as `"link": true` does at a login. Ask the user
    /// for consent first.
    pub fn link_guest(mut self) -> Self {
        self.is_linked = true;
        self
    }

    /// Returns the tokens in cookies (`true`) or in the body (`false`). By default the parameter
    /// `transport` in the query of the request decides, as at a login.
    pub fn in_cookies(mut self, in_cookies: bool) -> Self {
        self.in_cookies = Some(in_cookies);
        self
    }

    /// Responds with a redirect to this path and sets cookies, for a navigation of the browser, such as the
    /// callback of an OIDC provider.
    ///
    /// The status is 303. If the sign-in is refused or needs a second step, the fragment contains the
    /// members of the error, such as `#error=mfa_required&mfa_token=…&mfa_methods=totp`. Servers do not
    /// receive a fragment. The page reads it and removes it with `history.replaceState`.
    ///
    /// `path` begins with one `/` and has no fragment. Any other value, such as the URL of another site, is
    /// replaced by `/`.
    pub fn redirect_to(mut self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.location = Some(match is_local(&path) {
            true => path,
            false => "/".to_owned(),
        });
        self.in_cookies = Some(true);
        self
    }

    /// Accepts a request that another site caused, such as the redirect of an OIDC provider.
    ///
    /// # Security
    ///
    /// Without your own check, a page of another site can sign its visitors in to another account
    /// (login CSRF). Call it only if the request contains a value that cannot be guessed and is bound
    /// to this browser, such as the parameter `state` of OAuth (RFC 6749 §10.12) with its cookie.
    pub fn dangerous_cross_site(mut self) -> Self {
        self.is_cross_site = true;
        self
    }
}

/// Returns `true` for a path that no browser reads as the URL of another site.
pub(crate) fn is_local(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\#".contains(&byte);
    path.starts_with('/') && !path.starts_with("//") && path.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u48_a_redirect_stays_on_this_site() {
        for path in ["/", "/a/b?c=d%20e", "/a//b", "/?next=https://other.example"] {
            let who = SignIn::new("ada").redirect_to(path);
            assert_eq!(who.location.as_deref(), Some(path));
            assert_eq!(who.in_cookies, Some(true));
        }
        for bad in [
            "",
            "a",
            "//other.example",
            "/\\other.example",
            "\\other.example",
            "/\t/other.example",
            "https://other.example",
            "javascript:alert(1)",
            "/#fragment",
            "/a b",
            "/\u{e4}",
            "/\r\nSet-Cookie: a=b",
        ] {
            let who = SignIn::new("ada").redirect_to(bad);
            assert_eq!(who.location.as_deref(), Some("/"), "{bad:?}");
        }
    }
}
