//! Tokens made by other libraries, in other languages, and ours given to them, with fresh keys on
//! every run.
//!
//! ```sh
//! python3 -m venv target/interop/python
//! target/interop/python/bin/pip install -r tests/interop/requirements.txt
//! mkdir -p target/interop/node && cp tests/interop/package*.json target/interop/node/
//! npm ci --prefix target/interop/node
//! PYTHON=$PWD/target/interop/python/bin/python NODE_PATH=$PWD/target/interop/node/node_modules \
//!     cargo test --features server --test interop -- --ignored
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

#[path = "../support"]
mod support {
    pub(crate) mod script;
}

use std::{
    collections::BTreeMap,
    io::{Seek, Write},
    process::Stdio,
};

use serde::Deserialize;
use serde_json::{Value, json};
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    key::{Algorithm, KeySet, SigningKey},
    layer::{
        extract::{Bearer, Cookie, Header, Query},
        role_guard::Rule,
    },
    server::issue::{AccessTokenClaims, KeyRing, TokenIssuer},
};

use self::support::script::{NODE, PYTHON, Program, run};

#[test]
#[ignore = "needs Python with PyJWT"]
fn tokens_of_pyjwt_get_the_verdict_they_deserve() {
    judge(&mint(PYTHON, "tests/interop/mint.py"));
}

#[test]
#[ignore = "needs Node with jose"]
fn tokens_of_jose_get_the_verdict_they_deserve() {
    judge(&mint(NODE, "tests/interop/mint.mjs"));
}

#[test]
#[ignore = "needs Python with PyJWT"]
fn s1_pyjwt_accepts_what_is_issued_here() {
    show(PYTHON, "tests/interop/verify.py");
}

#[test]
#[ignore = "needs Node with jose"]
fn s1_jose_accepts_what_is_issued_here() {
    show(NODE, "tests/interop/verify.mjs");
}

/// As a resource server checks them that knows RFC 9068 (§4), not only RFC 7519.
#[test]
#[ignore = "needs Node with oauth4webapi"]
fn s10_oauth4webapi_accepts_what_is_issued_here_as_rfc_9068() {
    show(NODE, "tests/interop/rfc9068.mjs");
}

#[test]
#[ignore = "needs Python with Authlib"]
fn s10_authlib_accepts_what_is_issued_here_as_rfc_9068() {
    show(PYTHON, "tests/interop/rfc9068.py");
}

#[test]
#[ignore = "needs Python with openapi-spec-validator"]
fn l23_another_library_validates_the_openapi_description() {
    let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build();
    let layer = JwtAuthLayer::new(verifier.expect("a verifier"));
    let cookie = Cookie::new("__Host-at").expect("a cookie");
    let header = Header::new(http::HeaderName::from_static("x-token"));
    let places = (Bearer::new(), cookie, header, Query::new("access_token"));
    let schemes = layer.extractor(places).optional().openapi();
    let schemes = schemes.expect("the places are known");
    let rules = [
        Rule::authenticated(),
        Rule::scope("orders:read orders:write").or(Rule::scope("orders")),
        Rule::any_of(["admin"]).and(!Rule::scope("read-only")),
        Rule::check(|_, _| true).named("own order").action("edit"),
    ];
    let paths: serde_json::Map<_, _> = rules
        .iter()
        .enumerate()
        .map(|(number, rule)| {
            let operation = json!({
                "security": rule.openapi_security(&schemes),
                "x-authorization": rule.openapi_extension(),
                "responses": { "200": { "description": "OK" } },
            });
            (format!("/{number}"), json!({ "get": operation }))
        })
        .collect();
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": "Orders", "version": "1" },
        "components": { "securitySchemes": schemes.to_value() },
        "security": schemes.requirement(),
        "paths": paths,
    });
    let printed = run(PYTHON, &["tests/interop/openapi.py"], written(&document));
    // The four places and the anonymous request, then the alternatives of the rules.
    assert_eq!(printed.trim(), "3.1.0 25");
}

