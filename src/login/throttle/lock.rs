//! The hard lock, for those who must have one.

use std::{fmt, future::Future, num::NonZeroU32, pin::Pin, sync::Arc};

use super::ThrottleRule;
use crate::login::Identifier;

/// Sends the owner of a locked account the way to unlock it.
///
/// A lock without one would let anybody shut anybody out, so the lock cannot be had without it.
pub trait UnlockHook: Send + Sync + 'static {
    /// The name was just locked; it may belong to nobody.
    ///
    /// Awaited by the attempt that brought the lock about, so it should only put the work into a
    /// queue: how long it takes must not tell whether there is such a user.
    fn locked(&self, identifier: &Identifier) -> impl Future<Output = ()> + Send;
}

/// After how many failures a name is locked, and whom to tell.
#[derive(Clone)]
pub(in crate::login) struct HardLock {
    pub(super) rule: ThrottleRule,
    hook: Arc<dyn ErasedHook>,
}

impl HardLock {
    pub(in crate::login) fn new(failures: NonZeroU32, hook: impl UnlockHook) -> Self {
        Self {
            rule: ThrottleRule::lock(failures.get()),
            hook: Arc::new(hook),
        }
    }

    pub(super) async fn tell(&self, identifier: &Identifier) {
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

trait ErasedHook: Send + Sync {
    fn locked<'a>(
        &'a self,
        identifier: &'a Identifier,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

impl<H: UnlockHook> ErasedHook for H {
    fn locked<'a>(
        &'a self,
        identifier: &'a Identifier,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(UnlockHook::locked(self, identifier))
    }
}
