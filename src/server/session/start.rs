//! The parameters of a new session.

use std::net::IpAddr;

use super::{Session, SessionClaims, view::Details};
use crate::{principal::PrincipalKind, time::Timestamp};

/// An authenticated subject, and the circumstances of its login.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::server::session::{SessionClaims, StartSession};
///
/// let start = StartSession::new("alice")
///     .amr(["pwd", "otp"])
///     .label("Firefox on Linux")
///     .client_id("web")
///     .claims(SessionClaims::new().roles(["editor"]));
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is started before `Sessions::start`"]
pub struct StartSession {
    pub(super) subject: String,
    pub(super) kind: PrincipalKind,
    pub(super) epoch: Option<u32>,
    pub(super) details: Details,
    pub(super) bound_key: Option<String>,
    /// The class of the session before does not count.
    is_raised: bool,
}

impl StartSession {
    /// Creates the start of a session for this subject, a user unless [`kind`](Self::kind) is set.
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            kind: PrincipalKind::User,
            epoch: None,
            details: Details::default(),
            bound_key: None,
            is_raised: false,
        }
    }

    /// Creates the start of a session that replaces `session`, for example after a change of the
    /// password.
    ///
    /// The subject, kind, claims, `amr`, `acr`, `auth_time`, label, client, address, user agent and key
    /// are copied. The new session has the subject's current epoch, unless [`epoch`](Self::epoch)
    /// is set.
    pub fn continuing(session: &Session) -> Self {
        let mut details = session.details().clone();
        details.auth_time = Some(session.auth_time().as_millis());
        Self {
            subject: session.subject().to_owned(),
            kind: session.kind(),
            epoch: None,
            details,
            bound_key: session.bound_to().map(str::to_owned),
            is_raised: false,
        }
    }

    /// Creates the start of a session that replaces `session` after its subject has proved further
    /// factors, for [`Sessions::step_up`](super::Sessions::step_up).
    ///
    /// The values of [`continuing`](Self::continuing) are copied, except that `methods` are added to
    /// `amr`, `auth_time` is the time of the start, and `acr` is set again if
    /// [`SessionsBuilder::mfa_acr`](super::SessionsBuilder::mfa_acr) names one.
    pub fn raising<I>(session: &Session, methods: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let mut raised = Self::continuing(session);
        raised.details.auth_time = None;
        for method in methods.into_iter().map(Into::into) {
            if !raised.details.amr.contains(&method) {
                raised.details.amr.push(method);
            }
        }
        raised.is_raised = true;
        raised
    }

    /// Sets the values that no refresh changes: `auth_time`, and `acr` if the methods imply one.
    pub(super) fn settle(&mut self, now: Timestamp, mfa_acr: Option<&str>) {
        let details = &mut self.details;
        details.auth_time.get_or_insert(now.as_millis());
        let is_open = details.acr.is_none() || (self.is_raised && mfa_acr.is_some());
        if is_open && has_second_factor(&details.amr) {
            details.acr = mfa_acr.map(str::to_owned);
        }
    }

    /// Returns the values other than subject, kind and epoch, for a sign-in that is continued later.
    pub(crate) fn details_value(&self) -> Option<serde_json::Value> {
        serde_json::to_value(&self.details).ok()
    }

    /// Creates a start from [`details_value`](Self::details_value).
    pub(crate) fn of_details(subject: &str, details: serde_json::Value) -> Option<Self> {
        let mut start = Self::new(subject);
        start.details = serde_json::from_value(details).ok()?;
        Some(start)
    }

    /// Returns the authentication methods.
    pub(crate) fn methods(&self) -> &[String] {
        &self.details.amr
    }

    pub(super) fn renamed(mut self, subject: String) -> Self {
        self.subject = subject;
        self
    }

    /// Sets the kind of the subject. Guests have separate lifetimes.
    pub fn kind(mut self, kind: PrincipalKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the subject's [epoch](super::Sessions::epoch), read *before* its password was verified.
    ///
    /// # Security
    ///
    /// With it, a login with the old password fails if the password is changed concurrently.
    /// Without it the epoch is read when the session is started, which is after the password was
    /// verified, so that such a login succeeds.
    pub fn epoch(mut self, epoch: u32) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Sets the authentication methods, by the names of RFC 8176 §2: the claim `amr`.
    pub fn amr<I>(mut self, methods: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.details.amr = methods.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the authentication context class (OpenID Connect Core §2), the claim `acr`. Without it
    /// [`SessionsBuilder::mfa_acr`](super::SessionsBuilder::mfa_acr) decides.
    pub fn acr(mut self, class: impl Into<String>) -> Self {
        self.details.acr = Some(class.into());
        self.is_raised = false;
        self
    }

    /// Sets the time of the authentication, the claim `auth_time`; the start of the session by
    /// default.
    pub fn auth_time(mut self, time: impl Into<Timestamp>) -> Self {
        let time: Timestamp = time.into();
        self.details.auth_time = Some(time.as_millis());
        self
    }

    /// Sets the name in the user's list of devices; cut after 200 characters.
    pub fn label(mut self, label: impl AsRef<str>) -> Self {
        self.details.label = Some(cut(label.as_ref()));
        self
    }

    /// Sets the OAuth client, the claim `client_id`.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.details.client_id = Some(client_id.into());
        self
    }

    /// Sets the client's IP address, for the list of devices.
    pub fn ip(mut self, ip: IpAddr) -> Self {
        self.details.ip = Some(ip);
        self
    }

    /// Sets the `User-Agent`, for the list of devices; cut after 200 characters.
    pub fn user_agent(mut self, user_agent: impl AsRef<str>) -> Self {
        self.details.user_agent = Some(cut(user_agent.as_ref()));
        self
    }

    /// Binds the session to a key of the client (RFC 9449 §5). `thumbprint` is the SHA-256 thumbprint of the
    /// public key (RFC 7638), in base64url.
    ///
    /// The access tokens contain it as `cnf.jkt`, and work only with a proof by the key. The session is
    /// refreshed by [`Sessions::refresh_bound`](super::Sessions::refresh_bound).
    ///
    /// # Security
    ///
    /// Call it only after your code has verified a proof by the key. The
    /// [endpoints](crate::server::endpoints#bound-tokens) do so.
    pub fn bound_to(mut self, thumbprint: impl Into<String>) -> Self {
        self.bound_key = Some(thumbprint.into());
        self
    }

    /// Sets the roles, scope and claims of the session's tokens. Without endpoints and a
    /// [`ClaimsSource`](super::ClaimsSource), a session keeps them.
    pub fn claims(mut self, claims: SessionClaims) -> Self {
        self.details.claims = claims;
        self
    }
}

/// Returns `true` if the methods are of two kinds or contain `mfa` (RFC 8176 §2).
pub(crate) fn has_second_factor(amr: &[String]) -> bool {
    let of = |kind: &[&str]| amr.iter().any(|method| kind.contains(&method.as_str()));
    let kinds = [KNOWLEDGE, POSSESSION, INHERENCE];
    of(&["mfa"]) || kinds.into_iter().filter(|kind| of(kind)).count() > 1
}

const KNOWLEDGE: &[&str] = &["pwd", "pin", "kba"];
const POSSESSION: &[&str] = &["otp", "sms", "tel", "hwk", "swk", "pop", "sc"];
const INHERENCE: &[&str] = &["face", "fpt", "iris", "retina", "vbm"];

fn cut(text: &str) -> String {
    text.chars().take(MAX_CHARS).collect()
}

/// Bounds the row size, because the client chooses the text.
const MAX_CHARS: usize = 200;
