//! J13, J19, J20: the rules of methods, tools, prompts and resources.

use http::{Method, Request};
use http_body_util::Empty;
use serde_json::json;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    ConfigError,
    error::AuthErrorKind,
    layer::{
        mcp::{McpGuardBuilder, McpGuardLayer},
        role_guard::{RoleHierarchy, Rule, ScopeHierarchy},
    },
};

use super::*;
use crate::support::fixture::Fixture;

fn notes() -> McpGuardBuilder {
    McpGuardLayer::builder()
        .tool("whoami", Rule::authenticated())
        .tool("read_notes", Rule::scope("notes:read"))
        .tool("write_note", Rule::scope("notes:write"))
}

#[tokio::test]
async fn j19_a_tool_without_a_rule_is_refused_as_soon_as_any_tool_has_one() {
    let guard = notes().build().unwrap();
    for name in [
        "",
        "unknown",
        "Whoami",
        "whoami ",
        "WHOAMI",
        "read_notes\u{0}",
    ] {
        let answer = send(
            &guard,
            post("notes:read notes:write", tool(name).to_string()),
        )
        .await;
        answer.forbidden(name);
    }
    send(&guard, post("", tool("whoami").to_string()))
        .await
        .passes("whoami");
}

#[tokio::test]
async fn j19_without_any_rule_of_a_tool_every_tool_passes_by_the_rule_of_its_method() {
    let guard = McpGuardLayer::builder()
        .method("tools/call", Rule::scope("tools"))
        .build()
        .unwrap();
    send(&guard, post("tools", tool("any").to_string()))
        .await
        .passes("any");
    let answer = send(&guard, post("", tool("any").to_string())).await;
    answer.lacks_scope("any", "tools");
}

#[tokio::test]
async fn j19_the_rule_for_other_tools_replaces_the_refusal() {
    let guard = notes().other_tools(Rule::scope("other")).build().unwrap();
    send(&guard, post("other", tool("unknown").to_string()))
        .await
        .passes("unknown");
    let answer = send(&guard, post("notes:read", tool("unknown").to_string())).await;
    answer.lacks_scope("unknown", "other");
    // It is not a rule for tools that have their own.
    send(&guard, post("notes:read", tool("read_notes").to_string()))
        .await
        .passes("read_notes");
}

#[tokio::test]
async fn j19_prompts_and_resources_have_rules_as_tools_have() {
    let guard = notes()
        .prompt("summary", Rule::scope("notes:read"))
        .resource("notes://all", Rule::scope("notes:read"))
        .resource("notes://audit", Rule::any_of(["auditor"]))
        .build()
        .unwrap();
    for (method, member, name, allowed) in [
        ("prompts/get", "name", "summary", true),
        ("prompts/get", "name", "other", false),
        ("resources/read", "uri", "notes://all", true),
        ("resources/subscribe", "uri", "notes://all", true),
        ("resources/unsubscribe", "uri", "notes://all", true),
        ("resources/read", "uri", "notes://audit", false),
        ("resources/subscribe", "uri", "notes://audit", false),
        ("resources/read", "uri", "notes://x/../all", false),
        ("resources/read", "uri", "NOTES://all", false),
        // Nothing is restricted about a list.
        ("prompts/list", "cursor", "x", true),
        ("resources/templates/list", "cursor", "x", true),
    ] {
        let body = message(method, json!({ member: name })).to_string();
        let answer = send(&guard, post("notes:read", body.clone())).await;
        match allowed {
            true => drop(answer.passes(&body)),
            false => answer.forbidden(&body),
        }
    }
    let body = message("prompts/get", json!({"name": "summary"})).to_string();
    send(&guard, post("", body))
        .await
        .lacks_scope("summary", "notes:read");
}

#[tokio::test]
async fn j13_a_refusal_names_the_scopes_of_the_operation_together() {
    let guard = notes()
        .method("tools/call", Rule::scope("tools"))
        .tool("move_note", Rule::scope("notes:write notes:read"))
        .build()
        .unwrap();
    // Also the scopes that the caller holds, so that a token with the named scopes is enough.
    for held in ["", "tools", "notes:write", "tools notes:read"] {
        let answer = send(&guard, post(held, tool("move_note").to_string())).await;
        answer.lacks_scope(held, "notes:read notes:write tools");
    }
    send(
        &guard,
        post(
            "tools notes:read notes:write",
            tool("move_note").to_string(),
        ),
    )
    .await
    .passes("all");
}

#[tokio::test]
async fn j20_the_refusal_of_a_batch_names_the_scopes_of_all_its_messages() {
    let guard = notes().build().unwrap();
    let batch = json!([tool("whoami"), tool("read_notes"), tool("write_note")]).to_string();
    for held in ["", "notes:read", "notes:write"] {
        let answer = send(&guard, post(held, batch.clone())).await;
        answer.lacks_scope(held, "notes:read notes:write");
    }
    send(&guard, post("notes:read notes:write", batch))
        .await
        .passes("both");
    // No scope helps where one message is refused whatever the scope is.
    let batch = json!([tool("read_notes"), tool("unknown")]).to_string();
    send(&guard, post("", batch)).await.forbidden("unknown");
}

