//! The response future of every layer.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    Response, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use pin_project_lite::pin_project;

use super::{
    Amend, ResponseBody,
    suspended::{Immediate, Kind, Next, Suspension},
};
use crate::layer::extract::RequestHead;

pin_project! {
    /// The response future of this crate's services.
    ///
    /// It returns the response of the inner service, or the layer's own response to a request that does
    /// not pass. Its error is the inner service's. `F` is the inner service's future. `K`
    /// depends on the layer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future while the request waits is safe: the inner service has not been called, and
    /// a fetch or query that other requests may wait for continues. Dropping the future later drops the
    /// inner service's future.
    #[allow(private_bounds, reason = "only the layers of this crate create this future")]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, K = Immediate>
    where
        K: Kind,
    {
        #[pin]
        state: State<F, K, K::After>,
    }
}

pin_project! {
    // A future is moved several times before it is polled, so only the state of a request that passes
    // is part of it. The others are boxed.
    #[project = Projected]
    enum State<F, W, A> {
        // Without a response: the future has completed.
        Answered { response: Option<Box<Response<Bytes>>>, is_unread: bool },
        Inner { #[pin] future: F, after: A },
        Suspended { request: Pin<Box<W>> },
    }
}

#[allow(private_bounds, reason = "see `ResponseFuture`")]
impl<F, K: Kind> ResponseFuture<F, K> {
    // The rare states are created out of line, so that a request that passes needs no room for them on
    // the stack.
    #[cold]
    #[inline(never)]
    pub(crate) fn answered(response: Box<Response<Bytes>>, is_unread: bool) -> Self {
        Self {
            state: State::Answered {
                response: Some(response),
                is_unread,
            },
        }
    }

    pub(crate) fn inner(future: F, after: K::After) -> Self {
        Self {
            state: State::Inner { future, after },
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn suspended(suspend: impl FnOnce() -> K) -> Self {
        let request = Box::pin(suspend());
        Self {
            state: State::Suspended { request },
        }
    }
}

impl<F, K, T, E> Future for ResponseFuture<F, K>
where
    F: Future<Output = Result<Response<T>, E>>,
    K: Suspension<F, E>,
{
    type Output = Result<Response<ResponseBody<T>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project().state.project() {
                Projected::Inner { future, after } => {
                    let response = ready!(future.poll(cx))?;
                    if after.changes_headers() {
                        return Poll::Ready(Ok(amended(response, after)));
                    }
                    return Poll::Ready(Ok(response.map(ResponseBody::inner)));
                }
                Projected::Answered {
                    response,
                    is_unread,
                } => {
                    // The request was dropped, with its body. Between two polls hyper reads the part of
                    // the body that has arrived. If the body has not ended, hyper closes the connection,
                    // and announces that only in a response that it gets afterwards (RFC 9112 §9.6).
                    if mem::take(is_unread) {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(denied(response))),
                        // Polled after completion: stays pending instead of panicking.
                        None => Poll::Pending,
                    };
                }
                Projected::Suspended { .. } => ready!(self.as_mut().resume(cx))?,
            }
        }
    }
}

#[allow(private_bounds, reason = "see `ResponseFuture`")]
impl<F, K: Kind> ResponseFuture<F, K> {
    /// Polls the waits, and changes to the state after them.
    #[cold]
    #[inline(never)]
    fn resume<E>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), E>>
    where
        K: Suspension<F, E>,
    {
        let mut state = self.project().state;
        let Projected::Suspended { request } = state.as_mut().project() else {
            return Poll::Ready(Ok(()));
        };
        match ready!(request.as_mut().poll(cx)) {
            Ok(Next::Call(future, after)) => state.set(State::Inner { future, after }),
            Ok(Next::Answer(response, is_unread)) => state.set(State::Answered {
                response: Some(response),
                is_unread,
            }),
            Err(error) => {
                state.set(State::Answered {
                    response: None,
                    is_unread: false,
                });
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Returns `true` if the next request of the connection follows the body of this one, as in HTTP/1.1
/// (RFC 9112 §6.3).
pub(crate) fn is_before_body(head: RequestHead<'_>) -> bool {
    let headers = head.headers();
    head.version() <= Version::HTTP_11
        && (headers.contains_key(TRANSFER_ENCODING)
            || headers
                .get(CONTENT_LENGTH)
                .is_some_and(|length| length != "0"))
}

#[cold]
#[inline(never)]
#[expect(
    clippy::boxed_local,
    reason = "a pointer is passed in place of a response"
)]
fn denied<T>(response: Box<Response<Bytes>>) -> Response<ResponseBody<T>> {
    (*response).map(ResponseBody::denied)
}

// Out of line, so that the usual response is moved once.
#[inline(never)]
fn amended<T>(mut response: Response<T>, after: &mut impl Amend) -> Response<ResponseBody<T>> {
    after.amend(response.headers_mut());
    response.map(ResponseBody::inner)
}

impl<F, K: Kind> fmt::Debug for ResponseFuture<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Answered { .. } => "denied",
            State::Inner { .. } => "inner",
            State::Suspended { .. } => "waiting",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
