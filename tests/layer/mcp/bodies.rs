//! J18: the look into the body is bounded, and the same bytes are passed on.

use std::{collections::VecDeque, time::Duration};

use bytes::Buf;
use http_body::{Frame, SizeHint};
use serde_json::json;
use tower::limit::ConcurrencyLimitLayer;
use tower_jwt_auth::{
    error::AuthErrorKind,
    layer::{mcp::McpGuardLayer, role_guard::Rule},
};

use super::*;

fn guard() -> McpGuardLayer {
    limited(1024 * 1024)
}

fn limited(bytes: usize) -> McpGuardLayer {
    McpGuardLayer::builder()
        .tool("whoami", Rule::authenticated())
        .max_body(bytes)
        .build()
        .unwrap()
}

/// A body of these frames. `None` is one for which the reader has to wait.
struct Frames {
    frames: VecDeque<Option<Result<Frame<Bytes>, &'static str>>>,
    ends: bool,
    declared: Option<u64>,
}

impl Frames {
    fn new(frames: impl IntoIterator<Item = Option<Result<Frame<Bytes>, &'static str>>>) -> Self {
        Self {
            frames: frames.into_iter().collect(),
            ends: true,
            declared: None,
        }
    }

    fn of_bytes(bytes: &[u8], size: usize) -> Self {
        let data = bytes.chunks(size).map(Bytes::copy_from_slice);
        Self::new(data.flat_map(|data| [None, Some(Ok(Frame::data(data)))]))
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match self.frames.pop_front() {
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Some(frame)) => Poll::Ready(Some(frame)),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.map_or(SizeHint::new(), SizeHint::with_exact)
    }
}

fn of<B>(body: B) -> Request<B> {
    post("", Bytes::new()).map(|_| body)
}

#[tokio::test]
async fn j18_the_same_bytes_and_trailers_are_passed_on() {
    let body = format!(" {}\r\n\t", tool("whoami"));
    for size in [1, 2, 7, 1000] {
        let mut frames = Frames::of_bytes(body.as_bytes(), size);
        let trailers = HeaderMap::from_iter([("x-checksum".parse().unwrap(), 7.into())]);
        frames
            .frames
            .push_back(Some(Ok(Frame::trailers(trailers.clone()))));
        let request = with(of(frames), &[("content-length", "130"), ("x-own", "kept")]);
        let seen = send(&guard(), request).await.passes("frames");
        assert_eq!(seen.body, body);
        assert_eq!(seen.trailers, Some(trailers));
        assert_eq!(seen.headers["content-length"], "130");
        assert_eq!(seen.headers["x-own"], "kept");
    }
}

#[tokio::test]
async fn j18_a_body_over_the_limit_is_413() {
    let body = tool("whoami").to_string();
    let length = body.len();
    send(&limited(length), post("", body.clone()))
        .await
        .passes("at the limit");
    let kind = AuthErrorKind::OversizedMessage;
    let short = limited(length - 1);
    let answer = send(&short, post("", body.clone())).await;
    answer.refused_as_message("declared", kind, json!(null), -32600);
    for size in [1, 10, length] {
        let answer = send(&short, of(Frames::of_bytes(body.as_bytes(), size))).await;
        answer.refused_as_message("not declared", kind, json!(null), -32600);
    }
    // A declared length is enough; no frame is read.
    let mut never = Frames::new([]);
    never.ends = false;
    never.declared = Some(length as u64);
    let answer = send(&short, of(never)).await;
    answer.refused_as_message("never sent", kind, json!(null), -32600);

    let padded = |length: usize| {
        let empty = message("tools/call", json!({"name": "whoami", "x": ""})).to_string();
        let text = "x".repeat(length - empty.len());
        message("tools/call", json!({"name": "whoami", "x": text})).to_string()
    };
    send(&guard(), post("", padded(1024 * 1024)))
        .await
        .passes("1 MiB");
    let answer = send(&guard(), post("", padded(1024 * 1024 + 1))).await;
    answer.refused_as_message("over 1 MiB", kind, json!(null), -32600);
}

#[tokio::test]
async fn j18_a_slow_body_is_408() {
    let body = tool("whoami").to_string();
    let mut stops = Frames::of_bytes(body.as_bytes(), 10);
    stops.frames.pop_back();
    stops.ends = false;
    let quick = McpGuardLayer::builder()
        .body_timeout(Duration::from_millis(20))
        .build()
        .unwrap();
    let answer = send(&quick, of(stops)).await;
    let kind = AuthErrorKind::SlowMessage;
    answer.refused_as_message("stops", kind, json!(null), -32600);
}

/// No clock counts to the end of the longest duration.
#[tokio::test]
async fn j18_the_time_for_a_body_may_have_no_limit() {
    let body = tool("whoami").to_string();
    let patient = McpGuardLayer::builder().body_timeout(Duration::MAX);
    let patient = patient
        .tool("whoami", Rule::authenticated())
        .build()
        .unwrap();
    let frames = Frames::of_bytes(body.as_bytes(), 10);
    send(&patient, of(frames)).await.passes("in frames");
}

