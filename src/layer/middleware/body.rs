//! The response body of every layer.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::layer::response::Whole;

pin_project! {
    /// The body of a response that comes from the inner service or refuses the request.
    ///
    /// The inner body only needs `Data = Bytes`. The error type is that of the inner body, so that the
    /// type fits in every place in which the inner body fits.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = Projected]
    enum Kind<B> {
        Inner { #[pin] body: B },
        // Boxed, because the other bodies are moved with every response.
        Denied { body: Box<Whole> },
    }
}

impl<B> ResponseBody<B> {
    /// Creates a body that passes the inner service's body through.
    pub(super) fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    /// Creates the body of a response that a layer created.
    pub(super) fn denied(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Denied {
                body: Box::new(Whole::new(bytes)),
            },
        }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            Projected::Inner { body } => body.poll_frame(cx),
            Projected::Denied { body } => {
                let frame = Pin::new(&mut **body).poll_frame(cx);
                frame.map(|frame| frame.map(|frame| frame.map_err(|error| match error {})))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Denied { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Denied { body } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Inner { .. } => "ResponseBody::Inner(..)",
            Kind::Denied { .. } => "ResponseBody::Denied(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{HeaderMap, HeaderValue};
    use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};

    use super::*;

    #[tokio::test]
    async fn a_denied_body_gives_its_bytes_once_with_an_exact_size() {
        let mut body = ResponseBody::<Full<Bytes>>::denied(Bytes::from_static(b"no"));
        assert_eq!(body.size_hint().exact(), Some(2));
        assert!(!body.is_end_stream());

        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "no");
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_empty_denied_body_is_at_its_end_from_the_start() {
        let mut body = ResponseBody::<Full<Bytes>>::denied(Bytes::new());
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn the_inner_body_passes_through_with_its_size_and_its_trailers() {
        let full = ResponseBody::inner(Full::new(Bytes::from_static(b"hello")));
        assert_eq!(full.size_hint().exact(), Some(5));
        assert!(!full.is_end_stream());
        assert_eq!(full.collect().await.unwrap().to_bytes(), "hello");

        let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), HeaderValue::from(1))]);
        let collected = ResponseBody::inner(
            Full::new(Bytes::from_static(b"hello"))
                .with_trailers(std::future::ready(Some(Ok(trailers.clone())))),
        );
        let collected = collected.collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
    }

    #[tokio::test]
    async fn the_error_is_the_inner_bodys() {
        struct Broken;

        impl Body for Broken {
            type Data = Bytes;
            type Error = &'static str;

            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
                Poll::Ready(Some(Err("broken")))
            }
        }

        let error = ResponseBody::inner(Broken).collect().await.unwrap_err();
        assert_eq!(error, "broken");
    }

    #[test]
    fn boxed_bodies_without_default_or_from_bytes_fit() {
        fn is_body<B: Body<Data = Bytes>>(_: &B) {}
        let boxed: UnsyncBoxBody<Bytes, Infallible> = Full::default().boxed_unsync();
        is_body(&ResponseBody::inner(boxed));
    }
}
