//! The combination of two revocation checks.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::changes::Changes;
use super::check::{CheckResult, RevocationCheck, RevocationStatus};
use crate::principal::Principal;

/// Two revocation checks that both apply; created by
/// [`JwtAuthLayer::revocation`](crate::JwtAuthLayer::revocation).
///
/// - Revoked: at least one check returns revoked, even if the other check is unavailable.
/// - Unavailable: at least one check is unavailable, and none returns revoked.
/// - Valid: both checks return valid.
///
/// The order of the checks does not matter. If both are pending, they run concurrently.
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

    fn check(&self, caller: &Principal) -> CheckResult<Self::Future> {
        let first = self.first.check(caller);
        if let CheckResult::Ready(RevocationStatus::Revoked) = first {
            return CheckResult::Ready(RevocationStatus::Revoked);
        }
        let second = self.second.check(caller);
        let mut pending = BothFuture {
            first: None,
            second: None,
            status: RevocationStatus::Valid,
        };
        match first {
            CheckResult::Ready(status) => pending.status = status,
            CheckResult::Pending(future) => pending.first = Some(future),
        }
        match second {
            CheckResult::Ready(status) => pending.status = pending.status.and(status),
            CheckResult::Pending(future) => pending.second = Some(future),
        }
        let is_decided = pending.status == RevocationStatus::Revoked;
        match is_decided || (pending.first.is_none() && pending.second.is_none()) {
            true => CheckResult::Ready(pending.status),
            false => CheckResult::Pending(pending),
        }
    }

    fn is_ready(&self) -> bool {
        self.first.is_ready() && self.second.is_ready()
    }

    fn watch(&self, caller: &Principal) -> Vec<Changes> {
        let mut changes = self.first.watch(caller);
        changes.extend(self.second.watch(caller));
        changes
    }
}

pin_project! {
    /// The future of [`Both`], for checks of which at least one is pending.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the futures of the two checks. There is no other effect.
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
