//! Authenticators, recovery codes, and raised sessions: U24, U25, U33, S7.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tower_jwt_auth::{
    event::{AuthEvent, sink_fn},
    server::{endpoints::AuthEndpoints, login::CodeAttempt, refresh::RefreshPolicy},
    store::port::FactorStore,
    time::Clock,
};

use super::second_step::{Enrolled, claims, server};
use crate::support::{
    endpoints::{Browser, Server, ada, bearer, json as post, request},
    totp::App,
};

impl Server {
    async fn act(&self, path: &str, access: &str, code: &str) -> crate::support::endpoints::Answer {
        let body = json!({ "code": code });
        self.send(bearer(post(path, &body), access)).await
    }

    async fn status(&self, access: &str) -> Value {
        let status = request("GET", "totp").body(Full::default()).unwrap();
        let answer = self.send(bearer(status, access)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn ends(&self, refresh: &str) -> bool {
        let body = json!({ "refresh_token": refresh });
        let answer = self.post("refresh", &body).await;
        match answer.status.as_u16() {
            200 => false,
            _ => answer.is(400, "invalid_grant").text("code") == "session_revoked",
        }
    }
}

#[tokio::test]
async fn u33_an_authenticator_takes_effect_with_its_first_code() {
    let server = server().await;
    let other = server.sign_in().await;
    let access = server.sign_in().await.access();
    let none = json!({ "totp": false, "recovery_codes": 0 });
    assert_eq!(server.status(&access).await, none);
    let enroll = async |account: Value| {
        let answer = server.send(bearer(post("totp", &account), &access)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.not_kept()
    };
    server
        .act("totp/confirm", &access, "123456")
        .await
        .is(400, "invalid_request");
    let first = enroll(json!({})).await;
    assert!(
        first
            .text("otpauth_url")
            .starts_with("otpauth://totp/Example:u-ada?secret=")
    );
    let second = enroll(json!({ "account": "ada@example.org" })).await;
    let (secret, url) = (second.text("secret"), second.text("otpauth_url"));
    assert!(
        url.contains(&secret) && url.contains(":ada%40example.org?"),
        "{url}"
    );
    assert!(second.text("qr_svg").starts_with("<svg "));
    assert_ne!(first.text("secret"), secret);
    // Nothing has changed yet.
    server.sign_in().await;
    assert_eq!(server.status(&access).await, none);

    let old = App::with(&first.text("secret"));
    let app = App::with(&secret);
    for wrong in [
        server.code(&old),
        app.wrong(server.clock.now()),
        "12345".to_owned(),
    ] {
        server
            .act("totp/confirm", &access, &wrong)
            .await
            .is(400, "invalid_code");
    }
    let confirmed = server
        .act("totp/confirm", &access, &server.code(&app))
        .await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    assert_eq!(confirmed.json()["other_sessions_ended"], true);
    let codes = confirmed.json()["recovery_codes"].as_array().unwrap().len();
    assert_eq!(
        server.status(&access).await,
        json!({ "totp": true, "recovery_codes": codes })
    );
    assert_eq!(codes, 10);
    // The sessions with one factor have ended, this one has not.
    assert!(server.ends(&other.refresh()).await);
    assert!(server.is_alive(&access).await);
    // The code of the confirmation is spent.
    let token = server.first_step().await;
    server
        .proceed(&token, &server.code(&app))
        .await
        .is(400, "invalid_code");
    for path in ["totp", "totp/confirm"] {
        let answer = server.act(path, &access, "123456").await;
        assert!([400, 409].contains(&answer.status.as_u16()), "{answer:?}");
    }
    // A confirmation that is late.
    let eve = json!({ "email": "eve@example.org", "password": "a long password" });
    let eve = server.post("register", &eve).await;
    let refresh = json!({ "refresh_token": eve.refresh() });
    let eve = eve.access();
    let late = server.send(bearer(post("totp", &json!({})), &eve)).await;
    let app = App::with(&late.text("secret"));
    server.advance(Duration::from_secs(599));
    server
        .act("totp/confirm", &eve, &app.wrong(server.clock.now()))
        .await
        .is(400, "invalid_code");
    server.advance(Duration::from_secs(1));
    let eve = server.post("refresh", &refresh).await.access();
    let code = server.code(&app);
    server
        .act("totp/confirm", &eve, &code)
        .await
        .is(400, "invalid_request");
}

/// The holder of a stolen session must not lock out the owner of the account.
#[tokio::test]
async fn u33_enrolment_needs_a_recent_sign_in() {
    let server = server().await;
    let tokens = server.sign_in().await;
    server.advance(Duration::from_secs(15 * 60));
    let refresh = json!({ "refresh_token": tokens.refresh() });
    let access = server.post("refresh", &refresh).await.access();
    for path in ["totp", "totp/confirm"] {
        let answer = server.act(path, &access, "123456").await;
        let answer = answer.is(401, "insufficient_user_authentication");
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains("max_age=\"900\""), "{challenge}");
    }
    // A guest has no password and no second factor.
    let guest = server.post("guest", &json!({})).await.access();
    server
        .act("totp", &guest, "")
        .await
        .is(403, "access_denied");
    // By cookie, the proof is needed.
    let browser = server.browser().await;
    let mut unproved = browser.request("totp");
    unproved.headers_mut().remove("x-csrf-token");
    server.send(unproved).await.is(403, "access_denied");
    assert_eq!(server.send(browser.request("totp")).await.status, 200);
    // Without the setting there is no such endpoint.
    let plain = Server::start().await;
    let access = plain.sign_in().await.access();
    for path in [
        "totp",
        "totp/confirm",
        "totp/disable",
        "recovery-codes",
        "step-up",
        "login/continue",
    ] {
        plain
            .act(path, &access, "123456")
            .await
            .is(404, "not_found");
    }
}

#[tokio::test]
async fn u33_a_code_is_accepted_once_wherever_it_is_used() {
    let server = server().await;
    let Enrolled { app, codes, access } = server.enrolled().await;
    let code = server.code(&app);
    let step = server.act("step-up", &access, &code).await;
    assert_eq!(step.status, 200, "{step:?}");
    let access = step.access();
    for path in ["step-up", "totp/disable", "recovery-codes"] {
        server
            .act(path, &access, &code)
            .await
            .is(400, "invalid_code");
    }
    let token = server.first_step().await;
    server.proceed(&token, &code).await.is(400, "invalid_code");
    // The code of the step before was skipped, and is over.
    server.advance(Duration::from_secs(60));
    let skipped = app.code(server.clock.now().minus(Duration::from_secs(30)));
    let now = server.code(&app);
    assert_eq!(server.proceed(&token, &now).await.status, 200);
    let token = server.first_step().await;
    server
        .proceed(&token, &skipped)
        .await
        .is(400, "invalid_code");
    // One step of difference between the clocks is accepted.
    server.advance(Duration::from_secs(90));
    let slow = app.code(server.clock.now().minus(Duration::from_secs(30)));
    assert_eq!(server.proceed(&token, &slow).await.status, 200);
    // Recovery codes.
    for (used, code) in codes.iter().enumerate() {
        let token = server.first_step().await;
        let spelled = code.to_lowercase().replace('-', " ");
        let answer = server.proceed(&token, &spelled).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let left = server.status(&answer.access()).await["recovery_codes"].clone();
        assert_eq!(left, 9 - used);
        let token = server.first_step().await;
        server.proceed(&token, code).await.is(400, "invalid_code");
    }
}

#[tokio::test]
async fn u33_factors_change_only_with_a_fresh_code() {
    let server = server().await;
    let Enrolled { app, codes, access } = server.enrolled().await;
    let wrong = app.wrong(server.clock.now());
    for path in ["totp/disable", "recovery-codes"] {
        server
            .act(path, &access, &wrong)
            .await
            .is(400, "invalid_code");
        server
            .act(path, &access, "")
            .await
            .is(400, "invalid_request");
    }
    let renewed = server.act("recovery-codes", &access, &codes[0]).await;
    let renewed = renewed.json()["recovery_codes"].as_array().unwrap().clone();
    assert_eq!(renewed.len(), 10);
    server
        .act("totp/disable", &access, &codes[1])
        .await
        .is(400, "invalid_code");
    let code = renewed[0].as_str().unwrap();
    assert_eq!(server.act("totp/disable", &access, code).await.status, 204);
    assert_eq!(
        server.status(&access).await,
        json!({ "totp": false, "recovery_codes": 0 })
    );
    server.sign_in().await;
    // Nothing of the old authenticator is left.
    let next = server.enrolled().await;
    for old in [server.code(&app), renewed[1].as_str().unwrap().to_owned()] {
        let token = server.first_step().await;
        server.proceed(&token, &old).await.is(400, "invalid_code");
    }
    server.sign_in_fully(&next.app).await;
}

#[tokio::test]
async fn u25_a_raised_session_is_a_new_family_and_the_old_one_ends() {
    let server = server().await;
    let tokens = server.sign_in().await;
    let Enrolled { app, .. } = server.enrolled().await;
    // Enrolment ended the others, so one with one factor is made by hand.
    let start = tower_jwt_auth::server::session::StartSession::new("u-ada").amr(["pwd"]);
    let old = server.sessions.start(start).await.unwrap();
    let (access, refresh) = (old.access_token().expose(), old.refresh_token().expose());
    server
        .act("step-up", access, &app.wrong(server.clock.now()))
        .await
        .is(400, "invalid_code");
    assert!(server.is_alive(access).await);
    server.advance(Duration::from_secs(60));
    let answer = server.act("step-up", access, &server.code(&app)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let (before, after) = (claims(access), claims(&answer.access()));
    assert_eq!(after["amr"], json!(["pwd", "otp"]));
    assert_eq!((before.get("acr"), &after["acr"]), (None, &json!("mfa")));
    assert_eq!(after["sub"], before["sub"]);
    assert_ne!(after["sid"], before["sid"]);
    let seconds = |token: &Value| token["auth_time"].as_u64().unwrap();
    assert_eq!(seconds(&after), seconds(&before) + 60);
    // The holder of the old refresh token does not inherit the factor, now or within the grace window.
    assert!(!server.is_alive(access).await);
    assert!(server.ends(refresh).await);
    assert!(!server.ends(&answer.refresh()).await);
    assert!(server.ends(&tokens.refresh()).await);
    server
        .act("step-up", access, "123456")
        .await
        .is(401, "invalid_token");
    // The device is a known one.
    let mut known = ada();
    known["device_token"] = answer.text("device_token").into();
    server.post("login", &known).await.is(403, "mfa_required");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u25_parallel_calls_raise_a_session_once() {
    let server = server().await;
    let Enrolled { codes, access, .. } = server.enrolled().await;
    let many = codes
        .iter()
        .map(|code| server.act("step-up", &access, code));
    let answers = futures_util::future::join_all(many).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, 1, "{answers:?}");
    let alive = server.sessions.list("u-ada", None).await.unwrap();
    assert_eq!(alive.len(), 1);
}

#[tokio::test]
async fn u25_a_browser_is_raised_by_cookies() {
    let server = server().await;
    let Enrolled { codes, .. } = server.enrolled().await;
    let first = server.send(post("login?transport=cookie", &ada())).await;
    let mut browser = Browser::default();
    browser.keep(&first);
    let body = json!({ "mfa_token": first.text("mfa_token"), "code": codes[0] });
    let proceed = browser.dress(post("login/continue?transport=cookie", &body));
    browser.keep(&server.send(proceed).await);
    let before = browser.clone();
    let body = json!({ "code": codes[1] });
    let raise = |browser: &Browser| -> Request<_> { browser.dress(post("step-up", &body)) };
    let answer = server.send(raise(&browser)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    browser.keep(&answer);
    for name in ["__Host-at", "__Secure-rt", "__Host-csrf", "__Host-dvc"] {
        assert_ne!(browser.cookies[name], before.cookies[name], "{name}");
    }
    server.send(raise(&before)).await.is(401, "invalid_token");
    let refreshed = server.send(browser.request("refresh")).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
}

/// What the store keeps opens no door.
#[tokio::test]
async fn u33_a_dump_shows_neither_secret_nor_codes() {
    let server = server().await;
    let access = server.sign_in().await.access();
    let enroll = server.send(bearer(post("totp", &json!({})), &access)).await;
    let secret = enroll.text("secret");
    let pending = server.store.load_factors("u-ada").await.unwrap().factors;
    let app = App::with(&secret);
    let confirmed = server
        .act("totp/confirm", &access, &server.code(&app))
        .await;
    let row = server.store.load_factors("u-ada").await.unwrap();
    assert!(row.revision >= 2);
    for text in [&pending, &row.factors] {
        assert!(!text.contains(&secret) && !text.contains(&secret.to_lowercase()));
    }
    for code in confirmed.json()["recovery_codes"].as_array().unwrap() {
        let code = code.as_str().unwrap();
        let bare = code.replace('-', "");
        assert!(!row.factors.contains(code) && !row.factors.contains(&bare));
    }
}

#[tokio::test]
async fn u13_events_tell_what_happened_and_no_code() {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let events = Arc::clone(&told);
    let server = Server::with_login(true, RefreshPolicy::browser(), |login, store| {
        let sink = sink_fn(move |event| {
            if let AuthEvent::Login(event) = event {
                events
                    .lock()
                    .unwrap()
                    .push(format!("{} {event:?}", event.name()));
            }
        });
        login.factors(store.clone()).totp("Example").events(sink)
    });
    let server = server.await;
    let Enrolled { app, codes, access } = server.enrolled().await;
    let token = server.first_step().await;
    let wrong = app.wrong(server.clock.now());
    server.proceed(&token, &wrong).await.is(400, "invalid_code");
    server.proceed(&token, &codes[0]).await;
    let factors = server.login.second_factors().unwrap();
    factors
        .renew_recovery_codes("u-ada", &CodeAttempt::new(codes[1].clone()))
        .await
        .unwrap();
    let code = server.code(&app);
    assert_eq!(server.act("totp/disable", &access, &code).await.status, 204);
    let told = told.lock().unwrap();
    let names: Vec<_> = told
        .iter()
        .map(|one| one.split_once(' ').unwrap().0)
        .collect();
    assert_eq!(
        names,
        [
            "login.succeeded",
            "second_factor.enrolled",
            "login.succeeded",
            "second_factor.required",
            "login.failed",
            "second_factor.used",
            "second_factor.used",
            "recovery_codes.renewed",
            "second_factor.used",
            "second_factor.removed",
        ]
    );
    let all = told.join("\n");
    assert!(
        all.contains("WrongCode") && all.contains("recovery_code"),
        "{all}"
    );
    for secret in [&wrong, &code, &codes[0], &codes[1], &token] {
        assert!(!all.contains(secret.as_str()), "{all}");
    }
}

#[tokio::test]
async fn u32_a_second_step_needs_a_store() {
    use tower_jwt_auth::{
        key::{Algorithm, SigningKey},
        secret::SecretKey,
        server::{
            issue::{KeyRing, TokenIssuer},
            login::{Login, MemoryThrottle},
            session::Sessions,
        },
        store::MemoryStore,
    };

    let secret = SecretKey::generate();
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let issuer = TokenIssuer::builder(KeyRing::new(key).unwrap()).issuer("https://as.example");
    let issuer = issuer.audience("api").build().unwrap();
    let sessions = Sessions::builder(issuer, MemoryStore::new());
    let sessions = sessions.secret(secret.clone()).build().unwrap();
    let login = Login::builder(MemoryStore::new(), MemoryThrottle::new(), secret.clone());
    let login = login.totp("Example").build();
    let endpoints = AuthEndpoints::builder(sessions, login, secret);
    let error = endpoints.build().unwrap_err().to_string();
    assert!(error.contains("second_step"), "{error}");
}
