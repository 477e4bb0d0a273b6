//! The pool for hashing: separate threads, with limits on concurrency and on the queue.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::PasswordError;
use crate::server::login::Network;

/// Limits on concurrent hashes and on the length of the queue, for all callers and per network.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    all: Arc<Hall>,
    networks: Arc<Networks>,
    work: usize,
    capacity: usize,
    wait: Duration,
}

/// The caller for whom a password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::login) struct Caller {
    pub(in crate::server::login) network: Network,
    /// `true` for a trusted device or a live session. A quarter of the capacity is reserved for such
    /// callers, so that a flood cannot keep them out.
    pub(in crate::server::login) is_known: bool,
}

impl Caller {
    pub(in crate::server::login) const UNKNOWN: Self = Self {
        network: Network::UNKNOWN,
        is_known: false,
    };
}

/// The capacity and the work slots of the whole pool, or of a network's share.
#[derive(Debug)]
struct Hall {
    /// The number of callers that hash or wait.
    capacity: Arc<Semaphore>,
    capacity_of_unknown: Arc<Semaphore>,
    /// The work slots.
    work: Arc<Semaphore>,
    /// The unknown callers that hash or are next, so that only few of them are ahead of a known
    /// caller.
    work_of_unknown: Arc<Semaphore>,
}

impl Hall {
    fn new(work: usize, capacity: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            capacity: semaphore(capacity),
            capacity_of_unknown: semaphore(capacity - capacity / 4),
            work: semaphore(work),
            work_of_unknown: semaphore(work),
        }
    }

    fn lines(&self, caller: Caller) -> impl Iterator<Item = &Arc<Semaphore>> {
        let unknown = (!caller.is_known).then_some(&self.work_of_unknown);
        unknown.into_iter().chain([&self.work])
    }

    fn enter(&self, caller: Caller, permits: &mut Vec<OwnedSemaphorePermit>) -> Option<()> {
        let unknown = (!caller.is_known).then_some(&self.capacity_of_unknown);
        for capacity in unknown.into_iter().chain([&self.capacity]) {
            permits.push(Arc::clone(capacity).try_acquire_owned().ok()?);
        }
        Some(())
    }
}

/// The shares of the networks with callers. A share exists while it is in use.
#[derive(Debug, Default)]
struct Networks {
    shares: Mutex<HashMap<Network, (usize, Arc<Hall>)>>,
}

impl Networks {
    fn lock(&self) -> MutexGuard<'_, HashMap<Network, (usize, Arc<Hall>)>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reference to the share of a network.
#[derive(Debug)]
struct Share {
    networks: Arc<Networks>,
    network: Network,
    hall: Arc<Hall>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.networks.lock();
        if let Some((users, _)) = shares.get_mut(&self.network) {
            *users -= 1;
            if *users == 0 {
                shares.remove(&self.network);
            }
        }
    }
}

/// The permit to wait in the queue and to hash.
#[derive(Debug)]
pub(in crate::server::login) struct Permit {
    caller: Caller,
    _permits: Vec<OwnedSemaphorePermit>,
    share: Option<Share>,
}

impl Pool {
    pub(super) fn new(permits: NonZeroUsize, queue: usize, wait: Duration) -> Self {
        let most = Semaphore::MAX_PERMITS;
        let work = permits.get().min(most);
        let capacity = work.saturating_add(queue).min(most);
        Self {
            all: Arc::new(Hall::new(work, capacity)),
            networks: Arc::default(),
            work,
            capacity,
            wait,
        }
    }

    /// Takes a permit, if one is free. Taking it first avoids work, such as queries, for callers
    /// that would be refused.
    pub(super) fn enter(&self, caller: Caller) -> Result<Permit, PasswordError> {
        let share = self.share(caller.network);
        let mut permits = Vec::with_capacity(4);
        let entered = match &share {
            Some(share) => share.hall.enter(caller, &mut permits),
            None => Some(()),
        };
        let entered = entered.and_then(|()| self.all.enter(caller, &mut permits));
        entered.ok_or_else(|| self.busy())?;
        Ok(Permit {
            caller,
            _permits: permits,
            share,
        })
    }

    /// Returns the network's share: half of the pool, at least one of each. An unknown network has
    /// no share, because all unknown networks would have to use the same one.
    fn share(&self, network: Network) -> Option<Share> {
        if network.is_unknown() {
            return None;
        }
        let mut shares = self.networks.lock();
        let half = |of: usize| (of / 2).max(1);
        let (users, hall) = shares.entry(network).or_insert_with(|| {
            let hall = Hall::new(half(self.work), half(self.capacity));
            (0, Arc::new(hall))
        });
        *users += 1;
        let hall = Arc::clone(hall);
        drop(shares);
        Some(Share {
            networks: Arc::clone(&self.networks),
            network,
            hall,
        })
    }

