//! Devices on which no second factor is needed: U39.

use std::time::Duration;

use serde_json::{Value, json};
use tower_jwt_auth::{
    server::refresh::RefreshPolicy,
    store::port::{FactorStore, UserRecord},
};

use super::second_step::{Enrolled, claims};
use crate::support::endpoints::{Answer, Browser, PASSWORD, Server, ada, bearer, json as post};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn server() -> Server {
    Server::with_login(true, RefreshPolicy::browser(), |login, store| {
        let login = login.factors(store.clone()).one_time(store.clone());
        login.totp("Example").remember_devices(30 * DAY)
    })
    .await
}

impl Server {
    /// Signs in with a code, and has the device remembered.
    async fn remembered(&self, enrolled: &Enrolled) -> Answer {
        let body = json!({
            "mfa_token": self.first_step().await,
            "code": self.code(&enrolled.app),
            "remember": true,
        });
        let answer = self.post("login/continue", &body).await.not_kept();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(
            answer.text("remember_token").starts_with("rd1_"),
            "{answer:?}"
        );
        self.advance(Duration::from_secs(30));
        answer
    }

    async fn login_with(&self, token: &str) -> Answer {
        let mut body = ada();
        body["remember_token"] = json!(token);
        self.post("login", &body).await
    }
}

#[tokio::test]
async fn u39_a_remembered_device_needs_no_code_and_proves_no_factor() {
    let server = server().await;
    let enrolled = server.enrolled().await;
    // Only if the user asks for it.
    let token = server.first_step().await;
    let plain = server.proceed(&token, &enrolled.codes[0]).await;
    assert_eq!(plain.text("remember_token"), "");
    let remembered = server.remembered(&enrolled).await;
    let token = remembered.text("remember_token");
    assert_eq!(claims(&remembered.access())["amr"], json!(["pwd", "otp"]));

    for _ in 0..3 {
        let answer = server.login_with(&token).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let claims = claims(&answer.access());
        assert_eq!(claims["amr"], json!(["pwd"]));
        assert_eq!(claims["acr"], Value::Null);
    }
    // The password is still needed, and so is the token of this very device.
    let wrong = json!({ "email": "ada@example.org", "password": "wrong", "remember_token": token });
    server.post("login", &wrong).await.is(401, "invalid_grant");
    let last = if token.ends_with('0') { '1' } else { '0' };
    let changed = format!("{}{last}", &token[..token.len() - 1]);
    for other in ["", "rd1_", &changed, &remembered.text("device_token")] {
        server.login_with(other).await.is(403, "mfa_required");
    }
    // The store has a digest.
    let stored = server.store.load_factors("u-ada").await.unwrap().factors;
    assert!(!stored.contains(&token[4..]), "{stored}");
    // A step-up asks for a code as everywhere.
    let access = server.login_with(&token).await.access();
    let body = json!({ "code": server.code(&enrolled.app) });
    let raised = server.send(bearer(post("step-up", &body), &access)).await;
    assert_eq!(claims(&raised.access())["acr"], "mfa");
}

#[tokio::test]
async fn u39_a_device_is_remembered_for_its_time() {
    let server = server().await;
    let enrolled = server.enrolled().await;
    let token = server.remembered(&enrolled).await.text("remember_token");
    server.advance(30 * DAY - Duration::from_secs(31));
    assert_eq!(server.login_with(&token).await.status, 200);
    server.advance(Duration::from_secs(2));
    server.login_with(&token).await.is(403, "mfa_required");
}

/// Another account with an authenticator and the same password.
#[tokio::test]
async fn u39_a_remembered_device_is_worth_nothing_for_another_account() {
    let server = server().await;
    let enrolled = server.enrolled().await;
    let token = server.remembered(&enrolled).await.text("remember_token");
    let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
    let access = server.post("register", &eve).await.access();
    let secret = server.send(bearer(post("totp", &json!({})), &access)).await;
    let app = crate::support::totp::App::with(&secret.text("secret"));
    let body = json!({ "code": server.code(&app) });
    let confirmed = server
        .send(bearer(post("totp/confirm", &body), &access))
        .await;
    assert_eq!(confirmed.status, 200);
    let mut body = eve.clone();
    body["remember_token"] = json!(token);
    server.post("login", &body).await.is(403, "mfa_required");
}

