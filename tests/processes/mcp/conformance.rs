//! The official conformance suite, which cannot send a token: with a token added in front of the layers, its scenarios
//! have the same results as without the layers.
#![allow(
    deprecated,
    reason = "sampling and logging of older versions have scenarios"
)]

use std::{fs, path::Path, process::Stdio, sync::Arc};

use http::{HeaderValue, Request, header::AUTHORIZATION};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams,
        CompleteResult, CreateMessageRequestParams, GetPromptRequestParams, GetPromptResponse,
        GetPromptResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
        ListToolsResult, LoggingLevel, LoggingMessageNotificationParam, PaginatedRequestParams,
        ProgressNotificationParam, ReadResourceRequestParams, ReadResourceResponse,
        ReadResourceResult, SamplingMessage, ServerConfig, SetLevelRequestParams,
        SubscribeRequestParams, UnsubscribeRequestParams,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    layer::{
        mcp::{McpGuardLayer, McpSessionLayer},
        role_guard::Rule,
    },
    secret::SecretKey,
};

use super::node;
use crate::support::{
    process::Folder,
    vars::{ISSUER, SECRET},
};

/// The server for which the scenarios are written, as far as the layers see a difference.
#[derive(Clone)]
struct Everything;

fn of<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// One transparent pixel, and a WAV file without samples.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";

fn image() -> Value {
    json!({"type": "image", "data": PNG, "mimeType": "image/png"})
}

fn resource(uri: &str) -> Value {
    json!({"type": "resource", "resource": {
        "uri": uri, "mimeType": "text/plain", "text": "This is an embedded resource content.",
    }})
}

const TOOLS: [&str; 9] = [
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_tool_with_logging",
    "test_tool_with_progress",
    "test_error_handling",
    "test_sampling",
];
const PROMPTS: [&str; 4] = [
    "test_simple_prompt",
    "test_prompt_with_arguments",
    "test_prompt_with_embedded_resource",
    "test_prompt_with_image",
];
const RESOURCES: [&str; 3] = [
    "test://static-text",
    "test://static-binary",
    "test://watched-resource",
];
const TEMPLATED: &str = "test://template/123/data";

type Context = RequestContext<RoleServer>;

impl ServerHandler for Everything {
    fn get_info(&self) -> ServerConfig {
        let capabilities = json!({
            "tools": {}, "prompts": {}, "resources": {"subscribe": true}, "logging": {}, "completions": {},
        });
        ServerConfig::new(serde_json::from_value(capabilities).unwrap())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = TOOLS.map(|name| {
            json!({"name": name, "description": name, "inputSchema": {"type": "object", "properties": {}}})
        });
        of(json!({ "tools": tools }))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        let content = match &*request.name {
            "test_simple_text" => vec![text("This is a simple text response for testing.")],
            "test_image_content" => vec![image()],
            "test_audio_content" => {
                vec![json!({"type": "audio", "data": WAV, "mimeType": "audio/wav"})]
            }
            "test_embedded_resource" => vec![resource("test://embedded-resource")],
            "test_multiple_content_types" => vec![
                text("Multiple content types test:"),
                image(),
                resource("test://mixed-content-resource"),
            ],
            "test_tool_with_logging" => {
                for message in [
                    "Tool execution started",
                    "Tool processing data",
                    "Tool execution completed",
                ] {
                    let message =
                        LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(message));
                    let _ = context.peer.notify_logging_message(message).await;
                }
                vec![text("logged")]
            }
            "test_tool_with_progress" => {
                if let Some(token) = context.meta.get_progress_token() {
                    for step in [0.0, 50.0, 100.0] {
                        let step =
                            ProgressNotificationParam::new(token.clone(), step).with_total(100.0);
                        let _ = context.peer.notify_progress(step).await;
                    }
                }
                vec![text("done")]
            }
            "test_sampling" => {
                let question = vec![SamplingMessage::user_text("Test prompt")];
                let question = CreateMessageRequestParams::new(question, 100);
                let answer = context.peer.create_message(question).await;
                vec![text(&format!("LLM response: {answer:?}"))]
            }
            "test_error_handling" => {
                let content = [text("This tool intentionally returns an error for testing")];
                let result: CallToolResult = of(json!({"content": content, "isError": true}))?;
                return Ok(result.into());
            }
            _ => return Err(ErrorData::invalid_params("no such tool", None)),
        };
        let result: CallToolResult = of(json!({ "content": content }))?;
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resources =
            RESOURCES.map(|uri| json!({"uri": uri, "name": uri, "mimeType": "text/plain"}));
        of(json!({ "resources": resources }))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        of(
            json!({"resourceTemplates": [{"uriTemplate": "test://template/{id}/data", "name": "template"}]}),
        )
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: Context,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let contents = match &*request.uri {
            "test://static-binary" => {
                json!({"uri": request.uri, "mimeType": "image/png", "blob": PNG})
            }
            TEMPLATED => json!({
                "uri": request.uri, "mimeType": "application/json", "text": r#"{"id":"123"}"#,
            }),
            _ => json!({
                "uri": request.uri,
                "mimeType": "text/plain",
                "text": "This is the content of the static text resource.",
            }),
        };
        let result: ReadResourceResult = of(json!({"contents": [contents]}))?;
        Ok(result.into())
    }

    async fn subscribe(&self, _: SubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: Context) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: Context,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = PROMPTS.map(|name| json!({"name": name, "description": name}));
        of(json!({ "prompts": prompts }))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: Context,
    ) -> Result<GetPromptResponse, ErrorData> {
        let content = match &*request.name {
            "test_prompt_with_arguments" => text(&format!(
                "Prompt with arguments: {}",
                json!(request.arguments)
            )),
            "test_prompt_with_embedded_resource" => resource("test://example-resource"),
            "test_prompt_with_image" => image(),
            _ => text("This is a simple prompt for testing."),
        };
        let result: GetPromptResult =
            of(json!({"messages": [{"role": "user", "content": content}]}))?;
        Ok(result.into())
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: Context,
    ) -> Result<CompleteResult, ErrorData> {
        of(json!({"completion": {"values": [], "total": 0, "hasMore": false}}))
    }
}

