//! Bound tokens at the example server, as processes: several nodes with one Redis, a public URL at a proxy, and a
//! provider and a client of other projects.

use std::process::Stdio;

use http::Method;
use tower_jwt_auth::{
    key::Algorithm,
    test_util::{DpopClient, TestIssuer},
};

use super::start;
use crate::support::{
    port::free_port,
    process::{Answer, Server},
    script::{NODE, run},
    tls_proxy::{self, Kind, TlsProxy},
    tls_server::Authority,
    vars::{AUDIENCE, SECRET},
};

/// A process that accepts bound tokens for requests to this public URL.
fn node(url: &str, more: &[(&str, &str)]) -> Server {
    let vars = [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_RESOURCE", url),
        ("JWT_DPOP", "allowed"),
    ];
    start(&[&vars, more].concat())
}

/// A client with a key and a token.
struct Caller {
    client: DpopClient,
    token: String,
    credential: String,
}

impl Caller {
    fn new() -> Self {
        let client = DpopClient::new(Algorithm::Es256);
        let issuer = TestIssuer::with_secret(Algorithm::Hs256, SECRET.as_bytes());
        let token = issuer.bound_token(&client, |_| ());
        Self {
            credential: format!("DPoP {token}"),
            client,
            token,
        }
    }

    fn proof(&self, url: &str) -> String {
        self.client.proof("GET", url, &self.token)
    }

    fn headers<'a>(&'a self, proof: &'a str) -> [(&'a str, &'a str); 2] {
        [("authorization", &self.credential), ("dpop", proof)]
    }
}

