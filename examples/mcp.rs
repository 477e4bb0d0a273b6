//! An MCP server that is an OAuth protected resource, configured by environment variables: see
//! `tower_jwt_auth::settings`.
//!
//! ```sh
//! export JWT_ISSUER=https://sso.example/realms/shop
//! cargo run --example mcp --all-features &
//!
//! # 401, and where to sign in:
//! curl -i 127.0.0.1:3000/mcp -X POST
//! curl 127.0.0.1:3000/.well-known/oauth-protected-resource/mcp
//! # A client that signs in by itself: npx @modelcontextprotocol/inspector, at http://127.0.0.1:3000/mcp
//! # (not `localhost`: a client compares the address with the name of the resource).
//! ```
//!
//! | tool | needs |
//! |---|---|
//! | `whoami` | any token |
//! | `read_notes` | the scope `notes:read` |
//! | `write_note` | the scope `notes:write`, which implies `notes:read` |
//!
//! | variable | default |
//! |---|---|
//! | `JWT_RESOURCE` | `http://HOST:PORT/mcp` |
//! | `JWT_AUDIENCE` | the resource |
//! | `JWT_AUTHORIZATION_SERVERS` | `JWT_ISSUER` |
//! | `JWT_RESOURCE_SCOPES`, of the first challenge and of the metadata | `notes:read`; the metadata have both scopes |
//! | `MCP_SESSION_KEY`, at least 32 bytes in base64url, the same on all nodes | made at start |
//!
//! For an invalid value, the server prints one line with the variable's name, and exits with code 2.

#[allow(dead_code, reason = "this example has no page about the caller")]
mod common;

use std::{
    collections::{HashMap, VecDeque},
    env,
    error::Error,
    io::{self, IsTerminal},
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    http::{StatusCode, Uri, request::Parts},
    routing::get,
};
use rmcp::{
    ErrorData, ServerHandler,
    handler::server::{router::tool::ToolRouter, tool::Extension, wrapper::Parameters},
    model::{Implementation, ServerCapabilities, ServerConfig},
    schemars::{self, JsonSchema},
    tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde::Deserialize;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    JwtAuthLayer, JwtSettings, Principal,
    error::{ConfigError, KeyProblem},
    event::MetricsSink,
    layer::{
        mcp::{McpGuardLayer, McpSessionLayer},
        resource::ProtectedResource,
        role_guard::{Rule, ScopeHierarchy},
    },
    secret::SecretKey,
};
use tracing_subscriber::filter::LevelFilter;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    common::exit(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let vars: Vec<(String, String)> = env::vars().collect();
    // Everything but the address is checked before the port opens.
    let (checked, _) = settings(&vars, "http://localhost/mcp")?;
    let sessions = match var(&vars, "MCP_SESSION_KEY") {
        Some(key) => key
            .parse()
            .map_err(|error| format!("MCP_SESSION_KEY: {error}"))?,
        None => SecretKey::generate(),
    };
    let stopped = common::stopped()?;
    let listener = common::listen(checked.address()).await?;
    let address = listener.local_addr()?;
    let (settings, resource) = settings(&vars, &format!("http://{address}/mcp"))?;
    let app = app(settings, &resource, &sessions)?;
    println!("listening on http://{address}");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}

/// Reads the settings with the defaults of this server, of which `name` is the public one.
fn settings(
    vars: &[(String, String)],
    name: &str,
) -> Result<(JwtSettings, ProtectedResource), ConfigError> {
    const SERVERS: &str = "JWT_AUTHORIZATION_SERVERS";
    const SCOPES: &str = "JWT_RESOURCE_SCOPES";

    let servers = var(vars, SERVERS).or_else(|| var(vars, "JWT_ISSUER"));
    // The scope of the first challenge.
    let scopes = servers.map(|_| "notes:read");
    let defaults = [
        ("JWT_RESOURCE", Some(name)),
        (SERVERS, servers),
        (SCOPES, scopes),
    ];
    let missing = defaults
        .iter()
        .filter(|(name, _)| var(vars, name).is_none());
    let missing =
        missing.filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned())));
    let settings = JwtSettings::from_vars(vars.iter().cloned().chain(missing))?;
    let named = |problem: ConfigError| ConfigError::Invalid {
        name: SERVERS.into(),
        problem: problem.to_string().into(),
    };
    let announced = settings.resource().map(ProtectedResource::to_builder);
    let announced = announced
        .unwrap_or_else(|| ProtectedResource::builder(name))
        .mcp();
    let resource = match var(vars, SCOPES) {
        Some(_) => announced.build(),
        None => announced.scopes(["notes:write"]).build(),
    };
    Ok((settings, resource.map_err(named)?))
}

