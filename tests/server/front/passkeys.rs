//! Passkeys as the only factor and as the second one, on every store: U45, U46, U49.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tower_jwt_auth::{
    AuthServer,
    error::StoreError,
    event::RevokeReason,
    server::{
        AuthServerBuilder,
        login::{FirstStep, PasskeyAuthority, PasskeyError, PasskeyUser},
        session::Sessions,
    },
    store::{
        MemoryStore,
        port::{AuthStore, CredentialStore, NewCredential},
    },
    test_util::TestClock,
};

use super::{PASSWORD, Recorded, SECRET, cheap, identities::Browser, stores};

/// An authority without cryptography. A state is the challenge, and a passkey is its counter.
pub(super) struct Authority;

impl PasskeyAuthority for Authority {
    fn start_registration(
        &self,
        user: &PasskeyUser,
        known: &[String],
    ) -> Result<(Value, String), PasskeyError> {
        let (options, challenge) = self.start_sign_in()?;
        let options = json!({
            "challenge": options["challenge"], "name": user.name, "known": known.len(),
            "handle": URL_SAFE_NO_PAD.encode(user.handle),
        });
        Ok((options, challenge))
    }

    fn finish_registration(
        &self,
        state: &str,
        response: &str,
    ) -> Result<(Vec<u8>, String), PasskeyError> {
        let response: Value = serde_json::from_str(response)?;
        if response["challenge"] != state {
            return Err(PasskeyError::new("another challenge"));
        }
        let id = response["rawId"].as_str().unwrap();
        Ok((URL_SAFE_NO_PAD.decode(id)?, "0".to_owned()))
    }

    fn start_sign_in(&self) -> Result<(Value, String), PasskeyError> {
        let challenge = tower_jwt_auth::store::port::OneTimeToken::mint();
        let challenge = challenge.expose().to_owned();
        Ok((json!({ "challenge": challenge }), challenge))
    }

    fn finish_sign_in(
        &self,
        state: &str,
        response: &str,
        user: &PasskeyUser,
        passkey: &str,
    ) -> Result<String, PasskeyError> {
        let response: Value = serde_json::from_str(response)?;
        let counter = response["counter"].as_u64().unwrap();
        if response["challenge"] != state
            || response["handle"] != URL_SAFE_NO_PAD.encode(user.handle)
        {
            return Err(PasskeyError::new("another challenge or user"));
        }
        match counter > passkey.parse()? {
            true => Ok(counter.to_string()),
            false => Err(PasskeyError::new("the counter does not grow")),
        }
    }
}

fn builder<S: AuthStore>(store: &S) -> AuthServerBuilder<S> {
    AuthServer::builder(store.clone())
        .public_origin("https://app.example")
        .secret(SECRET.parse().unwrap())
        .registration(true)
        .login(|login| login.hasher(cheap()))
        .passkeys(Authority)
}

/// A user in a browser, and an authenticator.
struct User {
    browser: Browser,
    name: &'static str,
    id: String,
    handle: String,
    counter: u64,
}

impl User {
    async fn register(auth: &AuthServer, name: &'static str) -> Self {
        let mut browser = Browser::new(auth);
        let body = json!({ "email": name, "password": PASSWORD, "transport": "cookie" });
        assert_eq!(browser.post("register", body).await.0, 201);
        let mut user = Self {
            browser,
            name,
            id: URL_SAFE_NO_PAD.encode(name),
            handle: String::new(),
            counter: 0,
        };
        let (status, options) = user
            .browser
            .post("passkeys/register/options", json!({}))
            .await;
        assert_eq!(
            (status, &options["name"], &options["known"]),
            (200, &json!(name), &json!(0))
        );
        user.handle = options["handle"].as_str().unwrap().to_owned();
        let response = json!({ "rawId": user.id, "challenge": options["challenge"] }).to_string();
        let body = json!({ "credential": response, "label": "A phone\u{7}" });
        let (status, added) = user.browser.post("passkeys/register", body).await;
        assert_eq!((status, &added["id"]), (201, &json!(user.id)), "{added}");
        user
    }

