//! Signing in and registering: U1, U3, U10, U11.

use std::time::Duration;

use serde_json::{Value, json};
use tower_jwt_auth::{
    server::login::{Argon2Cost, Identifier, Password, PasswordHasher},
    store::port::{NewUser, UserStore},
};

use crate::support::endpoints::{PASSWORD, Server, ada, form, json as post};

#[tokio::test]
async fn u10_json_and_forms_sign_in_with_the_shape_of_rfc_6749() {
    let server = Server::start().await;
    let escaped = PASSWORD.replace(' ', "+");
    for request in [
        post("login", &ada()),
        post(
            "login",
            &json!({ "username": " Ada@Example.ORG ", "password": PASSWORD }),
        ),
        form(
            "login",
            &format!("email=ada%40example.org&password={escaped}"),
        ),
        form(
            "login",
            &format!("grant_type=password&username=ada%40example.org&password={escaped}"),
        ),
        form(
            "token",
            &format!("grant_type=password&username=ada%40example.org&password={escaped}"),
        ),
        form(
            "token",
            &format!("username=ada%40example.org&password={escaped}&scope="),
        ),
    ] {
        let answer = server.send(request).await.not_kept();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/json");
        let body = answer.json();
        assert_eq!(body["token_type"], "Bearer");
        assert!((540..=600).contains(&body["expires_in"].as_u64().unwrap()));
        assert_eq!(body["refresh_expires_in"], 14 * 24 * 3600);
        assert!(answer.refresh().starts_with("rt1_"));
        let token = server.verifier.verify_now(answer.access()).unwrap();
        let caller = token.principal();
        assert_eq!(caller.subject(), Some("u-ada"));
        assert!(caller.has_role("admin"));
        assert!(answer.cookies().is_empty());
    }
}

#[tokio::test]
async fn u1_unknown_wrong_and_disabled_are_answered_alike() {
    let server = Server::start().await;
    for (path, status) in [("login", 401), ("token", 400)] {
        let mut answers = Vec::new();
        for (name, password) in [
            ("nobody@example.org", PASSWORD),
            ("ada@example.org", "a wrong password"),
            ("bob@example.org", PASSWORD),
            ("bob@example.org", "a wrong password"),
        ] {
            let body = json!({ "grant_type": "password", "username": name, "password": password });
            let answer = server.post(path, &body).await.is(status, "invalid_grant");
            answers.push((answer.status, answer.headers, answer.body));
        }
        assert!(
            answers.windows(2).all(|pair| pair[0] == pair[1]),
            "{answers:?}"
        );
        let challenge = answers[0].1.get("www-authenticate");
        assert_eq!(challenge.is_some(), status == 401);
    }
}

#[tokio::test]
async fn u11_whoever_is_throttled_is_told_429_whether_the_name_exists_or_not() {
    let server = Server::start().await;
    let mut told = Vec::new();
    for name in ["ada@example.org", "nobody@example.org"] {
        let body = json!({ "username": name, "password": "a wrong password" });
        let mut seen = Vec::new();
        for _ in 0..8 {
            let answer = server.post("login", &body).await;
            seen.push((answer.status.as_u16(), answer.headers, answer.body));
        }
        assert!(seen[..5].iter().all(|one| one.0 == 401), "{seen:?}");
        let last = seen.pop().unwrap();
        assert_eq!(last.0, 429);
        assert!(
            last.1["retry-after"]
                .to_str()
                .unwrap()
                .parse::<u64>()
                .unwrap()
                >= 1
        );
        let error: Value = serde_json::from_slice(&last.2).unwrap();
        assert_eq!(error["error"], "slow_down");
        told.push(last);
    }
    assert_eq!(told[0], told[1]);
    // The right password has to wait as well, and then gets in.
    assert_eq!(server.post("login", &ada()).await.status, 429);
    server.advance(Duration::from_secs(16 * 60));
    server.sign_in().await;
}

#[tokio::test]
async fn an_outage_of_the_users_is_503_and_nobody_is_refused() {
    let server = Server::start().await;
    server.unplug_users();
    let answer = server
        .post("login", &ada())
        .await
        .is(503, "temporarily_unavailable");
    assert_eq!(answer.headers["retry-after"], "1");
}

#[tokio::test]
async fn a_name_is_registered_once_and_never_taken_over() {
    let server = Server::start().await;
    let eve = json!({ "email": "Eve@example.org", "password": "a new password" });
    let answer = server.post("register", &eve).await.not_kept();
    assert_eq!(answer.status, 201, "{answer:?}");
    let subject = server.verifier.verify_now(answer.access()).unwrap();
    assert!(subject.subject().unwrap().starts_with("usr_"));
    for taken in ["eve@example.org", "EVE@example.org", "ada@example.org"] {
        let body = json!({ "email": taken, "password": "another password" });
        server
            .post("register", &body)
            .await
            .is(409, "invalid_request");
    }
    let kept = server
        .users
        .find(&Identifier::new("ada@example.org").unwrap())
        .await
        .unwrap();
    assert_eq!(kept.unwrap().subject, "u-ada");
    let short = json!({ "email": "short@example.org", "password": "1234567" });
    server
        .post("register", &short)
        .await
        .is(400, "invalid_request");
    assert_eq!(server.post("login", &eve).await.status, 200);
}

