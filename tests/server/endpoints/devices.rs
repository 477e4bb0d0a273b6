//! Devices that signed in before, with cookies and without.

use std::time::Duration;

use http::{Request, header::SET_COOKIE};
use http_body_util::Full;
use serde_json::{Value, json};
use tower_jwt_auth::layer::rate_limit::PeerAddr;

use crate::support::endpoints::{
    Answer, Browser, PASSWORD, Server, ada, bearer, form, json as post,
};

const NEW: &str = "another long password";

fn from(address: &str, mut request: Request<Full<bytes::Bytes>>) -> Request<Full<bytes::Bytes>> {
    let peer = PeerAddr(format!("{address}:50000").parse().unwrap());
    request.extensions_mut().insert(peer);
    request
}

fn with(device: &str, mut body: Value) -> Value {
    body["device_token"] = device.into();
    body
}

impl Answer {
    fn device(&self) -> String {
        self.text("device_token")
    }

    fn sets_a_device_cookie(&self) -> bool {
        let values = self.headers.get_all(SET_COOKIE).iter();
        values
            .filter(|value| value.as_bytes().starts_with(b"__Host-dvc="))
            .count()
            == 1
    }
}

impl Server {
    /// Wrong guesses at ada's password from ten networks, until even a new network waits.
    async fn under_attack() -> Self {
        let server = Self::start().await;
        server.attack().await;
        server
    }

    async fn attack(&self) {
        for guess in 0..60 {
            let network = format!("198.51.100.{}", guess % 10);
            let wrong = json!({ "email": "ada@example.org", "password": format!("guess {guess}") });
            let answer = self.send(from(&network, post("login", &wrong))).await;
            assert!(matches!(answer.status.as_u16(), 401 | 429), "{answer:?}");
        }
        self.post("login", &ada()).await.is(429, "slow_down");
    }

    async fn change(&self, access: &str) -> Answer {
        let body = json!({ "current_password": PASSWORD, "new_password": NEW });
        self.send(bearer(post("password", &body), access)).await
    }
}

#[tokio::test]
async fn u14_login_registration_and_change_give_a_device_token_and_a_refresh_never_does() {
    let server = Server::start().await;
    let login = server.sign_in().await;
    let fields = format!("grant_type=password&username=ada@example.org&password={PASSWORD}");
    let token = server.send(form("token", &fields)).await;
    let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
    let register = server.post("register", &eve).await;
    let change = server.change(&login.access()).await;
    let mut tokens = Vec::new();
    for answer in [login, token, register.not_kept(), change] {
        assert!(answer.status.is_success(), "{answer:?}");
        assert!(!answer.sets_a_device_cookie(), "{answer:?}");
        assert!(!answer.device().is_empty(), "{answer:?}");
        tokens.push(answer);
    }
    let change = tokens.pop().unwrap();
    for path in ["refresh", "token"] {
        let body = json!({ "refresh_token": change.refresh(), "grant_type": "refresh_token" });
        let refreshed = server.post(path, &body).await;
        assert_eq!(refreshed.status, 200, "{refreshed:?}");
        assert_eq!(refreshed.json()["device_token"], Value::Null);
    }
    let guest = server.post("guest", &json!({})).await;
    assert_eq!(guest.json()["device_token"], Value::Null);
}

#[tokio::test]
async fn u14_answers_by_cookie_hold_the_device_in_a_cookie_alone() {
    let server = Server::start().await;
    let login = server.send(post("login?transport=cookie", &ada())).await;
    let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
    let register = server.send(post("register?transport=cookie", &eve)).await;
    let mut browser = Browser::default();
    browser.keep(&login);
    let body = json!({ "current_password": PASSWORD, "new_password": NEW });
    let change = server.send(browser.dress(post("password", &body))).await;
    browser.keep(&change);
    for answer in [login, register, change] {
        assert!(answer.status.is_success(), "{answer:?}");
        assert!(answer.sets_a_device_cookie(), "{answer:?}");
        assert_eq!(answer.json()["device_token"], Value::Null);
    }
    let refresh = server.send(browser.request("refresh")).await;
    assert_eq!(refresh.status, 200);
    assert!(!refresh.sets_a_device_cookie());
}

