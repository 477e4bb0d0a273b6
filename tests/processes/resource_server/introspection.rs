//! The example server behind an authorization server that issues opaque tokens.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use serde_json::json;
use tower_jwt_auth::{
    key::Algorithm,
    test_util::{Answer, IntrospectionFixture},
};

use super::{network::decided, refused, start};
use crate::support::{
    port::free_port,
    process::Server,
    vars::{AUDIENCE, SECRET},
};

const ID: &str = "JWT_INTROSPECTION_CLIENT_ID";
const CLIENT_SECRET: &str = "JWT_INTROSPECTION_CLIENT_SECRET";
const CLIENT: [(&str, &str); 2] = [(ID, "api"), (CLIENT_SECRET, "s3cr3t")];

fn activate(provider: &IntrospectionFixture, token: &str) {
    let answer = json!({
        "sub": "alice", "aud": AUDIENCE, "scope": "orders:read", "exp": 4_102_444_800_u64,
        "roles": ["admin"],
    });
    provider.activate(token, answer);
}

#[tokio::test]
async fn i10_the_example_needs_no_keys_for_opaque_tokens() {
    let provider = IntrospectionFixture::start();
    let url = provider.url();
    let vars = [("JWT_INTROSPECTION_URL", &*url), ("JWT_AUDIENCE", AUDIENCE)];
    let server = start(&[&vars[..], &CLIENT].concat());
    activate(&provider, "opaque-1");
    assert_eq!(server.get("/ready", None).await.status, 200);
    for _ in 0..2 {
        let answer = decided(&server, "/protected", Some("opaque-1")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let caller = json!({
            "sub": "alice", "roles": ["admin"], "scope": ["orders:read"], "exp": 4_102_444_800_u64,
        });
        assert_eq!(answer.json(), caller);
    }
    assert_eq!(provider.hits(), 1);
    assert_eq!(server.get("/admin", Some("opaque-1")).await.status, 200);
    assert_eq!(server.get("/protected", Some("opaque-2")).await.status, 401);
    provider.answer(Answer::status(500));
    let unavailable = server.get("/protected", Some("opaque-3")).await;
    assert_eq!(unavailable.status, 503);
    assert!(unavailable.header("retry-after").is_some());
    let jwt = provider.keys().issuer_for(Algorithm::Es256).token(|_| ());
    assert_eq!(server.get("/protected", Some(&jwt)).await.status, 401);
    let metrics = server.get("/metrics", None).await.body;
    for line in [
        r#"jwt_auth_requests_total{result="denied",reason="introspection_unavailable"} 1"#,
        r#"jwt_introspections_total{result="ok"} 2"#,
        r#"jwt_introspections_total{result="failed"} 1"#,
        r#"jwt_introspection_seconds_count{result="ok"} 2"#,
        r#"jwt_introspection_seconds_count{result="failed"} 1"#,
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn i10_the_example_discovers_keys_and_endpoint() {
    let provider = IntrospectionFixture::start();
    let issuer = provider.issuer();
    let vars = [("JWT_ISSUER", &*issuer), ("JWT_AUDIENCE", AUDIENCE)];
    let server = start(&[&vars[..], &CLIENT].concat());
    activate(&provider, "opaque-1");
    let jwt = provider.keys().issuer_for(Algorithm::Es256);
    let jwt = jwt.audience(AUDIENCE).token(|_| ());
    for token in ["opaque-1", &jwt] {
        let answer = decided(&server, "/protected", Some(token)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(provider.hits(), 1);
}

#[test]
fn i11_bad_settings_are_one_line_without_the_secret() {
    let url = ("JWT_INTROSPECTION_URL", "https://as.example/introspect");
    let key = ("JWT_SECRET_KEY", SECRET);
    let all = ("JWT_INTROSPECTION_ALL", "true");
    let [id, secret] = CLIENT;
    for (vars, variable) in [
        (
            &[url][..],
            "JWT_INTROSPECTION_CLIENT_ID, JWT_INTROSPECTION_CLIENT_SECRET",
        ),
        (&[url, id], CLIENT_SECRET),
        (&[url, secret], ID),
        (&[key, all], "JWT_INTROSPECTION_ALL"),
        (&[url, id, secret, all], "JWT_INTROSPECTION_ALL"),
        (&[key, id, secret], "JWT_INTROSPECTION_URL"),
        (
            &[
                ("JWT_INTROSPECTION_URL", "http://as.example/introspect"),
                id,
                secret,
            ],
            "JWT_INTROSPECTION_URL",
        ),
        (
            &[url, id, secret, ("JWT_INTROSPECTION_CACHE_SECONDS", "3601")],
            "JWT_INTROSPECTION_CACHE_SECONDS",
        ),
        (
            &[url, id, secret, ("JWT_INTROSPECTION_CACHE", "60")],
            "JWT_INTROSPECTION_CACHE",
        ),
        (
            &[url, id, secret, ("JWT_ALGORITHM", "RS256")],
            "JWT_ALGORITHM",
        ),
    ] {
        let (status, _, complaint) = refused(vars);
        assert_eq!(status.code(), Some(2), "{variable}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        let expected = format!("{variable}: ");
        assert!(complaint.starts_with(&expected), "{variable}: {complaint}");
        assert!(!complaint.contains("s3cr3t"), "{complaint}");
    }
}

#[test]
#[ignore = "needs Node 22 with oidc-provider and jose"]
fn i14_oidc_provider_issues_opaque_tokens_that_the_example_introspects() {
    let packages = env::var("NODE_PATH").expect("NODE_PATH");
    let port = free_port().to_string();
    let mut script = Command::new(format!("{packages}/node/bin/node"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tests/processes/resource_server/introspection.mjs"])
        .arg(format!("http://127.0.0.1:{port}"))
        .env("NO_PROXY", "*")
        .env("no_proxy", "*")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(script.stdout.take().unwrap());
    let mut issuer = String::new();
    said.read_line(&mut issuer).unwrap();
    let vars = [
        ("PORT", &*port),
        ("JWT_ISSUER", issuer.trim()),
        (
            "JWT_AUDIENCE",
            "https://api.example/opaque,https://api.example/signed",
        ),
        (ID, "resource server"),
        (CLIENT_SECRET, "p&ss: w%rd"),
        ("JWT_INTROSPECTION_CACHE_SECONDS", "1"),
    ];
    let server = Server::start_example("resource_server", &vars);
    let mut transcript = String::new();
    said.read_to_string(&mut transcript).unwrap();
    let output = script.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    println!("{transcript}");
    assert!(output.status.success(), "{transcript}\n{complaint}");
    assert!(transcript.ends_with("done\n"), "{transcript}");
    drop(server);
}
