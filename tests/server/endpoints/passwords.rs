//! Hashes that are replaced under a login, and what a new password keeps.

use futures_util::future::join_all;
use serde_json::json;
use tower_jwt_auth::{
    server::{
        login::{Argon2Cost, Identifier, Password, PasswordHash, PasswordHasher},
        session::{SessionClaims, StartSession},
    },
    store::port::{NewUser, UserStore},
};

use crate::support::endpoints::{PASSWORD, Server, bearer, json as post};

/// By another cost than the server's.
async fn outdated() -> PasswordHash {
    let cost = Argon2Cost::dangerous_custom(8, 1, 1).unwrap();
    let hasher = PasswordHasher::builder().cost(cost).build().unwrap();
    let password = Password::new(PASSWORD.to_owned()).unwrap();
    hasher.hash(&password).await.unwrap()
}

/// The users here know no epoch, so that each login is looked at twice, and the hash is another one
/// the second time.
#[tokio::test]
async fn u6_a_right_password_gets_in_while_its_hash_is_replaced_alone_and_eight_at_once() {
    let server = Server::start().await;
    for (name, count) in [("alone", 1), ("crowd", 8)] {
        let identifier = Identifier::new(name).unwrap();
        let user = NewUser::new(format!("u-{name}"), identifier.clone(), outdated().await);
        assert!(server.users.create(user).await.unwrap());
        let before = hash(&server, &identifier).await;
        let body = json!({ "username": name, "password": PASSWORD });
        let logins = (0..count).map(|_| server.post("login", &body));
        for answer in join_all(logins).await {
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
        }
        let after = hash(&server, &identifier).await;
        assert_ne!(before, after, "it was replaced");
        assert_eq!(server.post("login", &body).await.status, 200, "{name}");
        assert_eq!(hash(&server, &identifier).await, after, "and once");
    }
}

async fn hash(server: &Server, identifier: &Identifier) -> String {
    let user = server.users.find(identifier).await.unwrap().unwrap();
    user.password.unwrap().expose().to_owned()
}

/// Fault 59, over HTTP: the rule is named, and the password is not shown.
#[tokio::test]
async fn u23_a_refused_password_is_answered_with_the_rule_that_it_fails() {
    let server = Server::start().await;
    let mine = server.sign_in().await;
    for (text, code, description) in [
        (
            "seven77",
            "too_short",
            "the password needs at least 8 characters",
        ),
        (
            "ring the \u{7} bell",
            "control_character",
            "the password contains a control character",
        ),
    ] {
        let eve = json!({ "email": "eve@example.org", "password": text });
        let register = server.post("register", &eve).await;
        let change = json!({ "current_password": PASSWORD, "new_password": text });
        let change = bearer(post("password", &change), &mine.access());
        for answer in [register, server.send(change).await] {
            let answer = answer.is(400, "invalid_request");
            assert_eq!(answer.text("code"), code);
            assert_eq!(answer.text("error_description"), description);
            assert!(!String::from_utf8_lossy(&answer.body).contains(text));
        }
    }
    assert_eq!(server.users.subject("eve@example.org"), None);
}

/// Fault 55: a policy that asks for a second factor does not lock the user out.
#[tokio::test]
async fn u22_a_changed_password_keeps_what_the_session_had_proved() {
    let server = Server::start().await;
    let proved = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let start = StartSession::new("u-ada")
        .amr(["pwd", "otp"])
        .acr("urn:example:silver")
        .auth_time(proved)
        .label("Ada's phone")
        .client_id("app")
        .claims(SessionClaims::new().roles(["admin"]));
    let old = server.sessions.start(start).await.unwrap();
    let plain = server.sessions.start(StartSession::new("u-ada")).await;
    let body = json!({ "current_password": PASSWORD, "new_password": "another long password" });
    let answer = bearer(post("password", &body), old.access_token().expose());
    let answer = server.send(answer).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let claims = |token: &str| {
        let token = server.verifier.verify_now(token).unwrap();
        ["sub", "amr", "acr", "auth_time", "client_id", "roles"]
            .map(|name| token.claims().get(name).cloned().unwrap_or_default())
    };
    let kept = claims(&answer.access());
    assert_eq!(kept, claims(old.access_token().expose()));
    assert_eq!(kept[1], json!(["pwd", "otp"]));
    let sessions = server.sessions.list("u-ada", None).await.unwrap();
    assert_eq!(sessions.len(), 1, "the others ended");
    assert_eq!(sessions[0].label(), Some("Ada's phone"));

    // The time of the first session is kept as well where it was its start.
    drop(plain);
    server.advance(std::time::Duration::from_secs(60));
    let body = json!({ "current_password": "another long password", "new_password": PASSWORD });
    let again = bearer(post("password", &body), &answer.access());
    let again = server.send(again).await;
    assert_eq!(claims(&again.access()), kept);
}
