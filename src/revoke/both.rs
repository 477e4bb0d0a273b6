//! Two checks as one.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::check::{Check, RevocationCheck, RevocationStatus};
use crate::principal::Principal;

/// Two checks that both count; made by
/// [`JwtAuthLayer::revocation`](crate::JwtAuthLayer::revocation).
///
/// A token is revoked if one of them says so, even if the other one cannot answer. The status is
/// unknown if one of them cannot answer, and valid if both say so. The order does not matter. If
/// both have to be waited for, they are waited for at the same time.
#[derive(Debug)]
pub struct Both<A, B> {
    first: Arc<A>,
    second: B,
}

impl<A, B> Both<A, B> {
    pub(crate) fn new(first: Arc<A>, second: B) -> Self {
        Self { first, second }
    }
}

impl<A: RevocationCheck, B: RevocationCheck> RevocationCheck for Both<A, B> {
    type Future = BothFuture<A::Future, B::Future>;

    fn check(&self, caller: &Principal) -> Check<Self::Future> {
        let first = self.first.check(caller);
        if let Check::Ready(RevocationStatus::Revoked) = first {
            return Check::Ready(RevocationStatus::Revoked);
        }
        let second = self.second.check(caller);
        let mut pending = BothFuture {
            first: None,
            second: None,
            status: RevocationStatus::Valid,
        };
        match first {
            Check::Ready(status) => pending.status = status,
            Check::Pending(future) => pending.first = Some(future),
        }
        match second {
            Check::Ready(status) => pending.status = pending.status.and(status),
            Check::Pending(future) => pending.second = Some(future),
        }
        let is_decided = pending.status == RevocationStatus::Revoked;
        match is_decided || (pending.first.is_none() && pending.second.is_none()) {
            true => Check::Ready(pending.status),
            false => Check::Pending(pending),
        }
    }

    fn is_ready(&self) -> bool {
        self.first.is_ready() && self.second.is_ready()
    }
}

pin_project! {
    /// The answer of [`Both`], if at least one of the two has to be waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the futures of the checks and nothing else.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct BothFuture<A, B> {
        #[pin]
        first: Option<A>,
        #[pin]
        second: Option<B>,
        status: RevocationStatus,
    }
}

impl<A, B> Future for BothFuture<A, B>
where
    A: Future<Output = RevocationStatus>,
    B: Future<Output = RevocationStatus>,
{
    type Output = RevocationStatus;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<RevocationStatus> {
        let mut this = self.project();
        let (mut waits, status) = (false, this.status);
        match this.first.as_mut().as_pin_mut().map(|first| first.poll(cx)) {
            Some(Poll::Ready(first)) => {
                *status = status.and(first);
                this.first.set(None);
            }
            Some(Poll::Pending) => waits = true,
            None => {}
        }
        match this
            .second
            .as_mut()
            .as_pin_mut()
            .map(|second| second.poll(cx))
        {
            Some(Poll::Ready(second)) => {
                *status = status.and(second);
                this.second.set(None);
            }
            Some(Poll::Pending) => waits = true,
            None => {}
        }
        match waits && *status != RevocationStatus::Revoked {
            true => Poll::Pending,
            false => Poll::Ready(*status),
        }
    }
}