fn app(
    settings: JwtSettings,
    resource: &ProtectedResource,
    sessions: &SecretKey,
) -> Result<Router, Box<dyn Error>> {
    let metrics = common::metrics()?;
    let auth = settings.events(MetricsSink::new()).layer()?;
    let auth = auth.resource(resource).build()?;
    let metadata = auth.metadata().ok_or("no metadata")?;
    let probed = auth.clone();
    let layers = ServiceBuilder::new()
        .layer(auth)
        .layer(McpSessionLayer::new(sessions))
        .layer(guard()?);
    Ok(Router::new()
        .route_service("/mcp", layers.service(server(resource)))
        .route_service(metadata.path(), metadata.clone())
        .route("/metrics", metrics)
        .route("/health", get(async || "ok"))
        .route("/ready", get(async move || ready(&probed))))
}

/// Returns the rules of the tools. A tool without a rule is refused.
fn guard() -> Result<McpGuardLayer, ConfigError> {
    let hierarchy = ScopeHierarchy::builder()
        .implies("notes:write", ["notes:read"])
        .build()?;
    McpGuardLayer::builder()
        .tool("whoami", Rule::authenticated())
        .tool("read_notes", Rule::scope("notes:read"))
        .tool("write_note", Rule::scope("notes:write"))
        .scope_hierarchy(hierarchy)
        .build()
}

fn server(resource: &ProtectedResource) -> StreamableHttpService<Notes, LocalSessionManager> {
    let notes = Notes {
        tools: Notes::tools(),
        kept: Arc::default(),
    };
    // Against DNS rebinding, `rmcp` refuses other hosts than these.
    let mut hosts = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    if let Ok(public) = resource.identifier().parse::<Uri>() {
        hosts.extend(public.authority().map(ToString::to_string));
    }
    let config = StreamableHttpServerConfig::default().with_allowed_hosts(hosts);
    StreamableHttpService::new(move || Ok(notes.clone()), Arc::default(), config)
}

fn ready(auth: &JwtAuthLayer) -> (StatusCode, &'static str) {
    let problem = || auth.key_problem().map_or("not ready", KeyProblem::as_str);
    common::ready((!auth.is_ready()).then(problem))
}

fn var<'a>(vars: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = vars.iter().find(|(other, _)| other == name);
    found.map(|(_, value)| value.as_str())
}

/// The notes of each caller, by issuer and subject.
type Kept = HashMap<(Option<String>, String), VecDeque<String>>;

/// The MCP server. `rmcp` makes one for each session.
#[derive(Clone)]
struct Notes {
    tools: ToolRouter<Self>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "schemars")]
struct Note {
    /// The text of the note.
    text: String,
}

#[tool_router(router = tools)]
impl Notes {
    #[tool(description = "Returns the subject of the caller")]
    async fn whoami(&self, Extension(parts): Extension<Parts>) -> Result<String, ErrorData> {
        caller(&parts).map(|(_, subject)| subject)
    }

    #[tool(description = "Returns the notes of the caller")]
    async fn read_notes(&self, Extension(parts): Extension<Parts>) -> Result<String, ErrorData> {
        let owner = caller(&parts)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let notes = kept.get(&owner).into_iter().flatten();
        Ok(notes.map(String::as_str).collect::<Vec<_>>().join("\n"))
    }

    #[tool(description = "Adds a note of the caller")]
    async fn write_note(
        &self,
        Extension(parts): Extension<Parts>,
        Parameters(note): Parameters<Note>,
    ) -> Result<String, ErrorData> {
        const MOST: usize = 100;

        let owner = caller(&parts)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let notes = kept.entry(owner).or_default();
        notes.push_back(note.text);
        if notes.len() > MOST {
            notes.pop_front();
        }
        Ok("written".to_owned())
    }
}

#[tool_handler(router = self.tools)]
impl ServerHandler for Notes {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("notes", env!("CARGO_PKG_VERSION")))
    }
}

/// Returns the caller, whom the layer put into the request's extensions.
fn caller(parts: &Parts) -> Result<(Option<String>, String), ErrorData> {
    let caller = parts.extensions.get::<Principal>();
    let subject = caller.and_then(Principal::subject);
    let subject =
        subject.ok_or_else(|| ErrorData::invalid_request("the token has no subject", None))?;
    let issuer = caller.and_then(Principal::issuer).map(ToOwned::to_owned);
    Ok((issuer, subject.to_owned()))
}
