//! `examples/mcp.rs` as a process, and clients of other languages.

mod conformance;

use std::{
    env,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use http::Method;
use serde_json::{Value, json};
use tower_jwt_auth::{key::Algorithm, test_util::TestIssuer};

use crate::support::{
    port::free_port,
    process::{Answer, Server, refused_by},
    vars::{ISSUER, SECRET},
};

/// The public name of the server, which is the audience of its tokens.
const RESOURCE: &str = "https://notes.example/mcp";

fn start(vars: &[(&str, &str)]) -> Server {
    let usual = [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_ISSUER", ISSUER),
        ("JWT_RESOURCE", RESOURCE),
    ];
    Server::start_example("mcp", &[&usual, vars].concat())
}

fn token(audience: &str, scope: &str) -> String {
    let issuer = TestIssuer::with_secret(Algorithm::Hs256, SECRET.as_bytes());
    issuer.issuer(ISSUER).token(|claims| {
        claims.insert("aud".into(), json!(audience));
        claims.insert("scope".into(), json!(scope));
    })
}

async fn post(
    server: &Server,
    token: Option<&str>,
    method: &str,
    params: impl Into<Value>,
) -> Answer {
    let params = params.into();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let credential = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("accept", "application/json, text/event-stream")];
    headers.extend(
        credential
            .iter()
            .map(|value| ("authorization", value.as_str())),
    );
    server
        .send(Method::POST, "/mcp", &headers, body.to_string())
        .await
}

fn initialize() -> Value {
    json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    })
}

#[tokio::test]
async fn j10_the_example_announces_where_to_sign_in() {
    let server = start(&[]);
    let answer = post(&server, None, "initialize", initialize()).await;
    assert_eq!(answer.status, 401);
    let document = "/.well-known/oauth-protected-resource/mcp";
    assert_eq!(
        answer.header("www-authenticate"),
        Some(&*format!(
            "Bearer realm=\"api\", scope=\"notes:read\", \
             resource_metadata=\"https://notes.example{document}\""
        )),
    );
    let metadata = server.get(document, None).await;
    assert_eq!(metadata.header("access-control-allow-origin"), Some("*"));
    let metadata = metadata.json();
    assert_eq!(metadata["resource"], RESOURCE);
    assert_eq!(metadata["authorization_servers"], json!([ISSUER]));
    assert_eq!(
        metadata["scopes_supported"],
        json!(["notes:read", "notes:write"])
    );
    assert_eq!(server.get("/health", None).await.status, 200);
    assert_eq!(server.get("/ready", None).await.status, 200);
}

#[tokio::test]
async fn j11_a_token_for_another_audience_opens_nothing() {
    let server = start(&[]);
    for (audience, status) in [
        (RESOURCE, 200),
        ("https://notes.example/mcp/", 401),
        ("https://notes.example", 401),
        ("https://other.example/mcp", 401),
    ] {
        let token = token(audience, "");
        let answer = post(&server, Some(&token), "initialize", initialize()).await;
        assert_eq!(answer.status, status, "{audience}");
    }
}

#[tokio::test]
async fn j20_the_tools_of_the_example_need_their_scopes() {
    let server = start(&[]);
    for (scope, tool, missing) in [
        ("", "read_notes", Some("notes:read")),
        ("notes:read", "write_note", Some("notes:write")),
        ("notes:read notes:write", "unknown", None),
    ] {
        let token = token(RESOURCE, scope);
        let params = json!({"name": tool, "arguments": {}});
        let answer = post(&server, Some(&token), "tools/call", params).await;
        assert_eq!(answer.status, 403, "{tool}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.contains(r#"error="insufficient_scope""#),
            "{challenge}"
        );
        assert!(challenge.contains("resource_metadata="), "{challenge}");
        match missing {
            Some(scope) => assert!(
                challenge.contains(&format!("scope=\"{scope}\"")),
                "{challenge}"
            ),
            None => assert!(!challenge.contains("scope=\""), "{challenge}"),
        }
    }
}

#[test]
fn bad_settings_are_one_line_and_exit_code_2() {
    let good = [("JWT_SECRET_KEY", SECRET), ("JWT_ISSUER", ISSUER)];
    for (name, value) in [
        ("JWT_RESOURCE", "http://notes.example/mcp"),
        ("JWT_AUTHORIZATION_SERVERS", "auth.example"),
        ("JWT_RESOURCE_SCOPES", "offline_access"),
        ("MCP_SESSION_KEY", "short"),
        ("JWT_LEEWAY_SECONDS", "x"),
    ] {
        let (status, said, complaint) = refused_by("mcp", &[&good[..], &[(name, value)]].concat());
        assert_eq!(status.code(), Some(2), "{name}: {complaint}");
        assert!(complaint.contains(name), "{name}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{said}");
    }
    let (status, _, complaint) = refused_by("mcp", &[("JWT_SECRET_KEY", SECRET)]);
    assert_eq!(status.code(), Some(2));
    assert!(
        complaint.contains("JWT_AUTHORIZATION_SERVERS"),
        "{complaint}"
    );
}

/// Node 22 from the packages of the tests, which the clients need.
pub(crate) fn node() -> Command {
    let packages = env::var("NODE_PATH").expect("NODE_PATH");
    let mut node = Command::new(format!("{packages}/node/bin/node"));
    node.current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("NO_PROXY", "*")
        .env("no_proxy", "*")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    node
}

#[test]
#[ignore = "needs Node 22 with the MCP SDK and oidc-provider"]
fn j5_the_typescript_sdk_signs_in_at_oidc_provider_and_steps_up() {
    let port = free_port().to_string();
    let resource = format!("http://127.0.0.1:{port}/mcp");
    let mut client = node()
        .args(["tests/processes/mcp/sign_in.mjs", &resource])
        .spawn()
        .unwrap();
    let mut said = BufReader::new(client.stdout.take().unwrap());
    let mut issuer = String::new();
    said.read_line(&mut issuer).unwrap();
    let vars = [("PORT", &*port), ("JWT_ISSUER", issuer.trim())];
    let server = Server::start_example("mcp", &vars);
    let mut transcript = String::new();
    said.read_to_string(&mut transcript).unwrap();
    let output = client.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    println!("{transcript}");
    assert!(output.status.success(), "{transcript}\n{complaint}");
    assert!(transcript.ends_with("done\n"), "{transcript}");
    drop(server);
}
