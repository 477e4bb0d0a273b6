//! Who shares a budget.

use std::borrow::Cow;

use crate::{
    error::{AuthError, AuthErrorKind},
    head::RequestHead,
    principal::{Anonymous, Principal, PrincipalKind},
};

/// Says who shares a budget of requests.
///
/// [`ClientIp`](super::ClientIp) says that a network does, [`by_subject`] that a caller does; a
/// closure may say anything else.
pub trait RateKey: Send + Sync + 'static {
    /// Returns the name under which a request is counted. Requests without one share one budget, so
    /// any of their clients can spend it for all.
    ///
    /// # Errors
    ///
    /// The refusal of a request that cannot be counted: [`AuthErrorKind::Misconfigured`] (500) if no
    /// request could be.
    fn key(&self, head: RequestHead<'_>) -> Result<Option<Cow<'_, str>>, AuthError>;
}

impl<F> RateKey for F
where
    F: Fn(RequestHead<'_>) -> Option<String> + Send + Sync + 'static,
{
    fn key(&self, head: RequestHead<'_>) -> Result<Option<Cow<'_, str>>, AuthError> {
        Ok(self(head).map(Cow::Owned))
    }
}

/// Gives each caller a separate budget: for a limit inside an authenticating layer.
///
/// A caller is a subject of an issuer. A service, a guest and the API keys of an owner have other budgets
/// than the user of the same name. All keys of one owner share one. Anonymous callers, and callers
/// without a subject, share one budget. Where no authenticating layer ran, every request is answered
/// with 500.
#[must_use]
pub fn by_subject() -> impl RateKey + Clone {
    BySubject
}

#[derive(Clone)]
struct BySubject;

impl RateKey for BySubject {
    fn key(&self, head: RequestHead<'_>) -> Result<Option<Cow<'_, str>>, AuthError> {
        let extensions = head.extensions();
        let Some(caller) = extensions.get::<Principal>() else {
            return match extensions.get::<Anonymous>() {
                Some(_) => Ok(None),
                None => Err(AuthError::caused_by(
                    AuthErrorKind::Misconfigured,
                    "no authenticating layer stands around the rate limit by subject",
                )),
            };
        };
        let kind = match caller.kind() {
            _ if caller.is_by_key() => "key",
            PrincipalKind::User => "user",
            PrincipalKind::Guest => "guest",
            PrincipalKind::Service => "service",
        };
        let issuer = caller.issuer().unwrap_or_default();
        // The length says where the issuer ends: either name may hold any character.
        let name = |subject| format!("{kind} {} {issuer} {subject}", issuer.len());
        Ok(caller.subject().map(name).map(Cow::Owned))
    }
}
