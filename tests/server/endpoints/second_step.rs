//! The second step of a sign-in: U24, U32, S7.

use std::time::Duration;

use http::HeaderValue;
use http_body_util::Full;
use serde_json::{Value, json};
use tower_jwt_auth::{layer::rate_limit::PeerAddr, server::refresh::RefreshPolicy, time::Clock};

use crate::support::{
    endpoints::{Answer, Browser, PASSWORD, Server, ada, bearer, form, json as post, request},
    totp::App,
};

/// A server with authenticators.
pub(super) async fn server() -> Server {
    Server::with_login(true, RefreshPolicy::browser(), |login, store| {
        login.factors(store.clone()).totp("Example")
    })
    .await
}

/// Ada's authenticator and recovery codes.
pub(super) struct Enrolled {
    pub(super) app: App,
    pub(super) codes: Vec<String>,
    /// An access token from before.
    pub(super) access: String,
}

impl Server {
    pub(super) fn code(&self, app: &App) -> String {
        app.code(self.clock.now())
    }

    pub(super) async fn enrolled(&self) -> Enrolled {
        let access = self.sign_in().await.access();
        let enroll = self.send(bearer(post("totp", &json!({})), &access)).await;
        assert_eq!(enroll.status, 200, "{enroll:?}");
        let app = App::with(&enroll.text("secret"));
        let confirm = json!({ "code": self.code(&app) });
        let confirmed = post("totp/confirm", &confirm);
        let confirmed = self.send(bearer(confirmed, &access)).await.not_kept();
        assert_eq!(confirmed.status, 200, "{confirmed:?}");
        let codes = confirmed.json()["recovery_codes"]
            .as_array()
            .unwrap()
            .clone();
        let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned());
        // The code of the confirmation is spent.
        self.advance(Duration::from_secs(30));
        Enrolled {
            app,
            codes: codes.collect(),
            access,
        }
    }

    pub(super) async fn first_step(&self) -> String {
        let answer = self.post("login", &ada()).await.is(403, "mfa_required");
        answer.text("mfa_token")
    }

    pub(super) async fn proceed(&self, token: &str, code: &str) -> Answer {
        let body = json!({ "mfa_token": token, "code": code });
        self.post("login/continue", &body).await.not_kept()
    }

    async fn second_step(&self, code: &str) -> Answer {
        let token = self.first_step().await;
        self.proceed(&token, code).await
    }
}

