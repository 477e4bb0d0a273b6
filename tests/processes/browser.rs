//! The page of the login server in a real browser: Chromium, driven by the scripts in tests/processes/browser.

use std::{fs, net::TcpListener, os::fd::OwnedFd, path::Path, process::Stdio};

use serde_json::{Value, json};

use crate::{
    auth_server::client::{PASSWORD, SEEDS, USER},
    support::{
        process::{Folder, Server},
        script::{NODE, run},
    },
};

#[test]
#[ignore = "needs Chromium, and Node with playwright-core"]
fn a_page_signs_in_refreshes_in_two_tabs_and_signs_out() {
    let server = Server::start(&[SEEDS]);
    let asked = json!({ "origin": server.address(), "pictures": pictures("plain") });
    drive("login.mjs", asked, Stdio::null());
}

/// As a newcomer starts it: without a store, users and a public URL, so that it has demo users. The page
/// waits for the end of the grace window.
#[test]
#[ignore = "needs Chromium, and Node with playwright-core and axe-core"]
fn w2_w6_a_page_shows_all_that_the_server_does() {
    let server = Server::start(&[("AUTH_REFRESH_GRACE_SECONDS", "2")]);
    let asked = json!({ "origin": server.address(), "pictures": pictures("page") });
    drive("page.mjs", asked, Stdio::null());
}

#[test]
#[ignore = "needs Chromium, and Node with playwright-core"]
fn g41_a_page_binds_its_tokens_to_a_key_that_no_script_can_read() {
    let server = Server::start(&[("AUTH_REFRESH_GRACE_SECONDS", "2")]);
    let asked = json!({ "origin": server.address(), "pictures": pictures("bound") });
    drive("bound.mjs", asked, Stdio::null());
}

#[test]
#[ignore = "needs Chromium, and Node with playwright-core"]
fn u27_u33_u39_a_page_enrols_a_second_factor_and_uses_the_links_of_mails() {
    let folder = Folder::new();
    let log = folder.file("log", "");
    let secret = ("AUTH_SECRET_KEY", SECRET);
    let server = Server::start(&[SEEDS, ("AUTH_STORE", "memory:"), secret]);
    server.log_to(&log);
    let asked = json!({
        "origin": server.address(),
        "log": log,
        "pictures": pictures("factors"),
    });
    drive("factors.mjs", asked, Stdio::null());
}

/// As a newcomer starts it, under the name of this machine.
#[test]
#[ignore = "needs Chromium, and Node with playwright-core and axe-core"]
fn u49_a_page_adds_a_passkey_signs_in_with_it_and_removes_it() {
    let server = Server::start(&[]);
    let origin = server.address().replace("127.0.0.1", "localhost");
    let asked = json!({ "origin": origin, "pictures": pictures("passkeys") });
    drive("passkeys.mjs", asked, Stdio::null());
}

#[test]
#[ignore = "needs Chromium, and Node with playwright-core"]
fn u12_cookies_behind_tls_as_the_browser_sees_them() {
    let folder = Folder::new();
    let names = ["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let cert = folder.file("cert.pem", &made.cert.pem());
    let key = folder.file("key.pem", &made.signing_key.serialize_pem());
    // The server must know its public URL before anybody answers there, and not listen there itself.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let origin = format!("https://localhost:{port}");
    let server = Server::start(&[SEEDS, ("AUTH_PUBLIC_URL", &origin)]);
    let to = server.address().trim_start_matches("http://");
    let asked = json!({
        "origin": origin,
        "pictures": pictures("tls"),
        "tls": { "to": to, "key": key, "cert": cert },
    });
    drive("login.mjs", asked, OwnedFd::from(listener).into());
}

/// 32 bytes.
const SECRET: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";

/// Where pictures of the page are kept, for whoever wants to look at them.
fn pictures(kind: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("browser")
        .join(kind);
    fs::create_dir_all(&folder).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn drive(script: &str, mut asked: Value, listener: Stdio) {
    asked["name"] = json!(USER);
    asked["password"] = json!(PASSWORD);
    let script = format!("tests/processes/browser/{script}");
    let script = [script.as_str(), &asked.to_string()];
    assert_eq!(run(NODE, &script, listener).trim(), "done");
}
