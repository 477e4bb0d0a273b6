//! The hard lock: a lock that only an unlock removes.

use std::{fmt, future::Future, num::NonZeroU32, sync::Arc};

use super::ThrottleRule;
use crate::{erased::erased, server::login::Identifier};

/// A hook that sends the owner of a locked account the means to unlock it.
///
/// A hard lock requires a hook, because without one an attacker could lock any user out
/// permanently.
pub trait UnlockHook: Send + Sync + 'static {
    /// Called when a name was just locked. The name may not belong to any user.
    ///
    /// The attempt that caused the lock awaits the call. Only put the work into a queue: the
    /// duration of the call must not reveal whether the user exists.
    fn locked(&self, identifier: &Identifier) -> impl Future<Output = ()> + Send;
}

/// The number of failures that lock a name, and the hook.
#[derive(Clone)]
pub(in crate::server::login) struct HardLock {
    pub(super) rule: ThrottleRule,
    hook: Arc<dyn ErasedUnlockHook>,
}

impl HardLock {
    pub(in crate::server::login) fn new(failures: NonZeroU32, hook: impl UnlockHook) -> Self {
        Self {
            rule: ThrottleRule::lock(failures.get()),
            hook: Arc::new(hook),
        }
    }

    pub(super) async fn emit(&self, identifier: &Identifier) {
        self.hook.locked(identifier).await;
    }
}

impl fmt::Debug for HardLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HardLock")
            .field("after", &self.rule.free)
            .finish_non_exhaustive()
    }
}

erased! {
    trait ErasedUnlockHook: UnlockHook {
        async fn locked(&self, identifier: &'a Identifier);
    }
}
