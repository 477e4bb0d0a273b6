//! Background tasks that survive a panic in application code.
//!
//! Every long-lived task of the crate, except the one that fetches keys, is a [`Task`], started by
//! [`spawn`]. A task calls application code (a feed, a store, a hook) through [`caught`] or
//! [`caught_now`], which turn a panic into an error. A panic elsewhere in a [`Task`] ends one run of it.
//! The next run begins after a pause. The task that fetches keys calls the fetcher through [`caught`] as
//! well. If it ends, requests get 503 and an error is logged.
//!
//! The task reports a panic with its usual event or counter, and with one log line at error level.
//! The log line contains the name of the task, but no text from the panic, which may contain a
//! secret.

use std::{
    any::Any,
    error::Error,
    fmt,
    future::Future,
    mem,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{self, Instant, Sleep},
};

/// A background task that lives as long as its owner.
pub(crate) trait Task: Send + 'static {
    /// The task's name in the log.
    const NAME: &'static str;

    /// Runs until no work is left. After a panic it is called again.
    fn run(&mut self) -> impl Future<Output = ()> + Send;
}

/// Starts a task. It ends when its [`run`](Task::run) returns or when it is aborted.
pub(crate) fn spawn<T: Task>(runtime: &Handle, mut task: T) -> AbortHandle {
    let supervised = async move {
        let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        loop {
            let begun = Instant::now();
            match caught(T::NAME, task.run()).await {
                Ok(()) => return,
                Err(Panicked) => {
                    if begun.elapsed() > LAST_PAUSE {
                        backoff.reset();
                    }
                    time::sleep(backoff.next()).await;
                }
            }
        }
    };
    runtime.spawn(supervised).abort_handle()
}

/// The error for a panic in application code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("application code panicked")
    }
}

impl Error for Panicked {}

/// Calls application code and returns its panic as an error.
///
/// `name` is the name in the log.
#[inline]
pub(crate) fn caught_now<T>(name: &'static str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| report(name, payload))
}

/// Wraps a future of application code. A panic in the future or in its destructor becomes an error.
pub(crate) fn caught<F: Future>(name: &'static str, work: F) -> Caught<F> {
    Caught {
        name,
        work: Some(Box::pin(work)),
    }
}

/// A future whose panics are errors; created by [`caught`].
pub(crate) struct Caught<F> {
    name: &'static str,
    work: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let name = self.name;
        let Some(work) = self.work.as_mut() else {
            return Poll::Pending;
        };
        let polled = match caught_now(name, || work.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panicked) => Err(panicked),
        };
        self.forget();
        Poll::Ready(polled)
    }
}

impl<F> Caught<F> {
    fn forget(&mut self) {
        let work = self.work.take();
        let _ = caught_now(self.name, || drop(work));
    }
}

impl<F> Drop for Caught<F> {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The end of a wait, at a time that the runtime of the waiting request measures. The timer is created
/// when it is first polled.
pub(crate) enum Timer {
    At(Instant),
    Running(Pin<Box<Sleep>>),
    /// The current runtime has no timers. The wait is not limited.
    Missing,
}

impl Timer {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::At(end) = *self {
            *self = Self::started(end);
        }
        match self {
            Self::Running(sleep) => sleep.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }

    fn started(end: Instant) -> Self {
        if Handle::try_current().is_err() {
            return Self::Missing;
        }
        let sleep = panic::catch_unwind(|| Box::pin(time::sleep_until(end)));
        sleep.map_or(Self::Missing, Self::Running)
    }
}

/// Returns the end of a wait. A wait without an end, such as one of `Duration::MAX`, ends in the far future,
/// because no clock counts so far.
pub(crate) fn end_of_wait(begun: Instant, limit: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

    let end = begun.checked_add(limit.min(YEARS));
    end.unwrap_or(begun)
}

/// Pauses between attempts, which double up to a maximum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    last: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, last: Duration) -> Self {
        Self {
            first,
            next: first,
            last,
        }
    }

    /// Returns the pause after this failure, and doubles the next one.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = self.last.min(pause.saturating_mul(2));
        pause
    }

    /// Resets the next pause to the first one.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// The pauses of a compare-and-set that lost against another node, up to a deadline.
