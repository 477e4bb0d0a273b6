//! Who shares a budget.

use std::borrow::Cow;

use crate::{
    head::RequestHead,
    principal::{Principal, PrincipalKind},
};

/// Says who shares a budget of requests.
///
/// [`ClientIp`](super::ClientIp) says that a network does, [`by_subject`] that a caller does; a
/// closure may say anything else.
pub trait RateKey: Send + Sync + 'static {
    /// The name under which a request is counted. Requests without one share one budget.
    fn key(&self, head: RequestHead<'_>) -> Option<Cow<'_, str>>;
}

impl<F> RateKey for F
where
    F: Fn(RequestHead<'_>) -> Option<String> + Send + Sync + 'static,
{
    fn key(&self, head: RequestHead<'_>) -> Option<Cow<'_, str>> {
        self(head).map(Cow::Owned)
    }
}

/// Each caller has a budget of its own: for a limit inside an authenticating layer.
///
/// A caller is a subject of an issuer. A service, a guest and the API keys of an owner have other budgets
/// than the user of the same name. All keys of one owner share one.
#[must_use]
pub fn by_subject() -> impl RateKey + Clone {
    |head: RequestHead<'_>| {
        let caller = head.extensions().get::<Principal>()?;
        let kind = match caller.kind() {
            _ if caller.is_by_key() => "key",
            PrincipalKind::User => "user",
            PrincipalKind::Guest => "guest",
            PrincipalKind::Service => "service",
        };
        let issuer = caller.issuer().unwrap_or_default();
        // The length says where the issuer ends: either name may hold any character.
        Some(format!(
            "{kind} {} {issuer} {}",
            issuer.len(),
            caller.subject()?
        ))
    }
}
