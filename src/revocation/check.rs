//! The revocation check of every request.

use std::{
    future::{Future, Ready},
    sync::Arc,
};

use super::changes::Changes;
use crate::principal::Principal;

/// A check that determines if a verified token was revoked.
///
/// The check runs on every request, also if the token is in the verifier's cache. A result that is
/// [`Ready`](CheckResult::Ready) adds no wait. A [`Pending`](CheckResult::Pending) one suspends the request
/// until its future completes. The future is an associated type, so that no request allocates a box
/// for it.
///
/// [`RevocationSet`](super::RevocationSet) is always ready. [`check_fn`] makes a check from an
/// asynchronous function, for example a query to a remote service. Every request then depends on
/// that service.
pub trait RevocationCheck: Send + Sync + 'static {
    /// The future of a result that is not available immediately.
    type Future: Future<Output = RevocationStatus> + Send + 'static;

    /// Returns the revocation status of the caller's token. It must not block.
    fn check(&self, caller: &Principal) -> CheckResult<Self::Future>;

    /// Returns `true` if the check is currently able to answer. For readiness probes.
    fn is_ready(&self) -> bool {
        true
    }

    /// Returns notifications of results that may have changed for this caller, for connections that
    /// outlive a request. The result of such a check must be [`Ready`](CheckResult::Ready).
    ///
    /// A check without notifications is called again every few seconds
    /// ([`SocketAuth::check_every`](crate::layer::socket::SocketAuth::check_every)).
    fn watch(&self, caller: &Principal) -> Vec<Changes> {
        let _ = caller;
        Vec::new()
    }
}

/// A result that is available now or later.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum CheckResult<F> {
    /// The result is available immediately.
    Ready(RevocationStatus),
    /// The result is the output of this future.
    Pending(F),
}

/// The revocation status of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevocationStatus {
    /// The token was not revoked.
    Valid,
    /// The token was revoked. The response is 401 `invalid_token`.
    Revoked,
    /// The status is currently unknown. The response is 503, not 401, because clients discard their
    /// tokens after a 401.
    #[non_exhaustive]
    Unavailable {
        /// The time after which the client should try again, in seconds.
        retry_after: u32,
    },
}

impl RevocationStatus {
    /// Creates the status [`Unavailable`](Self::Unavailable). `retry_after` is in seconds.
    #[must_use]
    pub fn unavailable(retry_after: u32) -> Self {
        Self::Unavailable { retry_after }
    }

    /// Returns the status of a token that has to pass two checks.
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

/// The check of a layer without revocation: every token is valid.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct NoRevocation;

impl RevocationCheck for NoRevocation {
    type Future = Ready<RevocationStatus>;

    #[inline]
    fn check(&self, _: &Principal) -> CheckResult<Self::Future> {
        CheckResult::Ready(RevocationStatus::Valid)
    }
}

impl<T: RevocationCheck + ?Sized> RevocationCheck for Arc<T> {
    type Future = T::Future;

    fn check(&self, caller: &Principal) -> CheckResult<Self::Future> {
        (**self).check(caller)
    }

    fn is_ready(&self) -> bool {
        (**self).is_ready()
    }

    fn watch(&self, caller: &Principal) -> Vec<Changes> {
        (**self).watch(caller)
    }
}

/// Creates a check from an asynchronous function, for example a query to a remote service.
///
/// The request waits until the function's future completes, at most for the layer's
/// [`wait_limit`](crate::JwtAuthLayer::wait_limit). A shorter limit in the function keeps requests from
/// accumulating: let it return [`RevocationStatus::unavailable`] if it cannot answer. A panic of the
/// future is treated in the same way.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tokio::time::timeout;
/// use tower_jwt_auth::revocation::{RevocationStatus, check_fn};
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
/// # drop(check);
/// ```
#[must_use = "a check does nothing until a layer uses it"]
pub fn check_fn<F, A>(check: F) -> impl RevocationCheck
where
    F: Fn(&Principal) -> A + Send + Sync + 'static,
    A: Future<Output = RevocationStatus> + Send + 'static,
{
    CheckFn(check)
}

struct CheckFn<F>(F);

impl<F, A> RevocationCheck for CheckFn<F>
where
    F: Fn(&Principal) -> A + Send + Sync + 'static,
    A: Future<Output = RevocationStatus> + Send + 'static,
{
    type Future = A;

    fn check(&self, caller: &Principal) -> CheckResult<A> {
        CheckResult::Pending((self.0)(caller))
    }
}
