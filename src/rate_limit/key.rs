//! Who shares a budget.

use std::borrow::Cow;

use crate::{head::RequestHead, principal::Principal};

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
#[must_use]
pub fn by_subject() -> impl RateKey + Clone {
    |head: RequestHead<'_>| {
        let caller = head.extensions().get::<Principal>()?;
        let issuer = caller.issuer().unwrap_or_default();
        Some(format!("{issuer} {}", caller.subject()?))
    }
}
