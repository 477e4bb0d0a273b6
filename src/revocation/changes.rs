//! Change notifications, for connections that outlive the revocation check at their start.

use std::{
    collections::HashMap,
    fmt, future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use smallvec::SmallVec;
use tokio::sync::{Notify, watch};

use super::entries::Name;

/// Notifications of new entries in a [`RevocationSet`](super::RevocationSet); created by
/// [`RevocationSet::changes`](super::RevocationSet::changes) and
/// [`RevocationSet::changes_for`](super::RevocationSet::changes_for).
///
/// A notification does not contain the change. After each one, look the caller up in the set, which
/// takes some tens of nanoseconds. A set without listeners has no overhead.
#[derive(Clone)]
pub struct Changes(Source);

#[derive(Clone)]
enum Source {
    Any(watch::Receiver<()>),
    Named(Named),
    Never,
}

impl Changes {
    /// Notifies of every change.
    pub(super) fn any(news: watch::Receiver<()>) -> Self {
        Self(Source::Any(news))
    }

    /// Notifies of changes under these names, and of changes that concern every caller.
    pub(super) fn named(listeners: &Arc<Listeners>, names: Names) -> Self {
        Self(Source::Named(Named::new(listeners, names)))
    }

    /// Notifies of no change.
    pub(super) fn never() -> Self {
        Self(Source::Never)
    }

    /// Waits until the set has a new entry, counted from the previous call or from the creation of
    /// this value. One notification may stand for several entries, or for none.
    ///
    /// After the set has been dropped, the future never completes.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) {
        match &mut self.0 {
            Source::Any(news) => {
                if news.changed().await.is_ok() {
                    return;
                }
            }
            Source::Named(named) => return named.signal.notified().await,
            Source::Never => {}
        }
        future::pending().await
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

pub(super) type Names = SmallVec<[Name; 5]>;

/// The listeners that wait for certain names only, so that an entry wakes no other listener.
#[derive(Default)]
pub(super) struct Listeners {
    /// The number of listeners, so that an insertion without listeners costs one atomic load.
    count: AtomicUsize,
    by_name: Mutex<HashMap<Name, SmallVec<[Arc<Notify>; 1]>>>,
}

impl Listeners {
    /// Wakes the listeners for this name, or all listeners if `name` is `None`.
    pub(super) fn notify(&self, name: Option<Name>) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let by_name = self.lock();
        let signals: SmallVec<[Arc<Notify>; 4]> = match name {
            Some(name) => by_name.get(&name).into_iter().flatten().cloned().collect(),
            None => by_name.values().flatten().cloned().collect(),
        };
        drop(by_name);
        // After the lock is released, because a waker may poll in place and drop a listener.
        signals.iter().for_each(|signal| signal.notify_one());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, SmallVec<[Arc<Notify>; 1]>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener for certain names, registered until it is dropped.
struct Named {
    listeners: Arc<Listeners>,
    names: Names,
    signal: Arc<Notify>,
}

impl Named {
    fn new(listeners: &Arc<Listeners>, names: Names) -> Self {
        let signal = Arc::new(Notify::new());
        listeners.count.fetch_add(1, Ordering::SeqCst);
        let mut by_name = listeners.lock();
        for name in &names {
            by_name.entry(*name).or_default().push(Arc::clone(&signal));
        }
        drop(by_name);
        Self {
            listeners: Arc::clone(listeners),
            names,
            signal,
        }
    }
}

impl Clone for Named {
    fn clone(&self) -> Self {
        let clone = Self::new(&self.listeners, self.names.clone());
        // A change that `self` has not received yet must not be lost to the clone.
        clone.signal.notify_one();
        clone
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let mut by_name = self.listeners.lock();
        for name in &self.names {
            if let Some(signals) = by_name.get_mut(name) {
                signals.retain(|signal| !Arc::ptr_eq(signal, &self.signal));
                if signals.is_empty() {
                    by_name.remove(name);
                }
            }
        }
        drop(by_name);
        self.listeners.count.fetch_sub(1, Ordering::SeqCst);
    }
}