#[tokio::test]
async fn j14_a_broader_scope_satisfies_the_rule_of_a_tool() {
    let hierarchy = ScopeHierarchy::builder()
        .implies("notes:write", ["notes:read"])
        .build()
        .unwrap();
    let guard = notes().scope_hierarchy(hierarchy).build().unwrap();
    send(&guard, post("notes:write", tool("read_notes").to_string()))
        .await
        .passes("implied");
    let answer = send(&guard, post("notes:read", tool("write_note").to_string())).await;
    answer.lacks_scope("not implied", "notes:write");
    let answer = send(&guard, post("", tool("read_notes").to_string())).await;
    answer.lacks_scope("the narrow one", "notes:read");
}

#[tokio::test]
async fn a_role_hierarchy_applies_to_every_rule() {
    let hierarchy = RoleHierarchy::builder()
        .implies("admin", ["editor"])
        .build()
        .unwrap();
    let guard = McpGuardLayer::builder()
        .tool("edit", Rule::any_of(["editor"]))
        .hierarchy(&hierarchy)
        .build()
        .unwrap();
    for (role, passes) in [("admin", true), ("editor", true), ("viewer", false)] {
        let mut request = post("", tool("edit").to_string());
        let caller = Principal::builder().roles([role]).build();
        request.extensions_mut().insert(caller);
        assert_eq!(send(&guard, request).await.seen.is_some(), passes, "{role}");
    }
}

#[tokio::test]
async fn other_methods_need_a_signed_in_caller_by_default() {
    let guard = notes()
        .method("completion/complete", Rule::scope("complete"))
        .build()
        .unwrap();
    for method in [
        "initialize",
        "ping",
        "tools/list",
        "server/discover",
        "custom/method",
    ] {
        let body = message(method, json!({})).to_string();
        send(&guard, post("", body)).await.passes(method);
    }
    let body = message("completion/complete", json!({})).to_string();
    send(&guard, post("", body))
        .await
        .lacks_scope("own rule", "complete");
}

#[tokio::test]
async fn responses_and_requests_without_a_message_need_the_rule_for_other_methods() {
    let guard = notes().other_methods(Rule::scope("mcp")).build().unwrap();
    let response = json!({"jsonrpc": "2.0", "id": 1, "result": {}}).to_string();
    for (scope, passes) in [("mcp", true), ("", false)] {
        let answer = send(&guard, post(scope, response.clone())).await;
        assert_eq!(answer.seen.is_some(), passes);
        for method in [Method::GET, Method::DELETE, Method::HEAD, Method::OPTIONS] {
            let mut request = Request::new(Empty::<Bytes>::new());
            *request.method_mut() = method;
            request.extensions_mut().insert(caller(scope));
            assert_eq!(send(&guard, request).await.seen.is_some(), passes);
        }
    }
}

#[tokio::test]
async fn nothing_is_read_for_an_anonymous_request() {
    struct Untouchable;

    impl Body for Untouchable {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            panic!("the body was read")
        }
    }

    let guard = notes().build().unwrap();
    let request = || Request::post("/mcp").body(Untouchable).unwrap();
    let answer = send(&guard, request()).await;
    answer.refused("no layer around", AuthErrorKind::Misconfigured);

    let layers = ServiceBuilder::new()
        .layer(Fixture::new().layer().optional())
        .layer(guard);
    let answer = through(layers, request()).await;
    answer.refused("anonymous", AuthErrorKind::MissingCredential);
    assert!(answer.headers.contains_key("www-authenticate"));
}

#[test]
fn a_guard_with_a_mistake_is_not_built() {
    for (builder, setting) in [
        (notes().tool("whoami", Rule::authenticated()), "tool"),
        (notes().tool("", Rule::authenticated()), "tool"),
        (notes().tool("x", Rule::scope("")), "rule"),
        (notes().other_tools(Rule::any_of([""])), "rule"),
        (notes().prompt("", Rule::authenticated()), "prompt"),
        (notes().resource("", Rule::authenticated()), "resource"),
        (notes().method("", Rule::authenticated()), "method"),
        (notes().other_methods(Rule::scope("a\"")), "rule"),
        (notes().max_body(0), "max_body"),
        (
            notes().body_timeout(std::time::Duration::ZERO),
            "body_timeout",
        ),
    ] {
        match builder.build() {
            Err(ConfigError::Invalid { name, .. }) => assert_eq!(name, setting),
            other => panic!("{setting}: {other:?}"),
        }
    }
}
