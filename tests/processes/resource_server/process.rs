//! The example server as a process, spoken to over HTTP.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    Method, Request,
    header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_jwt_auth::{
    key::Algorithm,
    test_util::{self, JwksFixture, TestIssuer, TestKeys},
};

use super::network::decided;
use crate::support::vars::{AUDIENCE, File, ISSUER, SECRET, WEAK_PEM, vars};

#[tokio::test]
async fn every_kind_of_key_serves_every_route() {
    let jwks = File::jwks();
    let set = ("JWT_JWKS_FILE", jwks.path());
    for algorithm in PUBLIC_KEY_ALGORITHMS {
        let name = algorithm.as_str();
        let pem = File::pem(algorithm);
        let key = [("JWT_PUBLIC_KEY_FILE", pem.path()), ("JWT_ALGORITHM", name)];
        serves_every_route(algorithm, &key).await;
        serves_every_route(algorithm, &[set]).await;
    }
    serves_every_route(Algorithm::Hs256, &[("JWT_SECRET_KEY", SECRET)]).await;
}

async fn serves_every_route(algorithm: Algorithm, key: &[(&str, &str)]) {
    let expected = [("JWT_ISSUER", ISSUER), ("JWT_AUDIENCE", AUDIENCE)];
    let server = Server::start(vars(&[key, &expected].concat()));
    let issuer = TestIssuer::new(algorithm);
    let user = issuer.token(|claims| {
        claims.insert("roles".into(), json!(["user"]));
        claims.insert("scope".into(), json!("orders:read orders:write"));
        claims["exp"] = json!(4_102_444_800_u64);
    });
    let admin = issuer.token(|claims| claims.insert("roles".into(), json!(["admin"])));
    let forged = TestIssuer::with_keys(algorithm, TestKeys::other());
    let kid = TestKeys::new().kid(algorithm);
    let forged = forged.kid(Some(&kid)).token(|_| ());
    let expired = issuer.token(|claims| claims["exp"] = json!(1_700_000_000));

    for (path, token, status, challenge) in [
        ("/health", None, 200, None),
        ("/ready", None, 200, None),
        ("/public", None, 200, None),
        ("/public", Some(&user), 200, None),
        ("/public", Some(&forged), 401, Some(INVALID)),
        ("/protected", None, 401, Some(r#"Bearer realm="api""#)),
        ("/protected", Some(&user), 200, None),
        ("/protected", Some(&forged), 401, Some(INVALID)),
        ("/protected", Some(&expired), 401, Some(EXPIRED)),
        ("/protected", Some(&"{}".to_owned()), 400, Some(MALFORMED)),
        ("/admin", None, 401, Some(r#"Bearer realm="api""#)),
        ("/admin", Some(&user), 403, Some(FORBIDDEN)),
        ("/admin", Some(&admin), 200, None),
        ("/elsewhere", Some(&user), 404, None),
    ] {
        let answer = server.get(path, token.map(String::as_str)).await;
        let case = format!("{algorithm} {path} {answer:?}");
        assert_eq!(answer.status, status, "{case}");
        assert_eq!(answer.challenge.as_deref(), challenge, "{case}");
    }

    let anonymous = server.get("/public", None).await.json();
    assert_eq!(anonymous, json!({ "authenticated": false }));
    let signed_in = server.get("/public", Some(&user)).await.json();
    assert_eq!(signed_in, json!({ "authenticated": true, "sub": "alice" }));
    let caller = json!({
        "sub": "alice",
        "roles": ["user"],
        "scope": ["orders:read", "orders:write"],
        "exp": 4_102_444_800_u64,
    });
    assert_eq!(server.get("/protected", Some(&user)).await.json(), caller);

    let metrics = server.get("/metrics", None).await;
    let of_requests = |line: &&str| line.starts_with("jwt_auth_requests_total");
    let mut lines: Vec<&str> = metrics.body.lines().filter(of_requests).collect();
    lines.sort_unstable();
    let expected = [
        // One of them was refused by the guard, once it was known who it is.
        ("allowed", "", 6),
        ("anonymous", "", 2),
        ("denied", "expired", 1),
        ("denied", "forbidden", 1),
        ("denied", "invalid_signature", 2),
        ("denied", "malformed_credential", 1),
        ("denied", "missing_credential", 2),
    ]
    .map(|(result, reason, count)| {
        format!(r#"jwt_auth_requests_total{{result="{result}",reason="{reason}"}} {count}"#)
    });
    assert_eq!(lines, expected, "{algorithm}");
    for line in [
        "# TYPE jwt_auth_requests_total counter",
        r#"jwt_cache_lookups_total{result="hit"} 4"#,
        r#"jwt_cache_lookups_total{result="miss"} 2"#,
    ] {
        assert!(
            metrics.body.lines().any(|one| one == line),
            "{}",
            metrics.body
        );
    }
}

#[tokio::test]
async fn q8_fetches_of_keys_are_counted() {
    let fixture = JwksFixture::start();
    fixture.serve(TestKeys::new().jwks());
    let url = fixture.url();
    let server = Server::start(vars(&[
        ("JWT_JWKS_URL", url.as_str()),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_JWKS_TIMEOUT_SECONDS", "60"),
    ]));
    let token = TestIssuer::new(Algorithm::Es256).token(|_| ());
    let answer = decided(&server, "/protected", Some(&token)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    counts(&server, r#"jwt_key_fetches_total{result="ok"} 1"#).await;
    // A kid that nobody published is denied for that reason, and the fetch that it causes fails.
    fixture.answer(test_util::Answer::status(500));
    let unknown = TestIssuer::with_keys(Algorithm::Es256, TestKeys::other()).token(|_| ());
    let answer = decided(&server, "/protected", Some(&unknown)).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    for line in [
        r#"jwt_key_fetches_total{result="failed"} 1"#,
        r#"jwt_auth_requests_total{result="denied",reason="unknown_key"} 1"#,
        r#"jwt_auth_requests_total{result="allowed",reason=""} 1"#,
    ] {
        counts(&server, line).await;
    }
}

/// Whoever waited for a fetch is answered before it is counted.
async fn counts(server: &Server, line: &str) {
    let since = Instant::now();
    loop {
        let metrics = server.get("/metrics", None).await.body;
        if metrics.contains(line) {
            return;
        }
        assert!(since.elapsed().as_secs() < 60, "no {line} in {metrics}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn b10_head_and_other_methods_are_not_a_way_around() {
    let server = Server::start(vars(&[("JWT_SECRET_KEY", SECRET)]));
    for method in [Method::HEAD, Method::POST, Method::OPTIONS] {
        let answer = server.send(method.clone(), "/protected", None).await;
        assert_eq!(answer.status, 401, "{method}");
        assert_eq!(answer.challenge.as_deref(), Some(r#"Bearer realm="api""#));
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_server_in_good_order() {
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start(vars(&[("JWT_SECRET_KEY", SECRET)]));
        // The shell's own: a minimal system has no program of that name.
        let command = format!("kill {signal} {}", server.child.id());
        let sent = Command::new("sh").args(["-c", &command]).status().unwrap();
        assert!(sent.success());
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_bad_configuration_is_one_line_and_exit_code_2() {
    let keys = TestKeys::new();
    let pem = keys.public_pem(Algorithm::Rs256);
    let jwk = keys.jwk(Algorithm::Es256);
    let (weak, jwks, good) = (File::new(WEAK_PEM), File::jwks(), File::new(pem));
    let secret = ("JWT_SECRET_KEY", SECRET);
    let set = ("JWT_JWKS_FILE", jwks.path());
    let short = "s3cr3t-but-short";
    for (pairs, variable) in [
        (
            &[][..],
            "JWT_SECRET_KEY, JWT_PUBLIC_KEY_FILE, JWT_JWKS_FILE, JWT_JWKS_URL, JWT_ISSUER",
        ),
        (&[("JWT_SECRET_KEY", "")], "JWT_SECRET_KEY"),
        (&[("JWT_SECRET_KEY", short)], "JWT_SECRET_KEY"),
        (&[secret, ("JWT_ALGORITHM", "HS384")], "JWT_SECRET_KEY"),
        (&[secret, ("JWT_ALGORITHM", "HS512")], "JWT_SECRET_KEY"),
        (&[("JWT_SECRET_KEY", pem)], "JWT_SECRET_KEY"),
        (&[("JWT_SECRET_KEY", &jwk)], "JWT_SECRET_KEY"),
        (
            &[("JWT_PUBLIC_KEY_FILE", weak.path())],
            "JWT_PUBLIC_KEY_FILE",
        ),
        (
            &[("JWT_PUBLIC_KEY_FILE", "/no/such/file")],
            "JWT_PUBLIC_KEY_FILE",
        ),
        (&[("JWT_JWKS_FILE", "/no/such/file")], "JWT_JWKS_FILE"),
        (&[set], "JWT_JWKS_FILE"),
        (&[secret, set], "JWT_SECRET_KEY, JWT_JWKS_FILE"),
        (&[secret, ("JWT_ALGORITHM", "HS256,RS256")], "JWT_ALGORITHM"),
        (
            &[secret, ("JWT_ALGORITHM", "RS256")],
            "JWT_ALGORITHM, JWT_SECRET_KEY",
        ),
        (
            &[
                ("JWT_PUBLIC_KEY_FILE", good.path()),
                ("JWT_ALGORITHM", "HS256"),
            ],
            "JWT_ALGORITHM, JWT_PUBLIC_KEY_FILE",
        ),
        (&[secret, ("JWT_ALGORITHM", "none")], "JWT_ALGORITHM"),
        (&[secret, ("JWT_ALGORITHM", "XX256")], "JWT_ALGORITHM"),
        (
            &[secret, ("JWT_LEEWAY_SECONDS", "301")],
            "JWT_LEEWAY_SECONDS",
        ),
        (&[secret, ("JWT_AUDIANCE", "api")], "JWT_AUDIANCE"),
        (&[secret, ("JWT_GATEWAY", "maybe")], "JWT_GATEWAY"),
        (&[secret, ("PORT", "http")], "PORT"),
        (&[secret, ("HOST", "256.0.0.1")], "HOST"),
    ] {
        let (status, complaint) = refused(vars(pairs));
        assert_eq!(status.code(), Some(2), "{variable}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        assert!(
            complaint.starts_with(&format!("{variable}: ")),
            "{complaint}"
        );
        for secret in [SECRET, short, &jwk, &pem[40..80]] {
            assert!(!complaint.contains(secret), "{complaint}");
        }
    }
}

#[test]
fn a_port_that_is_taken_is_one_line_too() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (status, complaint) = refused(vars(&[("JWT_SECRET_KEY", SECRET), ("PORT", &port)]));
    assert_eq!(status.code(), Some(2));
    let expected = format!("HOST, PORT: cannot listen on 127.0.0.1:{port}: ");
    assert!(complaint.starts_with(&expected), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf_8_is_refused_only_where_it_is_read() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let odd = OsStr::from_bytes(b"\xFF");
    let secret = ("JWT_SECRET_KEY", OsStr::new(SECRET));
    let (status, complaint) = refused([secret, ("JWT_ISSUER", odd)]);
    assert_eq!(status.code(), Some(2));
    assert_eq!(complaint, "JWT_ISSUER: not UTF-8\n");
    drop(Server::start([secret, ("OTHER", odd)]));
}

#[tokio::test]
#[ignore = "needs Python with PyJWT and Node with jose"]
async fn tokens_of_pyjwt_and_jose_are_served_as_they_deserve() {
    for (variable, default, script) in [
        ("PYTHON", "python3", "tests/interop/mint.py"),
        ("NODE", "node", "tests/interop/mint.mjs"),
    ] {
        let minted = mint(variable, default, script);
        let jwks = File::new(minted.jwks.to_string());
        let expected = [("JWT_ISSUER", ISSUER), ("JWT_AUDIENCE", AUDIENCE)];
        let set = [("JWT_JWKS_FILE", jwks.path())];
        let secret = [
            ("JWT_SECRET_KEY", minted.secret.as_str()),
            ("JWT_ALGORITHM", "HS256,HS384,HS512"),
        ];
        let by_set = Server::start(vars(&[&set[..], &expected].concat()));
        let by_secret = Server::start(vars(&[&secret[..], &expected].concat()));
        let mut seen = [0; 3];
        for case in &minted.cases {
            let server = match case.alg.starts_with("HS") {
                true => &by_secret,
                false => &by_set,
            };
            let admin = case.roles.iter().flatten().any(|role| role == "admin");
            let statuses = match (case.expect.as_str(), admin) {
                ("ok", true) => (200, 200),
                ("ok", false) => (200, 403),
                _ => (401, 401),
            };
            let token = Some(case.token.as_str());
            let protected = server.get("/protected", token).await;
            let admin = server.get("/admin", token).await;
            let found = (protected.status, admin.status);
            assert_eq!(found, statuses, "{script} {} {}", case.alg, case.name);
            seen[usize::from(statuses.0 != 200) + usize::from(statuses.1 != 200)] += 1;
        }
        // 13 algorithms: one token of an admin, three of users, seven that are refused.
        assert_eq!(seen, [13, 39, 91], "{script}");
    }
}

/// The example, on a port of its own; killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    challenge: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

impl Server {
    pub(crate) fn start<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        vars: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let (mut child, line) = spawn(vars);
        let Some(address) = line.trim().strip_prefix("listening on ") else {
            let _ = child.kill();
            panic!("{line:?}: {}", complaint(&mut child));
        };
        Self {
            address: address.to_owned(),
            child,
        }
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.send(Method::GET, path, token).await
    }

    /// Ends the server, and gives what it wrote to standard error.
    pub(crate) fn stop(mut self) -> String {
        let _ = self.child.kill();
        complaint(&mut self.child)
    }

    async fn send(&self, method: Method, path: &str, token: Option<&str>) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address));
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (head, body) = client.request(request).await.unwrap().into_parts();
        let text = |name| {
            let value = head.headers.get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status.as_u16(),
            challenge: text(WWW_AUTHENTICATE),
            retry_after: text(RETRY_AFTER),
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the example, and waits for its first line or its end.
fn spawn<N: AsRef<OsStr>, V: AsRef<OsStr>>(
    vars: impl IntoIterator<Item = (N, V)>,
) -> (Child, String) {
    let mut child = Command::new(example())
        .env_clear()
        .env("PORT", "0")
        .envs(vars)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example starts");
    let mut line = String::new();
    let stdout: ChildStdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    (child, line)
}

pub(crate) fn refused<N: AsRef<OsStr>, V: AsRef<OsStr>>(
    vars: impl IntoIterator<Item = (N, V)>,
) -> (ExitStatus, String) {
    let (mut child, line) = spawn(vars);
    if !line.is_empty() {
        let _ = child.kill();
        panic!("{line}");
    }
    let complaint = complaint(&mut child);
    (child.wait().unwrap(), complaint)
}

fn complaint(child: &mut Child) -> String {
    let mut text = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut text).unwrap();
    text
}

/// `cargo test` builds the examples beside the tests; `cargo test --test processes` takes what
/// was built last.
fn example() -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let name = format!("resource_server{}", env::consts::EXE_SUFFIX);
    let path = profile.join("examples").join(name);
    assert!(
        path.exists(),
        "first: cargo build --example resource_server --features axum,jwks"
    );
    path
}

#[derive(Deserialize)]
struct AccessToken {
    jwks: Value,
    secret: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    alg: String,
    token: String,
    expect: String,
    roles: Option<Vec<String>>,
}

fn mint(variable: &str, default: &str, script: &str) -> AccessToken {
    let program = env::var(variable).unwrap_or_else(|_| default.to_owned());
    let output = Command::new(&program)
        .arg(script)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("{variable}={program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {complaint}");
    serde_json::from_slice(&output.stdout).expect("the script prints one JSON document")
}

const PUBLIC_KEY_ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Rs256,
    Algorithm::Ps256,
    Algorithm::Es256,
    Algorithm::EdDsa,
];

const INVALID: &str =
    r#"Bearer realm="api", error="invalid_token", error_description="The access token is invalid""#;
const EXPIRED: &str =
    r#"Bearer realm="api", error="invalid_token", error_description="The access token expired""#;
const MALFORMED: &str = r#"Bearer realm="api", error="invalid_request", error_description="The credential is malformed""#;
const FORBIDDEN: &str = r#"Bearer realm="api", error="insufficient_scope", error_description="The access token does not grant a role that is needed here""#;
