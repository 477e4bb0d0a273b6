//! Clients of another ecosystem.

use std::{env, process::Command};

use crate::process::{PASSWORD, SEEDS, Server, USER};

#[test]
#[ignore = "needs Python with requests, Authlib and PyJWT"]
fn requests_and_authlib_sign_in_refresh_verify_and_revoke() {
    let server = Server::start(&[SEEDS]);
    let program = env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = Command::new(&program)
        .args(["tests/interop/login.py", server.address(), USER, PASSWORD])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Whatever proxy this machine asks for other addresses.
        .env("NO_PROXY", "*")
        .env("no_proxy", "*")
        .output()
        .unwrap_or_else(|error| panic!("PYTHON={program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "done");
}