    /// Waits for a work slot: first in the network's share, so that only few callers of one network
    /// are ahead of others.
    async fn turn(&self, permit: &Permit) -> Option<Vec<OwnedSemaphorePermit>> {
        let mut permits = Vec::with_capacity(4);
        let share = permit.share.iter().map(|share| &*share.hall);
        for hall in share.chain([&*self.all]) {
            for line in hall.lines(permit.caller) {
                permits.push(Arc::clone(line).acquire_owned().await.ok()?);
            }
        }
        Some(permits)
    }

    /// Runs the work with this permit, on a separate thread.
    ///
    /// If the caller is dropped while it waits, the permit is freed immediately. If it is dropped
    /// during the work, the permit is freed when the work is done, because the memory is in use
    /// until then.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        permit: Permit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let permits = timeout(self.wait, self.turn(&permit)).await;
        let Ok(Some(permits)) = permits else {
            return Err(self.busy());
        };
        let (done, result) = oneshot::channel();
        // Starting a thread takes a thousandth of the time of a hash. The runtime's blocking
        // threads are shared with file access and name resolution, which a flood of logins must not
        // block.
        let thread = thread::Builder::new()
            .name("password-hash".into())
            .spawn(move || {
                let outcome = work();
                drop((permits, permit));
                // The caller may have been dropped.
                let _ = done.send(outcome);
            });
        if thread.is_err() {
            return Err(self.busy());
        }
        // A missing result means that the work panicked; unwinding has freed the permits.
        result.await.map_err(|_| PasswordError::Failed)
    }

    fn busy(&self) -> PasswordError {
        PasswordError::Busy {
            retry_after: self.wait.max(Duration::from_secs(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn pool(permits: usize, queue: usize, wait: Duration) -> Pool {
        Pool::new(NonZeroUsize::new(permits).unwrap(), queue, wait)
    }

    const LONG: Duration = Duration::from_secs(600);

    impl Pool {
        async fn of<T: Send + 'static>(
            &self,
            caller: Caller,
            work: impl FnOnce() -> T + Send + 'static,
        ) -> Result<T, PasswordError> {
            self.run(self.enter(caller)?, work).await
        }

        async fn of_nobody<T: Send + 'static>(
            &self,
            work: impl FnOnce() -> T + Send + 'static,
        ) -> Result<T, PasswordError> {
            self.of(Caller::UNKNOWN, work).await
        }
    }

    fn unknown(network: u8) -> Caller {
        Caller {
            network: Network::from(std::net::IpAddr::from([192, 0, 2, network])),
            is_known: false,
        }
    }

    fn known(network: u8) -> Caller {
        Caller {
            is_known: true,
            ..unknown(network)
        }
    }

    #[tokio::test]
    async fn u8_a_caller_who_hangs_up_during_the_work_frees_nothing_early() {
        let pool = pool(1, 0, LONG);
        let (finish, wait) = mpsc::channel::<()>();
        let (started, start) = oneshot::channel();
        let work = pool.of_nobody(move || {
            started.send(()).unwrap();
            wait.recv().unwrap();
        });
        tokio::select! {
            biased;
            result = work => panic!("{result:?}"),
            _ = start => {}
        }
        // The first caller is gone, the work is not.
        assert!(matches!(
            pool.of_nobody(|| ()).await,
            Err(PasswordError::Busy { .. })
        ));
        finish.send(()).unwrap();
        let _ = pool.all.capacity.acquire().await.unwrap();
        assert!(pool.of_nobody(|| ()).await.is_ok());
    }

    #[tokio::test]
    async fn u8_a_caller_who_hangs_up_while_waiting_leaves_nothing_behind() {
        let pool = pool(1, 1, LONG);
        let held = Arc::clone(&pool.all.work).acquire_owned().await.unwrap();
        let permit = Arc::clone(&pool.all.capacity)
            .acquire_owned()
            .await
            .unwrap();
        for _ in 0..5 {
            let mut waiting = Box::pin(pool.of_nobody(|| ()));
            assert!(futures_poll(&mut waiting).await);
            assert!(matches!(
                pool.of_nobody(|| ()).await,
                Err(PasswordError::Busy { .. })
            ));
        }
        drop((held, permit));
        assert!(pool.of_nobody(|| ()).await.is_ok());
        assert_eq!(pool.all.capacity.available_permits(), 2);
    }

    #[tokio::test]
    async fn u8_who_waits_too_long_is_told_to_come_back() {
        let pool = pool(1, 5, Duration::from_millis(1));
        let held = Arc::clone(&pool.all.work).acquire_owned().await.unwrap();
        let refused = pool.of_nobody(|| ()).await;
        let retry_after = Duration::from_secs(1);
        assert_eq!(refused, Err(PasswordError::Busy { retry_after }));
        drop(held);
        assert!(pool.of_nobody(|| ()).await.is_ok());
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_place_back() {
        let pool = pool(1, 0, LONG);
        for _ in 0..3 {
            assert_eq!(
                pool.of_nobody(|| panic!("on purpose")).await,
                Err::<(), _>(PasswordError::Failed)
            );
        }
        assert!(pool.of_nobody(|| ()).await.is_ok());
    }

    #[tokio::test]
    async fn u18_one_network_takes_half_of_the_places_and_half_of_the_work() {
        let pool = pool(4, 12, LONG);
        let mut flood = Vec::new();
        while let Ok(permit) = pool.enter(unknown(1)) {
            flood.push(permit);
        }
        assert_eq!(flood.len(), 6, "and two are left to its known callers");
        let known_callers = [pool.enter(known(1)).unwrap(), pool.enter(known(1)).unwrap()];
        assert!(pool.enter(known(1)).is_err());
        let turns: Vec<_> = flood.iter().map(|permit| pool.turn(permit)).collect();
        let mut turns: Vec<_> = turns.into_iter().map(Box::pin).collect();
        let mut at_work = Vec::new();
        for turn in &mut turns {
            at_work.extend(now(turn).await);
        }
        assert_eq!(at_work.len(), 2);
        for network in [2, 3, 4] {
            assert!(pool.of(unknown(network), || ()).await.is_ok());
        }
        drop(turns);
        drop((flood, known_callers, at_work));
        assert!(pool.networks.lock().is_empty());
        assert_eq!(pool.all.capacity.available_permits(), 16);
    }

    /// The flood has a separate queue, so it does not delay other networks.
    #[tokio::test]
    async fn u18_with_one_thread_the_others_come_after_one_hash_of_the_flood() {
        let pool = pool(1, 15, LONG);
        let flood: Vec<_> = std::iter::from_fn(|| pool.enter(unknown(1)).ok()).collect();
        let mut turns: Vec<_> = flood
            .iter()
            .map(|permit| Box::pin(pool.turn(permit)))
            .collect();
        let mut working = Vec::new();
        for turn in &mut turns {
            working.extend(now(turn).await);
        }
        assert_eq!(working.len(), 1);
        let permit = pool.enter(unknown(2)).unwrap();
        let mut honest = Box::pin(pool.turn(&permit));
        assert!(now(&mut honest).await.is_none());
        drop(working);
        for turn in &mut turns[1..] {
            let _ = now(turn).await;
        }
        assert!(now(&mut honest).await.is_some());
    }

    #[tokio::test]
    async fn u14_many_networks_leave_a_quarter_to_known_callers() {
        let pool = pool(4, 12, LONG);
        let mut flood = Vec::new();
        for network in 0..=255 {
            flood.extend(pool.enter(unknown(network)));
        }
        assert_eq!(flood.len(), 12);
        let mut turns: Vec<_> = flood
            .iter()
            .map(|permit| Box::pin(pool.turn(permit)))
            .collect();
        let mut working = Vec::new();
        for turn in &mut turns {
            working.extend(now(turn).await);
        }
        assert_eq!(working.len(), 4);
        // Also from a network that takes part in it.
        let permit = pool.enter(known(7)).unwrap();
        let mut device = Box::pin(pool.turn(&permit));
        assert!(now(&mut device).await.is_none());
        working.pop();
        assert!(now(&mut device).await.is_some());
    }

    #[tokio::test]
    async fn u18_callers_of_unknown_networks_share_the_whole_pool() {
        let pool = pool(4, 12, LONG);
        let all: Vec<_> = std::iter::from_fn(|| pool.enter(Caller::UNKNOWN).ok()).collect();
        assert_eq!(all.len(), 12);
        assert!(pool.networks.lock().is_empty());
    }

    /// Polls once; what it gave.
    async fn now<F: Future<Output = Option<T>> + Unpin, T>(future: &mut F) -> Option<T> {
        let poll = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))
        });
        match poll.await {
            std::task::Poll::Ready(given) => given,
            std::task::Poll::Pending => None,
        }
    }

    /// Polls once; whether it is still waiting.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
        })
        .await
    }
}