    /// Returns the response of the authenticator to a challenge that this browser asks for.
    async fn assertion(&mut self, browser: &mut Browser) -> String {
        let (status, options) = browser.post("passkeys/options", json!({})).await;
        assert_eq!(status, 200, "{options}");
        self.respond(&options["challenge"])
    }

    fn respond(&mut self, challenge: &Value) -> String {
        self.counter += 1;
        let (id, handle, counter) = (&self.id, &self.handle, self.counter);
        json!({ "rawId": id, "challenge": challenge, "handle": handle, "counter": counter })
            .to_string()
    }
}

async fn sign_in(browser: &mut Browser, assertion: &str) -> (u16, String) {
    let body = json!({ "credential": assertion, "transport": "cookie" });
    let (status, body) = browser.post("passkeys/sign-in", body).await;
    (
        status,
        body["error"].as_str().unwrap_or_default().to_owned(),
    )
}

fn refused(error: &str) -> (u16, String) {
    (400, error.to_owned())
}

#[tokio::test]
async fn u49_a_passkey_signs_in_as_the_only_factor() {
    for (store, _folder) in stores().await {
        let events = Recorded::default();
        let auth = builder(&store)
            .events(events.clone())
            .start()
            .await
            .unwrap();
        let mut ada = User::register(&auth, "ada@example.org").await;
        assert!(events.take().contains(&"passkey.added"));
        let mut browser = Browser::new(&auth);
        let assertion = ada.assertion(&mut browser).await;
        assert!(!browser.is_signed_in().await);
        assert_eq!(sign_in(&mut browser, &assertion).await.0, 200);
        assert!(browser.is_signed_in().await);
        let claims = browser.cookies["__Host-at"]
            .split('.')
            .nth(1)
            .unwrap()
            .to_owned();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["amr"], json!(["pop", "user", "mfa"]));
        let answer = browser.send("GET", "passkeys", "same-origin", "").await;
        let list = super::identities::read(answer).await;
        let one = &list["passkeys"][0];
        assert_eq!(
            (&one["id"], &one["label"]),
            (&json!(ada.id), &json!("A phone")),
            "{list}"
        );
        assert!(one["used_at"].is_i64() && list["passkeys"].as_array().unwrap().len() == 1);

        // The user removes the passkey; nobody else does.
        let mut eve = User::register(&auth, "eve@example.org").await;
        let id = json!({ "id": ada.id });
        assert_eq!(eve.browser.post("passkeys/remove", id.clone()).await.0, 404);
        assert_eq!(browser.post("passkeys/remove", id.clone()).await.0, 204);
        assert!(events.take().contains(&"passkey.removed"));
        assert_eq!(browser.post("passkeys/remove", id).await.0, 404);
        let mut other = Browser::new(&auth);
        let assertion = ada.assertion(&mut other).await;
        assert_eq!(
            sign_in(&mut other, &assertion).await,
            refused("invalid_passkey")
        );
    }
}

