//! Where hashing happens: never on the threads that serve requests, and only so much at a time.

use std::{num::NonZeroUsize, sync::Arc, thread, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::PasswordError;

/// A bound on how much is hashed at once and on how many wait for it.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    /// Those who hash and those who wait.
    admitted: Arc<Semaphore>,
    /// Those who hash.
    permits: Arc<Semaphore>,
    wait: Duration,
}

/// A place among those who hash or wait for it.
#[derive(Debug)]
pub(in crate::login) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(permits: NonZeroUsize, queue: usize, wait: Duration) -> Self {
        let most = Semaphore::MAX_PERMITS;
        let permits = permits.get().min(most);
        Self {
            admitted: Arc::new(Semaphore::new(permits.saturating_add(queue).min(most))),
            permits: Arc::new(Semaphore::new(permits)),
            wait,
        }
    }

    /// Takes a place, where one is free: what comes before the work need not be done in vain.
    pub(super) fn enter(&self) -> Result<Place, PasswordError> {
        let permit = Arc::clone(&self.admitted).try_acquire_owned();
        let permit = permit.map_err(|_| self.busy())?;
        Ok(Place { _permit: permit })
    }

    /// Does the work on a thread of its own, at this place or else at one of its own.
    ///
    /// A caller who hangs up while waiting frees the place at once; one who hangs up during the work
    /// frees it when the work is done, not before: the memory is still in use.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        place: Option<Place>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = match place {
            Some(place) => place,
            None => self.enter()?,
        };
        let permit = timeout(self.wait, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(self.busy());
        };
        let (done, result) = oneshot::channel();
        // Starting a thread takes a thousandth of a hash's time. The runtime's own blocking threads
        // would be shared with file access and name resolution, which a flood of logins must not stop.
        let thread = thread::Builder::new()
            .name("password-hash".into())
            .spawn(move || {
                let outcome = work();
                drop((permit, place));
                // Nobody may be waiting for it any more.
                let _ = done.send(outcome);
            });
        if thread.is_err() {
            return Err(self.busy());
        }
        // Without an answer the work panicked; the unwinding gave the places back.
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

    #[tokio::test]
    async fn u8_a_caller_who_hangs_up_during_the_work_frees_nothing_early() {
        let pool = pool(1, 0, LONG);
        let (finish, wait) = mpsc::channel::<()>();
        let (started, start) = oneshot::channel();
        let work = pool.run(None, move || {
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
            pool.run(None, || ()).await,
            Err(PasswordError::Busy { .. })
        ));
        finish.send(()).unwrap();
        let _ = pool.admitted.acquire().await.unwrap();
        assert!(pool.run(None, || ()).await.is_ok());
    }

    #[tokio::test]
    async fn u8_a_caller_who_hangs_up_while_waiting_leaves_nothing_behind() {
        let pool = pool(1, 1, LONG);
        let held = Arc::clone(&pool.permits).acquire_owned().await.unwrap();
        let place = Arc::clone(&pool.admitted).acquire_owned().await.unwrap();
        for _ in 0..5 {
            let mut waiting = Box::pin(pool.run(None, || ()));
            assert!(futures_poll(&mut waiting).await);
            assert!(matches!(
                pool.run(None, || ()).await,
                Err(PasswordError::Busy { .. })
            ));
        }
        drop((held, place));
        assert!(pool.run(None, || ()).await.is_ok());
        assert_eq!(pool.admitted.available_permits(), 2);
    }

    #[tokio::test]
    async fn u8_who_waits_too_long_is_told_to_come_back() {
        let pool = pool(1, 5, Duration::from_millis(1));
        let held = Arc::clone(&pool.permits).acquire_owned().await.unwrap();
        let refused = pool.run(None, || ()).await;
        let retry_after = Duration::from_secs(1);
        assert_eq!(refused, Err(PasswordError::Busy { retry_after }));
        drop(held);
        assert!(pool.run(None, || ()).await.is_ok());
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_place_back() {
        let pool = pool(1, 0, LONG);
        for _ in 0..3 {
            assert_eq!(
                pool.run(None, || panic!("on purpose")).await,
                Err::<(), _>(PasswordError::Failed)
            );
        }
        assert!(pool.run(None, || ()).await.is_ok());
    }

    /// Polls once; whether it is still waiting.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> bool {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
        })
        .await
    }
}
