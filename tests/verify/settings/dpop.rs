//! The variables `JWT_DPOP…`: G14, G24, G31, G39.

use http::{Request, StatusCode};
use serde_json::Value;
use tower_jwt_auth::{
    JwtSettings,
    key::Algorithm,
    test_util::{DpopClient, TestIssuer},
};

use crate::support::{
    answer::{Answer, send},
    fixture::bearer,
    vars::{AUDIENCE, SECRET, read, refusal},
};

const RESOURCE: &str = "https://api.example";
const TARGET: &str = "https://api.example/notes";
const KEY: &str = "c2VjcmV0LWJ5dGVzLXNlY3JldC1ieXRlcy1zZWNyZXQ";

fn vars<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let basis = [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_RESOURCE", RESOURCE),
    ];
    [&basis, more].concat()
}

fn settings(more: &[(&str, &str)]) -> JwtSettings {
    read(&vars(more)).unwrap()
}

struct Client {
    key: DpopClient,
    issuer: TestIssuer,
    token: String,
}

impl Client {
    fn new() -> Self {
        let key = DpopClient::new(Algorithm::Es256);
        let issuer = TestIssuer::with_secret(Algorithm::Hs256, SECRET.as_bytes());
        let token = issuer.bound_token(&key, |_| ());
        Self { key, issuer, token }
    }

    fn proven(&self) -> Request<String> {
        let request = self.key.sign(Request::get("/notes"), TARGET, &self.token);
        request.body(String::new()).unwrap()
    }

    fn plain(&self) -> Request<String> {
        bearer(self.issuer.token(|_| ()))
    }
}

async fn ask(settings: &JwtSettings, request: Request<String>) -> Answer {
    send(settings.layer().unwrap(), request).await
}

#[tokio::test]
async fn g39_a_proof_is_refused_allowed_or_required() {
    let client = Client::new();
    for (mode, plain, proven) in [
        (None, true, false),
        (Some("off"), true, false),
        (Some("allowed"), true, true),
        (Some("required"), false, true),
    ] {
        let mode: Vec<_> = mode.map(|mode| ("JWT_DPOP", mode)).into_iter().collect();
        let settings = settings(&mode);
        assert_eq!(
            ask(&settings, client.plain()).await.ran(),
            plain,
            "{mode:?}"
        );
        assert_eq!(
            ask(&settings, client.proven()).await.ran(),
            proven,
            "{mode:?}"
        );
    }
}

/// J8: the document, the challenge and the decisions have one source.
#[tokio::test]
async fn g39_j8_the_metadata_says_that_proofs_are_required() {
    let server = ("JWT_AUTHORIZATION_SERVERS", "https://as.example");
    for (mode, required) in [("allowed", false), ("required", true)] {
        let settings = settings(&[server, ("JWT_DPOP", mode)]);
        let layer = settings.layer().unwrap();
        let path = layer.metadata().unwrap().path().to_owned();
        let answer = send(layer, Request::get(path).body(String::new()).unwrap()).await;
        let document: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(document["dpop_bound_access_tokens_required"], required);
        let algorithms = document["dpop_signing_alg_values_supported"].as_array();
        assert!(algorithms.unwrap().contains(&"ES256".into()), "{document}");
    }
}

#[tokio::test]
async fn g14_all_layers_of_one_server_remember_together() {
    let client = Client::new();
    let settings = settings(&[("JWT_DPOP", "allowed"), ("JWT_DPOP_REPLAY", "memory:")]);
    let request = client.proven();
    ask(&settings, request.clone()).await.passes("first");
    assert_eq!(
        ask(&settings, request).await.status,
        StatusCode::UNAUTHORIZED
    );

    let open = self::settings(&[("JWT_DPOP", "allowed"), ("JWT_DPOP_REPLAY", "none")]);
    let request = client.proven();
    for _ in 0..2 {
        ask(&open, request.clone()).await.passes("no detection");
    }
}