/// Whoever holds tokens in cookies is given no other ones to read, whatever else the request carries.
#[tokio::test]
async fn a_new_password_by_cookie_is_answered_by_cookie() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let body = json!({ "current_password": PASSWORD, "new_password": "another password" });
    let mut request = browser.dress(post("password", &body));
    let basic = http::HeaderValue::from_static("Basic cHJveHk6cHJveHk=");
    request.headers_mut().insert("authorization", basic);
    let answer = server.send(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json().get("access_token").is_none(), "{answer:?}");
    assert!(answer.json().get("refresh_token").is_none(), "{answer:?}");
    let set = answer.cookies();
    assert!(set.iter().any(|cookie| cookie.starts_with("__Host-at=")));
}

#[tokio::test]
async fn a_new_password_ends_every_session_but_the_one_that_asked() {
    let server = Server::start().await;
    let (mine, other) = (server.sign_in().await, server.sign_in().await);
    let change = |old: &str, new: &str, token: &str| {
        let body = json!({ "current_password": old, "new_password": new });
        crate::support::endpoints::bearer(post("password", &body), token)
    };
    let wrong = change("not the password", "another password", &mine.access());
    server.send(wrong).await.is(400, "invalid_password");
    let short = change(PASSWORD, "1234567", &mine.access());
    server.send(short).await.is(400, "invalid_request");
    assert!(
        server.is_alive(&other.access()).await,
        "nothing happened yet"
    );
    let nobody = post(
        "password",
        &json!({ "current_password": PASSWORD, "new_password": "x" }),
    );
    server.send(nobody).await.is(401, "invalid_token");

    let request = change(PASSWORD, "another password", &mine.access());
    let answer = server.send(request).await.not_kept();
    assert_eq!(answer.status, 200, "{answer:?}");
    let caller = server
        .verifier
        .verify_now(answer.access())
        .unwrap()
        .principal();
    assert!(caller.has_role("admin"), "its grants go along");
    for old in [&mine, &other] {
        let body = json!({ "refresh_token": old.refresh() });
        server.post("refresh", &body).await.is(400, "invalid_grant");
    }
    let body = json!({ "refresh_token": answer.refresh() });
    assert_eq!(server.post("refresh", &body).await.status, 200);
    server.post("login", &ada()).await.is(401, "invalid_grant");
    let new = json!({ "email": "ada@example.org", "password": "another password" });
    assert_eq!(server.post("login", &new).await.status, 200);
}

/// Fault 44. Names that are stored already sign in as before.
#[tokio::test]
async fn u21_a_name_that_looks_like_another_cannot_be_registered() {
    let server = Server::start().await;
    for unseen in [
        "\u{200B}", "\u{202E}", "\u{2066}", "\u{AD}", "\u{200D}", "\u{FEFF}",
    ] {
        let name = format!("ada{unseen}@example.org");
        let twin = json!({ "email": name, "password": PASSWORD });
        let register = server.post("register", &twin).await;
        register.is(400, "invalid_request");
        let login = server.post("login", &twin).await;
        login.is(401, "invalid_grant");
        assert_eq!(server.users.subject(&name), None);
    }
    let full_width = json!({ "email": "ＡＤＡ@example.org", "password": PASSWORD });
    let register = server.post("register", &full_width).await;
    register.is(409, "invalid_request");

    let cost = Argon2Cost::dangerous_custom(16, 1, 1).unwrap();
    let hasher = PasswordHasher::builder().cost(cost).build().unwrap();
    let password = Password::new(PASSWORD.to_owned()).unwrap();
    let hash = hasher.hash(&password);
    let old = Identifier::existing("zoë 👩\u{200D}👩").unwrap();
    let user = NewUser::new("u-zoe", old, hash.await.unwrap());
    assert!(server.users.create(user).await.unwrap());
    let zoe = json!({ "username": "Zoë 👩\u{200D}👩", "password": PASSWORD });
    assert_eq!(server.post("login", &zoe).await.status, 200);
    for name in [
        "eve+news@example.org",
        "o.hara_2@example.org",
        "jürgen@bücher.example",
    ] {
        let new = json!({ "email": name, "password": PASSWORD });
        assert_eq!(server.post("register", &new).await.status, 201, "{name}");
    }
}