#[tokio::test]
async fn j18_a_body_that_breaks_off_is_not_judged() {
    let body = tool("whoami").to_string();
    let mut breaks = Frames::of_bytes(body.as_bytes(), 10);
    breaks.frames.push_back(Some(Err("broken")));
    let answer = send(&guard(), of(breaks)).await;
    answer.refused("broken", AuthErrorKind::MalformedMessage);
}

#[tokio::test]
async fn many_empty_frames_neither_pass_nor_keep_the_task_busy() {
    let body = tool("whoami").to_string();
    let empty = (0..10_000).map(|_| Some(Ok(Frame::data(Bytes::new()))));
    let last = Some(Ok(Frame::data(Bytes::from(body.clone()))));
    let seen = send(&guard(), of(Frames::new(empty.chain([last]))))
        .await
        .passes("empty frames");
    assert_eq!(seen.body, body);
}

#[tokio::test]
async fn j18_content_types_and_codings_that_are_not_plain_json_are_415() {
    let body = tool("whoami").to_string();
    for (headers, passes) in [
        (&[("content-type", "application/json")][..], true),
        (&[("content-type", "Application/JSON; charset=UTF-8")], true),
        (
            &[("content-type", "application/json;charset=\"utf-8\"")],
            true,
        ),
        (&[("content-type", "application/json; x=y")], true),
        (
            &[
                ("content-type", "application/json"),
                ("content-encoding", "identity"),
            ],
            true,
        ),
        (&[], false),
        (&[("content-type", "")], false),
        (&[("content-type", "text/plain")], false),
        (&[("content-type", "application/jsonp")], false),
        (&[("content-type", "application/json-rpc")], false),
        (&[("content-type", "application/grpc")], false),
        (&[("content-type", "application/json, text/plain")], false),
        (
            &[("content-type", "application/json; charset=utf-16")],
            false,
        ),
        (
            &[(
                "content-type",
                "application/json; charset=utf-8; charset=utf-7",
            )],
            false,
        ),
        (
            &[
                ("content-type", "application/json"),
                ("content-type", "application/json"),
            ],
            false,
        ),
        (
            &[
                ("content-type", "application/json"),
                ("content-encoding", "gzip"),
            ],
            false,
        ),
        (
            &[
                ("content-type", "application/json"),
                ("content-encoding", "identity, br"),
            ],
            false,
        ),
        (
            &[
                ("content-type", "application/json"),
                ("content-encoding", "identity"),
                ("content-encoding", "gzip"),
            ],
            false,
        ),
    ] {
        let mut request = post("", body.clone());
        request.headers_mut().clear();
        let answer = send(&guard(), with(request, headers)).await;
        let case = format!("{headers:?}");
        match passes {
            true => drop(answer.passes(&case)),
            false => {
                let kind = AuthErrorKind::UnsupportedMessage;
                answer.refused_as_message(&case, kind, json!(null), -32600);
            }
        }
    }
}

#[tokio::test]
async fn methods_that_carry_no_message_must_have_no_content() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let mut request = post("", tool("whoami").to_string());
        *request.method_mut() = method.parse().unwrap();
        let answer = send(&guard(), request).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{method}");
        assert!(answer.seen.is_none());
        // The end of an empty HTTP/2 body may come later.
        let mut request = of(Frames::new([None, Some(Ok(Frame::data(Bytes::new())))]));
        *request.method_mut() = method.parse().unwrap();
        send(&guard(), request).await.passes(method);
    }
    // Every other method may carry one.
    for method in ["PUT", "PATCH", "QUERY"] {
        let mut request = post("", tool("write_note").to_string());
        *request.method_mut() = method.parse().unwrap();
        send(&guard(), request).await.forbidden(method);
    }
}

/// Data in two pieces.
struct Split([Bytes; 2]);

impl Buf for Split {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        match self.0[0].is_empty() {
            true => &self.0[1],
            false => &self.0[0],
        }
    }

    fn advance(&mut self, count: usize) {
        for piece in &mut self.0 {
            let here = count.min(piece.len());
            piece.advance(here);
            if here > 0 {
                break;
            }
        }
    }
}

#[tokio::test]
async fn the_data_of_a_body_may_be_of_any_type() {
    let text = tool("whoami").to_string();
    let (first, second) = text.split_at(20);
    let split = || Split([first, second].map(|piece| Bytes::copy_from_slice(piece.as_bytes())));
    let seen = send(&guard(), of(Full::new(split()))).await.passes("read");
    assert_eq!(seen.body, text);
    let trusting = McpGuardLayer::builder().trust_headers().build().unwrap();
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "whoami"),
    ];
    let seen = send(&trusting, with(of(Full::new(split())), &headers)).await;
    assert_eq!(seen.passes("not read").body, text);
}

#[tokio::test]
async fn a_request_whose_body_is_read_holds_no_permit() {
    let service = tower::ServiceBuilder::new()
        .layer(guard())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(Server::default());
    let mut never = Frames::new([]);
    never.ends = false;
    let reading = tokio::spawn(service.clone().oneshot(of(never)));
    tokio::task::yield_now().await;
    let body = Frames::of_bytes(tool("whoami").to_string().as_bytes(), 10);
    let response = service.oneshot(of(body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    reading.abort();
}
