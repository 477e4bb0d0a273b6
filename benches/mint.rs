//! The cost of an access token above its signature, and of a refresh above its access token: a session
//! in memory, read, advanced and answered on one thread.
//!
//! `cargo bench --features test-util,server --bench mint`, optionally with `-- --quick` and a part of a
//! group's name. For a profiler: `-- --loop refresh/refresh 1000`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot run must say so"
)]

mod harness;

use aws_lc_rs::signature::Ed25519KeyPair;
use tokio::runtime::Runtime;
use tower_jwt_auth::{
    key::{Algorithm, SigningKey},
    secret::SecretKey,
    server::{
        issue::{AccessTokenClaims, KeyRing, TokenIssuer},
        refresh::RefreshPolicy,
        session::{Sessions, StartSession},
    },
    store::MemoryStore,
};

use self::harness::Group;

fn main() {
    harness::main("mint", vec![access, refresh]);
}

fn access() -> Vec<Group> {
    let issuer = issuer();
    let key = Ed25519KeyPair::generate().expect("a key");
    // As long as the token without its signature.
    let message = issuer.issue_access_token(claims()).expect("a token");
    let message = message.token().expose().clone();
    let end = message.rfind('.').unwrap_or_default();
    let mint = move || issuer.issue_access_token(claims());
    let sign = move || key.sign(message.as_bytes().get(..end).unwrap_or_default());
    vec![
        Group::new("access token")
            .candidate("mint", mint)
            .candidate("sign", sign)
            .compare("mint", "sign", "≤ 1.25"),
    ]
}

fn refresh() -> Vec<Group> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let issuer = issuer();
    // Every refresh is a write.
    let sessions = Sessions::builder(issuer.clone(), MemoryStore::new())
        .secret(SecretKey::generate())
        .policy(RefreshPolicy::strict())
        .build()
        .expect("the settings fit together");
    let started = runtime.block_on(sessions.start(StartSession::new("alice")));
    let started = started.expect("a session");
    let held = started.refresh_token().expose().clone();
    vec![
        Group::new("refresh")
            .looping("refresh", refreshing(runtime, sessions, held))
            .candidate("mint", move || issuer.issue_access_token(claims()))
            .compare("refresh", "mint", "≤ 1.45"),
    ]
}

/// The runtime is entered once for all of them, as a server's is.
fn refreshing(runtime: Runtime, sessions: Sessions, mut held: String) -> impl FnMut(u64) {
    move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                let pair = sessions.refresh(&held).await.expect("a live token");
                pair.refresh_token().expose().clone_into(&mut held);
            }
        });
    }
}

fn claims() -> AccessTokenClaims {
    AccessTokenClaims::for_subject("alice")
}

fn issuer() -> TokenIssuer {
    let keys = KeyRing::new(SigningKey::generate(Algorithm::EdDsa).expect("a key"));
    TokenIssuer::builder(keys.expect("a ring"))
        .issuer("https://auth.example")
        .audience("api")
        .build()
        .expect("the settings fit together")
}
