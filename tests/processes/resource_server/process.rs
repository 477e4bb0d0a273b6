//! The example server as a process, spoken to over HTTP.

use std::{
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tower_jwt_auth::{
    key::Algorithm,
    test_util::{self, JwksFixture, TestIssuer, TestKeys},
};

use super::{network::decided, refused, start};
use crate::support::{
    process::Server,
    script::{NODE, PYTHON, run},
    vars::{AUDIENCE, File, ISSUER, SECRET, WEAK_PEM},
};

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
    let server = start(&[key, &expected].concat());
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
        assert_eq!(answer.header("www-authenticate"), challenge, "{case}");
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
    let server = start(&[
        ("JWT_JWKS_URL", url.as_str()),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_JWKS_TIMEOUT_SECONDS", "60"),
    ]);
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
    let server = start(&[("JWT_SECRET_KEY", SECRET)]);
    for method in [Method::HEAD, Method::POST, Method::OPTIONS] {
        let answer = server.with(method.clone(), "/protected", None, "").await;
        assert_eq!(answer.status, 401, "{method}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some(r#"Bearer realm="api""#)
        );
    }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_server_in_good_order() {
    for signal in ["TERM", "INT"] {
        start(&[("JWT_SECRET_KEY", SECRET)]).stop_by(signal);
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
        let (status, _, complaint) = refused(pairs);
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
    let (status, _, complaint) = refused(&[("JWT_SECRET_KEY", SECRET), ("PORT", &port)]);
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
    let (status, _, complaint) = refused(&[secret, ("JWT_ISSUER", odd)]);
    assert_eq!(status.code(), Some(2));
    assert_eq!(complaint, "JWT_ISSUER: not UTF-8\n");
    drop(start(&[secret, ("OTHER", odd)]));
}

#[tokio::test]
#[ignore = "needs Python with PyJWT and Node with jose"]
async fn tokens_of_pyjwt_and_jose_are_served_as_they_deserve() {
    for (program, script) in [
        (PYTHON, "tests/interop/mint.py"),
        (NODE, "tests/interop/mint.mjs"),
    ] {
        let minted = run(program, &[script], Stdio::null());
        let minted: Minted = serde_json::from_str(&minted).unwrap();
        let jwks = File::new(minted.jwks.to_string());
        let expected = [("JWT_ISSUER", ISSUER), ("JWT_AUDIENCE", AUDIENCE)];
        let set = [("JWT_JWKS_FILE", jwks.path())];
        let secret = [
            ("JWT_SECRET_KEY", minted.secret.as_str()),
            ("JWT_ALGORITHM", "HS256,HS384,HS512"),
        ];
        let by_set = start(&[&set[..], &expected].concat());
        let by_secret = start(&[&secret[..], &expected].concat());
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

#[derive(Deserialize)]
struct Minted {
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