#[tokio::test]
async fn u49_a_response_is_used_once_for_its_challenge_in_its_browser() {
    for (store, _folder) in stores().await {
        let auth = builder(&store).start().await.unwrap();
        let mut ada = User::register(&auth, "ada@example.org").await;
        let mut browser = Browser::new(&auth);
        let assertion = ada.assertion(&mut browser).await;
        // Another browser, with and without a challenge of its own.
        let mut other = Browser::new(&auth);
        assert_eq!(
            sign_in(&mut other, &assertion).await,
            refused("invalid_flow")
        );
        ada.assertion(&mut other).await;
        assert_eq!(
            sign_in(&mut other, &assertion).await,
            refused("invalid_passkey")
        );
        // Once.
        let mut before = browser.clone();
        assert_eq!(sign_in(&mut browser, &assertion).await.0, 200);
        assert_eq!(
            sign_in(&mut before, &assertion).await,
            refused("invalid_flow")
        );
        // Replayed to a new challenge.
        ada.assertion(&mut before).await;
        assert_eq!(
            sign_in(&mut before, &assertion).await,
            refused("invalid_passkey")
        );
        assert!(!before.is_signed_in().await && !other.is_signed_in().await);
        // A copy of the authenticator, whose counter is behind.
        ada.counter = 0;
        let copied = ada.assertion(&mut before).await;
        assert_eq!(
            sign_in(&mut before, &copied).await,
            refused("invalid_passkey")
        );
        for broken in ["", "{}", "[]", r#"{"rawId":"*"}"#, r#"{"rawId":"AAAA"}"#] {
            ada.assertion(&mut before).await;
            let (status, error) = sign_in(&mut before, broken).await;
            assert!(
                status == 400 && error.starts_with("invalid_"),
                "{broken}: {error}"
            );
        }
        // A page of another site.
        let (status, _) = (
            before
                .send("POST", "passkeys/options", "cross-site", "{}")
                .await
                .status(),
            (),
        );
        assert_eq!(status, 403);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u49_of_concurrent_uses_one_signs_in() {
    for (store, _folder) in stores().await {
        let auth = builder(&store).start().await.unwrap();
        let mut ada = User::register(&auth, "ada@example.org").await;
        // One response, and responses with one counter to several challenges.
        for shared in [true, false] {
            let mut browser = Browser::new(&auth);
            let mut uses = Vec::new();
            let assertion = ada.assertion(&mut browser).await;
            for _ in 0..6 {
                match shared {
                    true => uses.push((browser.clone(), assertion.clone())),
                    false => {
                        let mut browser = Browser::new(&auth);
                        ada.counter -= 1;
                        let assertion = ada.assertion(&mut browser).await;
                        uses.push((browser, assertion));
                    }
                }
            }
            let mut tasks = tokio::task::JoinSet::new();
            for (mut browser, assertion) in uses {
                tasks.spawn(async move { sign_in(&mut browser, &assertion).await.0 });
            }
            let answers = tasks.join_all().await;
            let signed_in = answers.iter().filter(|status| **status == 200).count();
            assert_eq!(signed_in, 1, "{answers:?}");
        }
    }
}

#[tokio::test]
async fn u49_a_passkey_is_the_second_factor_of_its_owner_only() {
    for (store, _folder) in stores().await {
        let rows = store.clone();
        let policy = move |first: FirstStep| {
            let rows = rows.clone();
            async move {
                let is_one_factor = !first.amr().any(|method| method == "mfa");
                let passkeys = rows.credentials("passkey", first.subject()).await?;
                let asks = is_one_factor && !passkeys.is_empty();
                Ok::<_, StoreError>(asks.then(|| "webauthn".to_owned()).into_iter().collect())
            }
        };
        let auth = builder(&store).second_step(policy).start().await.unwrap();
        let mut ada = User::register(&auth, "ada@example.org").await;
        let mut eve = User::register(&auth, "eve@example.org").await;
        let mut browser = Browser::new(&auth);
        let login = json!({ "email": ada.name, "password": PASSWORD, "transport": "cookie" });
        let (status, first) = browser.post("login", login).await;
        assert_eq!((status, &first["mfa_methods"]), (403, &json!(["webauthn"])));
        let finish = async |browser: &mut Browser, assertion: &str| {
            let token = &first["mfa_token"];
            let body =
                json!({ "credential": assertion, "mfa_token": token, "transport": "cookie" });
            let (status, body) = browser.post("passkeys/sign-in", body).await;
            (
                status,
                body["error"].as_str().unwrap_or_default().to_owned(),
            )
        };
        let assertion = eve.assertion(&mut browser).await;
        assert_eq!(
            finish(&mut browser, &assertion).await,
            refused("invalid_passkey")
        );
        // The token was stolen, and the thief has no cookie of the first step.
        let mut thief = Browser::new(&auth);
        let assertion = ada.assertion(&mut thief).await;
        assert_eq!(
            finish(&mut thief, &assertion).await,
            refused("invalid_grant")
        );
        assert!(!browser.is_signed_in().await && !thief.is_signed_in().await);

        let before = browser.clone();
        let assertion = ada.assertion(&mut browser).await;
        assert_eq!(finish(&mut browser, &assertion).await.0, 200);
        assert!(browser.is_signed_in().await);
        // The first step completes one sign-in.
        let mut again = before;
        let assertion = ada.assertion(&mut again).await;
        assert_eq!(
            finish(&mut again, &assertion).await,
            refused("invalid_grant")
        );
        // A passkey alone is two factors.
        let mut other = Browser::new(&auth);
        let assertion = ada.assertion(&mut other).await;
        assert_eq!(sign_in(&mut other, &assertion).await.0, 200);
    }
}

#[tokio::test]
async fn u49_only_the_signed_in_user_registers_a_passkey_and_once() {
    for (store, _folder) in stores().await {
        let auth = builder(&store).start().await.unwrap();
        let mut ada = User::register(&auth, "ada@example.org").await;
        let mut eve = User::register(&auth, "eve@example.org").await;
        let mut stranger = Browser::new(&auth);
        for path in [
            "passkeys/register/options",
            "passkeys/register",
            "passkeys/remove",
        ] {
            assert_eq!(
                stranger
                    .post(path, json!({ "credential": "x", "id": "x" }))
                    .await
                    .0,
                401
            );
            let mut unproved = ada.browser.clone();
            unproved
                .cookies
                .insert("__Host-csrf".to_owned(), "x".to_owned());
            assert_eq!(
                unproved.post(path, json!({ "credential": "x" })).await.0,
                403,
                "{path}"
            );
        }
        // A challenge of eve does not register for ada, and the same passkey is not registered twice.
        let (_, options) = eve
            .browser
            .post("passkeys/register/options", json!({}))
            .await;
        let response = json!({ "rawId": ada.id, "challenge": options["challenge"] }).to_string();
        let body = json!({ "credential": response });
        let cookie = eve.browser.cookies["__Host-flw-passkey-new"].clone();
        ada.browser
            .cookies
            .insert("__Host-flw-passkey-new".to_owned(), cookie);
        let (status, error) = ada.browser.post("passkeys/register", body.clone()).await;
        assert_eq!((status, &error["error"]), (400, &json!("invalid_passkey")));
        let (_, options) = eve
            .browser
            .post("passkeys/register/options", json!({}))
            .await;
        let response = json!({ "rawId": ada.id, "challenge": options["challenge"] }).to_string();
        let body = json!({ "credential": response });
        assert_eq!(
            eve.browser.post("passkeys/register", body.clone()).await.0,
            409
        );
        let (status, error) = eve.browser.post("passkeys/register", body).await;
        assert_eq!((status, &error["error"]), (400, &json!("invalid_flow")));
    }
}

#[tokio::test]
async fn u46_a_challenge_is_over_after_ten_minutes() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let auth = builder(&store).start().await.unwrap();
    let mut ada = User::register(&auth, "ada@example.org").await;
    for (minutes, status) in [(9, 200), (11, 400)] {
        let mut browser = Browser::new(&auth);
        let assertion = ada.assertion(&mut browser).await;
        clock.advance(Duration::from_secs(60 * minutes));
        assert_eq!(sign_in(&mut browser, &assertion).await.0, status);
    }
}

#[tokio::test]
async fn u49_passkeys_need_an_origin() {
    let (store, _) = stores().await.remove(0);
    let builder = AuthServer::builder(store)
        .issuer("https://auth.example")
        .passkeys(Authority);
    let error = builder.start().await.unwrap_err().to_string();
    assert!(error.starts_with("passkeys"), "{error}");
}

/// An authority during whose check of a registration the sessions of a subject end.
#[derive(Clone, Default)]
struct Crossed(Arc<OnceLock<(Sessions, String)>>);

impl PasskeyAuthority for Crossed {
    fn start_registration(
        &self,
        user: &PasskeyUser,
        known: &[String],
    ) -> Result<(Value, String), PasskeyError> {
        Authority.start_registration(user, known)
    }

    fn finish_registration(
        &self,
        state: &str,
        response: &str,
    ) -> Result<(Vec<u8>, String), PasskeyError> {
        if let Some((sessions, subject)) = self.0.get() {
            let ended = sessions.revoke_all(subject, RevokeReason::Logout);
            tokio::task::block_in_place(|| Handle::current().block_on(ended)).unwrap();
        }
        Authority.finish_registration(state, response)
    }

    fn start_sign_in(&self) -> Result<(Value, String), PasskeyError> {
        Authority.start_sign_in()
    }

    fn finish_sign_in(
        &self,
        state: &str,
        response: &str,
        user: &PasskeyUser,
        passkey: &str,
    ) -> Result<String, PasskeyError> {
        Authority.finish_sign_in(state, response, user, passkey)
    }
}

/// A take-over ends the sessions before it removes the passkeys, so a passkey that is written afterwards
/// would outlive it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u34_a_registration_that_crosses_a_take_over_leaves_no_passkey() {
    for (store, _folder) in stores().await {
        let crossed = Crossed::default();
        let auth = builder(&store).passkeys(crossed.clone());
        let auth = auth.start().await.unwrap();
        let mut eve = User::register(&auth, "eve@example.org").await;
        let row = store.find_credential("passkey", &eve.id).await.unwrap();
        let subject = row.unwrap().subject;
        let (status, options) = eve
            .browser
            .post("passkeys/register/options", json!({}))
            .await;
        assert_eq!(status, 200, "{options}");
        let ended = (auth.sessions().clone(), subject.clone());
        assert!(crossed.0.set(ended).is_ok());
        let response = json!({ "rawId": "AAAA", "challenge": options["challenge"] }).to_string();
        let body = json!({ "credential": response });
        let (status, added) = eve.browser.post("passkeys/register", body).await;
        assert_eq!(status, 401, "{added}");
        let kept = store.credentials("passkey", &subject).await.unwrap();
        assert_eq!(kept.len(), 1);
    }
}

