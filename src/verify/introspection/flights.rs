//! One call for all requests that wait for the answer about the same token.
//!
//! A call runs in a task, so that it continues if the client that caused it disconnects. It is joined by
//! the keyed digest of the token, until a request that waited for it has stored the answer: no other call
//! about the token starts in between.

use std::{
    collections::{HashMap, hash_map::Entry},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};

use super::client::{Client, Outcome};
use crate::{
    error::{AuthError, AuthErrorKind},
    key::DIGEST,
    secret::Secret,
    task::Timer,
    verify::Confirmation,
};

/// The keyed digest of a token.
pub(super) type Digest = [u8; DIGEST];

type News = watch::Receiver<Option<Arc<Outcome>>>;

/// The calls that run or wait for their turn.
pub(super) struct Flights {
    client: Client,
    runtime: Handle,
    /// A fair queue for the calls.
    turns: Semaphore,
    /// The largest number of calls that run or wait.
    most: usize,
    running: Mutex<HashMap<Digest, News>>,
}

impl Flights {
    pub(super) fn new(client: Client, runtime: Handle, calls: usize) -> Arc<Self> {
        Arc::new(Self {
            client,
            runtime,
            turns: Semaphore::new(calls),
            most: calls.saturating_add(QUEUE),
            running: Mutex::default(),
        })
    }

    /// Returns the wait for the answer about a token. The call starts when the wait is first polled.
    pub(super) fn wait(
        self: &Arc<Self>,
        digest: Digest,
        token: &[u8],
        signed: Option<Bound>,
    ) -> AnswerWait {
        let flights = Arc::clone(self);
        let token = Secret::new(String::from_utf8_lossy(token).into_owned());
        // The call ends by itself. The wait ends shortly after that even if its runtime does not run.
        let limit = self.client.timeout + GRACE;
        AnswerWait {
            answer: Box::pin(async move { flights.answer(digest, token).await }),
            limit: Instant::now() + limit,
            timer: Timer::At(Instant::now() + limit),
            digest,
            signed,
        }
    }

    async fn answer(self: Arc<Self>, digest: Digest, token: Secret<String>) -> Ending {
        let Some(mut seat) = self.join(digest, token) else {
            return Ending::without_answer();
        };
        let outcome = match seat.news.as_mut() {
            Some(news) => match news.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone(),
                // The call's task was dropped.
                Err(_) => None,
            },
            None => None,
        };
        match outcome {
            Some(outcome) => Ending {
                outcome,
                _seat: Some(seat),
            },
            None => Ending::without_answer(),
        }
    }

    /// Joins the call about a token, or starts one. `None` if too many calls wait.
    fn join(self: &Arc<Self>, digest: Digest, token: Secret<String>) -> Option<Seat> {
        let mut running = self.lock();
        let full = running.len() >= self.most;
        let (news, started) = match running.entry(digest) {
            Entry::Occupied(call) => (call.get().clone(), None),
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(place) => {
                let (sender, news) = watch::channel(None);
                let call = Call {
                    flights: Arc::clone(self),
                    digest,
                    sender: Some(sender),
                };
                place.insert(news.clone());
                (news, Some(call.run(token)))
            }
        };
        drop(running);
        // A runtime that has ended drops the call, which then needs the lock.
        if let Some(call) = started {
            self.runtime.spawn(call);
        }
        Some(Seat {
            flights: Arc::clone(self),
            digest,
            news: Some(news),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, News>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call in its task.
struct Call {
    flights: Arc<Flights>,
    digest: Digest,
    sender: Option<watch::Sender<Option<Arc<Outcome>>>>,
}

impl Call {
    async fn run(mut self, token: Secret<String>) {
        let flights = Arc::clone(&self.flights);
        let began = flights.client.clock.monotonic();
        let call = async {
            // The semaphore is never closed.
            let _turn = flights.turns.acquire().await;
            flights.client.introspect(token.expose()).await
        };
        let outcome = timeout(flights.client.timeout, call).await;
        let outcome = outcome.unwrap_or_else(|_| flights.client.late());
        flights.client.emit(&outcome, began);
        self.land(Some(Arc::new(outcome)));
    }

    /// Announces the outcome. A call without a request that waits for it is forgotten: its answer will not
    /// be stored.
    fn land(&mut self, outcome: Option<Arc<Outcome>>) {
        let Some(sender) = self.sender.take() else {
            return;
        };
        let mut running = self.flights.lock();
        let is_awaited = sender.receiver_count() > 1;
        if outcome.is_none() || !is_awaited {
            running.remove(&self.digest);
        }
        if let Some(outcome) = outcome {
            sender.send_replace(Some(outcome));
        }
    }
}

impl Drop for Call {
    // After a panic, and if the runtime shuts down.
    fn drop(&mut self) {
        self.land(None);
    }
}

/// The place of a request that waits for a call.
struct Seat {
    flights: Arc<Flights>,
    digest: Digest,
    /// `None` after the seat was left.
    news: Option<News>,
}

impl Drop for Seat {
    /// Forgets a call that is complete, so that the next request causes another one.
    fn drop(&mut self) {
        let mut running = self.flights.lock();
        let Some(news) = self.news.take() else {
            return;
        };
        let is_complete = news.borrow().is_some();
        if is_complete
            && let Entry::Occupied(call) = running.entry(self.digest)
            && call.get().same_channel(&news)
        {
            call.remove();
        }
    }
}

/// The end of a call, for one of the requests that waited for it.
struct Ending {
    outcome: Arc<Outcome>,
    /// Dropped after the answer was stored.
    _seat: Option<Seat>,
}

impl Ending {
    fn without_answer() -> Self {
        let kind = AuthErrorKind::IntrospectionUnavailable;
        let error = AuthError::unavailable(kind, 1);
        Self {
            outcome: Arc::new(Outcome::Unavailable(error)),
            _seat: None,
        }
    }
}

/// The key and the certificate to which a JWT is bound, by the JWT itself. The answer must agree.
pub(super) type Bound = Option<Confirmation>;

/// A wait for the answer about a token.
///
/// # Cancel safety
///
/// Dropping the future has no effect on other requests that wait for the same answer. The call continues.
pub(crate) struct AnswerWait {
    answer: Pin<Box<dyn Future<Output = Ending> + Send>>,
    limit: Instant,
    timer: Timer,
    digest: Digest,
    signed: Option<Bound>,
}

impl AnswerWait {
    /// Returns the time at which the wait ends by itself.
    pub(crate) fn ends_at(&self) -> Instant {
        self.limit
    }
}

impl Future for AnswerWait {
    type Output = Answered;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answered> {
        let ending = match self.answer.as_mut().poll(cx) {
            Poll::Ready(ending) => ending,
            Poll::Pending if self.timer.poll(cx).is_ready() => Ending::without_answer(),
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(Answered {
            digest: self.digest,
            signed: self.signed,
            ending,
        })
    }
}

/// The answer about a token, which the verifier then checks.
pub(crate) struct Answered {
    pub(super) digest: Digest,
    /// `None` for an opaque token.
    pub(super) signed: Option<Bound>,
    ending: Ending,
}

impl Answered {
    pub(super) fn outcome(&self) -> &Outcome {
        &self.ending.outcome
    }
}

/// The number of tokens that wait for their turn.
const QUEUE: usize = 1024;
const GRACE: Duration = Duration::from_millis(100);
