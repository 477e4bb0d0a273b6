//! The question that is asked of every request: is this token still good?

use std::{
    future::{Future, Ready},
    sync::Arc,
};

use crate::principal::Principal;

/// Says whether a token that verifies was revoked.
///
/// It is asked on every request, also when the token was remembered. An answer at once costs
/// nothing more; an answer that has to be waited for suspends the request, and the future has a
/// name so that nothing needs a box.
///
/// [`RevocationSet`](super::RevocationSet) answers at once. A question to something remote makes
/// that part of every request: [`check_fn`].
pub trait RevocationCheck: Send + Sync + 'static {
    /// An answer that has to be waited for.
    type Future: Future<Output = RevocationStatus> + Send + 'static;

    /// Whether the caller's token was revoked. It must not block.
    fn check(&self, caller: &Principal) -> Check<Self::Future>;

    /// Whether it could answer now: for readiness probes.
    fn is_ready(&self) -> bool {
        true
    }
}

/// An answer, now or later.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Check<F> {
    /// At once.
    Ready(RevocationStatus),
    /// To be waited for.
    Pending(F),
}

/// Whether a token was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevocationStatus {
    /// It was not.
    Valid,
    /// It was: 401 `invalid_token`.
    Revoked,
    /// That cannot be said now: 503, never 401, because clients throw their tokens away on a 401.
    #[non_exhaustive]
    Unavailable {
        /// When to try again, in seconds.
        retry_after: u32,
    },
}

impl RevocationStatus {
    /// It cannot be said now whether the token was revoked; try again after some seconds.
    #[must_use]
    pub fn unavailable(retry_after: u32) -> Self {
        Self::Unavailable { retry_after }
    }

    /// Returns the status of a token that has to satisfy two checks.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Revoked, _) | (_, Self::Revoked) => Self::Revoked,
            (Self::Unavailable { retry_after: one }, Self::Unavailable { retry_after: two }) => {
                Self::unavailable(one.max(two))
            }
            (Self::Valid, status) | (status, Self::Valid) => status,
        }
    }
}

/// Nothing is ever revoked: the default of a layer.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct NoRevocation;

impl RevocationCheck for NoRevocation {
    type Future = Ready<RevocationStatus>;

    fn check(&self, _: &Principal) -> Check<Self::Future> {
        Check::Ready(RevocationStatus::Valid)
    }
}

impl<T: RevocationCheck + ?Sized> RevocationCheck for Arc<T> {
    type Future = T::Future;

    fn check(&self, caller: &Principal) -> Check<Self::Future> {
        (**self).check(caller)
    }

    fn is_ready(&self) -> bool {
        (**self).is_ready()
    }
}

/// A check by an asynchronous function: a question to something remote.
///
/// # Security
///
/// The function bounds its own time and says [`RevocationStatus::unavailable`] when it cannot
/// answer: a request waits for it as long as it takes.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tokio::time::timeout;
/// use tower_jwt_auth::revoke::{RevocationStatus, check_fn};
///
/// # async fn ask(session: Option<String>) -> Result<bool, std::io::Error> {
/// #     Ok(session.as_deref() == Some("ended"))
/// # }
/// let check = check_fn(|caller| {
///     let session = caller.session_id().map(str::to_owned);
///     async move {
///         match timeout(Duration::from_millis(50), ask(session)).await {
///             Ok(Ok(true)) => RevocationStatus::Revoked,
///             Ok(Ok(false)) => RevocationStatus::Valid,
///             // The store failed, or took too long.
///             Ok(Err(_)) | Err(_) => RevocationStatus::unavailable(1),
///         }
///     }
/// });
/// # let _: tower_jwt_auth::revoke::CheckFn<_> = check;
/// ```
pub fn check_fn<F, A>(check: F) -> CheckFn<F>
where
    F: Fn(&Principal) -> A + Send + Sync + 'static,
    A: Future<Output = RevocationStatus> + Send + 'static,
{
    CheckFn(check)
}

/// A check by an asynchronous function; made by [`check_fn`].
#[derive(Clone, Copy, Debug)]
#[must_use = "a check does nothing before a layer asks it"]
pub struct CheckFn<F>(F);

impl<F, A> RevocationCheck for CheckFn<F>
where
    F: Fn(&Principal) -> A + Send + Sync + 'static,
    A: Future<Output = RevocationStatus> + Send + 'static,
{
    type Future = A;

    fn check(&self, caller: &Principal) -> Check<A> {
        Check::Pending((self.0)(caller))
    }
}
