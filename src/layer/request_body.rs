//! The body of a request that a service of this crate reads itself.

use std::{error::Error, pin::Pin, time::Duration};

use bytes::Bytes;
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
        if read.is_ok() {
            this.rest.set(None);
        }
        read
    }
}

fn is_longer(body: &impl Body, limit: usize) -> bool {
    u64::try_from(limit).is_ok_and(|limit| body.size_hint().lower() > limit)
}
