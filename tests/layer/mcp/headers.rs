//! J17: the headers that repeat parts of a message.

use serde_json::json;
use tower_jwt_auth::{
    error::AuthErrorKind,
    layer::{mcp::McpGuardLayer, role_guard::Rule},
};

use super::*;

const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
const CALL: (&str, &str) = ("mcp-method", "tools/call");

fn builder() -> tower_jwt_auth::layer::mcp::McpGuardBuilder {
    McpGuardLayer::builder()
        .tool("whoami", Rule::authenticated())
        .tool("Hello, 世界", Rule::authenticated())
        .tool("write_note", Rule::scope("notes:write"))
}

async fn ask(guard: &McpGuardLayer, body: &Value, headers: &[(&'static str, &str)]) -> Answer {
    send(guard, with(post("", body.to_string()), headers)).await
}

#[track_caller]
fn mismatch(answer: &Answer, case: &str, id: Value) {
    answer.refused_as_message(case, AuthErrorKind::HeaderMismatch, id, -32020);
}

#[tokio::test]
async fn j17_headers_that_match_or_are_absent_pass() {
    let guard = builder().build().unwrap();
    for headers in [
        &[][..],
        &[CALL],
        &[("mcp-name", "whoami")],
        &[CALL, ("mcp-name", "whoami")],
        &[VERSION, CALL, ("mcp-name", "whoami")],
        &[VERSION, CALL, ("mcp-name", "=?base64?d2hvYW1p?=")],
        &[
            ("mcp-protocol-version", "2025-06-18"),
            CALL,
            ("mcp-name", "whoami"),
        ],
        &[("mcp-protocol-version", "unknown")],
    ] {
        ask(&guard, &tool("whoami"), headers)
            .await
            .passes(&format!("{headers:?}"));
    }
    let encoded = ("mcp-name", "=?base64?SGVsbG8sIOS4lueVjA==?=");
    ask(&guard, &tool("Hello, 世界"), &[VERSION, CALL, encoded])
        .await
        .passes("encoded");
    for (body, headers) in [
        (
            message("resources/read", json!({"uri": "notes://a b"})),
            [
                ("mcp-method", "resources/read"),
                ("mcp-name", "notes://a b"),
            ],
        ),
        (
            message("tasks/get", json!({"taskId": "7"})),
            [("mcp-method", "tasks/get"), ("mcp-name", "7")],
        ),
        // The method names nothing that a guard knows.
        (
            message("custom/method", json!({"name": "x"})),
            [("mcp-method", "custom/method"), ("mcp-name", "y")],
        ),
    ] {
        ask(&guard, &body, &headers).await.passes(&body.to_string());
    }
}

#[tokio::test]
async fn j17_a_header_that_differs_from_the_message_is_400_in_every_version() {
    let guard = builder().build().unwrap();
    for version in [
        None,
        Some("2025-06-18"),
        Some("2025-11-25"),
        Some("2026-07-28"),
    ] {
        for (name, value) in [
            ("mcp-method", "tools/list"),
            ("mcp-method", "Tools/Call"),
            ("mcp-method", "tools/call "),
            ("mcp-method", ""),
            ("mcp-name", "write_note"),
            ("mcp-name", "Whoami"),
            ("mcp-name", "\"whoami\""),
            ("mcp-name", "whoami,whoami"),
            ("mcp-name", ""),
            ("mcp-name", "=?base64?d3JpdGVfbm90ZQ==?="),
            // The markers are case-sensitive.
            ("mcp-name", "=?BASE64?d2hvYW1p?="),
        ] {
            let mut headers = vec![(name, value)];
            headers.extend(version.map(|version| ("mcp-protocol-version", version)));
            let answer = ask(&guard, &tool("whoami"), &headers).await;
            mismatch(&answer, &format!("{headers:?}"), json!(1));
        }
    }
}

#[tokio::test]
async fn j17_malformed_headers_and_two_of_one_name_are_400() {
    let guard = builder().build().unwrap();
    for headers in [
        [CALL, CALL],
        [CALL, ("mcp-method", "tools/list")],
        [("mcp-method", "tools/list"), CALL],
        [("mcp-name", "whoami"), ("mcp-name", "whoami")],
        [VERSION, VERSION],
        [VERSION, ("mcp-protocol-version", "2025-06-18")],
        [CALL, ("mcp-name", "wh\u{F6}ami")],
        [CALL, ("mcp-name", "=?base64?!?=")],
        [CALL, ("mcp-name", "=?base64?d2hvYW1?=")],
        [CALL, ("mcp-name", "=?base64?/w==?=")],
        [("mcp-method", "tools/c\u{E4}ll"), VERSION],
        [CALL, ("mcp-protocol-version", "2026\u{2010}07")],
    ] {
        // They count although no message was read yet, so without its identifier.
        let answer = ask(&guard, &tool("whoami"), &headers).await;
        mismatch(&answer, &format!("{headers:?}"), json!(null));
    }
}

#[tokio::test]
async fn j17_the_version_is_compared_with_the_metadata_of_the_message() {
    let guard = builder().build().unwrap();
    let meta = |version: Value| {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": version});
        message("tools/call", json!({"name": "whoami", "_meta": meta}))
    };
    ask(&guard, &meta(json!("2026-07-28")), &[VERSION])
        .await
        .passes("equal");
    ask(&guard, &meta(json!("2026-07-28")), &[])
        .await
        .passes("left to the server");
    let answer = ask(&guard, &meta(json!("2025-11-25")), &[VERSION]).await;
    mismatch(&answer, "differs", json!(1));
    let answer = ask(&guard, &meta(json!(20260728)), &[VERSION]).await;
    answer.refused("no text", AuthErrorKind::MalformedMessage);
}

#[tokio::test]
async fn j17_headers_are_compared_with_every_message_of_a_batch() {
    let guard = builder().build().unwrap();
    let batch = json!([tool("whoami"), tool("whoami")]);
    let headers = [CALL, ("mcp-name", "whoami")];
    ask(&guard, &batch, &headers).await.passes("equal");
    let batch = json!([tool("whoami"), message("ping", json!({}))]);
    let answer = ask(&guard, &batch, &headers).await;
    mismatch(&answer, "one differs", json!(null));
}

#[tokio::test]
async fn j17_headers_alone_count_only_after_trust_headers() {
    let lying = [VERSION, CALL, ("mcp-name", "whoami")];
    let body = tool("write_note");
    let answer = ask(&builder().build().unwrap(), &body, &lying).await;
    mismatch(&answer, "by the body", json!(1));

    let trusting = builder().trust_headers().build().unwrap();
    let seen = ask(&trusting, &body, &lying).await.passes("by the headers");
    assert_eq!(seen.body, body.to_string());
    // The headers are the ones that are judged.
    let headers = [VERSION, CALL, ("mcp-name", "write_note")];
    let answer = ask(&trusting, &tool("whoami"), &headers).await;
    answer.lacks_scope("by the headers", "notes:write");
    let encoded = [VERSION, CALL, ("mcp-name", "=?base64?d3JpdGVfbm90ZQ==?=")];
    let answer = ask(&trusting, &tool("whoami"), &encoded).await;
    answer.lacks_scope("decoded", "notes:write");
    let headers = [VERSION, CALL, ("mcp-name", "unknown")];
    ask(&trusting, &body, &headers).await.forbidden("unlisted");
}

#[tokio::test]
async fn j17_trusted_headers_need_exactly_one_version_that_obliges_the_server() {
    let trusting = builder().trust_headers().build().unwrap();
    let body = tool("write_note");
    let name = ("mcp-name", "whoami");
    for headers in [
        &[CALL, name][..],
        &[("mcp-protocol-version", "2025-11-25"), CALL, name],
        &[("mcp-protocol-version", "2026-07-27"), CALL, name],
        &[("mcp-protocol-version", "DRAFT-2027"), CALL, name],
        &[
            ("mcp-protocol-version", "2026-07-28, 2026-07-28"),
            CALL,
            name,
        ],
    ] {
        // Judged by the body, with which the headers are compared.
        let answer = ask(&trusting, &body, headers).await;
        mismatch(&answer, &format!("{headers:?}"), json!(1));
    }
    for headers in [&[VERSION][..], &[VERSION, CALL], &[VERSION, name]] {
        let body = match headers.contains(&name) {
            true => tool("whoami"),
            false => body.clone(),
        };
        let answer = ask(&trusting, &body, headers).await;
        match headers.contains(&name) {
            true => drop(answer.passes("by the body")),
            false => answer.lacks_scope("by the body", "notes:write"),
        }
    }
    for headers in [
        [VERSION, VERSION, CALL, name],
        [VERSION, CALL, CALL, name],
        [VERSION, CALL, name, name],
        // A rule has this name, but the header is not encoded.
        [
            VERSION,
            CALL,
            ("mcp-name", "Hello, 世界"),
            ("accept", "*/*"),
        ],
    ] {
        let answer = ask(&trusting, &body, &headers).await;
        mismatch(&answer, &format!("{headers:?}"), json!(null));
    }
}

#[tokio::test]
async fn j18_a_trusted_method_in_another_spelling_is_400() {
    let guard = builder().method("custom/Method", Rule::scope("custom"));
    let trusting = guard.trust_headers().build().unwrap();
    for method in ["Tools/Call", "TOOLS/CALL", "Prompts/get", "custom/method"] {
        let body = message(method, json!({"name": "write_note"}));
        let headers = [VERSION, ("mcp-method", method), ("mcp-name", "write_note")];
        let answer = ask(&trusting, &body, &headers).await;
        answer.refused(method, AuthErrorKind::MalformedMessage);
    }
    for method in ["tools/list", "custom/Methods", "server/discover"] {
        let body = message(method, json!({}));
        let headers = [VERSION, ("mcp-method", method)];
        ask(&trusting, &body, &headers).await.passes(method);
    }
}

#[tokio::test]
async fn j18_older_versions_are_refused_after_require_headers() {
    let strict = builder().require_headers().build().unwrap();
    let name = ("mcp-name", "whoami");
    for headers in [
        &[][..],
        &[CALL, name],
        &[VERSION, CALL],
        &[VERSION, name],
        &[("mcp-protocol-version", "2025-11-25"), CALL, name],
    ] {
        let answer = ask(&strict, &tool("whoami"), headers).await;
        answer.forbidden(&format!("{headers:?}"));
    }
    ask(&strict, &tool("whoami"), &[VERSION, CALL, name])
        .await
        .passes("all headers");
    // Still compared with the body.
    let answer = ask(&strict, &tool("write_note"), &[VERSION, CALL, name]).await;
    mismatch(&answer, "differs", json!(1));
}