fn everything() -> StreamableHttpService<Everything, LocalSessionManager> {
    StreamableHttpService::new(
        || Ok(Everything),
        Arc::default(),
        StreamableHttpServerConfig::default(),
    )
}

/// Rules that the token of this test satisfies, for every operation.
fn guard() -> McpGuardLayer {
    let mut guard = McpGuardLayer::builder().other_tools(Rule::scope("mcp"));
    for name in TOOLS {
        guard = guard.tool(name, Rule::scope("mcp"));
    }
    for name in PROMPTS {
        guard = guard.prompt(name, Rule::scope("mcp"));
    }
    for uri in RESOURCES.into_iter().chain([TEMPLATED]) {
        guard = guard.resource(uri, Rule::scope("mcp"));
    }
    guard.build().unwrap()
}

/// Runs every scenario. Returns the status of each check, by scenario.
fn results(url: &str, folder: &Path) -> Vec<String> {
    let suite = "/@modelcontextprotocol/conformance/dist/index.js";
    let packages = std::env::var("NODE_PATH").unwrap();
    // A scenario that fails, here for lack of a tool, fails the run too.
    let output = node()
        .arg(format!("{packages}{suite}"))
        .args(["server", "--suite", "all", "--url", url, "-o"])
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut results = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // Without the time at the end of the name.
        let scenario = name.split("-20").next().unwrap().to_owned();
        let checks = fs::read_to_string(entry.path().join("checks.json")).unwrap();
        let checks: Vec<Value> = serde_json::from_str(&checks).unwrap();
        let statuses = checks
            .iter()
            .map(|check| format!("{scenario}: {} {}", check["id"], check["status"]));
        results.extend(statuses);
    }
    results.sort();
    assert!(
        !results.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    results
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Node 22 with the conformance suite of MCP"]
async fn j18_the_layers_change_no_result_of_the_conformance_suite() {
    let verifier = Verifier::hs256(SECRET)
        .issuer(ISSUER)
        .audience("mcp")
        .build()
        .unwrap();
    let issuer = tower_jwt_auth::test_util::TestIssuer::with_secret(
        tower_jwt_auth::key::Algorithm::Hs256,
        SECRET.as_bytes(),
    );
    let token = issuer
        .issuer(ISSUER)
        .audience("mcp")
        .token(|claims| claims.insert("scope".into(), json!("mcp")));
    let credential = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    let add_token = move |mut request: Request<axum::body::Body>| {
        request
            .headers_mut()
            .insert(AUTHORIZATION, credential.clone());
        request
    };
    let layers = ServiceBuilder::new()
        .map_request(add_token)
        .layer(JwtAuthLayer::new(verifier).strip_credential())
        .layer(McpSessionLayer::new(&SecretKey::generate()))
        .layer(guard());
    let apps = [
        axum::Router::new().route_service("/mcp", everything()),
        axum::Router::new().route_service("/mcp", layers.service(everything())),
    ];
    let mut outcomes = Vec::new();
    for app in apps {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let folder = Folder::new();
        let run = tokio::task::spawn_blocking(move || results(&url, folder.path()));
        outcomes.push(run.await.unwrap());
        server.abort();
    }
    let succeeded = outcomes[0].iter().filter(|line| line.contains("SUCCESS"));
    let count = succeeded.count();
    println!(
        "{count} of {} checks succeed without the layers",
        outcomes[0].len()
    );
    assert!(count >= 30, "{:#?}", outcomes[0]);
    assert_eq!(outcomes[0], outcomes[1]);
}
