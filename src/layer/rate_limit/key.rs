//! The key of a budget.

use std::borrow::Cow;

use crate::{
    error::{AuthError, AuthErrorKind},
    layer::extract::RequestHead,
    principal::{Anonymous, Principal},
};

/// A function from a request to the key of its budget.
///
/// [`ClientIp`](super::ClientIp) counts by network, [`by_subject`] by caller. A closure can return
/// any other key.
pub trait RateKey: Send + Sync + 'static {
    /// Returns the key under which a request is counted. Requests without a key share one budget,
    /// which any of their clients can exhaust for all.
    ///
    /// # Errors
    ///
    /// The refusal of a request that cannot be counted: [`AuthErrorKind::Misconfigured`] (500) if
    /// the setup makes every request fail.
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

/// Gives each caller a separate budget: for a rate limit inside an authenticating layer.
///
/// A caller is a subject of an issuer. A service, a guest and the API keys of an owner have budgets
/// separate from that of the user with the same subject. All API keys of one owner share one
/// budget. Anonymous callers and callers without a subject share one budget. If no authenticating
/// layer ran before, every request gets a 500.
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
                    "the rate limit by subject needs an authenticating layer around it",
                )),
            };
        };
        let kind = match caller.kind() {
            _ if caller.is_by_key() => "key",
            kind => kind.as_str(),
        };
        let issuer = caller.issuer().unwrap_or_default();
        // The length delimits the issuer, because both strings may contain any character.
        let name = |subject| format!("{kind} {} {issuer} {subject}", issuer.len());
        Ok(caller.subject().map(name).map(Cow::Owned))
    }
}
