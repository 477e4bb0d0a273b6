//! The server and the client of `rmcp`, and the layers between them.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http::{
    HeaderMap, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST},
    request::Parts,
};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rmcp::{
    ClientLifecycleMode, ClientServiceExt, RoleClient, ServerHandler, ServiceError,
    handler::server::{router::tool::ToolRouter, tool::Extension},
    model::{CallToolRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig},
    service::RunningService,
    tool, tool_handler, tool_router,
    transport::{
        StreamableHttpClientTransport, UnixSocketHttpClient,
        streamable_http_client::StreamableHttpClientTransportConfig,
        streamable_http_server::{
            StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
        },
    },
};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_jwt_auth::{
    JwtAuthLayer, Principal,
    layer::{
        mcp::{McpGuardBuilder, McpGuardLayer, McpSessionLayer},
        role_guard::{Rule, ScopeHierarchy},
    },
    secret::SecretKey,
};

use crate::support::tokens;

/// A server with the tools of `examples/mcp.rs`.
#[derive(Clone)]
struct Notes {
    tools: ToolRouter<Self>,
    /// Set when `write_note` ran.
    written: Arc<AtomicBool>,
}

#[tool_router(router = tools)]
impl Notes {
    #[tool(description = "Returns the subject of the caller")]
    async fn whoami(&self, Extension(parts): Extension<Parts>) -> String {
        let credential = parts.headers.contains_key(AUTHORIZATION);
        assert!(!credential, "the token reached the server");
        let caller = parts.extensions.get::<Principal>();
        caller
            .and_then(Principal::subject)
            .unwrap_or("nobody")
            .to_owned()
    }

    #[tool(description = "Returns the notes")]
    async fn read_notes(&self) -> String {
        "notes".to_owned()
    }

    #[tool(description = "Writes a note")]
    async fn write_note(&self) -> String {
        self.written.store(true, Ordering::Relaxed);
        "written".to_owned()
    }
}

