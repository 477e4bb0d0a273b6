//! An MCP server that is an OAuth protected resource, configured by environment variables: see
//! `tower_jwt_auth::settings`.
//!
//! ```sh
//! export JWT_ISSUER=https://sso.example/realms/shop
//! cargo run --example mcp --all-features &
//!
//! # 401, and where to sign in:
//! curl -i localhost:3000/mcp -X POST
//! curl localhost:3000/.well-known/oauth-protected-resource/mcp
//! # A client that signs in by itself: npx @modelcontextprotocol/inspector, at http://localhost:3000/mcp
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
    fmt::Display,
    io::{self, IsTerminal},
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
        resource::{ProtectedResource, ProtectedResourceBuilder},
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
    let settings = JwtSettings::from_vars(known(&vars, "http://localhost/mcp"))?;
    let sessions = match var(&vars, "MCP_SESSION_KEY") {
        Some(key) => key
            .parse()
            .map_err(|error| named("MCP_SESSION_KEY", error))?,
        None => SecretKey::generate(),
    };
    let stopped = common::stopped()?;
    let listener = common::listen(settings.address()).await?;
    let address = listener.local_addr()?;
    let resource = resource(&vars, &format!("http://{address}/mcp"))?;
    let app = app(&vars, &resource, &sessions)?;
    println!("listening on http://{address}");
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}

/// Returns the public name of the server, and where its clients get tokens.
fn resource(vars: &[(String, String)], default: &str) -> Result<ProtectedResource, String> {
    let name = var(vars, "JWT_RESOURCE").unwrap_or(default);
    // Checked alone first, so that the error has the right variable.
    ProtectedResource::builder(name)
        .build()
        .map_err(|error| named("JWT_RESOURCE", error))?;
    let servers = var(vars, "JWT_AUTHORIZATION_SERVERS").or_else(|| var(vars, "JWT_ISSUER"));
    let resource = list(servers).fold(
        ProtectedResource::builder(name).mcp(),
        ProtectedResourceBuilder::authorization_server,
    );
    let resource = resource
        .build()
        .map_err(|error| named("JWT_AUTHORIZATION_SERVERS", error))?;
    let scopes = var(vars, "JWT_RESOURCE_SCOPES").or(Some("notes:read,notes:write"));
    let resource = resource.to_builder().scopes(list(scopes));
    resource
        .build()
        .map_err(|error| named("JWT_RESOURCE_SCOPES", error))
}

fn app(
    vars: &[(String, String)],
    resource: &ProtectedResource,
    sessions: &SecretKey,
) -> Result<Router, Box<dyn Error>> {
    let metrics = common::metrics()?;
    let settings = JwtSettings::from_vars(known(vars, resource.identifier()))?;
    let settings = settings.events(MetricsSink::new());
    let first = list(var(vars, "JWT_RESOURCE_SCOPES").or(Some("notes:read")));
    let auth = settings
        .layer()?
        .resource(resource)
        .challenge_scope(&first.collect::<Vec<_>>().join(" "))
        .build()?;
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

/// Returns the variables without those that this file reads, and with an audience.
fn known(vars: &[(String, String)], audience: &str) -> Vec<(String, String)> {
    let own = [
        "JWT_RESOURCE",
        "JWT_AUTHORIZATION_SERVERS",
        "JWT_RESOURCE_SCOPES",
    ];
    let others = vars
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()));
    let mut known: Vec<_> = others.cloned().collect();
    if var(vars, "JWT_AUDIENCE").is_none() {
        known.retain(|(name, _)| name != "JWT_AUDIENCE");
        known.push(("JWT_AUDIENCE".to_owned(), audience.to_owned()));
    }
    known
}

fn var<'a>(vars: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = vars.iter().find(|(other, _)| other == name);
    found
        .map(|(_, value)| value.as_str())
        .filter(|value| !value.is_empty())
}

fn list(value: Option<&str>) -> impl Iterator<Item = &str> {
    let items = value.into_iter().flat_map(|value| value.split(','));
    items.map(str::trim).filter(|item| !item.is_empty())
}

fn named(variable: &str, error: impl Display) -> String {
    format!("{variable}: {error}")
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
