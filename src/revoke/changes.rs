//! Notifications of changes, for connections that outlive the check at their start.

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

/// Notifies of new entries in a [`RevocationSet`](super::RevocationSet); made by
/// [`RevocationSet::changes`](super::RevocationSet::changes) and
/// [`RevocationSet::changes_for`](super::RevocationSet::changes_for).
///
/// It does not say what changed. Its owner asks the set about the caller, which costs some tens of
/// nanoseconds. A set without listeners pays nothing.
#[derive(Clone)]
pub struct Changes(Source);

#[derive(Clone)]
enum Source {
    Any(watch::Receiver<()>),
    Named(Named),
    Never,
}

impl Changes {
    /// Every change.
    pub(super) fn any(news: watch::Receiver<()>) -> Self {
        Self(Source::Any(news))
    }

    /// The changes under these names, and those that concern every caller.
    pub(super) fn named(listeners: &Arc<Listeners>, names: Names) -> Self {
        Self(Source::Named(Named::new(listeners, names)))
    }

    /// No change at all.
    pub(super) fn never() -> Self {
        Self(Source::Never)
    }

    /// Waits until the set has a new entry, since the last call or since this was made. Several
    /// entries may be one change, and a change may come without a new entry.
    ///
    /// If the set is gone, nothing changes any more.
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

pub(super) type Names = SmallVec<[Name; 3]>;

/// Those who listen for some names only, so that an entry wakes nobody else.
#[derive(Default)]
pub(super) struct Listeners {
    /// How many there are, so that an entry costs one load where there are none.
    count: AtomicUsize,
    by_name: Mutex<HashMap<Name, SmallVec<[Arc<Notify>; 1]>>>,
}

impl Listeners {
    /// Wakes those who listen for this name, or all of them.
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
        // Without the lock: a waker may poll in place, and drop what listened.
        signals.iter().for_each(|signal| signal.notify_one());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, SmallVec<[Arc<Notify>; 1]>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who listens for some names, until it is dropped.
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
        // A change that this one has not seen yet must not be lost to the clone.
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