#[tool_handler(router = self.tools)]
impl ServerHandler for Notes {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

type Mcp = StreamableHttpService<Notes, LocalSessionManager>;

/// A server, and the mark that `write_note` ran.
fn server(sessions: bool) -> (Mcp, Arc<AtomicBool>) {
    let written = Arc::new(AtomicBool::new(false));
    let notes = Notes {
        tools: Notes::tools(),
        written: Arc::clone(&written),
    };
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(sessions)
        .with_json_response(true);
    let service = StreamableHttpService::new(move || Ok(notes.clone()), Arc::default(), config);
    (service, written)
}

fn guard() -> McpGuardBuilder {
    let hierarchy = ScopeHierarchy::builder()
        .implies("notes:write", ["notes:read"])
        .build()
        .unwrap();
    McpGuardLayer::builder()
        .tool("whoami", Rule::authenticated())
        .tool("read_notes", Rule::scope("notes:read"))
        .tool("write_note", Rule::scope("notes:write"))
        .scope_hierarchy(hierarchy)
}

fn auth() -> JwtAuthLayer {
    tokens::layer().strip_credential()
}

fn token(subject: &str, scope: &str) -> String {
    tokens::issuer().token(|claims| {
        claims.insert("sub".into(), subject.into());
        claims.insert("scope".into(), scope.into())
    })
}

/// The two generations of the protocol.
const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// A call of a tool in one of the generations, with headers that name one.
fn call(version: &str, in_body: &str, in_headers: Option<&str>) -> Request<Full<Bytes>> {
    let mut params = json!({"name": in_body, "arguments": {}});
    if version == MODERN {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
    }
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
    let mut request = Request::post("/mcp")
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json, text/event-stream")
        .header("mcp-protocol-version", version);
    if let Some(name) = in_headers {
        request = request
            .header("mcp-method", "tools/call")
            .header("mcp-name", name);
    }
    request.body(Full::from(body.to_string())).unwrap()
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

async fn ask<S, B, R>(service: S, request: Request<B>) -> Answer
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
    R: Body<Error: std::fmt::Debug>,
{
    let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    }
}

const MISMATCH: i32 = -32020;

#[tokio::test]
async fn j17_rmcp_compares_headers_with_the_body_from_2026_07_28_on_and_not_before() {
    let (mcp, written) = server(false);
    let answer = ask(mcp.clone(), call(MODERN, "write_note", Some("whoami"))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.body["error"]["code"], MISMATCH);
    assert_eq!(answer.body["id"], 7);
    // Headers are required there.
    let answer = ask(mcp.clone(), call(MODERN, "write_note", None)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(!written.load(Ordering::Relaxed));

    // So headers alone must not count in an older version: the tool of the body runs.
    let answer = ask(mcp, call(LEGACY, "write_note", Some("whoami"))).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(written.load(Ordering::Relaxed));
}

#[tokio::test]
async fn j17_the_guard_refuses_a_header_that_differs_in_both_generations() {
    for trusts in [false, true] {
        let guard = match trusts {
            true => guard().trust_headers().build().unwrap(),
            false => guard().build().unwrap(),
        };
        for version in [LEGACY, MODERN] {
            let (mcp, written) = server(false);
            let service = ServiceBuilder::new()
                .layer(auth())
                .layer(guard.clone())
                .service(mcp);
            let with_token = |mut request: Request<Full<Bytes>>| {
                let token = format!("Bearer {}", token("alice", "notes:read"));
                let headers = request.headers_mut();
                headers.insert(AUTHORIZATION, token.parse().unwrap());
                request
            };
            let lying = with_token(call(version, "write_note", Some("whoami")));
            let answer = ask(service.clone(), lying).await;
            // With trusted headers, the server compares them.
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{version} {trusts}");
            assert_eq!(answer.body["error"]["code"], MISMATCH);
            assert_eq!(answer.body["id"], 7);

            let honest = with_token(call(version, "write_note", Some("write_note")));
            let answer = ask(service.clone(), honest).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN);
            let challenge = answer.headers["www-authenticate"].to_str().unwrap();
            assert!(challenge.contains(r#"scope="notes:write""#), "{challenge}");
            assert!(!written.load(Ordering::Relaxed));

            let allowed = with_token(call(version, "whoami", Some("whoami")));
            let answer = ask(service, allowed).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            assert_eq!(answer.body["result"]["content"][0]["text"], "alice");
        }
    }
}

/// A client of `rmcp`, of one of the generations.
type Client = RunningService<RoleClient, ()>;

/// Serves the layers around `rmcp` on a Unix socket, for which `rmcp` has a client without further libraries.
struct Socket {
    path: String,
    _folder: tempfile::TempDir,
}

const URI: &str = "http://localhost/mcp";

impl Socket {
    fn serve() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp").to_str().unwrap().to_owned();
        let service = ServiceBuilder::new()
            .layer(auth())
            .layer(McpSessionLayer::new(&SecretKey::generate()))
            .layer(guard().build().unwrap())
            .service(server(true).0);
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                tokio::spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self {
            path,
            _folder: folder,
        }
    }

    async fn connect(
        &self,
        token: Option<String>,
        lifecycle: ClientLifecycleMode,
    ) -> Result<Client, String> {
        let mut config = StreamableHttpClientTransportConfig::with_uri(URI);
        config.auth_header = token;
        let client = UnixSocketHttpClient::new(&self.path, URI);
        let transport = StreamableHttpClientTransport::with_client(client, config);
        let client = ().serve_with_lifecycle(transport, lifecycle).await;
        client.map_err(|error| match error.auth_challenge() {
            Some(challenge) => challenge.to_owned(),
            None => format!("no challenge: {error:?}"),
        })
    }
}

/// Calls a tool. Returns its text, or the challenge.
async fn use_tool(client: &Client, name: &'static str) -> Result<String, String> {
    let called = client.call_tool(CallToolRequestParams::new(name)).await;
    match called {
        Ok(result) => {
            let result = serde_json::to_value(result).unwrap();
            Ok(result["content"][0]["text"].as_str().unwrap().to_owned())
        }
        Err(error) => Err(challenge_of(&error)),
    }
}

fn challenge_of(error: &ServiceError) -> String {
    match error.auth_challenge() {
        Some(challenge) => challenge.to_owned(),
        None => format!("no challenge: {error:?}"),
    }
}

fn generations() -> [ClientLifecycleMode; 2] {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    [
        ClientLifecycleMode::Initialize,
        ClientLifecycleMode::Discover { preferred_versions },
    ]
}

#[tokio::test]
async fn j20_the_client_of_rmcp_is_challenged_refused_and_served_in_both_generations() {
    let socket = Socket::serve();
    for lifecycle in generations() {
        let challenge = socket.connect(None, lifecycle.clone()).await.unwrap_err();
        assert!(challenge.starts_with("Bearer "), "{challenge}");

        let narrow = token("alice", "notes:read");
        let reader = socket
            .connect(Some(narrow), lifecycle.clone())
            .await
            .unwrap();
        assert_eq!(reader.list_all_tools().await.unwrap().len(), 3);
        assert_eq!(use_tool(&reader, "whoami").await.unwrap(), "alice");
        assert_eq!(use_tool(&reader, "read_notes").await.unwrap(), "notes");
        let challenge = use_tool(&reader, "write_note").await.unwrap_err();
        assert!(
            challenge.contains(r#"error="insufficient_scope""#),
            "{challenge}"
        );
        assert!(challenge.contains(r#"scope="notes:write""#), "{challenge}");
        // The refusal ended nothing.
        assert_eq!(use_tool(&reader, "whoami").await.unwrap(), "alice");

        let broad = token("alice", "notes:write");
        let writer = socket.connect(Some(broad), lifecycle).await.unwrap();
        assert_eq!(use_tool(&writer, "read_notes").await.unwrap(), "notes");
        assert_eq!(use_tool(&writer, "write_note").await.unwrap(), "written");
        for client in [reader, writer] {
            client.cancel().await.unwrap();
        }
    }
}

#[tokio::test]
async fn j21_a_session_of_rmcp_belongs_to_the_caller_who_started_it() {
    let service = ServiceBuilder::new()
        .layer(auth())
        .layer(McpSessionLayer::new(&SecretKey::generate()))
        .service(server(true).0);
    let request = |subject: &str, session: Option<&str>, body: Value| {
        let token = token(subject, "");
        let mut request = Request::post("/mcp")
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .header(AUTHORIZATION, format!("Bearer {token}"));
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        request.body(Full::<Bytes>::from(body.to_string())).unwrap()
    };
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": LEGACY,
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }});
    let started = service.clone().oneshot(request("alice", None, initialize));
    let started = started.await.unwrap();
    assert_eq!(started.status(), StatusCode::OK);
    let session = started.headers()["mcp-session-id"]
        .to_str()
        .unwrap()
        .to_owned();

    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let bare = session.rsplit_once('.').unwrap().0;
    for (subject, session, status) in [
        ("bob", session.as_str(), StatusCode::NOT_FOUND),
        ("alice", bare, StatusCode::NOT_FOUND),
        ("bob", bare, StatusCode::NOT_FOUND),
        ("alice", &session, StatusCode::ACCEPTED),
    ] {
        let request = request(subject, Some(session), initialized.clone());
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{subject}");
    }
}

#[tokio::test]
async fn j17_layers_and_axum_take_the_same_service() {
    let (mcp, _) = server(false);
    let app = axum::Router::new()
        .nest_service("/mcp", mcp)
        .layer(guard().build().unwrap())
        .layer(auth());
    let mut request = call(LEGACY, "whoami", None);
    let token = format!("Bearer {}", token("alice", ""));
    request
        .headers_mut()
        .insert(AUTHORIZATION, token.parse().unwrap());
    let answer = ask(app, request.map(axum::body::Body::new)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.body["result"]["content"][0]["text"], "alice");
}