#[tokio::test]
async fn g24_nodes_with_one_key_accept_the_nonces_of_each_other() {
    let node = |key: Option<&'static str>| {
        let nonce = [
            ("JWT_DPOP", "required"),
            ("JWT_DPOP_NONCE", "true"),
            ("JWT_DPOP_NONCE_SECONDS", "60"),
        ];
        let key: Vec<_> = key
            .map(|key| ("JWT_DPOP_NONCE_KEY", key))
            .into_iter()
            .collect();
        settings(&[&nonce[..], &key].concat())
    };
    let client = Client::new();
    let answer = ask(&node(Some(KEY)), client.proven()).await;
    assert!(client.key.take_nonce(&answer.headers), "{answer:?}");
    ask(&node(Some(KEY)), client.proven())
        .await
        .passes("another node");
    // A random key is of one process.
    assert!(!ask(&node(None), client.proven()).await.ran());
}

#[cfg(feature = "redis-replay")]
#[test]
fn g24_nodes_with_one_store_and_random_nonces_are_warned_of() {
    let several = [
        ("JWT_DPOP", "required"),
        ("JWT_DPOP_REPLAY", "redis://127.0.0.1:1"),
    ];
    let nonce = ("JWT_DPOP_NONCE", "true");
    let lines = |more: &[(&str, &str)]| -> Vec<String> {
        let settings = settings(&[&several, more].concat());
        settings.warnings().map(str::to_owned).collect()
    };
    assert_eq!(lines(&[]), Vec::<String>::new());
    assert_eq!(
        lines(&[nonce, ("JWT_DPOP_NONCE_KEY", KEY)]),
        Vec::<String>::new()
    );
    let lines = lines(&[nonce]);
    assert!(
        lines.len() == 1 && lines[0].starts_with("JWT_DPOP_NONCE: "),
        "{lines:?}"
    );
}

#[test]
fn g31_settings_of_proofs_that_contradict_others_are_refused() {
    const SHORT: &str = "c2hvcnQ";

    for (more, variable) in [
        (&[("JWT_DPOP", "yes")][..], "JWT_DPOP"),
        (
            &[("JWT_DPOP", "allowed"), ("JWT_GATEWAY", "true")],
            "JWT_DPOP",
        ),
        (&[("JWT_DPOP_NONCE", "true")], "JWT_DPOP_NONCE"),
        (
            &[("JWT_DPOP", "off"), ("JWT_DPOP_REPLAY", "memory:")],
            "JWT_DPOP_REPLAY",
        ),
        (
            &[("JWT_DPOP", "allowed"), ("JWT_DPOP_REPLAY", "file:x")],
            "JWT_DPOP_REPLAY",
        ),
        (
            &[("JWT_DPOP", "allowed"), ("JWT_DPOP_NONCE_SECONDS", "60")],
            "JWT_DPOP_NONCE_SECONDS",
        ),
        (
            &[("JWT_DPOP", "allowed"), ("JWT_DPOP_NONCE_KEY", KEY)],
            "JWT_DPOP_NONCE_KEY",
        ),
        (
            &[
                ("JWT_DPOP", "allowed"),
                ("JWT_DPOP_NONCE", "true"),
                ("JWT_DPOP_NONCE_KEY", SHORT),
            ],
            "JWT_DPOP_NONCE_KEY",
        ),
        (
            &[
                ("JWT_DPOP", "allowed"),
                ("JWT_DPOP_NONCE", "true"),
                ("JWT_DPOP_NONCE_SECONDS", "1"),
            ],
            "JWT_DPOP_NONCE_SECONDS",
        ),
        (&[("JWT_DPOP_NONCES", "true")], "JWT_DPOP_NONCES"),
    ] {
        let line = refusal(&vars(more));
        assert!(line.starts_with(&format!("{variable}: ")), "{line}");
        assert!(!line.contains(SHORT) && !line.contains(KEY), "{line}");
    }
    let without = [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_DPOP", "allowed"),
    ];
    assert!(refusal(&without).contains("JWT_RESOURCE"));
    // A URL with a password is not printed.
    let secret = [
        ("JWT_DPOP", "allowed"),
        ("JWT_DPOP_REPLAY", "redis://:hunter2@["),
    ];
    let line = refusal(&vars(&secret));
    assert!(
        line.starts_with("JWT_DPOP_REPLAY: ") && !line.contains("hunter2"),
        "{line}"
    );
}
