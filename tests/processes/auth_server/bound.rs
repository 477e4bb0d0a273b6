//! A stock client whose tokens are bound to its key, against the login server.

use super::client::{PASSWORD, SEEDS, USER};
use crate::support::{
    process::Server,
    script::{NODE, run},
};

/// Prints the transcript.
#[test]
#[ignore = "needs Node with oauth4webapi"]
fn g41_a_stock_client_signs_in_refreshes_and_is_robbed() {
    let server = Server::start(&[
        SEEDS,
        ("AUTH_DPOP", "required"),
        ("JWT_DPOP_NONCE", "true"),
        // A nonce ages after half of it.
        ("JWT_DPOP_NONCE_SECONDS", "10"),
    ]);
    let script = "tests/processes/auth_server/bound.mjs";
    let arguments = [script, server.address(), USER, PASSWORD, "5"];
    let transcript = run(NODE, &arguments, std::process::Stdio::null());
    println!("{transcript}");
    assert_eq!(transcript.lines().last(), Some("done"));
}
