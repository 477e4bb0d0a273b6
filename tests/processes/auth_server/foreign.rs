//! Clients of another ecosystem.

use std::process::Stdio;

use super::client::{PASSWORD, SEEDS, USER};
use crate::support::{
    process::Server,
    script::{PYTHON, run},
};

#[test]
#[ignore = "needs Python with requests, Authlib and PyJWT"]
fn requests_and_authlib_sign_in_refresh_verify_and_revoke() {
    let server = Server::start(&[SEEDS]);
    let script = ["tests/interop/login.py", server.address(), USER, PASSWORD];
    assert_eq!(run(PYTHON, &script, Stdio::null()).trim(), "done");
}

#[test]
#[ignore = "needs Python with requests, PyJWT and pyotp"]
fn u24_u25_u32_u33_pyotp_enrols_and_signs_in() {
    let secret = (
        "AUTH_SECRET_KEY",
        "cHlvdHAgZW5yb2xzIGFuZCBzaWducyBpbiBoZXJlISE",
    );
    let server = Server::start(&[SEEDS, secret]);
    let script = [
        "tests/interop/second_factor.py",
        server.address(),
        USER,
        PASSWORD,
    ];
    assert_eq!(run(PYTHON, &script, Stdio::null()).trim(), "done");
}

#[tokio::test]
async fn s10_our_resource_server_in_rfc_9068_mode_accepts_our_tokens() {
    let server = Server::start(&[SEEDS, ("JWT_CLIENT_ID", "web, spa")]);
    let keys = format!("{}/.well-known/jwks.json", server.address());
    let api = Server::start_example(
        "resource_server",
        &[
            ("JWT_JWKS_URL", &*keys),
            ("JWT_ISSUER", server.address()),
            ("JWT_AUDIENCE", server.address()),
            ("JWT_REQUIRED_TYP", "at+jwt"),
        ],
    );
    let named = serde_json::json!({ "email": USER, "password": PASSWORD, "client_id": "spa" });
    let named = server.post("/api/auth/login", named.to_string()).await;
    for tokens in [server.login(USER).await, named.tokens()] {
        let answer = api.get("/protected", Some(&tokens.access)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let fresh = server.refresh(&tokens).await.tokens();
        let answer = api.get("/protected", Some(&fresh.access)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}
