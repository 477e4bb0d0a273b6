//! The body of a request that a service of this crate reads itself.

use std::{
    error::Error,
    pin::{Pin, pin},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Version,
    header::{CONNECTION, EXPECT},
    request::Parts,
};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use pin_project_lite::pin_project;
use tokio::time;

pin_project! {
    /// A body that is read at most once, up to a number of bytes.
    pub(crate) struct RequestBody<B> {
        // `None` after the end.
        #[pin]
        rest: Option<B>,
        limit: usize,
        patience: Duration,
        // A read has failed: the rest is too long, late or incomplete.
        has_failed: bool,
    }
}

/// The reason why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The body is longer than the limit.
    TooLong,
    /// The client did not send all of it in time.
    Slow,
    /// The connection failed.
    Incomplete,
}

impl<B> RequestBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Creates a body of which at most `limit` bytes are read, for at most `patience`.
    pub(crate) fn new(body: B, limit: usize, patience: Duration) -> Self {
        Self {
            rest: Some(body).filter(|body| !body.is_end_stream()),
            limit,
            patience,
            has_failed: false,
        }
    }

    /// Reads the whole body. A body whose announced length exceeds the limit is not read at all.
    pub(crate) async fn read(self: Pin<&mut Self>) -> Result<Bytes, BodyError> {
        let mut this = self.project();
        let Some(rest) = this.rest.as_mut().as_pin_mut() else {
            return Ok(Bytes::new());
        };
        let read = match is_longer(&*rest, *this.limit) {
            true => Err(BodyError::TooLong),
            false => match time::timeout(*this.patience, Limited::new(rest, *this.limit).collect())
                .await
            {
                Ok(Ok(collected)) => Ok(collected.to_bytes()),
                Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLong),
                Ok(Err(_)) => Err(BodyError::Incomplete),
                Err(_) => Err(BodyError::Slow),
            },
        };
        match &read {
            Ok(_) => this.rest.set(None),
            Err(_) => *this.has_failed = true,
        }
        read
    }

    /// Reads the rest of the body, so that the client can use the connection again, or announces in
    /// `answer` that the connection ends.
    ///
    /// In HTTP/1.1 the next request follows the body of this one, so that a server closes a connection
    /// whose body was not read (RFC 9112 §9.3). Without an announcement the client may send its next
    /// request into the closing connection, and loses it. A body that the client sends only after
    /// `100 Continue` is not requested, because the response is known (RFC 9110 §10.1.1).
    pub(crate) async fn finish(self: Pin<&mut Self>, parts: &Parts, answer: &mut HeaderMap) {
        let mut this = self.project();
        let Some(rest) = this.rest.as_mut().as_pin_mut() else {
            return;
        };
        if parts.version > Version::HTTP_11 {
            return;
        }
        let is_refused = *this.has_failed
            || is_longer(&*rest, *this.limit)
            || parts.headers.contains_key(EXPECT);
        let limit = DRAIN_TIME.min(*this.patience);
        if !is_refused && is_drained(Limited::new(rest, *this.limit), limit).await {
            this.rest.set(None);
            return;
        }
        answer.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Reads a body to its end and drops its content. Returns `false` if that takes too long.
async fn is_drained<B: Body>(body: B, limit: Duration) -> bool {
    let drained = async {
        let mut body = pin!(body);
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    time::timeout(limit, drained).await.unwrap_or(false)
}

fn is_longer(body: &impl Body, limit: usize) -> bool {
    u64::try_from(limit).is_ok_and(|limit| body.size_hint().lower() > limit)
}

/// A body that follows its head without a pause has arrived by then.
const DRAIN_TIME: Duration = Duration::from_secs(1);