#[track_caller]
fn refused(answer: &Answer, error: &str) {
    assert_eq!(answer.status, 401, "{answer:?}");
    let mut challenges = answer.headers.get_all("www-authenticate").iter();
    let expected = format!(r#"error="{error}""#);
    assert!(
        challenges.any(|line| line.to_str().unwrap().contains(&expected)),
        "{answer:?}"
    );
}

/// A proof is for the URL that the client addresses, and the server behind the proxy is addressed by another one.
#[tokio::test]
#[ignore = "needs nginx, HAProxy and Envoy"]
async fn g31_behind_a_proxy_that_ends_tls_a_proof_is_for_the_public_url() {
    for kind in [Kind::Nginx, Kind::HaProxy, Kind::Envoy] {
        let authority = Authority::new();
        let proxy = TlsProxy::start(kind, &authority, false, |url| node(url, &[])).await;
        let https = tls_proxy::client(&authority, None);
        let (caller, path) = (Caller::new(), "/protected?page=1");
        let public = caller.proof(&format!("{}/protected", proxy.url));
        let headers = caller.headers(&public);
        let answer = proxy.send(&https, Method::GET, path, &headers).await;
        assert_eq!(answer.status, 200, "{kind:?}: {answer:?}");
        refused(
            &proxy.send(&https, Method::GET, path, &headers).await,
            "invalid_dpop_proof",
        );

        // The URL by which the proxy addresses the server, also if the client claims that it is the public one.
        let inner = proxy.server.address();
        let claimed = inner.strip_prefix("http://").unwrap();
        for more in [
            &[][..],
            &[("x-forwarded-host", claimed), ("x-forwarded-proto", "http")],
            &[("forwarded", "proto=http;host=127.0.0.1")],
        ] {
            let proof = caller.proof(&format!("{inner}/protected"));
            let headers = [&caller.headers(&proof)[..], more].concat();
            let answer = proxy.send(&https, Method::GET, path, &headers).await;
            refused(&answer, "invalid_dpop_proof");
        }
        // The public URL is required without the proxy as well.
        let proof = caller.proof(&format!("{inner}/protected"));
        let headers = caller.headers(&proof);
        let answer = proxy.server.send(Method::GET, path, &headers, "").await;
        refused(&answer, "invalid_dpop_proof");
        // Plain tokens pass as before.
        let issuer = TestIssuer::with_secret(Algorithm::Hs256, SECRET.as_bytes());
        let bearer = format!("Bearer {}", issuer.token(|_| ()));
        let headers = [("authorization", bearer.as_str())];
        let answer = proxy.send(&https, Method::GET, path, &headers).await;
        assert_eq!(answer.status, 200, "{kind:?}: {answer:?}");
    }
}

#[cfg(all(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod several_nodes {
    use serde_json::json;

    use super::*;
    use crate::support::redis::{FORGETFUL, Server as Redis};

    const PUBLIC: &str = "https://api.example";
    const PROTECTED: &str = "https://api.example/protected";
    const SHARED_KEY: &str = "c2VjcmV0LWJ5dGVzLXNlY3JldC1ieXRlcy1zZWNyZXQ";

    fn pair(more: &[(&str, &str)]) -> [Server; 2] {
        [node(PUBLIC, more), node(PUBLIC, more)]
    }

    async fn ask(node: &Server, caller: &Caller, proof: &str) -> Answer {
        let headers = caller.headers(proof);
        node.send(Method::GET, "/protected", &headers, "").await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "needs redis-server"]
    async fn g34_of_a_hundred_equal_proofs_on_two_processes_with_redis_one_passes() {
        let redis = Redis::start(FORGETFUL).await;
        let nodes = pair(&[("JWT_DPOP_REPLAY", &redis.url())]);
        let caller = Caller::new();
        for _ in 0..5 {
            let proof = caller.proof(PROTECTED);
            let asked = (0..100).map(|number| ask(&nodes[number % 2], &caller, &proof));
            let answers = futures_util::future::join_all(asked).await;
            let passed = answers.iter().filter(|answer| answer.status == 200).count();
            assert_eq!(passed, 1);
            for answer in answers.iter().filter(|answer| answer.status != 200) {
                refused(answer, "invalid_dpop_proof");
            }
        }
    }

    #[tokio::test]
    #[ignore = "needs redis-server"]
    async fn g14_g15_g16_g17_a_proof_that_one_process_saw_is_used_on_the_other() {
        let redis = Redis::start(FORGETFUL).await;
        let [one, other] = pair(&[("JWT_DPOP_REPLAY", &redis.url())]);
        let (caller, second) = (Caller::new(), Caller::new());
        for id in ["1".to_owned(), "x".repeat(4_000)] {
            let of = |caller: &Caller, url: &str| {
                let claims = |_: &mut _, claims: &mut serde_json::Map<_, _>| {
                    claims.insert("jti".into(), json!(id));
                };
                caller
                    .client
                    .edited_proof("GET", url, &caller.token, claims)
            };
            let first = of(&caller, PROTECTED);
            assert_eq!(ask(&one, &caller, &first).await.status, 200);
            refused(&ask(&other, &caller, &first).await, "invalid_dpop_proof");
            let respelled = of(&caller, "https://API.example:443/protected?x=1");
            refused(
                &ask(&other, &caller, &respelled).await,
                "invalid_dpop_proof",
            );
            // Another client may choose the same identifier.
            let same = of(&second, PROTECTED);
            assert_eq!(ask(&other, &second, &same).await.status, 200);
        }
        // Without the store a node knows only its own.
        let [one, other] = pair(&[]);
        let proof = caller.proof(PROTECTED);
        assert_eq!(ask(&one, &caller, &proof).await.status, 200);
        refused(&ask(&one, &caller, &proof).await, "invalid_dpop_proof");
        assert_eq!(ask(&other, &caller, &proof).await.status, 200);
    }

    #[tokio::test]
    #[ignore = "needs redis-server"]
    async fn g18_without_redis_proofs_are_unavailable_and_other_tokens_pass() {
        let mut redis = Redis::start(FORGETFUL).await;
        let [one, other] = pair(&[("JWT_DPOP_REPLAY", &redis.url())]);
        let caller = Caller::new();
        let issuer = TestIssuer::with_secret(Algorithm::Hs256, SECRET.as_bytes());
        let plain = issuer.token(|_| ());
        assert_eq!(
            ask(&one, &caller, &caller.proof(PROTECTED)).await.status,
            200
        );
        redis.kill();
        for node in [&one, &other] {
            let proof = caller.proof(PROTECTED);
            let answer = ask(node, &caller, &proof).await;
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
            assert_eq!(node.get("/protected", Some(&plain)).await.status, 200);
        }
        redis.restart().await;
        for node in [&one, &other] {
            while ask(node, &caller, &caller.proof(PROTECTED)).await.status != 200 {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }

    #[tokio::test]
    async fn g24_processes_with_one_key_accept_the_nonces_of_each_other() {
        let nonces = ("JWT_DPOP_NONCE", "true");
        let caller = Caller::new();
        for (key, shared) in [(Some(SHARED_KEY), true), (None, false)] {
            let key = key.map(|key| ("JWT_DPOP_NONCE_KEY", key));
            let vars: Vec<_> = [nonces].into_iter().chain(key).collect();
            let [one, other] = pair(&vars);
            caller.client.set_nonce(None);
            let answer = ask(&one, &caller, &caller.proof(PROTECTED)).await;
            refused(&answer, "use_dpop_nonce");
            assert!(caller.client.take_nonce(&answer.headers), "{answer:?}");
            let own = ask(&one, &caller, &caller.proof(PROTECTED)).await;
            assert_eq!(own.status, 200, "{own:?}");
            let foreign = ask(&other, &caller, &caller.proof(PROTECTED)).await;
            match shared {
                true => assert_eq!(foreign.status, 200, "{foreign:?}"),
                false => refused(&foreign, "use_dpop_nonce"),
            }
        }
    }
}

/// Prints the transcript with `--nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Node with oidc-provider and oauth4webapi"]
async fn g24_tokens_of_oidc_provider_pass_with_the_proofs_of_oauth4webapi() {
    let (provider, port) = (free_port().to_string(), free_port().to_string());
    let (issuer, resource) = (
        format!("http://127.0.0.1:{provider}"),
        format!("http://127.0.0.1:{port}"),
    );
    let keys = format!("{issuer}/jwks");
    let server = start(&[
        ("PORT", port.as_str()),
        ("JWT_JWKS_URL", &keys),
        ("JWT_JWKS_COOLDOWN_SECONDS", "1"),
        ("JWT_ISSUER", &issuer),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_REQUIRED_TYP", "at+jwt"),
        ("JWT_RESOURCE", &resource),
        ("JWT_DPOP", "required"),
        ("JWT_DPOP_NONCE", "true"),
        ("JWT_DPOP_NONCE_SECONDS", "10"),
    ]);
    assert_eq!(server.address(), resource);
    let script = ["tests/interop/dpop.mjs", &provider, &resource, "5"].map(str::to_owned);
    let transcript = tokio::task::spawn_blocking(move || {
        run(NODE, &script.each_ref().map(String::as_str), Stdio::null())
    });
    let transcript = transcript.await.unwrap();
    println!("{transcript}");
    assert!(transcript.ends_with("done\n"), "{transcript}");
}