#[tokio::test]
async fn u19_u39_every_end_of_the_trust_forgets_the_devices() {
    for end in [
        "password",
        "all",
        "reset",
        "disable",
        "administrator",
        "hash",
    ] {
        let server = server().await;
        let enrolled = server.enrolled().await;
        let remembered = server.remembered(&enrolled).await;
        let (token, access) = (remembered.text("remember_token"), remembered.access());
        assert_eq!(server.login_with(&token).await.status, 200, "{end}");
        let mut password = PASSWORD;
        let new = "another long password";
        match end {
            "password" => {
                let body = json!({ "current_password": PASSWORD, "new_password": new });
                let changed = server.send(bearer(post("password", &body), &access)).await;
                assert_eq!(changed.status, 200);
                password = new;
            }
            "all" => {
                let body = json!({ "scope": "all" });
                let ended = server.send(bearer(post("logout", &body), &access)).await;
                assert_eq!(ended.status, 204);
            }
            "reset" => {
                let hour = Duration::from_secs(3600);
                let link = server.login.reset_token("u-ada", hour).await.unwrap();
                let new = tower_jwt_auth::server::login::Password::new(new.to_owned()).unwrap();
                let login = &server.login;
                let changed = login
                    .reset_password(&server.sessions, link.expose(), &new, None)
                    .await;
                assert!(matches!(
                    changed,
                    tower_jwt_auth::server::login::ChangePasswordOutcome::Changed { .. }
                ));
                password = "another long password";
            }
            "disable" | "administrator" => {
                if end == "disable" {
                    let body = json!({ "code": enrolled.codes[3] });
                    let removed = server
                        .send(bearer(post("totp/disable", &body), &access))
                        .await;
                    assert_eq!(removed.status, 204);
                } else {
                    let factors = server.login.second_factors().unwrap();
                    factors.reset("u-ada").await.unwrap();
                }
                // The user enrols another authenticator.
                server.enrolled().await;
            }
            _ => {
                // The table was changed past this server: the sessions have not ended.
                let hash = server.login.hasher();
                let new = tower_jwt_auth::server::login::Password::new(PASSWORD.to_owned());
                let hash = hash.hash(&new.unwrap()).await.unwrap();
                let change = |user: UserRecord| user.password(hash);
                server.users.change("ada@example.org", change);
            }
        }
        let body = json!({
            "email": "ada@example.org", "password": password, "remember_token": token,
        });
        server.post("login", &body).await.is(403, "mfa_required");
    }
}

/// The end of one session, and that of the others, is no end of the trust.
#[tokio::test]
async fn u39_a_browser_keeps_the_token_in_a_cookie_and_after_a_logout() {
    let server = server().await;
    let enrolled = server.enrolled().await;
    let mut browser = Browser::default();
    let first = server.send(post("login?transport=cookie", &ada())).await;
    browser.keep(&first);
    let body = json!({
        "mfa_token": first.text("mfa_token"),
        "code": server.code(&enrolled.app),
        "remember": "true",
    });
    let path = "login/continue?transport=cookie";
    let answer = server.send(browser.dress(post(path, &body))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.text("remember_token"), "");
    let cookies = answer.cookies();
    let cookie = cookies
        .iter()
        .find(|cookie| cookie.starts_with("__Host-rmd=rd1_"));
    let cookie = cookie.unwrap_or_else(|| panic!("{cookies:?}"));
    for part in [
        "HttpOnly",
        "Secure",
        "SameSite=Strict",
        "Path=/",
        "Max-Age=2592000",
    ] {
        assert!(cookie.contains(part), "{cookie}");
    }
    browser.keep(&answer);
    let out = server.send(browser.request("logout")).await;
    assert_eq!(out.status, 204);
    browser.keep(&out);
    let again = post("login?transport=cookie", &ada());
    assert_eq!(server.send(browser.dress(again)).await.status, 200);
    // Another browser of the same user.
    let other = post("login?transport=cookie", &ada());
    server.send(other).await.is(403, "mfa_required");
}

/// Off by default: a client that asks for it gets no token.
#[tokio::test]
async fn u39_devices_are_not_remembered_unless_the_server_allows_it() {
    let server = super::second_step::server().await;
    let enrolled = server.enrolled().await;
    let body = json!({
        "mfa_token": server.first_step().await, "code": enrolled.codes[0], "remember": true,
    });
    let answer = server.post("login/continue", &body).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.text("remember_token")),
        (200, "")
    );
}