pub(super) fn claims(token: &str) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn members(answer: &Answer) -> Vec<String> {
    let mut names: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

#[tokio::test]
async fn u32_login_and_token_ask_for_a_second_step() {
    let server = server().await;
    let before = server.sign_in().await;
    let Enrolled { app, .. } = server.enrolled().await;
    let password = PASSWORD.replace(' ', "+");
    let grant = format!("grant_type=password&username=ada%40example.org&password={password}");
    for (request, status) in [(post("login", &ada()), 403), (form("token", &grant), 400)] {
        let answer = server.send(request).await.is(status, "mfa_required");
        assert_eq!(
            members(&answer),
            [
                "error",
                "error_description",
                "expires_in",
                "mfa_methods",
                "mfa_token"
            ]
        );
        assert_eq!(
            answer.json()["mfa_methods"],
            json!(["totp", "recovery_code"])
        );
        assert_eq!(answer.json()["expires_in"], 300);
        assert!(answer.cookies().is_empty());
        let code = server.code(&app);
        let answer = server.proceed(&answer.text("mfa_token"), &code).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(members(&answer), members(&before));
        let token = claims(&answer.access());
        assert_eq!(token["amr"], json!(["pwd", "otp"]));
        assert_eq!(token["acr"], "mfa");
        assert_eq!(token["roles"], json!(["admin"]));
        server.advance(Duration::from_secs(30));
    }
    // A wrong password is answered as before.
    let wrong = json!({ "email": "ada@example.org", "password": "wrong" });
    server.post("login", &wrong).await.is(401, "invalid_grant");
    // Spaces as an app shows them.
    let code = server.code(&app);
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    assert_eq!(server.second_step(&spaced).await.status, 200);
}

#[tokio::test]
async fn u32_the_token_of_a_first_step_opens_nothing_else() {
    let server = server().await;
    let Enrolled { app, .. } = server.enrolled().await;
    let token = server.first_step().await;
    assert!(server.verifier.verify_now(&token).is_err());
    let list = request("GET", "sessions").body(Full::default()).unwrap();
    server
        .send(bearer(list, &token))
        .await
        .is(401, "invalid_token");
    for path in [
        "totp",
        "step-up",
        "totp/disable",
        "password",
        "recovery-codes",
    ] {
        let body = json!({ "code": server.code(&app) });
        let answer = server.send(bearer(post(path, &body), &token)).await;
        answer.is(401, "invalid_token");
    }
    let refresh = json!({ "refresh_token": token });
    server
        .post("refresh", &refresh)
        .await
        .is(400, "invalid_grant");
    let mut device = ada();
    device["device_token"] = token.clone().into();
    server.post("login", &device).await.is(403, "mfa_required");
    // An access token does not complete a sign-in.
    let access = server.sign_in_fully(&app).await.access();
    server.advance(Duration::from_secs(30));
    let code = server.code(&app);
    server
        .proceed(&access, &code)
        .await
        .is(400, "invalid_grant");
    assert_eq!(server.proceed(&token, &code).await.status, 200);
}

impl Server {
    pub(super) async fn sign_in_fully(&self, app: &App) -> Answer {
        let code = self.code(app);
        let answer = self.second_step(&code).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }
}

#[tokio::test]
async fn u32_a_late_repeated_or_changed_first_step_is_refused() {
    let server = server().await;
    let Enrolled { app, codes, .. } = server.enrolled().await;
    let refused = |answer: Answer| {
        let answer = answer.is(400, "invalid_grant");
        assert_eq!(answer.text("code"), "mfa_token_invalid");
    };
    let token = server.first_step().await;
    let mut changed = token.clone();
    changed.replace_range(40..41, if &token[40..41] == "A" { "B" } else { "A" });
    for other in ["", "mf1_", "x", &changed, &token[..token.len() - 1]] {
        let body = json!({ "mfa_token": other, "code": codes[0] });
        let answer = server.post("login/continue", &body).await;
        match other {
            "" => drop(answer.is(400, "invalid_request")),
            _ => refused(answer),
        }
    }
    assert_eq!(server.proceed(&token, &codes[0]).await.status, 200);
    refused(server.proceed(&token, &codes[1]).await);
    refused(server.proceed(&token, &server.code(&app)).await);
    // The code that came with the spent token still works.
    assert_eq!(server.second_step(&codes[1]).await.status, 200);

    let token = server.first_step().await;
    server.advance(Duration::from_secs(299));
    let wrong = server.proceed(&token, &app.wrong(server.clock.now())).await;
    wrong.is(400, "invalid_code");
    server.advance(Duration::from_secs(1));
    refused(server.proceed(&token, &codes[2]).await);
}

#[tokio::test]
async fn u32_another_device_cannot_complete_a_sign_in() {
    let server = server().await;
    let Enrolled { codes, .. } = server.enrolled().await;
    let token = server.first_step().await;
    let body = json!({ "mfa_token": token, "code": codes[0] });
    let mut stolen = post("login/continue", &body);
    let agent = HeaderValue::from_static("another client");
    stolen.headers_mut().insert("user-agent", agent);
    server.send(stolen).await.is(400, "invalid_grant");
    assert_eq!(server.proceed(&token, &codes[0]).await.status, 200);

    // In a browser, the cookie of the first step is needed.
    let first = server.send(post("login?transport=cookie", &ada())).await;
    let first = first.is(403, "mfa_required");
    let mut browser = Browser::default();
    browser.keep(&first);
    let cookie = first.cookies()[0].to_owned();
    assert!(cookie.starts_with("__Host-mfa="), "{cookie}");
    for part in [
        "HttpOnly",
        "Secure",
        "SameSite=Strict",
        "Path=/",
        "Max-Age=300",
    ] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(browser.cookies.len(), 1);
    let body = json!({ "mfa_token": first.text("mfa_token"), "code": codes[1] });
    let proceed = || post("login/continue?transport=cookie", &body);
    server.send(proceed()).await.is(400, "invalid_grant");
    let mut other = Browser::default();
    other
        .cookies
        .insert("__Host-mfa".to_owned(), "planted".to_owned());
    server
        .send(other.dress(proceed()))
        .await
        .is(400, "invalid_grant");
    let mut foreign = browser.dress(proceed());
    let site = HeaderValue::from_static("cross-site");
    foreign.headers_mut().insert("sec-fetch-site", site);
    server.send(foreign).await.is(403, "access_denied");
    let answer = server.send(browser.dress(proceed())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    browser.keep(&answer);
    assert!(!browser.cookies.contains_key("__Host-mfa"));
    for name in ["__Host-at", "__Secure-rt", "__Host-csrf", "__Host-dvc"] {
        assert!(browser.cookies.contains_key(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u32_parallel_uses_complete_one_sign_in() {
    let server = server().await;
    let Enrolled { app, codes, .. } = server.enrolled().await;
    // One token with many codes, and many tokens with one code.
    let token = server.first_step().await;
    let many = codes[..5].iter().map(|code| server.proceed(&token, code));
    let answers = futures_util::future::join_all(many).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, 1, "{answers:?}");
    for code in [server.code(&app), codes[9].clone()] {
        let mut tokens = Vec::new();
        for _ in 0..5 {
            tokens.push(server.first_step().await);
        }
        let many = tokens.iter().map(|token| server.proceed(token, &code));
        let answers = futures_util::future::join_all(many).await;
        let good = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(good, 1, "{answers:?}");
        for answer in answers.into_iter().filter(|answer| answer.status != 200) {
            answer.is(400, "invalid_code");
        }
    }
}

#[tokio::test]
async fn u16_what_happens_between_the_steps_counts() {
    let server = server().await;
    let Enrolled { codes, .. } = server.enrolled().await;
    let token = server.first_step().await;
    let reason = tower_jwt_auth::store::port::RevokeReason::Logout;
    server.sessions.revoke_all("u-ada", reason).await.unwrap();
    server
        .proceed(&token, &codes[0])
        .await
        .is(400, "invalid_grant");
    let token = server.first_step().await;
    server
        .users
        .change("ada@example.org", |user| user.disabled(true));
    server
        .proceed(&token, &codes[0])
        .await
        .is(403, "access_denied");
    server.users.change("ada@example.org", |user| {
        user.disabled(false).roles(["editor"])
    });
    let answer = server.proceed(&token, &codes[0]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(claims(&answer.access())["roles"], json!(["editor"]));
    // A logout of all sessions during the second step.
    let token = server.first_step().await;
    server.cross(1);
    let answer = server.proceed(&token, &codes[1]).await;
    assert_eq!(
        answer.is(503, "temporarily_unavailable").headers["retry-after"],
        "1"
    );
}

#[tokio::test]
async fn u24_wrong_codes_count_for_the_account_over_all_networks() {
    let server = server().await;
    let Enrolled { app, codes, .. } = server.enrolled().await;
    let device = server.sign_in_fully(&app).await.text("device_token");
    server.advance(Duration::from_secs(30));
    let start = server.clock.now();
    let wrong = app.wrong(start);
    let guess = async |network: u32, code: &str, device: Option<&str>| {
        let token = server.first_step().await;
        let mut body = json!({ "mfa_token": token, "code": code });
        if let Some(device) = device {
            body["device_token"] = device.into();
        }
        let mut request = post("login/continue", &body);
        let [_, a, b, c] = network.to_be_bytes();
        let peer = PeerAddr(format!("10.{a}.{b}.{c}:5000").parse().unwrap());
        request.extensions_mut().insert(peer);
        server.send(request).await
    };
    for network in 0..99 {
        guess(network, &wrong, None).await.is(400, "invalid_code");
    }
    // A success does not clear the count.
    let code = server.code(&app);
    assert_eq!(guess(99, &code, None).await.status, 200);
    server.advance(Duration::from_secs(30));
    guess(100, &wrong, None).await.is(400, "invalid_code");
    for network in 101..104 {
        let code = server.code(&app);
        let answer = guess(network, &code, None).await.is(429, "slow_down");
        let wait: u64 = answer.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((86_000..=86_400).contains(&wait), "{wait}");
    }
    // A recovery code, and the owner's device, which has a count of its own.
    assert_eq!(guess(0, &codes[0], None).await.status, 200);
    let code = server.code(&app);
    assert_eq!(guess(0, &code, Some(&device)).await.status, 200);
    server.advance(Duration::from_secs(30));
    for _ in 0..5 {
        guess(0, &wrong, Some(&device))
            .await
            .is(400, "invalid_code");
    }
    guess(0, &wrong, Some(&device)).await.is(429, "slow_down");
    server.advance(Duration::from_secs(1));
    let code = server.code(&app);
    assert_eq!(guess(0, &code, Some(&device)).await.status, 200);
    // A day after the first wrong code.
    server.advance(Duration::from_secs(24 * 3600 - 62));
    let code = server.code(&app);
    guess(0, &code, None).await.is(429, "slow_down");
    server.advance(Duration::from_secs(1));
    let code = server.code(&app);
    assert_eq!(guess(0, &code, None).await.status, 200);
}

/// The holder of a password who never had a second factor has no device that counts as known.
#[tokio::test]
async fn u24_a_device_without_a_second_factor_is_not_a_known_one() {
    let server = server().await;
    let before = server.sign_in().await.text("device_token");
    let Enrolled { app, .. } = server.enrolled().await;
    let wrong = app.wrong(server.clock.now());
    let guess = async |device: &str, code: &str| {
        let token = server.first_step().await;
        let body = json!({ "mfa_token": token, "code": code, "device_token": device });
        server.post("login/continue", &body).await
    };
    for _ in 0..100 {
        guess(&before, &wrong).await.is(400, "invalid_code");
    }
    guess(&before, &server.code(&app))
        .await
        .is(429, "slow_down");
    // An administrator helps the owner of the account.
    let factors = server.login.second_factors().unwrap();
    factors.reset("u-ada").await.unwrap();
    server.sign_in().await;
    let Enrolled { app, .. } = server.enrolled().await;
    server.sign_in_fully(&app).await;
}

#[tokio::test]
async fn w2_a_guest_is_linked_after_the_second_step() {
    let server = server().await;
    let Enrolled { codes, .. } = server.enrolled().await;
    let guest = server.post("guest", &json!({})).await.access();
    let mut login = ada();
    login["link"] = true.into();
    let first = server.send(bearer(post("login", &login), &guest)).await;
    let first = first.is(403, "mfa_required");
    let body = json!({ "mfa_token": first.text("mfa_token"), "code": codes[0] });
    let answer = server
        .send(bearer(post("login/continue", &body), &guest))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["link"]["outcome"], "linked");
}
