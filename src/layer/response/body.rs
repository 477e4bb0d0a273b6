//! A response body that is complete from the start.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A body that is complete from the start, of a response that no inner service created.
///
/// Unlike `http_body_util::Full`, it does not print its content: a response may contain tokens.
#[derive(Default)]
pub struct Whole {
    bytes: Option<Bytes>,
}

impl Whole {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self {
            // An empty body has ended from the start: no empty frame is sent.
            bytes: Some(bytes).filter(|bytes| !bytes.is_empty()),
        }
    }

    #[cfg(feature = "server")]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.bytes.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Whole")
    }
}