#[tokio::test]
async fn u49_an_account_has_ten_passkeys_at_most() {
    for (store, _folder) in stores().await {
        let auth = builder(&store).start().await.unwrap();
        let mut ada = User::register(&auth, "ada@example.org").await;
        let row = store.find_credential("passkey", &ada.id).await.unwrap();
        let subject = row.unwrap().subject;
        for number in 0..8 {
            let row = NewCredential::new("passkey", format!("id-{number}"), &subject);
            let row = row.data(r#"{"label":"","passkey":"0"}"#.to_owned());
            assert!(store.link_credential(row).await.unwrap());
        }
        // Two registrations that began while there was room for one.
        let mut other = ada.browser.clone();
        let mut statuses = Vec::new();
        for (browser, id) in [(&mut ada.browser, "AAAA"), (&mut other, "BBBB")] {
            let (status, options) = browser.post("passkeys/register/options", json!({})).await;
            assert_eq!(status, 200, "{options}");
            statuses.push((id, options["challenge"].clone()));
        }
        let mut answers = Vec::new();
        for (browser, (id, challenge)) in [&mut ada.browser, &mut other].into_iter().zip(&statuses)
        {
            let response = json!({ "rawId": id, "challenge": challenge }).to_string();
            let body = json!({ "credential": response });
            answers.push(browser.post("passkeys/register", body).await.0);
        }
        assert_eq!(answers, [201, 409]);
        let kept = store.credentials("passkey", &subject).await.unwrap();
        assert_eq!(kept.len(), 10);
    }
}
