//! The chat example as a process: a stranger talks, signs in, and goes on with the same conversation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::{env, fs, path::Path, process::Command};

use http::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};

#[path = "auth_server/process.rs"]
#[allow(dead_code, reason = "tests/auth_server.rs uses all of it")]
mod process;
#[path = "auth_server/socket.rs"]
#[allow(dead_code, reason = "tests/auth_server.rs uses all of it")]
mod socket;

use self::{
    process::{Server, Tokens},
    socket::Socket,
};

struct Chat(Server);

impl Chat {
    fn start() -> Self {
        Self(Server::start_example("chatbot", &[]))
    }

    async fn ask(&self, path: &str, token: &str, body: Option<Value>) -> (StatusCode, Value) {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let method = if body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.0.address()))
            .header(CONTENT_TYPE, "application/json");
        if !token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(bytes::Bytes::from(body))).unwrap();
        let response = client.request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

fn token((status, answer): &(StatusCode, Value)) -> String {
    assert_eq!(*status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn w2_a_stranger_signs_in_and_the_conversation_goes_on() {
    let chat = Chat::start();
    let nobody = chat.ask("/chat/messages", "", None).await;
    assert_eq!(nobody.0, 401);
    let guest = token(&chat.ask("/api/auth/guest", "", Some(json!({}))).await);
    let again = token(&chat.ask("/api/auth/guest", &guest, Some(json!({}))).await);
    assert_eq!(again, guest, "a guest who has a token keeps it");
    let said = json!({ "text": "hello" });
    let (status, reply) = chat.ask("/chat/messages", &guest, Some(said)).await;
    assert_eq!(
        (status.as_u16(), &reply["reply"]),
        (200, &json!("You said: hello"))
    );
    let (_, context) = chat.ask("/chat/context", &guest, None).await;
    assert_eq!(context["authenticated"], false);
    assert_eq!(context["user_id"], Value::Null);
    assert_eq!(context["conversation"], reply["conversation"]);
    assert_eq!(context["can_manage_tasks"], false);
    // W1: tasks are for users.
    let task = || Some(json!({ "title": "milk" }));
    assert_eq!(chat.ask("/tasks", &guest, task()).await.0, 403);
    assert_eq!(
        chat.ask("/tasks/1/finish", &guest, Some(json!({}))).await.0,
        403
    );

    let login = |link: bool| {
        let (email, password) = ("demo@example.org", "demo-password");
        Some(json!({ "email": email, "password": password, "link": link }))
    };
    // W4: without the flag the guest stays who it is.
    let apart = token(&chat.ask("/api/auth/login", &guest, login(false)).await);
    let (_, history) = chat.ask("/chat/messages", &apart, None).await;
    assert_eq!(history["messages"], json!([]));
    assert_eq!(chat.ask("/chat/context", &guest, None).await.0, 200);

    let user = token(&chat.ask("/api/auth/login", &guest, login(true)).await);
    let (_, history) = chat.ask("/chat/messages", &user, None).await;
    let first = &history["messages"][0];
    assert_eq!(
        (&first["text"], &first["from_guest"]),
        (&json!("hello"), &json!(true))
    );
    let (_, context) = chat.ask("/chat/context", &user, None).await;
    assert_eq!(
        (&context["user_id"], &context["can_manage_tasks"]),
        (&json!("u-demo"), &json!(true))
    );
    assert_eq!(chat.ask("/tasks", &user, task()).await.0, 201);
    assert_eq!(
        chat.ask("/tasks/1/finish", &user, Some(json!({}))).await.0,
        204
    );
    assert_eq!(
        chat.ask("/tasks/2/finish", &user, Some(json!({}))).await.0,
        404
    );
    assert_eq!(
        chat.ask("/tasks", &user, None).await.1["tasks"][0]["done"],
        true
    );
    // W5: the guest's token is dead; the set hears of it within a moment.
    let linked = std::time::Instant::now();
    while chat.ask("/chat/context", &guest, None).await.0 != 401 {
        assert!(linked.elapsed().as_secs() < 60, "it lives on");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn w6_a_socket_is_the_same_chat_and_ends_with_its_session() {
    let chat = Chat::start();
    let access = token(&chat.ask("/api/auth/guest", "", Some(json!({}))).await);
    let refresh = String::new();
    let guest = Tokens { access, refresh };
    let mut by_protocol = Socket::open(&chat.0, Some(&guest)).await;
    let mut by_message = Socket::open(&chat.0, None).await;
    by_message.authenticate(&guest).await;
    let reply = by_protocol.ask("hello").await;
    assert_eq!(reply["reply"], "You said: hello");
    assert_eq!(by_message.ask("again").await["reply"], "You said: again");
    let (_, history) = chat.ask("/chat/messages", &guest.access, None).await;
    assert_eq!(history["messages"][2]["text"], "again");
    let (_, context) = chat.ask("/chat/context", &guest.access, None).await;
    assert_eq!(context["conversation"], reply["conversation"]);

    assert_eq!(chat.0.logout(&guest, "device").await.status, 204);
    for mut socket in [by_protocol, by_message] {
        assert_eq!(socket.closed().await, (4401, "token_revoked".to_owned()));
    }
    // As an operator ends it.
    chat.0.stop();
}

#[test]
fn a_setting_that_the_example_does_not_read_ends_it_with_exit_code_2() {
    for (name, value) in [
        ("AUTH_STORE", "memory:"),
        (
            "AUTH_SEED_USER",
            "ada@example.org:a password of the tests:user",
        ),
        ("JWT_AUDIENCE", "api"),
        // Its password is in its documentation.
        ("HOST", "0.0.0.0"),
    ] {
        let (status, said, complaint) = process::refused_by("chatbot", &[(name, value)]);
        assert_eq!(status.code(), Some(2), "{name}: {said}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        assert!(complaint.starts_with(name), "{complaint}");
    }
}

#[tokio::test]
async fn a_conversation_is_bounded_whatever_is_posted() {
    let chat = Chat::start();
    let guest = token(&chat.ask("/api/auth/guest", "", Some(json!({}))).await);
    for number in 0..30 {
        let said = json!({ "text": number.to_string() });
        let (status, _) = chat.ask("/chat/messages", &guest, Some(said)).await;
        assert_eq!(status, 200);
    }
    let (_, history) = chat.ask("/chat/messages", &guest, None).await;
    let messages = history["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 20);
    assert_eq!(messages[18]["text"], "29");
}

#[test]
#[ignore = "needs Chromium, and Node with playwright-core"]
fn w2_a_person_chats_signs_in_and_chats_on_in_a_browser() {
    let server = Server::start_example("chatbot", &[]);
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("browser")
        .join("chat");
    fs::create_dir_all(&pictures).unwrap();
    let asked = json!({ "origin": server.address(), "pictures": pictures });
    let program = env::var("NODE").unwrap_or_else(|_| "node".to_owned());
    let output = Command::new(&program)
        .args(["tests/browser/chat.mjs", &asked.to_string()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("NODE={program}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "done");
}
