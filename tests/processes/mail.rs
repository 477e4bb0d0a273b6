//! Mails over SMTP, driven by a client in Python that is the mail server as well.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use serde_json::json;

use crate::{
    auth_server::client::{PASSWORD, SEEDS, USER},
    support::{port::free_port, process::Server, script::PYTHON},
};

#[test]
#[ignore = "needs Python with aiosmtpd and requests"]
fn u26_u27_u29_every_flow_by_a_foreign_client_and_a_real_mail_server() {
    // One mail was refused by the mail server.
    let said = against("tests/processes/mail/flows.py", &[]);
    assert!(!said.contains("ot1_"));
}

/// Runs a client that is the mail server as well. Returns what the login server printed.
fn against(script: &str, more: &[(&str, &str)]) -> String {
    let (variable, default) = PYTHON;
    let program = env::var(variable).unwrap_or_else(|_| default.to_owned());
    let mut client = Command::new(program)
        .arg(script)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("NO_PROXY", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(client.stdout.take().unwrap()).lines();
    let port = said.next().expect("a port").unwrap();
    let smtp = format!("smtp://127.0.0.1:{port}");
    let mut vars = vec![
        SEEDS,
        ("AUTH_REGISTRATION", "true"),
        ("AUTH_SMTP_URL", &*smtp),
        ("AUTH_MAIL_FROM", "no-reply@example.org"),
    ];
    vars.extend_from_slice(more);
    let server = Server::start(&vars);
    let mut stdin = client.stdin.take().unwrap();
    let public = more.iter().find(|(name, _)| *name == "AUTH_PUBLIC_URL");
    let origin = public.map_or(server.address(), |(_, url)| url);
    writeln!(stdin, "{origin}").unwrap();
    let last = said.next().expect("a result").unwrap();
    assert!(client.wait().unwrap().success());
    assert_eq!(last, "done");
    server.stop()
}

/// Without a mail server, a server on this machine prints its mails.
#[tokio::test]
async fn u30_a_server_of_a_developer_prints_its_mails() {
    let server = Server::start(&[SEEDS]);
    let body = json!({ "email": USER }).to_string();
    let origin = server.address().to_owned();
    assert_eq!(
        server.post("/api/auth/password/forgot", body).await.status,
        202
    );
    let said = server.stop();
    let (_, mail) = said
        .split_once("development mail, not sent")
        .expect("a mail");
    assert!(mail.contains(&format!("to: {USER}")), "{mail}");
    let link = format!("{origin}/reset-password#token=ot1_");
    assert!(mail.contains(&link) && !mail.contains(PASSWORD), "{mail}");
}

#[tokio::test]
async fn u30_a_public_server_without_a_mail_server_has_no_mail_endpoints() {
    let server = Server::start(&[SEEDS, ("AUTH_PUBLIC_URL", "https://app.example")]);
    let body = json!({ "email": USER }).to_string();
    assert_eq!(
        server.post("/api/auth/password/forgot", body).await.status,
        404
    );
    assert!(!server.stop().contains("development mail"));
}

/// The attacks on the accounts of this server: `tests/processes/mail/attacks.py`.
#[test]
#[ignore = "needs Python with aiosmtpd, pyotp and requests"]
fn u24_u27_u29_u32_u34_u39_attacks_over_http_are_refused() {
    against(
        "tests/processes/mail/attacks.py",
        &[
            (
                "AUTH_SECRET_KEY",
                "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE",
            ),
            ("AUTH_STORE", "memory:"),
            // The attacker comes from many networks.
            ("AUTH_TRUSTED_PROXIES", "127.0.0.1"),
        ],
    );
}

/// The attacks on passkeys, which belong to a name and not to an address: `tests/processes/passkeys/attacks.py`.
#[test]
#[ignore = "needs Python with aiosmtpd, cryptography and requests"]
fn u34_u45_u46_u49_u51_attacks_on_passkeys_are_refused() {
    let port = free_port().to_string();
    let origin = format!("http://localhost:{port}");
    against(
        "tests/processes/passkeys/attacks.py",
        &[
            ("PORT", &port),
            ("AUTH_PUBLIC_URL", &origin),
            (
                "AUTH_SECRET_KEY",
                "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE",
            ),
            ("AUTH_STORE", "memory:"),
            ("AUTH_TRUSTED_PROXIES", "127.0.0.1"),
        ],
    );
}
