//! Waits that end: with a result, at the deadline of their request, or with a panic.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::task::{Timer, caught_now, end_of_wait};

/// A future that a request waits for.
pub(crate) trait Wait: Future {
    /// Returns the time at which the wait ends by itself, if it is limited.
    fn ends_at(&self) -> Option<Instant>;
}

/// The wait of a layer that never waits. There is no value of this type.
#[derive(Debug)]
pub(crate) enum Never {}

impl Future for Never {
    type Output = Infallible;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Infallible> {
        match *self {}
    }
}

impl Wait for Never {
    fn ends_at(&self) -> Option<Instant> {
        match *self {}
    }
}

pin_project! {
    /// The waits of one request, one after the other, within one deadline.
    pub(super) struct Bounded<W> {
        #[pin]
        wait: Option<W>,
        // `true` if the wait ends by itself before the deadline.
        is_limited: bool,
        begun: Instant,
        deadline: Instant,
        timer: Timer,
    }
}

impl<W: Wait> Bounded<W> {
    /// Starts the time of a request with its first wait. A wait that was configured to take longer
    /// extends the time.
    pub(super) fn new(wait: W, patience: Duration) -> Self {
        let begun = Instant::now();
        let deadline = end_of_wait(begun, patience);
        let own = wait.ends_at();
        let deadline = own.map_or(deadline, |own| own.max(deadline));
        Self {
            wait: Some(wait),
            is_limited: own.is_some(),
            begun,
            deadline,
            timer: Timer::At(deadline),
        }
    }

    /// Continues with another wait until the same deadline.
    pub(super) fn continue_with(self: Pin<&mut Self>, wait: W) {
        let mut this = self.project();
        let own = wait.ends_at();
        *this.is_limited = own.is_some_and(|own| own <= *this.deadline);
        this.wait.set(Some(wait));
    }

    /// Returns the time since the first wait began, and the time that all waits may take.
    pub(super) fn spent(self: Pin<&Self>) -> (Duration, Duration) {
        let limit = self.deadline - self.begun;
        (self.begun.elapsed().min(limit), limit)
    }

    /// Polls the wait. The output is `None` after the deadline and after a panic.
    pub(super) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        name: &'static str,
    ) -> Poll<Option<W::Output>> {
        let mut this = self.project();
        let Some(wait) = this.wait.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let woke = match caught_now(name, || wait.poll(cx)) {
            Ok(Poll::Ready(output)) => Some(output),
            Ok(Poll::Pending) if *this.is_limited || this.timer.poll(cx).is_pending() => {
                return Poll::Pending;
            }
            Ok(Poll::Pending) | Err(_) => None,
        };
        let dropped = caught_now(name, || this.wait.set(None));
        Poll::Ready(dropped.ok().and(woke))
    }
}
