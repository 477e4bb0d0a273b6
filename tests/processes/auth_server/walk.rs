//! What the head of the example says to try.

use std::process::Command;

use http::Method;
use serde_json::json;

use super::client::{ADMIN, PASSWORD, SEEDS, USER};
use crate::support::process::Server;

const HEAD: &str = include_str!("../../../examples/auth_server/main.rs");

/// The lines themselves, in a shell, against a server that was told nothing.
#[test]
#[ignore = "needs sh and curl"]
fn the_curl_lines_of_the_example_answer_as_they_say() {
    let server = Server::start(&[]);
    let address = server.address().trim_start_matches("http://");
    let lines = HEAD
        .lines()
        .skip_while(|line| !line.starts_with("//! LOGIN="));
    let lines = lines.take_while(|line| !line.contains("# With your database"));
    let lines: Vec<_> = lines.map(|line| line.trim_start_matches("//!")).collect();
    let promised = |line: &&str| line.rsplit_once("# ")?.1.parse::<u16>().ok();
    let promised: Vec<_> = lines.iter().filter_map(promised).collect();
    assert_eq!(
        promised,
        [200, 403, 204, 401, 400, 401, 202],
        "of the head comment"
    );

    let script = lines.join("\n").replace("localhost:3000", address);
    let mut shell = Command::new("sh");
    let shell = shell.args(["-euc", &script]).env("NO_PROXY", "*");
    let output = shell.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let output = String::from_utf8_lossy(&output.stdout);
    // No answer ends with a line break.
    let answers = output.split("HTTP/1.1 ").skip(1);
    let statuses: Vec<u16> = answers.map(|one| one[..3].parse().unwrap()).collect();
    assert_eq!(statuses, promised, "{output}");
    let mut tokens = output.split(r#"{"access_token":""#).skip(1);
    let (first, second) = (tokens.next().unwrap(), tokens.next().unwrap());
    assert_ne!(first.split('"').next(), second.split('"').next());
    assert_eq!(tokens.next(), None);
    assert!(output.contains(r#"{"keys":[{"#), "{output}");
    let (_, chat) = output.split_once(r#""reply":"You said: hello""#).unwrap();
    assert!(chat.contains(r#""text":"hello""#), "{output}");
}

#[tokio::test]
async fn a_session_from_login_to_logout() {
    let server = Server::start(&[SEEDS]);
    let wrong = server.try_login(USER, "another password").await;
    assert_eq!(
        (wrong.status, &*wrong.text("error")),
        (401, "invalid_grant")
    );
    assert_eq!(
        wrong.header("www-authenticate"),
        Some("Bearer realm=\"api\"")
    );
    let nobody = server.try_login("nobody@example.org", PASSWORD).await;
    assert_eq!((nobody.status, nobody.body), (401, wrong.body));

    let answer = server.try_login(USER, PASSWORD).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.text("token_type"), "Bearer");
    // Ten minutes, less some seconds by chance.
    let seconds = answer.json()["expires_in"].as_u64().unwrap();
    assert!((540..=600).contains(&seconds), "{seconds}");
    assert_eq!(answer.cookies(), [""; 0], "nobody asked for cookies");
    let tokens = answer.tokens();

    let me = server.get("/api/me", Some(&tokens.access)).await;
    assert_eq!((me.status, &me.json()["roles"]), (200, &json!(["user"])));
    let users = server.get("/api/admin/users", Some(&tokens.access)).await;
    assert_eq!(users.status, 403);
    for path in ["/api/me", "/api/admin/users"] {
        assert_eq!(server.get(path, None).await.status, 401, "{path}");
    }

    let fresh = server.refresh(&tokens).await.tokens();
    assert_ne!(fresh.access, tokens.access);
    assert_ne!(fresh.refresh, tokens.refresh);
    assert_eq!(server.me(&fresh).await, 200);

    assert_eq!(server.logout(&fresh, "device").await.status, 204);
    // Both access tokens of the session are worth nothing any more.
    server.refuses(&fresh).await;
    assert_eq!(server.me(&tokens).await, 401);
    let over = server.refresh(&fresh).await;
    assert_eq!((over.status, &*over.text("error")), (400, "invalid_grant"));
    assert_eq!(over.text("code"), "session_revoked");

    let admin = server.login(ADMIN).await;
    let users = server.get("/api/admin/users", Some(&admin.access)).await;
    assert_eq!(users.status, 200);
    let listed = users.json()["users"].as_array().unwrap().len();
    assert_eq!(listed, 2, "{}", users.body);
    for secret in ["argon2", "$"] {
        assert!(!users.body.contains(secret), "{}", users.body);
    }
}

#[tokio::test]
async fn t10_this_device_the_others_or_all() {
    let server = Server::start(&[SEEDS]);
    let [one, two, three] = [
        server.login(USER).await,
        server.login(USER).await,
        server.login(USER).await,
    ];
    let stranger = server.login(ADMIN).await;
    assert_eq!(server.logout(&one, "device").await.status, 204);
    assert_eq!(server.logout(&one, "device").await.status, 204, "once more");
    server.refuses(&one).await;
    assert_eq!([server.me(&two).await, server.me(&three).await], [200, 200]);
    assert_eq!(server.logout(&two, "others").await.status, 204);
    server.refuses(&three).await;
    assert_eq!(server.me(&two).await, 200);
    let four = server.login(USER).await;
    assert_eq!(server.logout(&four, "all").await.status, 204);
    server.refuses(&two).await;
    server.refuses(&four).await;
    assert_eq!(server.me(&stranger).await, 200);

    // RFC 7009 §2.2: an unknown token is as good as revoked.
    let revoke = async |token: &str| {
        let form = format!("token={token}");
        server.post("/api/auth/revoke", form).await.status
    };
    assert_eq!(revoke("unknown").await, 200);
    assert_eq!(revoke(&stranger.refresh).await, 200);
    server.refuses(&stranger).await;
}

#[tokio::test]
async fn the_oauth_form_and_the_json_login_give_the_same() {
    let server = Server::start(&[SEEDS]);
    let form = |password: &str| {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.append_pair("grant_type", "password");
        pairs
            .append_pair("username", USER)
            .append_pair("password", password);
        pairs.finish()
    };
    let tokens = server
        .post("/api/auth/token", form(PASSWORD))
        .await
        .tokens();
    assert_eq!(server.me(&tokens).await, 200);
    let wrong = server.post("/api/auth/token", form("another")).await;
    assert_eq!(
        (wrong.status, &*wrong.text("error")),
        (400, "invalid_grant")
    );
    let form = format!("grant_type=refresh_token&refresh_token={}", tokens.refresh);
    let fresh = server.post("/api/auth/token", form).await.tokens();
    assert_eq!(server.me(&fresh).await, 200);
}

#[tokio::test]
async fn registration_is_shut_unless_it_is_opened() {
    let body = json!({ "email": "new@example.org", "password": PASSWORD }).to_string();
    let shut = Server::start(&[SEEDS]);
    assert_eq!(shut.post("/api/auth/register", &*body).await.status, 404);
    let open = Server::start(&[SEEDS, ("AUTH_REGISTRATION", "true")]);
    assert_eq!(open.post("/api/auth/register", &*body).await.status, 201);
    assert_eq!(open.post("/api/auth/register", &*body).await.status, 409);
    let tokens = open.login("new@example.org").await;
    let admin = open.get("/api/admin/users", Some(&tokens.access)).await;
    assert_eq!(admin.status, 403, "who registers has no roles");
}

#[tokio::test]
async fn what_operators_and_browsers_ask_for() {
    let server = Server::start(&[SEEDS]);
    let tokens = server.login(USER).await;
    assert_eq!(server.me(&tokens).await, 200);
    for path in ["/health", "/ready"] {
        assert_eq!(server.get(path, None).await.status, 200, "{path}");
    }
    let metrics = server.get("/metrics", None).await.body;
    let allowed = r#"jwt_auth_requests_total{result="allowed",reason=""} 1"#;
    assert!(metrics.lines().any(|line| line == allowed), "{metrics}");
    assert!(!metrics.contains(USER), "{metrics}");

    let metadata = server.get("/.well-known/oauth-authorization-server", None);
    let metadata = metadata.await.json();
    assert_eq!(metadata["issuer"], server.address());
    let endpoint = format!("{}/api/auth/token", server.address());
    assert_eq!(metadata["token_endpoint"], endpoint);
    let jwks = server.get("/.well-known/jwks.json", None).await.json();
    assert_eq!(jwks["keys"][0]["kty"], "OKP");
    assert!(jwks["keys"][0].get("d").is_none(), "the private half");

    for (path, kind) in [
        ("/", "html"),
        ("/page.css", "css"),
        ("/page.js", "javascript"),
        ("/account.js", "javascript"),
    ] {
        let file = server.get(path, None).await;
        let kind = format!("text/{kind}; charset=utf-8");
        assert_eq!(file.header("content-type"), Some(&*kind), "{path}");
        assert_eq!(file.header("x-frame-options"), Some("DENY"), "{path}");
        let nosniff = file.header("x-content-type-options");
        assert_eq!(nosniff, Some("nosniff"), "{path}");
        assert_eq!(file.header("referrer-policy"), Some("no-referrer"));
        let policy = file.header("content-security-policy").unwrap();
        for rule in ["default-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }
    let elsewhere = server.with(Method::GET, "/elsewhere", None, "").await;
    assert_eq!(elsewhere.status, 404);
}
