//! J18: messages that the server could read differently are refused.

use serde_json::json;
use tower_jwt_auth::{
    error::AuthErrorKind,
    layer::{mcp::McpGuardLayer, role_guard::Rule},
};

use super::*;

fn guard() -> McpGuardLayer {
    McpGuardLayer::builder()
        .tool("whoami", Rule::authenticated())
        .tool("write_note", Rule::scope("notes:write"))
        .method("custom/Method", Rule::authenticated())
        .build()
        .unwrap()
}

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;

#[tokio::test]
async fn j18_single_messages_and_batches_are_read() {
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let result = json!({"jsonrpc": "2.0", "id": 7, "result": {"name": "write_note"}});
    let failure = json!({"jsonrpc": "2.0", "id": null, "error": {"code": 1, "message": "x"}});
    for body in [
        tool("whoami"),
        notification.clone(),
        result.clone(),
        failure.clone(),
        json!([tool("whoami")]),
        json!([tool("whoami"), notification, result, failure]),
        json!({"jsonrpc": "2.0", "id": "text", "method": "ping"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": null}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1, {"name": 2}]}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"name": 5, "Name": 6}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "extra": {"method": "x"}}),
    ] {
        let body = body.to_string();
        let seen = send(&guard(), post("", body.clone())).await.passes(&body);
        assert_eq!(seen.body, body);
    }
    // Names are compared after the escapes of JSON.
    let escaped = r#"{"jsonrpc":"2.0","id":1,"m\u0065thod":"tools\/call","params":{"n\u0061me":"write\u005fnote"}}"#;
    send(&guard(), post("", escaped))
        .await
        .lacks_scope("escaped", "notes:write");
}

#[tokio::test]
async fn j18_every_message_of_a_batch_must_pass() {
    for batch in [
        json!([tool("whoami"), tool("write_note")]),
        json!([tool("write_note"), tool("whoami")]),
        json!([
            tool("whoami"),
            tool("whoami"),
            tool("write_note"),
            tool("whoami")
        ]),
    ] {
        send(&guard(), post("", batch.to_string()))
            .await
            .lacks_scope("batch", "notes:write");
    }
}

#[tokio::test]
async fn j18_content_that_is_not_json_is_refused() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let nested = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"whoami","arguments":{deep}}}}}"#
    );
    let bom = format!("\u{FEFF}{}", tool("whoami"));
    let trailing = format!("{} {}", tool("whoami"), tool("write_note"));
    let comment = format!("{} // whoami", tool("whoami"));
    for body in ["", " ", "{", "whoami", &nested, &bom, &trailing, &comment] {
        let answer = send(&guard(), post("notes:write", body.to_owned())).await;
        let kind = AuthErrorKind::MalformedMessage;
        answer.refused_as_message(body, kind, json!(null), PARSE_ERROR);
    }
    let mut broken = tool("whoami").to_string().into_bytes();
    for byte in &mut broken {
        if *byte == b'w' {
            *byte = 0xFF;
        }
    }
    let answer = send(&guard(), post("notes:write", broken)).await;
    let kind = AuthErrorKind::MalformedMessage;
    answer.refused_as_message("UTF-8", kind, json!(null), PARSE_ERROR);
}

#[tokio::test]
async fn j18_json_that_is_no_message_or_an_ambiguous_one_is_refused() {
    for body in [
        // No message.
        "null",
        "1",
        r#""whoami""#,
        "{}",
        "[]",
        "[[]]",
        "[1]",
        r#"[{"jsonrpc":"2.0","method":"ping"},1]"#,
        r#"[[{"jsonrpc":"2.0","method":"ping"}]]"#,
        r#"{"method":"ping","id":1}"#,
        r#"{"jsonrpc":"1.0","method":"ping","id":1}"#,
        r#"{"jsonrpc":2.0,"method":"ping","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"params":{"name":"whoami"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":["ping"]}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#,
        // Without the name that the method needs.
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["whoami"]}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":null}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["whoami"]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"uri":"whoami"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"name":"whoami"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"name":"whoami"}}"#,
        // Two answers to one question.
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","jsonrpc":"2.0","method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"params":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","name":"write_note"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","n\u0061me":"write_note"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","error":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{},"_meta":{}}}"#,
        // Another spelling, which parsers without case read as the member.
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"Method":"ping"}"#,
        r#"{"JSONRPC":"2.0","jsonrpc":"2.0","method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","NAME":"write_note"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"whoami","name":"whoami"}}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"whoami\"},\"param\u{17F}\":{}}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tasks/get\",\"params\":{\"taskId\":\"1\",\"tas\u{212A}Id\":\"2\"}}",
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_Meta":{}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"write_note"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"custom/method"}"#,
    ] {
        let answer = send(&guard(), post("notes:write", body)).await;
        let id = match body.contains("ools/Call") || body.contains("custom/method") {
            // Read whole, and refused then.
            true => json!(1),
            false => json!(null),
        };
        let kind = AuthErrorKind::MalformedMessage;
        answer.refused_as_message(body, kind, id, INVALID_REQUEST);
    }
}

#[tokio::test]
async fn j18_a_refusal_repeats_nothing_of_the_message_but_its_identifier() {
    let secret = "hunter2";
    for body in [
        json!({"jsonrpc": "2.0", "id": 1, "method": {"x": secret}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": secret}),
        json!({"jsonrpc": secret, "id": 1, "method": "ping"}),
        json!({"jsonrpc": "2.0", "id": [secret], "method": "ping"}),
        json!({"jsonrpc": "2.0", "id": secret.repeat(100), "method": "Tools/call", "params": {"name": secret}}),
    ] {
        let body = body.to_string();
        let answer = send(&guard(), post("", body.clone())).await;
        answer.refused(&body, AuthErrorKind::MalformedMessage);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let error = answer.error.unwrap();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(!text.contains(secret), "{text}");
        assert!(!cause.contains(secret), "{cause}");
    }
}
