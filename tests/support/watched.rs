//! A store that counts what it is asked for, and fails when it is told to.

use std::{
    collections::VecDeque,
    future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::task;
use tower_jwt_auth::{
    error::StoreError,
    principal::SessionId,
    store::{
        MemoryStore,
        port::{
            CreateOutcome, Family, LoadedSession, NewSessionRecord, RevokeReason, SessionRecord,
            SessionStore,
        },
    },
};

#[derive(Clone)]
pub(crate) struct Watched {
    store: MemoryStore,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    reads: AtomicUsize,
    writes: AtomicUsize,
    finished: AtomicUsize,
    read_faults: Mutex<VecDeque<Fault>>,
    write_faults: Mutex<VecDeque<Fault>>,
    confirm_panics: AtomicUsize,
    beaten: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Goes well.
    None,
    /// Cannot be reached: nothing is written, and that is known.
    Unavailable,
    /// Lost before it wrote.
    LostBefore,
    /// Lost after it wrote.
    LostAfter,
    /// Its driver panics after it wrote.
    PanicAfter,
}

impl Watched {
    pub(crate) fn new(store: MemoryStore) -> Self {
        Self {
            store,
            shared: Arc::default(),
        }
    }

    /// What the next writes meet; those after them go well.
    pub(crate) fn fail_writes(&self, faults: &[Fault]) {
        self.shared.write_faults.lock().unwrap().extend(faults);
    }

    /// So many confirmations panic before they write.
    pub(crate) fn panic_on_confirm(&self, times: usize) {
        self.shared.confirm_panics.store(times, Ordering::SeqCst);
    }

    /// So many advances find that another node has changed the session.
    pub(crate) fn beat_advances(&self, times: usize) {
        self.shared.beaten.store(times, Ordering::SeqCst);
    }

    pub(crate) fn fail_reads(&self, faults: &[Fault]) {
        self.shared.read_faults.lock().unwrap().extend(faults);
    }

    /// Reading and writing round trips since the last call.
    pub(crate) fn take_counts(&self) -> (usize, usize) {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::SeqCst);
        self.shared.finished.store(0, Ordering::SeqCst);
        (take(&self.shared.reads), take(&self.shared.writes))
    }

    /// Until every write that was begun has ended.
    pub(crate) async fn settled(&self) {
        // A write that was handed to a task of its own has not begun before that is polled.
        for _ in 0..10 {
            task::yield_now().await;
        }
        let (writes, finished) = (&self.shared.writes, &self.shared.finished);
        while finished.load(Ordering::SeqCst) < writes.load(Ordering::SeqCst) {
            task::yield_now().await;
        }
    }

    async fn read<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.shared.reads.fetch_add(1, Ordering::SeqCst);
        task::yield_now().await;
        let fault = self.shared.read_faults.lock().unwrap().pop_front();
        match fault {
            None | Some(Fault::None) => work.await,
            Some(Fault::Unavailable) => Err(StoreError::unavailable("no connection")),
            Some(_) => Err(StoreError::interrupted("connection lost")),
        }
    }

    async fn write<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.shared.writes.fetch_add(1, Ordering::SeqCst);
        let _end = End(&self.shared.finished);
        // A round trip suspends on the way there and on the way back.
        task::yield_now().await;
        let fault = self.shared.write_faults.lock().unwrap().pop_front();
        match fault {
            Some(Fault::Unavailable) => return Err(StoreError::unavailable("no connection")),
            Some(Fault::LostBefore) => return Err(StoreError::interrupted("connection lost")),
            _ => {}
        }
        let done = work.await;
        task::yield_now().await;
        match fault {
            Some(Fault::PanicAfter) => panic!("the driver has a bug"),
            None | Some(Fault::None) => done,
            Some(_) => Err(StoreError::interrupted("connection lost")),
        }
    }
}

struct End<'a>(&'a AtomicUsize);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl SessionStore for Watched {
    async fn create(&self, session: NewSessionRecord) -> Result<CreateOutcome, StoreError> {
        self.write(self.store.create(session)).await
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        self.read(self.store.load(id)).await
    }

    async fn advance(
        &self,
        id: SessionId,
        from: &Family,
        to: &Family,
    ) -> Result<Option<LoadedSession>, StoreError> {
        let beaten = &self.shared.beaten;
        if beaten.load(Ordering::SeqCst) > 0 {
            beaten.fetch_sub(1, Ordering::SeqCst);
            return self.write(async { Ok(None) }).await;
        }
        self.write(self.store.advance(id, from, to)).await
    }

    async fn advance_live(
        &self,
        id: SessionId,
        live: u64,
        grace: Duration,
        bound_key: Option<&str>,
    ) -> Result<Option<LoadedSession>, StoreError> {
        self.write(self.store.advance_live(id, live, grace, bound_key))
            .await
    }

    async fn confirm(&self, id: SessionId, generation: u64) -> Result<(), StoreError> {
        let panics = &self.shared.confirm_panics;
        if panics.load(Ordering::SeqCst) > 0 {
            panics.fetch_sub(1, Ordering::SeqCst);
            panic!("the driver has a bug");
        }
        self.write(self.store.confirm(id, generation)).await
    }

    async fn revoke(&self, id: SessionId, reason: RevokeReason) -> Result<bool, StoreError> {
        self.write(self.store.revoke(id, reason)).await
    }

    async fn replace(
        &self,
        old: SessionId,
        new: NewSessionRecord,
    ) -> Result<Option<CreateOutcome>, StoreError> {
        self.write(self.store.replace(old, new)).await
    }

    async fn revoke_others(
        &self,
        subject: &str,
        keep: SessionId,
        reason: RevokeReason,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.write(self.store.revoke_others(subject, keep, reason))
            .await
    }

    async fn revoke_all(&self, subject: &str, reason: RevokeReason) -> Result<u32, StoreError> {
        self.write(self.store.revoke_all(subject, reason)).await
    }

    async fn epoch(&self, subject: &str) -> Result<u32, StoreError> {
        self.read(self.store.epoch(subject)).await
    }

    async fn list(&self, subject: &str, limit: u32) -> Result<Vec<SessionRecord>, StoreError> {
        self.read(self.store.list(subject, limit)).await
    }

    async fn purge(&self, limit: u32) -> Result<u64, StoreError> {
        self.write(self.store.purge(limit)).await
    }
}

/// A write that is polled a number of times and then dropped, as by a client that hangs up.
pub(crate) async fn dropped_after<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    for _ in 0..polls {
        let once = future::poll_fn(|context| {
            std::task::Poll::Ready(match work.as_mut().poll(context) {
                std::task::Poll::Ready(done) => Some(done),
                std::task::Poll::Pending => None,
            })
        });
        if let Some(done) = once.await {
            return Some(done);
        }
        task::yield_now().await;
    }
    None
}
