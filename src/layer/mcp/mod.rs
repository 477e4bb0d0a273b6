//! Guards for servers of the Model Context Protocol (MCP).
//!
//! An MCP server has one endpoint for all its tools, so that a guard of paths cannot tell them apart. A tool
//! cannot refuse a caller with 403 either: the response has begun when it runs, and a client asks for a
//! broader token only after 403 `insufficient_scope`. These layers decide before the server runs:
//!
//! | layer | effect |
//! |---|---|
//! | [`McpGuardLayer`] | requires scopes, roles or a custom condition for methods, tools, prompts and resources |
//! | [`McpSessionLayer`](../../layer/mcp/struct.McpSessionLayer.html) | binds a session to the caller who started it |
//!
//! Both belong inside the layer that authenticates. They work around every tower service that speaks
//! MCP's streamable HTTP, such as the one of `rmcp`. See [the manual](crate::manual::mcp) for a whole server.
//!
//! # Decisions
//!
//! A message must satisfy the [`Rule`](super::role_guard::Rule) of its method, and the rule of the tool,
//! prompt or resource that it names.
//!
//! | a message with | must satisfy |
//! |---|---|
//! | a method that has a rule | that rule |
//! | another method, and a response of the client | the rule for [other methods](McpGuardBuilder::other_methods): any signed-in caller by default |
//! | `tools/call` of a tool that has a rule | that rule too |
//! | `tools/call` of another tool | the rule for [other tools](McpGuardBuilder::other_tools) too; without one it is refused if any tool has a rule |
//! | `prompts/get`; `resources/read`, `subscribe`, `unsubscribe` | the same, by the rules of prompts and resources |
//!
//! Every message of a batch must pass. `GET`, `HEAD`, `DELETE` and `OPTIONS` without content are judged by the
//! rule for other methods.
//!
//! The guard does not look into the arguments of a tool. Three methods reveal something of a thing without its rule, so
//! give them one if that matters: `completion/complete` returns values for a prompt, `subscriptions/listen` reports that
//! a resource changed, and `tasks/result` returns the result of a call to everyone who knows the task, unless the server
//! compares callers.
//!
//! # The body
//!
//! The guard reads the body of a request, and passes the same bytes and trailers on. It refuses what the
//! server may read differently:
//!
//! | body | response |
//! |---|---|
//! | longer than [1 MiB](McpGuardBuilder::max_body) | 413 |
//! | slower than [30 s](McpGuardBuilder::body_timeout) | 408 |
//! | not `application/json`, another charset than UTF-8, or a `Content-Encoding` | 415 |
//! | no JSON-RPC 2.0 message or batch; invalid UTF-8; nested more than 127 levels deep | 400 |
//! | a member that the guard reads twice, or in another spelling (`Method`) | 400 |
//! | `Mcp-Method`, `Mcp-Name` or `MCP-Protocol-Version` twice, malformed, or other than in a message | 400 |
//!
//! These responses are JSON-RPC errors. A mismatch has the code `-32020` of MCP 2026-07-28. The guard
//! compares headers that are present, in every protocol version. It leaves missing ones to the server, unless
//! [`require_headers`](McpGuardBuilder::require_headers) is set.
//!
//! Nothing is read for an anonymous request: 401. A caller who lacks a scope gets 403 `insufficient_scope`
//! with all scopes that the request needs, those of every message of a batch included.
//!
//! # Examples
//!
//! ```
//! use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
//! use http_body_util::Full;
//! use bytes::Bytes;
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_jwt_auth::{
//!     Principal,
//!     layer::{mcp::{McpBody, McpGuardLayer}, role_guard::{Rule, ScopeHierarchy}},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hierarchy = ScopeHierarchy::builder().implies("notes:write", ["notes:read"]).build()?;
//! let guard = McpGuardLayer::builder()
//!     .tool("read_notes", Rule::scope("notes:read"))
//!     .tool("write_note", Rule::scope("notes:write"))
//!     .scope_hierarchy(hierarchy)
//!     .build()?;
//! let server = service_fn(async |_: Request<McpBody<Full<Bytes>>>| {
//!     Ok::<_, std::convert::Infallible>(Response::new(String::new()))
//! });
//! let service = guard.layer(server);
//!
//! // An authenticating layer does this; here it is done by hand.
//! let call = |scope: &str, tool: &str| {
//!     let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#);
//!     let request = Request::post("/mcp").header(CONTENT_TYPE, "application/json");
//!     let mut request = request.body(Full::from(body)).unwrap();
//!     request.extensions_mut().insert(Principal::builder().scope(scope).build());
//!     service.clone().oneshot(request)
//! };
//!
//! assert_eq!(call("notes:write", "read_notes").await?.status(), StatusCode::OK);
//! let refused = call("notes:read", "write_note").await?;
//! assert_eq!(refused.status(), StatusCode::FORBIDDEN);
//! let challenge = refused.headers()["www-authenticate"].to_str()?;
//! assert!(challenge.ends_with(r#"scope="notes:write""#));
//! # Ok(())
//! # }
//! ```

mod body;
mod builder;
mod guard;
mod headers;
mod message;
mod refusal;
mod rules;
mod service;
#[cfg(any(feature = "server", feature = "aws-lc-rs", feature = "rust-crypto"))]
mod session;
mod value;

#[cfg(any(feature = "server", feature = "aws-lc-rs", feature = "rust-crypto"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))))]
pub use self::session::McpSessionLayer;
pub use self::{body::McpBody, builder::McpGuardBuilder, guard::McpGuardLayer};
// Named only to write down the type of a service.
#[doc(hidden)]
pub use self::service::{McpGuardService, Reading};
#[cfg(any(feature = "server", feature = "aws-lc-rs", feature = "rust-crypto"))]
#[doc(hidden)]
pub use self::session::{McpSessionService, SessionTag};
