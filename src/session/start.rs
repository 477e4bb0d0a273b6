//! What a session begins with.

use std::{net::IpAddr, time::SystemTime};

use super::{Grants, Session, view::Details};
use crate::{clock::Timestamp, principal::PrincipalKind};

/// A subject that somebody has authenticated, and what is known about the occasion.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::session::{Grants, SessionStart};
///
/// let start = SessionStart::new("alice")
///     .amr(["pwd", "otp"])
///     .label("Firefox on Linux")
///     .client_id("web")
///     .grants(Grants::new().roles(["editor"]));
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is started before `Sessions::start`"]
pub struct SessionStart {
    pub(super) subject: String,
    pub(super) kind: PrincipalKind,
    pub(super) epoch: Option<u32>,
    pub(super) details: Details,
}

impl SessionStart {
    /// A session of this subject: a user, unless [`kind`](Self::kind) says otherwise.
    pub fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            kind: PrincipalKind::User,
            epoch: None,
            details: Details::default(),
        }
    }

    /// A session that takes the place of this one, as after a change of the password: of the same
    /// subject, with the same grants, `amr`, `acr`, `auth_time`, label and client.
    ///
    /// It begins under the current epoch, unless [`epoch`](Self::epoch) says otherwise.
    pub fn continuing(session: &Session) -> Self {
        let mut details = session.details().clone();
        details.auth_time = Some(session.auth_time().as_millis());
        Self {
            subject: session.subject().to_owned(),
            kind: session.kind(),
            epoch: None,
            details,
        }
    }

    /// Fixes what no refresh may change: the time, and the class if the methods give one.
    pub(super) fn settle(&mut self, now: Timestamp, mfa_acr: Option<&str>) {
        let details = &mut self.details;
        details.auth_time.get_or_insert(now.as_millis());
        if details.acr.is_none() && has_second_factor(&details.amr) {
            details.acr = mfa_acr.map(str::to_owned);
        }
    }

    pub(super) fn renamed(mut self, subject: String) -> Self {
        self.subject = subject;
        self
    }

    /// What kind of subject it is. Guests have lifetimes of their own.
    pub fn kind(mut self, kind: PrincipalKind) -> Self {
        self.kind = kind;
        self
    }

    /// The subject's [epoch](super::Sessions::epoch), read *before* its password was looked at.
    ///
    /// # Security
    ///
    /// With it a login with the old password cannot slip past a change of the password that happens
    /// meanwhile. Without it the epoch is read when the session is started, which is too late for
    /// that.
    pub fn epoch(mut self, epoch: u32) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// How the subject was authenticated, by the names of RFC 8176 §2: the claim `amr`.
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
        self
    }

    /// When the subject was authenticated, where that was not just now: the claim `auth_time`.
    pub fn auth_time(mut self, time: SystemTime) -> Self {
        self.details.auth_time = Some(Timestamp::from(time).as_millis());
        self
    }

    /// What the user sees in the list of devices; cut after 200 characters.
    pub fn label(mut self, label: impl AsRef<str>) -> Self {
        self.details.label = Some(cut(label.as_ref()));
        self
    }

    /// The OAuth client: the claim `client_id`.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.details.client_id = Some(client_id.into());
        self
    }

    /// Where the request came from, for the list of devices.
    pub fn ip(mut self, ip: IpAddr) -> Self {
        self.details.ip = Some(ip);
        self
    }

    /// The `User-Agent`, for the list of devices; cut after 200 characters.
    pub fn user_agent(mut self, user_agent: impl AsRef<str>) -> Self {
        self.details.user_agent = Some(cut(user_agent.as_ref()));
        self
    }

    /// What its tokens grant, unless a [`GrantSource`](super::GrantSource) says.
    pub fn grants(mut self, grants: Grants) -> Self {
        self.details.grants = grants;
        self
    }
}

/// Returns `true` if the methods are of two kinds, or say so themselves (RFC 8176 §2).
fn has_second_factor(amr: &[String]) -> bool {
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

/// A row must not grow by what a client says of itself.
const MAX_CHARS: usize = 200;