/// Fault 27: a token in a JSON member or a form field, at both endpoints that take a password.
#[tokio::test]
async fn u14_a_known_device_signs_in_at_its_first_try_while_others_guess() {
    let server = Server::start().await;
    let device = server.sign_in().await.device();
    server.attack().await;
    let fields = format!("username=ada@example.org&password={PASSWORD}&device_token={device}");
    let requests = [
        post("login", &with(&device, ada())),
        form("login", &fields),
        form("token", &fields),
    ];
    for request in requests {
        let answer = server.send(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        // The attack goes on, and the next token is as good.
        server.post("login", &ada()).await.is(429, "slow_down");
        let next = with(&answer.device(), ada());
        assert_eq!(server.post("login", &next).await.status, 200);
    }
}

#[tokio::test]
async fn u14_a_device_that_registered_is_a_known_one() {
    let server = Server::start().await;
    let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
    let device = server.post("register", &eve).await.device();
    for guess in 0..60 {
        let network = format!("198.51.100.{}", guess % 10);
        let wrong = json!({ "email": "eve@example.org", "password": format!("guess {guess}") });
        server.send(from(&network, post("login", &wrong))).await;
    }
    server.post("login", &eve).await.is(429, "slow_down");
    assert_eq!(server.post("login", &with(&device, eve)).await.status, 200);
}

/// Fault 65: with the body and with cookies.
#[tokio::test]
async fn u14_a_changed_password_ends_old_devices_and_keeps_the_one_that_asked() {
    let server = Server::start().await;
    let old = server.sign_in().await;
    let changed = server.change(&old.access()).await;
    assert_eq!(changed.status, 200);
    server.attack().await;
    let ada = json!({ "email": "ada@example.org", "password": NEW });
    let answer = server
        .post("login", &with(&old.device(), ada.clone()))
        .await;
    answer.is(429, "slow_down");
    let answer = server.post("login", &with(&changed.device(), ada)).await;
    assert_eq!(answer.status, 200, "{answer:?}");

    let server = Server::start().await;
    let mut browser = server.browser().await;
    let old = browser.cookies["__Host-dvc"].clone();
    let body = json!({ "current_password": PASSWORD, "new_password": NEW });
    let changed = server.send(browser.dress(post("password", &body))).await;
    assert_eq!(changed.status, 200);
    browser.keep(&changed);
    assert_ne!(browser.cookies["__Host-dvc"], old);
    server.attack().await;
    let ada = json!({ "email": "ada@example.org", "password": NEW });
    let answer = server.send(browser.dress(post("login", &ada))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A token of another subject, a forged one and none are answered with the same bytes, for names that
/// exist and for one that does not.
#[tokio::test]
async fn u14_a_device_token_of_another_subject_tells_nothing() {
    let server = Server::start().await;
    let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
    let other = server.post("register", &eve).await.device();
    let forged = format!("A{}", &other[1..]);
    let mut answers = Vec::new();
    for name in ["ada@example.org", "bob@example.org", "nobody@example.org"] {
        for device in [&*other, &*forged, "x", ""] {
            let wrong = json!({ "email": name, "password": "wrong" });
            let wrong = with(device, wrong);
            for guess in 0..7 {
                // As many as are free and then waits, each from a network of its own.
                let network = format!("198.51.100.{}", answers.len() / 7 + 1);
                let answer = server.send(from(&network, post("login", &wrong))).await;
                let shown = (answer.status, answer.headers, answer.body);
                answers.push((guess, shown));
            }
        }
        server.advance(Duration::from_secs(3600));
    }
    for (guess, shown) in &answers {
        assert_eq!(*shown, answers[*guess].1, "{guess}");
        let wanted = if *guess < 5 { 401 } else { 429 };
        assert_eq!(shown.0, wanted);
    }
}

#[tokio::test]
async fn u14_a_device_has_five_guesses_of_its_own_and_proves_no_factor() {
    let server = Server::under_attack().await;
    server.advance(Duration::from_secs(3600));
    let answer = server.sign_in().await;
    let device = answer.device();
    server.attack().await;
    let wrong = json!({ "email": "ada@example.org", "password": "wrong" });
    for _ in 0..5 {
        let answer = server.post("login", &with(&device, wrong.clone())).await;
        answer.is(401, "invalid_grant");
    }
    let answer = server.post("login", &with(&device, ada())).await;
    answer.is(429, "slow_down");
    server.advance(Duration::from_secs(1));
    let answer = server.post("login", &with(&device, ada())).await;
    assert_eq!(answer.status, 200);
    let token = server.verifier.verify_now(answer.access()).unwrap();
    let amr = token.claims().get("amr").cloned();
    assert_eq!(amr, Some(json!(["pwd"])));
}
