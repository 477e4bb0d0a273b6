//! The page of the example in Chromium, with a virtual authenticator.

#[path = "../src/app.rs"]
mod app;

use std::{env, net::SocketAddr, process::Stdio};

use tokio::{net::TcpListener, process::Command};

/// What an application writes: the lines of code after the imports.
#[test]
fn passkeys_take_eighty_lines() {
    let code = include_str!("../src/lib.rs");
    let (_, code) = code.split_once("/// The relying party: a").unwrap();
    let lines = code.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    let lines = lines.count();
    println!("{lines} lines");
    assert!(lines <= 80, "{lines} lines");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium, and Node with playwright-core"]
async fn a_browser_registers_a_passkey_and_signs_in_with_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let app = app::app(&origin).await.unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let node = env::var("NODE").unwrap_or_else(|_| "node".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser.mjs");
    let said = Command::new(node)
        .args([script, &origin])
        .stderr(Stdio::inherit())
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "done");
}

/// The recipe shows this code.
#[test]
fn the_manual_quotes_the_example() {
    let code = include_str!("../src/lib.rs");
    let (_, code) = code
        .split_once("impl PasskeyAuthority for Authority {")
        .unwrap();
    let recipe = include_str!("../../../../src/manual/recipes/passkeys.md");
    assert!(recipe.contains(code.trim_end()));
}