#[cfg(feature = "server")]
#[derive(Debug)]
pub(crate) struct Contention {
    give_up: Instant,
    backoff: Backoff,
}

#[cfg(feature = "server")]
impl Contention {
    /// Allows pauses for as long as a request should wait for its store: 2 s.
    pub(crate) fn new() -> Self {
        Self::until(Instant::now() + PATIENCE)
    }

    pub(crate) fn until(give_up: Instant) -> Self {
        Self {
            give_up,
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
        }
    }

    /// Waits for a random part of the next pause, so that the losers do not meet again. Returns
    /// `false` if the deadline has passed.
    pub(crate) async fn wait(&mut self) -> bool {
        let left = self.give_up.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let part = getrandom::u32().map_or(0.5, |dice| f64::from(dice) / f64::from(u32::MAX));
        time::sleep(self.backoff.next().mul_f64(part).min(left)).await;
        true
    }
}

#[cold]
fn report(name: &'static str, payload: Box<dyn Any + Send>) -> Panicked {
    // Dropped only if the drop cannot panic.
    if !payload.is::<&str>() && !payload.is::<String>() {
        mem::forget(payload);
    }
    #[cfg(feature = "tracing")]
    tracing::error!(task = name, "{Panicked}");
    #[cfg(not(feature = "tracing"))]
    let _ = name;
    Panicked
}

#[cfg(feature = "server")]
const PATIENCE: Duration = Duration::from_secs(2);
#[cfg(feature = "server")]
const FIRST_RETRY: Duration = Duration::from_millis(4);
#[cfg(feature = "server")]
const LAST_RETRY: Duration = Duration::from_millis(64);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::{
        panic::panic_any,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
    };

    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn a_wait_without_an_end_has_one() {
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(end_of_wait(begun, second), begun + second);
        assert!(end_of_wait(begun, Duration::MAX) > begun + second * 1_000_000);
    }

    struct Fragile {
        runs: Arc<AtomicU32>,
        items: mpsc::Receiver<u32>,
        sum: mpsc::Sender<u32>,
    }

    impl Task for Fragile {
        const NAME: &'static str = "fragile";

        async fn run(&mut self) {
            self.runs.fetch_add(1, Ordering::Relaxed);
            while let Some(item) = self.items.recv().await {
                assert_ne!(item, 2, "on purpose");
                self.sum.send(item).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn q11_a_task_that_panics_goes_on_with_the_state_that_it_has() {
        let (send, items) = mpsc::channel(8);
        let (sum, mut received) = mpsc::channel(8);
        let runs = Arc::new(AtomicU32::new(0));
        let fragile = Fragile {
            runs: Arc::clone(&runs),
            items,
            sum,
        };
        spawn(&Handle::current(), fragile);
        for item in [1, 2, 3, 2, 4] {
            send.send(item).await.unwrap();
        }
        drop(send);
        for expected in [1, 3, 4] {
            assert_eq!(received.recv().await, Some(expected));
        }
        // The task ends when its channel is closed.
        assert_eq!(received.recv().await, None);
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }

    struct Loud;

    impl Drop for Loud {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }

    #[tokio::test]
    async fn q11_a_destructor_and_a_payload_that_panic_are_caught_too() {
        let loud = Loud;
        let done = caught("test", async move {
            let _loud = &loud;
        });
        assert_eq!(done.await, Err(Panicked));
        let loud = Loud;
        drop(caught("test", async move { drop(loud) }));
        let payload = caught_now("test", || panic_any(Loud));
        assert_eq!(payload, Err::<(), _>(Panicked));
    }

    #[test]
    fn pauses_double_up_to_the_last() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(5));
        let pauses: Vec<_> = (0..4).map(|_| backoff.next().as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5]);
        backoff.reset();
        assert_eq!(backoff.next(), seconds(1));
    }

    #[cfg(feature = "server")]
    #[tokio::test]
    async fn a_loser_tries_again_until_its_deadline() {
        let mut contention = Contention::until(Instant::now() + Duration::from_millis(20));
        let mut tries = 0;
        while contention.wait().await {
            tries += 1;
        }
        assert!(tries > 0);
        assert!(!Contention::until(Instant::now()).wait().await);
    }
}
