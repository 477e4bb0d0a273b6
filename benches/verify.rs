//! What verifying a token costs over the cryptography in it.
//!
//! The floor is aws-lc-rs with a key prepared once, checking the same bytes against the same decoded
//! signature: nothing that checks a token can be faster. Beside it stands jsonwebtoken's `decode`
//! with the same expectations into the same type.
//!
//! Where the processor has SHA extensions, HMAC is so cheap that HS256's ratio says little; then
//! `OPENSSL_ia32cap=:~0x20000000` hides them from aws-lc.
//!
//! `cargo bench --features test-util,server --bench verify`, optionally with `-- --quick` and a part of a
//! group's name. For a profiler: `-- --loop HS256/verify 10000`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run must say so"
)]

mod harness;

use jsonwebtoken as jwt;
use tower_jwt_auth::key::Algorithm;

use self::harness::{Group, Prepared, Token, User, claims, decoding, now};

fn main() {
    // jsonwebtoken asks the process for its cryptography.
    let _ = jwt::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    harness::main("verify", vec![algorithms, lists, key_sets, refusals]);
}

/// A good token, by every algorithm.
fn algorithms() -> Vec<Group> {
    let group = |(algorithm, target): (Algorithm, &str)| {
        let token = Token::new(algorithm);
        let json = token.claims();
        let group = Group::new(algorithm.as_str())
            .given(|| drop(serde_json::from_str::<User>(&json)))
            .candidate("crypto", crypto(&token))
            .candidate("verify", verify(&token, 1))
            .compare("verify", "crypto", target);
        match by_jsonwebtoken(&token) {
            Some(decode) => {
                group
                    .candidate("jsonwebtoken", decode)
                    .compare("jsonwebtoken", "crypto", "–")
            }
            None => group,
        }
    };
    ALGORITHMS.into_iter().map(group).collect()
}

/// A good token with a hundred roles.
fn lists() -> Vec<Group> {
    let roles: Vec<_> = (0..100)
        .map(|number| format!("editor-{number:03}"))
        .collect();
    let roles = serde_json::to_string(&roles).expect("roles are JSON");
    let usual = r#"["orders-admin","editor","viewer"]"#;
    let algorithm = Algorithm::Hs256;
    let token = Token::of(algorithm, &claims(now() + 3600, 1).replace(usual, &roles));
    let json = token.claims();
    let group = Group::new("HS256, 100 roles")
        .given(|| drop(serde_json::from_str::<User>(&json)))
        .candidate("crypto", crypto(&token))
        .candidate("verify", verify(&token, 1))
        .candidate(
            "jsonwebtoken",
            by_jsonwebtoken(&token).expect("it knows HMAC"),
        )
        .compare("verify", "crypto", "–")
        .compare("verify", "jsonwebtoken", "< 1");
    vec![group]
}

/// The same token, its key found among many.
fn key_sets() -> Vec<Group> {
    let group = |algorithm: Algorithm| {
        let token = Token::new(algorithm);
        let json = token.claims();
        Group::new(format!("{algorithm}, keys"))
            .given(|| drop(serde_json::from_str::<User>(&json)))
            .candidate("1 key", verify(&token, 1))
            .candidate("100 keys", verify(&token, 100))
            .candidate("1000 keys", verify(&token, 1000))
            .compare("100 keys", "1 key", "≤ 1.02")
            .compare("1000 keys", "1 key", "≤ 1.02")
    };
    [Algorithm::Hs256, Algorithm::Es256].map(group).into()
}

/// Tokens that are refused, against the one that is accepted.
fn refusals() -> Vec<Group> {
    let group = |algorithm: Algorithm| {
        let token = Token::new(algorithm);
        let expired = Token::expiring(algorithm, now() - 3600);
        Group::new(format!("{algorithm}, refused"))
            .candidate("accepted", verify(&token, 1))
            .candidate("forged", refuse(&token.clone().forged()))
            .candidate("expired", refuse(&expired))
            .candidate("not a token", refuse_text(&token, "x".repeat(600)))
            .compare("forged", "accepted", "–")
            .compare("expired", "accepted", "–")
            .compare("not a token", "accepted", "–")
    };
    [Algorithm::Hs256, Algorithm::Es256].map(group).into()
}

fn crypto(token: &Token) -> impl FnMut() + use<> {
    let key = Prepared::new(token.algorithm);
    let (message, signature) = (token.message().to_vec(), token.signature());
    move || assert!(key.verifies(&message, &signature))
}

fn verify(token: &Token, keys: usize) -> impl FnMut() + use<> {
    let verifier = token.verifier_of(keys);
    let text = token.text.clone();
    move || {
        let verdict = verifier.verify_now(&text);
        assert!(verdict.is_ok());
    }
}

fn refuse(token: &Token) -> impl FnMut() + use<> {
    refuse_text(token, token.text.clone())
}

fn refuse_text(token: &Token, text: String) -> impl FnMut() + use<> {
    let verifier = token.verifier();
    move || {
        let verdict = verifier.verify_now(&text);
        assert!(verdict.is_err());
    }
}

fn by_jsonwebtoken(token: &Token) -> Option<impl FnMut() + use<>> {
    let (key, validation) = decoding(token.algorithm)?;
    let text = token.text.clone();
    Some(move || {
        let verdict = jwt::decode::<User>(&text, &key, &validation);
        assert!(verdict.is_ok());
    })
}

const ALGORITHMS: [(Algorithm, &str); 10] = [
    (Algorithm::Hs256, "–"),
    (Algorithm::Hs384, "–"),
    (Algorithm::Hs512, "–"),
    (Algorithm::Rs256, "≤ 1.10"),
    (Algorithm::Rs512, "–"),
    (Algorithm::Ps256, "≤ 1.10"),
    (Algorithm::Es256, "≤ 1.035"),
    (Algorithm::Es384, "–"),
    (Algorithm::Es512, "–"),
    (Algorithm::EdDsa, "≤ 1.045"),
];
