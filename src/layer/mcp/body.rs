//! The body of a request that a guard passes on.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a request that an [`McpGuardLayer`](super::McpGuardLayer) passes to the inner service:
    /// the bytes and the trailers of the original body.
    pub struct McpBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = Projected]
    enum Kind<B> {
        // The guard did not read the body.
        Untouched { #[pin] body: B },
        // The guard read the whole body.
        Read { content: Content },
    }
}

/// The content of a body.
#[derive(Default)]
pub(super) struct Content {
    pub(super) bytes: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

impl<B> McpBody<B> {
    pub(super) fn untouched(body: B) -> Self {
        Self {
            kind: Kind::Untouched { body },
        }
    }

    pub(super) fn read(content: Content) -> Self {
        Self {
            kind: Kind::Read { content },
        }
    }
}

impl<B: Body> Body for McpBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            Projected::Untouched { body } => {
                let frame = body.poll_frame(cx);
                // Copies nothing if the data already is `Bytes`.
                let flat = |mut data: B::Data| data.copy_to_bytes(data.remaining());
                frame.map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(flat))))
            }
            Projected::Read { content } => {
                if !content.bytes.is_empty() {
                    let bytes = mem::take(&mut content.bytes);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                let trailers = content.trailers.take();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Untouched { body } => body.is_end_stream(),
            Kind::Read { content } => content.bytes.is_empty() && content.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Untouched { body } => body.size_hint(),
            Kind::Read { content } => {
                SizeHint::with_exact(u64::try_from(content.bytes.len()).unwrap_or(u64::MAX))
            }
        }
    }
}

impl<B> fmt::Debug for McpBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Untouched { .. } => "McpBody::Untouched(..)",
            Kind::Read { .. } => "McpBody::Read(..)",
        })
    }
}

/// The frames of a body so far, up to a limit.
pub(super) struct Collected {
    limit: usize,
    first: Bytes,
    // Used from the second frame on, so that a body of one frame is not copied.
    joined: BytesMut,
    trailers: Option<HeaderMap>,
}

/// A body is longer than the limit.
pub(super) struct TooLong;

impl Collected {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            first: Bytes::new(),
            joined: BytesMut::new(),
            trailers: None,
        }
    }

    pub(super) fn add<D: Buf>(&mut self, frame: Frame<D>) -> Result<(), TooLong> {
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.trailers.get_or_insert_default().extend(trailers);
                }
                return Ok(());
            }
        };
        let length = data.remaining();
        let held = self.first.len() + self.joined.len();
        if length > self.limit.saturating_sub(held) {
            return Err(TooLong);
        }
        if held == 0 {
            self.first = data.copy_to_bytes(length);
        } else {
            if self.joined.is_empty() {
                self.joined.reserve(held + length);
                self.joined.extend_from_slice(&mem::take(&mut self.first));
            }
            while data.has_remaining() {
                let chunk = data.chunk();
                let length = chunk.len();
                self.joined.extend_from_slice(chunk);
                data.advance(length);
            }
        }
        Ok(())
    }

    pub(super) fn into_content(self) -> Content {
        let bytes = match self.joined.is_empty() {
            true => self.first,
            false => self.joined.freeze(),
        };
        Content {
            bytes,
            trailers: self.trailers,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, Full};

    use super::*;

    fn joined(frames: &[&'static str], limit: usize) -> Result<Content, TooLong> {
        let mut collected = Collected::new(limit);
        for frame in frames {
            collected.add(Frame::data(Bytes::from_static(frame.as_bytes())))?;
        }
        Ok(collected.into_content())
    }

    #[tokio::test]
    async fn j18_frames_are_joined_in_order_up_to_the_limit() {
        for frames in [
            &["abcdef"][..],
            &["abc", "def"],
            &["", "a", "", "bcde", "f", ""],
        ] {
            let content = joined(frames, 6).ok().unwrap();
            assert_eq!(content.bytes, "abcdef");
            let body = McpBody::<Full<Bytes>>::read(content);
            assert_eq!(body.size_hint().exact(), Some(6));
            assert!(!body.is_end_stream());
            assert_eq!(body.collect().await.unwrap().to_bytes(), "abcdef");
            assert!(joined(frames, 5).is_err());
        }
        let empty = McpBody::<Full<Bytes>>::read(joined(&[], 0).ok().unwrap());
        assert!(empty.is_end_stream());
    }

    #[tokio::test]
    async fn j18_trailers_are_passed_on_after_the_data() {
        let mut collected = Collected::new(10);
        let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), 1.into())]);
        collected
            .add(Frame::<Bytes>::trailers(trailers.clone()))
            .ok()
            .unwrap();
        let body = McpBody::<Full<Bytes>>::read(collected.into_content());
        assert!(!body.is_end_stream());
        assert_eq!(body.collect().await.unwrap().trailers(), Some(&trailers));
    }

    #[tokio::test]
    async fn a_body_that_was_not_read_keeps_its_frames() {
        let body: Full<Bytes> = Full::from("text");
        let body = McpBody::untouched(body);
        assert_eq!(body.size_hint().exact(), Some(4));
        assert!(!body.is_end_stream());
        let collected: Result<_, Infallible> = body.collect().await;
        assert_eq!(collected.unwrap().to_bytes(), "text");
    }
}
