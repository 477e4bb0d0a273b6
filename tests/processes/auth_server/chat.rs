//! Strangers who chat, sign in and go on; and sockets that end with their token.

use http::{Method, header::WWW_AUTHENTICATE};
use serde_json::{Value, json};
use tower_jwt_auth::server::session::ClaimHook;

use super::{
    client::{ADMIN, PASSWORD, SEEDS, Tokens, USER},
    example_chat::Conversations,
    shared::two,
    socket::upgrade,
};
use crate::support::{
    postgres,
    process::{Answer, Folder, Server},
    redis,
    socket::Socket,
};

impl Server {
    async fn guest(&self) -> Tokens {
        self.post("/api/auth/guest", "").await.tokens()
    }

    async fn say(&self, tokens: &Tokens, text: &str) -> Answer {
        let body = json!({ "text": text }).to_string();
        let path = "/chat/messages";
        self.with(Method::POST, path, Some(&tokens.access), &body)
            .await
    }

    async fn context(&self, tokens: &Tokens) -> Value {
        let answer = self.get("/chat/context", Some(&tokens.access)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn subject(&self, tokens: &Tokens) -> Value {
        self.get("/api/me", Some(&tokens.access)).await.json()["sub"].clone()
    }

    /// Signs in with a guest's token in hand.
    async fn login_as(&self, name: &str, guest: &Tokens, link: bool) -> Tokens {
        let body = json!({ "email": name, "password": PASSWORD, "link": link }).to_string();
        let path = "/api/auth/login";
        self.with(Method::POST, path, Some(&guest.access), &body)
            .await
            .tokens()
    }
}

/// From a stranger to a user, in one process on this store.
async fn w2_a_conversation_goes_on(store: &str) {
    let server = Server::start(&[SEEDS, ("AUTH_STORE", store)]);
    let nobody = server.get("/chat/context", None).await;
    assert_eq!(nobody.status, 200, "{nobody:?}");
    let keys = json!({
        "authenticated": false,
        "user_id": null,
        "session_id": null,
        "conversation": null,
        "can_manage_tasks": false,
        "permissions": [],
        "expires_at": null,
    });
    assert_eq!(nobody.json(), keys);
    let refused = server
        .post("/chat/messages", json!({ "text": "hello" }).to_string())
        .await;
    assert_eq!(refused.status, 401, "{refused:?}");
    assert!(refused.headers.contains_key(WWW_AUTHENTICATE));

    let first = server.guest().await;
    let path = "/api/auth/guest";
    let again = server
        .with(Method::POST, path, Some(&first.access), "")
        .await;
    assert_eq!(
        again.text("access_token"),
        first.access,
        "who is a guest stays one"
    );
    let guest = server.refresh(&first).await.tokens();
    let said = server.say(&guest, "hello").await;
    assert_eq!(said.status, 200, "{said:?}");
    let conversation = said.json()["conversation"].clone();
    assert!(conversation.is_string(), "{said:?}");
    let expected = json!({ "reply": "You said: hello", "conversation": conversation });
    assert_eq!(said.json(), expected);
    let context = server.context(&guest).await;
    let keys = json!({
        "authenticated": false,
        "user_id": null,
        "session_id": context["session_id"],
        "conversation": conversation,
        "can_manage_tasks": false,
        "permissions": [],
        "expires_at": context["expires_at"],
    });
    assert_eq!(context, keys);
    assert!(context["session_id"].is_string() && context["expires_at"].is_i64());
    // W1: these are not for guests.
    for path in ["/api/me", "/api/admin/users"] {
        let answer = server.get(path, Some(&guest.access)).await;
        assert_eq!(answer.status, 403, "{path}");
    }

    // W4: without the flag the guest stays who it is.
    let apart = server.login_as(USER, &guest, false).await;
    assert_ne!(server.context(&apart).await["conversation"], conversation);
    assert_eq!(server.say(&apart, "before").await.status, 200);
    assert_eq!(server.say(&guest, "still here").await.status, 200);

    let mut socket = Socket::open(&server, Some(&guest)).await;
    let user = server.login_as(USER, &guest, true).await;
    assert_eq!(socket.closed().await, (4401, "token_revoked".to_owned()));
    let context = server.context(&user).await;
    assert_eq!(context["authenticated"], true);
    assert_eq!(context["user_id"], server.subject(&user).await);
    assert_eq!(context["conversation"], conversation);
    assert_eq!(context["can_manage_tasks"], true);
    let said = server.say(&user, "it is me").await.json();
    assert_eq!(said["conversation"], conversation);
    let history = server
        .get("/chat/messages", Some(&user.access))
        .await
        .json();
    let own = history["messages"].as_array().unwrap().iter();
    let own = own.filter(|line| line["from"] == "you");
    let own: Vec<_> = own
        .map(|line| {
            (
                line["text"].as_str().unwrap(),
                line["from_guest"].as_bool().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("before", false),
        ("hello", true),
        ("still here", true),
        ("it is me", false),
    ];
    assert_eq!(own, expected);

    // W5: what the guest had is worth nothing any more.
    server.refuses(&guest).await;
    server.refuses(&first).await;
    assert_eq!(server.say(&guest, "and I?").await.status, 401);
    assert_eq!(server.refresh(&guest).await.status, 400);
    // Nor is it to be had twice.
    let late = server.login_as(ADMIN, &guest, true).await;
    assert_ne!(server.context(&late).await["conversation"], conversation);
    assert_eq!(server.context(&user).await["conversation"], conversation);
}

/// One token, in the handshake or in the first message; then the session ends.
async fn w6_a_socket_ends_with_its_session(store: &str) {
    let server = Server::start(&[SEEDS, ("AUTH_STORE", store)]);
    let user = server.login(USER).await;
    let mut by_protocol = Socket::open(&server, Some(&user)).await;
    let mut by_message = Socket::open(&server, None).await;
    by_message.authenticate(&user.access).await;
    let conversation = server.context(&user).await["conversation"].clone();
    for socket in [&mut by_protocol, &mut by_message] {
        for said in ["hello", r#"{"text":"hello"}"#] {
            let reply = socket.ask(said).await;
            let expected = json!({ "reply": "You said: hello", "conversation": conversation });
            assert_eq!(reply, expected);
        }
    }
    // It lives on with the session's next token, and with no other one.
    let fresh = server.refresh(&user).await.tokens();
    by_protocol.authenticate(&fresh.access).await;
    assert_eq!(by_protocol.ask("again").await["reply"], "You said: again");
    let mut renewed = Socket::open(&server, Some(&fresh)).await;
    renewed
        .authenticate(&server.login(ADMIN).await.access)
        .await;
    assert_eq!(renewed.closed().await, (4401, "unauthenticated".to_owned()));

    assert_eq!(server.logout(&fresh, "device").await.status, 204);
    for socket in [&mut by_protocol, &mut by_message] {
        assert_eq!(socket.closed().await, (4401, "token_revoked".to_owned()));
    }
}

/// A guest of one process is claimed in it, and dead in the other.
async fn w5_a_claimed_guest_is_dead_on_both(folder: &Folder, store: &str) {
    let [a, b] = two(folder, store);
    let guest = a.guest().await;
    assert_eq!(b.say(&guest, "hello").await.status, 200);
    let mut socket = Socket::open(&b, Some(&guest)).await;
    assert_eq!(socket.ask("and here").await["reply"], "You said: and here");
    let user = a.login_as(USER, &guest, true).await;
    assert_eq!(socket.closed().await, (4401, "token_revoked".to_owned()));
    a.refuses(&guest).await;
    b.refuses(&guest).await;
    assert_eq!(b.say(&guest, "and I?").await.status, 401);
    assert_eq!(b.context(&user).await["user_id"], a.subject(&user).await);
}

#[tokio::test]
async fn w2_a_conversation_goes_on_in_memory() {
    w2_a_conversation_goes_on("memory:").await;
}

#[tokio::test]
async fn w2_a_conversation_goes_on_on_sqlite() {
    let folder = Folder::new();
    w2_a_conversation_goes_on(&folder.sqlite()).await;
}

#[tokio::test]
async fn w6_a_socket_ends_with_its_session_in_memory() {
    w6_a_socket_ends_with_its_session("memory:").await;
}

#[tokio::test]
async fn w6_a_socket_ends_with_its_session_on_sqlite() {
    let folder = Folder::new();
    w6_a_socket_ends_with_its_session(&folder.sqlite()).await;
}

#[tokio::test]
async fn w5_a_claimed_guest_is_dead_on_both_of_one_sqlite_file() {
    let folder = Folder::new();
    w5_a_claimed_guest_is_dead_on_both(&folder, &folder.sqlite()).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn w2_w5_w6_guests_and_sockets_on_postgres() {
    let server = postgres::Server::start();
    let (folder, url) = (Folder::new(), server.url());
    w2_a_conversation_goes_on(&url).await;
    w6_a_socket_ends_with_its_session(&url).await;
    w5_a_claimed_guest_is_dead_on_both(&folder, &url).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn w2_w5_w6_guests_and_sockets_on_redis() {
    let server = redis::Server::start(redis::FORGETFUL).await;
    let (folder, url) = (Folder::new(), server.url());
    w2_a_conversation_goes_on(&url).await;
    w6_a_socket_ends_with_its_session(&url).await;
    w5_a_claimed_guest_is_dead_on_both(&folder, &url).await;
}

/// A token that has a moment to live, signed with the server's own secret.
#[tokio::test]
async fn w6_a_socket_closes_at_expiry() {
    let secret = "the secret of a server under test";
    let vars = [
        SEEDS,
        ("AUTH_STORE", "memory:"),
        ("JWT_SECRET_KEY", secret),
        ("JWT_ISSUER", "https://auth.example"),
    ];
    let server = Server::start(&vars);
    let mut user = server.login(USER).await;
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let header = jsonwebtoken::decode_header(&user.access).unwrap();
    let mut claims = jsonwebtoken::dangerous::insecure_decode::<Value>(&user.access)
        .unwrap()
        .claims;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    claims["exp"] = json!(now + 4);
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    user.access = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    // On a slow machine it has expired by now; requests are forgiven a minute, sockets nothing.
    let mut socket = Socket::open(&server, Some(&user)).await;
    assert_eq!(socket.closed().await, (4401, "token_expired".to_owned()));
}

#[tokio::test]
async fn w6_nobody_gets_no_socket() {
    let server = Server::start(&[SEEDS, ("AUTH_STORE", "memory:")]);
    let user = server.login(USER).await;
    for first in [
        "hello",
        r#"{"type":"auth"}"#,
        r#"{"type":"auth","token":"not.a.token"}"#,
    ] {
        let mut socket = Socket::open(&server, None).await;
        socket.say(first).await;
        let closed = socket.closed().await;
        assert_eq!(closed, (4401, "unauthenticated".to_owned()), "{first}");
    }
    for (protocols, status) in [("bearer, not.a.token", 401), ("bearer", 400)] {
        let headers = [("sec-websocket-protocol", protocols)];
        assert_eq!(
            upgrade(&server, "/chat/ws", &headers).await.err(),
            Some(status)
        );
    }
    // In the query a token is not even looked at: URLs are logged.
    let path = format!("/chat/ws?access_token={}", user.access);
    let mut socket = upgrade(&server, &path, &[]).await.unwrap();
    socket.say("hello").await;
    assert_eq!(socket.closed().await, (4401, "unauthenticated".to_owned()));
    // What is no handshake is no socket.
    let plain = server.get("/chat/ws", Some(&user.access)).await;
    assert!((400..500).contains(&plain.status), "{plain:?}");
}

/// Browsers send cookies with handshakes from any page.
#[tokio::test]
async fn n6_a_cookie_opens_a_socket_from_the_own_page_alone() {
    let vars = [
        SEEDS,
        ("AUTH_STORE", "memory:"),
        ("AUTH_PUBLIC_URL", "https://app.example"),
    ];
    let server = Server::start(&vars);
    let user = server.login(USER).await;
    let cookie = format!("__Host-at={}", user.access);
    let cookie = ("cookie", &*cookie);
    for from in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "https://api.app.example")],
        &[("origin", "null")],
        &[
            ("origin", "https://app.example"),
            ("sec-fetch-site", "cross-site"),
        ],
        &[],
    ] {
        let headers = [&[cookie], from].concat();
        let refused = upgrade(&server, "/chat/ws", &headers).await.err();
        assert_eq!(refused, Some(403), "{from:?}");
    }
    for from in [
        ("origin", "https://app.example"),
        ("sec-fetch-site", "same-origin"),
    ] {
        let socket = upgrade(&server, "/chat/ws", &[cookie, from]).await;
        assert_eq!(socket.unwrap().ask("hi").await["reply"], "You said: hi");
    }
}

#[tokio::test]
async fn a_guest_who_registers_keeps_the_conversation() {
    let vars = [
        SEEDS,
        ("AUTH_STORE", "memory:"),
        ("AUTH_REGISTRATION", "true"),
    ];
    let server = Server::start(&vars);
    let guest = server.guest().await;
    let conversation = server.say(&guest, "hello").await.json()["conversation"].clone();
    let body = json!({ "email": "new@example.org", "password": PASSWORD, "link": true });
    let path = "/api/auth/register";
    let answer = server
        .with(Method::POST, path, Some(&guest.access), &body.to_string())
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let user = Tokens {
        access: answer.text("access_token"),
        refresh: answer.text("refresh_token"),
    };
    let context = server.context(&user).await;
    assert_eq!(
        (&context["authenticated"], &context["conversation"]),
        (&json!(true), &conversation)
    );
    let history = server
        .get("/chat/messages", Some(&user.access))
        .await
        .json();
    assert_eq!(history["messages"][0]["from_guest"], true);
    server.refuses(&guest).await;
}

#[tokio::test]
async fn a_message_has_its_limits() {
    let server = Server::start(&[SEEDS, ("AUTH_STORE", "memory:")]);
    let guest = server.guest().await;
    let long = "x".repeat(10_000);
    assert_eq!(server.say(&guest, &long).await.status, 413);
    let mut socket = Socket::open(&server, Some(&guest)).await;
    socket.say(&long).await;
    assert!(socket.is_over().await);
    for body in ["{}", r#"{"text":7}"#, "{"] {
        let path = "/chat/messages";
        let answer = server
            .with(Method::POST, path, Some(&guest.access), body)
            .await;
        assert!(matches!(answer.status, 400 | 422), "{body}: {answer:?}");
    }
    for number in 0..30 {
        let said = server.say(&guest, &number.to_string()).await;
        assert_eq!(said.status, 200, "{said:?}");
    }
    let history = server.get("/chat/messages", Some(&guest.access)).await;
    let history = history.json();
    let lines = history["messages"].as_array().unwrap();
    assert_eq!(
        (lines.len(), &lines[19]["text"]),
        (20, &json!("You said: 29"))
    );
}

/// Who opens accounts and guests without end is slowed down, and nobody else is.
#[tokio::test]
async fn strangers_have_a_budget() {
    let open = ("AUTH_REGISTRATION", "true");
    let server = Server::start(&[SEEDS, open, ("AUTH_STORE", "memory:")]);
    let guest = server.guest().await;
    let mut asked = 0;
    let slowed = loop {
        let answer = server.post("/api/auth/guest", "").await;
        asked += 1;
        if answer.status == 429 {
            break answer;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(asked < 500, "no end of it");
    };
    assert!(asked >= 50, "{asked} are too few for a first try");
    assert!(slowed.header("retry-after").is_some(), "{slowed:?}");
    let newcomer = json!({ "email": "new@example.org", "password": PASSWORD }).to_string();
    for (path, body) in [
        ("/api/auth/guest?x", ""),
        ("/api/auth/register", &*newcomer),
    ] {
        let answer = server.post(path, body).await;
        assert_eq!(answer.status, 429, "{path}: {answer:?}");
    }
    // Whoever is a guest already is told so, as often as they ask.
    let token = Some(&*guest.access);
    let again = server
        .with(Method::POST, "/api/auth/guest", token, "")
        .await;
    assert_eq!(again.status, 200, "{again:?}");
    let user = server.login(USER).await;
    assert_eq!(server.refresh(&user).await.status, 200);
    assert_eq!(server.say(&guest, "hello").await.status, 200);
}

#[tokio::test]
async fn an_open_socket_does_not_keep_the_server_from_ending() {
    let server = Server::start(&[SEEDS, ("AUTH_STORE", "memory:")]);
    let guest = server.guest().await;
    let mut socket = Socket::open(&server, Some(&guest)).await;
    assert_eq!(socket.ask("hi").await["reply"], "You said: hi");
    server.stop();
}

#[tokio::test]
async fn w2_a_guests_message_that_meets_the_claim_goes_on_with_the_user() {
    let conversations = Conversations::default();
    conversations.add("gst_1", true, ["before", "ok"]);
    let name = conversations.name("gst_1");
    conversations.on_claim("gst_1", "alice").await.unwrap();
    // The request passed the layer before the claim.
    conversations.add("gst_1", true, ["late", "ok"]);
    assert_eq!(conversations.name("alice"), name);
    let texts = |owner| {
        let lines = conversations.lines(owner);
        lines
            .into_iter()
            .map(|line| line["text"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(texts("alice"), ["before", "ok", "late", "ok"]);
    assert!(texts("gst_1").is_empty());
    // The hook may be called twice.
    conversations.on_claim("gst_1", "alice").await.unwrap();
    assert_eq!(texts("alice").len(), 4);
    assert_eq!(conversations.name("alice"), name);
}

/// A crowd of guests costs the others nothing but the oldest messages.
#[tokio::test]
async fn the_conversations_are_bounded() {
    let conversations = Conversations::default();
    conversations.add("first", false, ["hello", "ok"]);
    for guest in 0..10_000 {
        conversations.add(&guest.to_string(), true, ["x", "y"]);
    }
    assert!(conversations.lines("first").is_empty());
    assert_eq!(conversations.lines("9999").len(), 2);
    for _ in 0..30 {
        conversations.add("9999", true, ["x", "y"]);
    }
    assert_eq!(conversations.lines("9999").len(), 20);
    assert_eq!(conversations.lines("5000").len(), 2);
}
