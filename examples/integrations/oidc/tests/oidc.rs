//! The example with a provider in Node, and with one whose ID tokens are not valid.

mod support;

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use openidconnect::reqwest::{self, Response, StatusCode};
use serde_json::{Map, Value, json};
use support::{ADA, App, CLIENT, PASSWORD, SECRET};
use tower_jwt_auth::{
    key::Algorithm,
    server::login::UnknownIdentity,
    test_util::{Answer, JwksFixture, TestIssuer, TestKeys},
};

/// What an application writes for one provider: the lines of code after the imports.
#[test]
fn a_provider_takes_forty_lines() {
    let code = include_str!("../src/lib.rs");
    let (_, code) = code.split_once("/// A provider, and").unwrap();
    let lines = code.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    let lines = lines.count();
    println!("{lines} lines");
    assert!(lines <= LINES, "{lines} lines");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Node with oidc-provider"]
async fn every_flow_by_a_foreign_client_and_a_real_provider() {
    let mut client = None;
    let app = App::start(|origin| {
        let node = env::var("NODE").unwrap_or_else(|_| "node".to_owned());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/flows.mjs");
        let mut started = Command::new(node)
            .args([script, origin, CLIENT, SECRET, ADA, PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(started.stdout.take().unwrap()).lines();
        let issuer = said.next().expect("an issuer").unwrap();
        client = Some((started, said));
        issuer
    })
    .await;
    let (mut client, mut said) = client.unwrap();
    let mut stdin = client.stdin.take().unwrap();
    // The script registers, and continues when the address is verified.
    assert_eq!(said.next().unwrap().unwrap(), "registered");
    app.verify(ADA).await;
    writeln!(stdin, "verified").unwrap();
    assert_eq!(said.next().expect("a result").unwrap(), "done");
    assert!(client.wait().unwrap().success());
}

/// The attacks on the endpoints, with two providers: `tests/attacks.py`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Python with PyJWT, cryptography and requests"]
async fn attacks_over_http_are_refused() {
    let mut client = None;
    let _app = App::start_with(UnknownIdentity::CreateAccount, |origin| {
        let python = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/attacks.py");
        let mut started = Command::new(python)
            .args([script, origin, CLIENT, SECRET])
            .env("NO_PROXY", "*")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(started.stdout.take().unwrap()).lines();
        let issuers = said.next().expect("two issuers").unwrap();
        let (one, other) = issuers.split_once(' ').unwrap();
        let providers = vec![("idp", one.to_owned()), ("other", other.to_owned())];
        client = Some((started, said));
        providers
    })
    .await;
    let (mut client, mut said) = client.unwrap();
    let last = tokio::task::spawn_blocking(move || said.next());
    assert_eq!(last.await.unwrap().expect("a result").unwrap(), "done");
    assert!(client.wait().unwrap().success());
}

/// A browser that follows no redirects.
struct Browser {
    http: reqwest::Client,
    origin: String,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new(app: &App) -> Self {
        let redirects = reqwest::redirect::Policy::none();
        Self {
            http: reqwest::Client::builder()
                .redirect(redirects)
                .build()
                .unwrap(),
            origin: app.origin.clone(),
            cookies: BTreeMap::new(),
        }
    }

    async fn get(&mut self, path: &str) -> Response {
        let cookies = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let cookies: Vec<_> = cookies.collect();
        let url = format!("{}/api/auth/{path}", self.origin);
        let request = self.http.get(url).header("cookie", cookies.join("; "));
        let answer = request.send().await.unwrap();
        for line in answer.headers().get_all("set-cookie") {
            let (pair, _) = line.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    async fn location(&mut self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        answer.headers()["location"].to_str().unwrap().to_owned()
    }
}

/// A provider whose token endpoint returns any ID token.
struct Fake(JwksFixture);

impl Fake {
    fn start() -> Self {
        let server = JwksFixture::start();
        let (issuer, jwks) = (server.issuer(), server.url());
        let metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": jwks,
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        });
        let metadata = Answer::json(metadata.to_string());
        server.answer_at("/.well-known/openid-configuration", metadata);
        Self(server)
    }

    fn issuer(&self) -> TestIssuer {
        let issuer = self.0.issuer_for(Algorithm::Es256);
        issuer.audience(CLIENT).typ(None)
    }

    /// Signs a browser in with this ID token. Returns the location to which the callback leads.
    async fn sign_in(&self, app: &App, token: impl FnOnce(&str) -> Option<String>) -> String {
        let mut browser = Browser::new(app);
        let url = browser.location("identity/idp/start").await;
        let (_, query) = url.split_once('?').unwrap();
        let query: BTreeMap<_, _> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        assert_eq!(
            (query["client_id"], query["scope"]),
            (CLIENT, "openid+email")
        );
        assert_eq!(
            (query["response_type"], query["code_challenge_method"]),
            ("code", "S256")
        );
        let answer = match token(query["nonce"]) {
            Some(token) => {
                let answer =
                    json!({ "access_token": "a", "token_type": "Bearer", "id_token": token });
                Answer::json(answer.to_string())
            }
            None => Answer::json(json!({ "error": "invalid_grant" }).to_string()),
        };
        self.0.answer_at("/token", answer);
        let state = query["state"];
        browser
            .location(&format!("identity/idp/callback?code=c&state={state}"))
            .await
    }
}

/// The claims of ada, who has verified the address at the provider.
fn ada(claims: &mut Map<String, Value>, nonce: &str) {
    claims.insert("nonce".to_owned(), json!(nonce));
    claims.insert("email".to_owned(), json!(ADA));
    claims.insert("email_verified".to_owned(), json!(true));
}

async fn register(app: &App) {
    let body = json!({ "email": ADA, "password": PASSWORD }).to_string();
    let url = format!("{}/api/auth/register", app.origin);
    let request = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/json");
    assert_eq!(
        request.body(body).send().await.unwrap().status(),
        StatusCode::CREATED
    );
}

type Edit = fn(&mut Map<String, Value>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_token_that_is_not_valid_signs_nobody_in() {
    let provider = Fake::start();
    let app = App::start(|_| provider.0.issuer()).await;
    register(&app).await;
    let subject = app.verify(ADA).await;
    let good = |nonce: &str| Some(provider.issuer().token(|claims| ada(claims, nonce)));
    let edits: [(&str, Edit); 7] = [
        ("another nonce", |claims| claims["nonce"] = json!("another")),
        ("no nonce", |claims| drop(claims.remove("nonce"))),
        ("another audience", |claims| {
            claims["aud"] = json!("another-app")
        }),
        ("another issuer", |claims| {
            claims["iss"] = json!("https://other.example")
        }),
        ("expired", |claims| claims["exp"] = json!(1)),
        ("no subject", |claims| drop(claims.remove("sub"))),
        ("no audience", |claims| drop(claims.remove("aud"))),
    ];
    for (name, edit) in edits {
        let token = |nonce: &str| {
            Some(provider.issuer().token(|claims| {
                ada(claims, nonce);
                edit(claims);
            }))
        };
        let to = provider.sign_in(&app, token).await;
        assert!(to.starts_with("/#error=identity_refused"), "{name}: {to}");
    }
    // Changed after it was signed, without a signature, and with a key of another provider.
    let tampered = |nonce: &str| {
        let token = good(nonce)?;
        let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
            panic!("three parts");
        };
        let flipped = if claims.ends_with('A') { "E" } else { "A" };
        Some(format!(
            "{header}.{}{flipped}.{signature}",
            &claims[..claims.len() - 1]
        ))
    };
    let unsigned = |nonce: &str| {
        let token = good(nonce)?;
        let claims = token.split('.').nth(1)?;
        // {"alg":"none"}
        Some(format!("eyJhbGciOiJub25lIn0.{claims}."))
    };
    let foreign = |nonce: &str| {
        let issuer = TestIssuer::with_keys(Algorithm::Es256, TestKeys::other());
        let issuer = issuer
            .issuer(provider.0.issuer())
            .audience(CLIENT)
            .typ(None);
        Some(issuer.token(|claims| ada(claims, nonce)))
    };
    assert!(
        provider
            .sign_in(&app, tampered)
            .await
            .starts_with("/#error=identity_refused")
    );
    assert!(
        provider
            .sign_in(&app, unsigned)
            .await
            .starts_with("/#error=identity_refused")
    );
    assert!(
        provider
            .sign_in(&app, foreign)
            .await
            .starts_with("/#error=identity_refused")
    );
    // A code that the provider refuses.
    assert!(
        provider
            .sign_in(&app, |_| None)
            .await
            .starts_with("/#error=identity_refused")
    );
    assert!(
        app.auth
            .identities()
            .list(&subject)
            .await
            .unwrap()
            .is_empty()
    );

    assert_eq!(provider.sign_in(&app, good).await, "/");
    assert_eq!(app.auth.identities().list(&subject).await.unwrap().len(), 1);
    // An address that the provider has not verified, or says nothing of, is not used.
    for verified in [json!(false), Value::Null] {
        let token = |nonce: &str| {
            Some(provider.issuer().token(|claims| {
                ada(claims, nonce);
                claims.insert("email_verified".to_owned(), verified.clone());
                claims["sub"] = json!("another");
            }))
        };
        assert!(
            provider
                .sign_in(&app, token)
                .await
                .starts_with("/#error=no_account")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_signs_nobody_in() {
    let provider = Fake::start();
    let app = App::start(|_| provider.0.issuer()).await;
    provider
        .0
        .answer_at("/.well-known/openid-configuration", Answer::status(500));
    let mut browser = Browser::new(&app);
    let to = browser.location("identity/idp/start?return_to=/in").await;
    assert!(to.starts_with("/in#error=temporarily_unavailable"), "{to}");
}

/// The promise of the manual.
const LINES: usize = 40;

/// The recipe shows this code.
#[test]
fn the_manual_quotes_the_example() {
    let code = include_str!("../src/lib.rs");
    let (_, code) = code.split_once("impl Provider {").unwrap();
    let recipe = include_str!("../../../../src/manual/recipes/oidc.md");
    assert!(recipe.contains(code.trim_end()));
}
