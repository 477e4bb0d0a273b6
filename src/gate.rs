//! The future of the layers that decide at once.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderValue, Response, header::CACHE_CONTROL};
use pin_project_lite::pin_project;

use crate::body::ResponseBody;

pin_project! {
    /// Answers a refusal at once, or waits for the inner service's response.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner service's future and nothing else.
    #[must_use = "futures do nothing unless polled"]
    pub struct GateFuture<F, R> {
        #[pin]
        state: State<F, R>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R> {
        Denied { response: Option<Response<ResponseBody<R>>> },
        Inner { #[pin] future: F },
    }
}

impl<F, R> GateFuture<F, R> {
    pub(crate) fn denied(response: Response<ResponseBody<R>>) -> Self {
        Self {
            state: State::Denied {
                response: Some(response),
            },
        }
    }

    pub(crate) fn inner(future: F) -> Self {
        Self {
            state: State::Inner { future },
        }
    }
}

impl<F, R, E> Future for GateFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            // Polled again after its answer, it has nothing more to say, and does not panic.
            StateProj::Denied { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
            StateProj::Inner { future } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(response.map(ResponseBody::inner)))
            }
        }
    }
}

impl<F, R> fmt::Debug for GateFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Denied { .. } => "denied",
            State::Inner { .. } => "inner",
        };
        f.debug_struct("GateFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// Makes a response one that shared caches do not store: RFC 9111 §3.5 protects the `Authorization`
/// header alone. `no-store` and `private` stay as they are.
pub(crate) fn keep_private(headers: &mut HeaderMap) {
    let mut kept = b"private".to_vec();
    for line in headers.get_all(CACHE_CONTROL) {
        for directive in directives(line.as_bytes()) {
            let name = directive.split(|byte| *byte == b'=').next();
            let name = name.unwrap_or_default().trim_ascii();
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            // `private="set-cookie"` protects that field alone (RFC 9111 §5.2.2.7).
            if is(b"no-store") || (is(b"private") && name.len() == directive.len()) {
                return;
            }
            if !is(b"private") && !is(b"public") && !is(b"s-maxage") {
                kept.extend_from_slice(b", ");
                kept.extend_from_slice(directive);
            }
        }
    }
    let private = const { HeaderValue::from_static("private") };
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::try_from(kept).unwrap_or(private),
    );
}

/// The directives of one line, which commas separate outside of quoted strings (RFC 9110 §5.6.4).
fn directives(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let split = line.split(move |byte| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'"' if !was_escaped => quoted = !quoted,
            b'\\' if quoted && !was_escaped => escaped = true,
            _ => {}
        }
        *byte == b',' && !quoted
    });
    let trimmed = split.map(<[u8]>::trim_ascii);
    trimmed.filter(|directive| !directive.is_empty())
}
