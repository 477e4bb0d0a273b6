//! Tokens made by other libraries, in other languages, with fresh keys on every run.
//!
//! ```sh
//! python3 -m venv target/interop/python
//! target/interop/python/bin/pip install -r tests/interop/requirements.txt
//! mkdir -p target/interop/node && cp tests/interop/package*.json target/interop/node/
//! npm ci --prefix target/interop/node
//! PYTHON=$PWD/target/interop/python/bin/python NODE_PATH=$PWD/target/interop/node/node_modules \
//!     cargo test --test interop -- --ignored
//! ```

// Outside a `#[test]` function clippy takes a helper for production code.
#![allow(clippy::expect_used)]

use std::{collections::BTreeMap, env, path::Path, process::Command};

use serde::Deserialize;
use serde_json::Value;
use tower_jwt_auth::{
    Verifier,
    key::{Algorithm, KeySet},
};

#[test]
#[ignore = "needs Python with PyJWT"]
fn tokens_of_pyjwt_get_the_verdict_they_deserve() {
    judge(&mint("PYTHON", "python3", "tests/interop/mint.py"));
}

#[test]
#[ignore = "needs Node with jose"]
fn tokens_of_jose_get_the_verdict_they_deserve() {
    judge(&mint("NODE", "node", "tests/interop/mint.mjs"));
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

fn mint(variable: &str, default: &str, script: &str) -> Minted {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = env::var(variable).unwrap_or_else(|_| default.to_owned());
    let output = Command::new(&program)
        .arg(script)
        .current_dir(root)
        .output()
        .unwrap_or_else(|error| panic!("{variable}={program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {complaint}");
    serde_json::from_slice(&output.stdout).expect("the script prints one JSON document")
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
