//! Mails over SMTP, driven by a client in Python that is the mail server as well.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use serde_json::json;

use crate::{
    auth_server::client::{PASSWORD, SEEDS, USER},
    support::{process::Server, script::PYTHON},
};

#[test]
#[ignore = "needs Python with aiosmtpd and requests"]
fn u26_u27_u29_every_flow_by_a_foreign_client_and_a_real_mail_server() {
    let (variable, default) = PYTHON;
    let program = env::var(variable).unwrap_or_else(|_| default.to_owned());
    let mut client = Command::new(program)
        .arg("tests/processes/mail/flows.py")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("NO_PROXY", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(client.stdout.take().unwrap()).lines();
    let port = said.next().expect("a port").unwrap();
    let smtp = format!("smtp://127.0.0.1:{port}");
    let server = Server::start(&[
        SEEDS,
        ("AUTH_REGISTRATION", "true"),
        ("AUTH_SMTP_URL", &smtp),
        ("AUTH_MAIL_FROM", "no-reply@example.org"),
    ]);
    let mut stdin = client.stdin.take().unwrap();
    writeln!(stdin, "{}", server.address()).unwrap();
    let last = said.next().expect("a result").unwrap();
    assert!(client.wait().unwrap().success());
    assert_eq!(last, "done");
    // One mail was refused by the mail server.
    assert!(!server.stop().contains("ot1_"));
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
