//! Several revocation checks of any type.

use std::{
    any::Any,
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use super::{
    changes::Changes,
    check::{CheckResult, RevocationCheck, RevocationStatus},
};
use crate::principal::Principal;

/// Several revocation checks of any type, all of which apply. Cheap to clone.
///
/// [`SocketAuth`](crate::layer::socket::SocketAuth) and, with the feature `server`, the layer of an
/// `AuthServer` hold their checks in this form. The future of a check is boxed if the check is not ready
/// immediately.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::revocation::{
///     RevocationCheck, RevocationChecks, RevocationSet, RevocationStatus, check_fn,
/// };
///
/// let checks = RevocationChecks::new()
///     .and(RevocationSet::local())
///     .and(check_fn(|_| async { RevocationStatus::Valid }));
/// assert!(checks.is_ready());
/// ```
#[derive(Clone, Default)]
#[must_use = "checks do nothing until a layer uses them"]
pub struct RevocationChecks {
    checks: Vec<Arc<dyn AnyCheck>>,
}

impl RevocationChecks {
    /// Creates an empty list, with which every token is valid.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check.
    pub fn and(mut self, check: impl RevocationCheck) -> Self {
        match (&check as &dyn Any).downcast_ref::<Self>() {
            // The checks of another list stay separate: some notify of changes, and others do not.
            Some(list) => self.checks.extend(list.checks.iter().map(Arc::clone)),
            None => self.checks.push(Arc::new(check)),
        }
        self
    }

    /// Returns `true` if the list has no check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// Splits the list into the checks that notify of changes for this caller, with the
    /// notifications, and the others.
    pub(crate) fn split(&self, caller: &Principal) -> (Self, Vec<Changes>, Self) {
        let (mut watched, mut changes, mut others) = (Self::new(), Vec::new(), Self::new());
        for check in &self.checks {
            let news = check.watch(caller);
            let list = match news.is_empty() {
                true => &mut others,
                false => &mut watched,
            };
            list.checks.push(Arc::clone(check));
            changes.extend(news);
        }
        (watched, changes, others)
    }
}

impl RevocationCheck for RevocationChecks {
    type Future = Pin<Box<dyn Future<Output = RevocationStatus> + Send>>;

    fn check(&self, caller: &Principal) -> CheckResult<Self::Future> {
        let mut status = RevocationStatus::Valid;
        let mut pending = Vec::new();
        for check in &self.checks {
            match check.check(caller) {
                CheckResult::Ready(one) => status = status.and(one),
                CheckResult::Pending(check) => pending.push(check),
            }
        }
        if pending.is_empty() || status == RevocationStatus::Revoked {
            return CheckResult::Ready(status);
        }
        // The checks run concurrently. The first one that returns revoked decides.
        CheckResult::Pending(Box::pin(poll_fn(move |cx| {
            pending.retain_mut(|check| match check.as_mut().poll(cx) {
                Poll::Ready(one) => {
                    status = status.and(one);
                    false
                }
                Poll::Pending => true,
            });
            match pending.is_empty() || status == RevocationStatus::Revoked {
                true => Poll::Ready(status),
                false => Poll::Pending,
            }
        })))
    }

    fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.is_ready())
    }

    fn watch(&self, caller: &Principal) -> Vec<Changes> {
        let changes = self.checks.iter().map(|check| check.watch(caller));
        changes.flatten().collect()
    }
}

impl fmt::Debug for RevocationChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationChecks")
            .field("checks", &self.checks.len())
            .finish()
    }
}

/// A check with a boxed future, so that its type needs no name.
trait AnyCheck: Send + Sync {
    fn check(&self, caller: &Principal) -> CheckResult<Boxed>;
    fn is_ready(&self) -> bool;
    fn watch(&self, caller: &Principal) -> Vec<Changes>;
}

type Boxed = Pin<Box<dyn Future<Output = RevocationStatus> + Send>>;

impl<R: RevocationCheck> AnyCheck for R {
    fn check(&self, caller: &Principal) -> CheckResult<Boxed> {
        match RevocationCheck::check(self, caller) {
            CheckResult::Ready(status) => CheckResult::Ready(status),
            CheckResult::Pending(check) => CheckResult::Pending(Box::pin(check)),
        }
    }

    fn is_ready(&self) -> bool {
        RevocationCheck::is_ready(self)
    }

    fn watch(&self, caller: &Principal) -> Vec<Changes> {
        RevocationCheck::watch(self, caller)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use crate::{
        principal::Principal,
        revocation::{
            CheckResult, Revocation, RevocationCheck, RevocationChecks, RevocationSet,
            RevocationStatus, check_fn,
        },
        time::Timestamp,
    };

    fn caller() -> Principal {
        Principal::builder().session_id("s1").build()
    }

    fn status(checks: &RevocationChecks) -> RevocationStatus {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        match checks.check(&caller()) {
            CheckResult::Ready(status) => status,
            CheckResult::Pending(check) => runtime.unwrap().block_on(check),
        }
    }

    #[test]
    fn q12_every_check_of_a_list_counts() {
        let valid = || check_fn(|_| ready(RevocationStatus::Valid));
        let revoked = || check_fn(|_| ready(RevocationStatus::Revoked));
        let silent = || check_fn(|_| pending());
        let unknown = || check_fn(|_| ready(RevocationStatus::unavailable(7)));
        let none = RevocationChecks::new();
        assert_eq!(status(&none), RevocationStatus::Valid);
        assert_eq!(status(&none.clone().and(valid())), RevocationStatus::Valid);
        let two = RevocationChecks::new().and(valid()).and(unknown());
        assert_eq!(status(&two), RevocationStatus::unavailable(7));
        // A revocation decides, although the other check never returns.
        let three = RevocationChecks::new().and(silent()).and(revoked());
        assert_eq!(status(&three), RevocationStatus::Revoked);
        let set = RevocationSet::local();
        let listed = RevocationChecks::new().and(silent()).and(set.clone());
        set.insert(&Revocation::session("s1", Timestamp::from_millis(i64::MAX)));
        assert_eq!(status(&listed), RevocationStatus::Revoked);
        assert_eq!(listed.watch(&caller()).len(), 1);
    }
}