/// Returns a file with this document, to be read from its start.
fn written(document: &Value) -> std::fs::File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(document.to_string().as_bytes())
        .and_then(|()| file.rewind())
        .expect("the file takes the document");
    file
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
    scope: Option<String>,
}

fn mint(program: Program, script: &str) -> Minted {
    let printed = run(program, &[script], Stdio::null());
    serde_json::from_str(&printed).expect("the script prints one JSON document")
}

/// Gives the other library a token of each of its algorithms, by the keys as they are published.
fn show(program: Program, script: &str) {
    const SECRET: &str = "a secret of sixty-four characters, as many as SHA-512 has bytes.";
    let issuing = |key: SigningKey| {
        TokenIssuer::builder(KeyRing::new(key).expect("a ring"))
            .issuer("https://as.example")
            .audience("https://api.example")
            .build()
            .expect("an issuer")
    };
    let (mut keys, mut tokens) = (Vec::new(), Vec::new());
    for alg in [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
        "HS256", "HS384", "HS512",
    ] {
        let algorithm: Algorithm = alg.parse().expect("an algorithm of ours");
        let key = if algorithm.is_hmac() {
            SigningKey::from_secret(algorithm, SECRET)
        } else {
            SigningKey::generate(algorithm)
        };
        let issuer = issuing(key.expect("a key"));
        let asked = AccessTokenClaims::for_subject("alice")
            .roles(["admin"])
            .auth_time(std::time::SystemTime::now())
            .amr(["pwd"]);
        let minted = issuer.issue_access_token(asked).expect("a token");
        tokens.push(json!({"alg": alg, "token": minted.token().expose()}));
        let set: Value = serde_json::from_str(&issuer.keys().jwks()).expect("JSON");
        let published = set.get("keys").and_then(Value::as_array);
        keys.extend(published.expect("an array").iter().cloned());
    }
    let count = tokens.len();
    let document = json!({"jwks": {"keys": keys}, "secret": SECRET, "tokens": tokens});

    let accepted = run(program, &[script], written(&document));
    assert_eq!(accepted.trim(), count.to_string());
}

fn judge(minted: &Minted) {
    let public = verifier_of_key_set(minted);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in &minted.cases {
        *seen.entry(&case.alg).or_default() += 1;
        let algorithm: Algorithm = case.alg.parse().expect("an algorithm of ours");
        let verdict = if algorithm.is_hmac() {
            verifier_of_secret(algorithm, minted).verify_now(&case.token)
        } else {
            public.verify_now(&case.token)
        };
        let actual = match &verdict {
            Ok(_) => "ok",
            Err(refusal) => refusal.as_str(),
        };
        if actual != case.expect {
            let (alg, name, expect) = (&case.alg, &case.name, &case.expect);
            wrong.push(format!("{alg}, {name}: {actual} instead of {expect}"));
        }
        if let Ok(token) = verdict {
            let caller = token.principal();
            assert_eq!(caller.subject(), Some("alice"), "{}", case.name);
            if let Some(roles) = &case.roles {
                assert_eq!(caller.roles().collect::<Vec<_>>(), *roles, "{}", case.name);
            }
            if let Some(scope) = &case.scope {
                let found = caller.scope().collect::<Vec<_>>().join(" ");
                assert_eq!(found, *scope, "{}", case.name);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // The scripts made all of it: 11 cases for each of 13 algorithms.
    assert_eq!(seen.len(), 13, "{seen:?}");
    assert!(seen.values().all(|cases| *cases == 11), "{seen:?}");
}

fn verifier_of_key_set(minted: &Minted) -> Verifier {
    let keys = KeySet::from_jwks(minted.jwks.to_string()).expect("a usable key set");
    assert_eq!(keys.len(), 10);
    Verifier::key_set(keys)
        .issuer("https://as.example")
        .audience("https://api.example")
        .build()
        .expect("a verifier")
}

fn verifier_of_secret(algorithm: Algorithm, minted: &Minted) -> Verifier {
    Verifier::secret(algorithm, &minted.secret)
        .issuer("https://as.example")
        .audience("https://api.example")
        .build()
        .expect("a verifier")
}
