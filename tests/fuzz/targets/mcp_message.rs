//! Any bytes as the body of a request to an MCP server: whatever passes the guard calls no tool without a rule, for a
//! parser that takes the last of two equal members and compares their names without case too.

#![no_main]

use std::{
    convert::Infallible,
    pin::pin,
    sync::{LazyLock, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::{
    Principal,
    layer::{
        mcp::{McpBody, McpGuardLayer},
        role_guard::Rule,
    },
};

static GUARD: LazyLock<McpGuardLayer> = LazyLock::new(|| {
    let guard = McpGuardLayer::builder().tool("whoami", Rule::authenticated());
    guard.build().unwrap()
});
static SEEN: Mutex<Option<Bytes>> = Mutex::new(None);

fuzz_target!(|body: &[u8]| {
    let body = Bytes::copy_from_slice(body);
    let request = Request::post("/mcp").header(CONTENT_TYPE, "application/json");
    let mut request = request.body(Full::new(body.clone())).unwrap();
    request
        .extensions_mut()
        .insert(Principal::builder().subject("alice").build());

    *SEEN.lock().unwrap() = None;
    let mut service = GUARD.layer(service_fn(async |request: Request<McpBody<Full<Bytes>>>| {
        let body = request.into_body().collect().await.unwrap();
        *SEEN.lock().unwrap() = Some(body.to_bytes());
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let mut answer = pin!(service.call(request));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(answer)) = answer.as_mut().poll(&mut cx) else {
        panic!("the body is there");
    };
    let seen = SEEN.lock().unwrap().take();
    match answer.status() {
        StatusCode::OK => assert_eq!(seen, Some(body.clone()), "other bytes"),
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => return assert!(seen.is_none()),
        status => panic!("{status}"),
    }
    let content: Value = serde_json::from_slice(&body).expect("JSON");
    let messages = match &content {
        Value::Array(messages) => messages.as_slice(),
        message => std::slice::from_ref(message),
    };
    assert!(!messages.is_empty());
    for message in messages {
        for method in members(message, "method") {
            if method.as_str().unwrap().eq_ignore_ascii_case("tools/call") {
                for params in members(message, "params") {
                    let names: Vec<_> = members(params, "name").collect();
                    assert_eq!(names, ["whoami"]);
                }
            }
        }
    }
});

/// The members of this name, in every spelling.
fn members<'a>(object: &'a Value, name: &'a str) -> impl Iterator<Item = &'a Value> {
    let members = object.as_object().into_iter().flatten();
    members
        .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}
