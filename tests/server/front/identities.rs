//! Signing in with an identity provider, on every store: U45 to U48.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer,
    error::StoreError,
    key::{Algorithm, SigningKey},
    layer::response::Whole,
    server::{
        AuthServerBuilder,
        issue::KeyRing,
        login::{
            AuthorizationRequest, EmailAddress, FirstStep, Identifier, Identity, IdentityError,
            IdentityOutcome, IdentityProvider, SignIn, UnknownIdentity,
        },
    },
    store::{
        AnyStore, MemoryStore,
        port::{CredentialStore, NewCredential, UserStore},
    },
    test_util::TestClock,
};

use super::{NAME, PASSWORD, Recorded, SECRET, cheap, stores};

const ISSUER: &str = "https://idp.example";

/// A provider whose codes are the identities themselves: `sub`, or `sub:address` for a verified address.
#[derive(Clone, Default)]
pub(super) struct Idp(Arc<Mutex<Vec<String>>>);

impl IdentityProvider for Idp {
    fn issuer(&self) -> &str {
        ISSUER
    }

    async fn authorization_url(
        &self,
        request: &AuthorizationRequest,
    ) -> Result<String, IdentityError> {
        self.0.lock().unwrap().push(request.nonce().to_owned());
        let (state, challenge) = (request.state(), request.code_challenge());
        Ok(format!(
            "{ISSUER}/authorize?state={state}&code_challenge={challenge}"
        ))
    }

    async fn identify(
        &self,
        request: &AuthorizationRequest,
        code: &str,
    ) -> Result<Identity, IdentityError> {
        assert_eq!(
            request.redirect_uri(),
            "https://app.example/api/auth/identity/idp/callback"
        );
        if !self
            .0
            .lock()
            .unwrap()
            .iter()
            .any(|nonce| nonce == request.nonce())
        {
            return Err(IdentityError::refused("another nonce"));
        }
        match code {
            "down" => Err(IdentityError::unavailable("no route")),
            "bad" => Err(IdentityError::refused("a bad code")),
            "foreign" => Ok(Identity::new("https://other.example", "1")),
            code => match code.split_once(':') {
                None => Ok(Identity::new(ISSUER, code)),
                Some((sub, email)) => Ok(Identity::new(ISSUER, sub).email(email, true)),
            },
        }
    }
}

/// A browser with its cookies.
#[derive(Clone)]
pub(super) struct Browser {
    auth: AuthServer,
    pub(super) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(super) fn new(auth: &AuthServer) -> Self {
        Self {
            auth: auth.clone(),
            cookies: BTreeMap::new(),
        }
    }

    pub(super) async fn send(
        &mut self,
        method: &str,
        path: &str,
        site: &str,
        body: &str,
    ) -> Response<Whole> {
        let cookies = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let cookies: Vec<_> = cookies.collect();
        let csrf = self.cookies.get("__Host-csrf").cloned().unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/auth/{path}"))
            .header(header::COOKIE, cookies.join("; "))
            .header("sec-fetch-site", site)
            .header("x-csrf-token", csrf)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::<bytes::Bytes>::from(body.to_owned()))
            .unwrap();
        let Ok(answer) = self.auth.endpoints().oneshot(request).await;
        self.keep(answer.headers());
        answer
    }

    fn keep(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (pair, rest) = line.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match rest.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    pub(super) async fn post(&mut self, path: &str, body: Value) -> (u16, Value) {
        let answer = self
            .send("POST", path, "same-origin", &body.to_string())
            .await;
        (answer.status().as_u16(), read(answer).await)
    }

    /// Returns the state of a sign-in that has begun.
    async fn start(&mut self, return_to: &str) -> String {
        let path = format!("identity/idp/start?return_to={return_to}");
        let answer = self.send("GET", &path, "same-origin", "").await;
        state_of(&location(&answer))
    }

    /// Returns the location to which the callback of the provider leads.
    async fn callback(&mut self, query: &str) -> String {
        let path = format!("identity/idp/callback?{query}");
        let answer = self.send("GET", &path, "cross-site", "").await;
        assert_eq!(answer.status(), 303);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        location(&answer)
    }

    async fn sign_in(&mut self, code: &str) -> String {
        let state = self.start("/").await;
        self.callback(&format!("code={code}&state={state}")).await
    }

    pub(super) async fn is_signed_in(&mut self) -> bool {
        self.send("GET", "sessions", "same-origin", "")
            .await
            .status()
            == 200
    }
}

pub(super) async fn read(answer: Response<Whole>) -> Value {
    let Ok(body) = answer.into_body().collect().await;
    serde_json::from_slice(&body.to_bytes()).unwrap_or_default()
}

fn location(answer: &Response<Whole>) -> String {
    let location = &answer.headers()[header::LOCATION];
    location.to_str().unwrap().to_owned()
}

fn state_of(url: &str) -> String {
    assert!(url.starts_with(&format!("{ISSUER}/authorize?")), "{url}");
    assert!(!url.contains('#'), "{url}");
    let (_, state) = url.split_once("state=").unwrap();
    state.split('&').next().unwrap().to_owned()
}

fn error(location: &str) -> &str {
    let (path, error) = location.split_once("#error=").unwrap_or((location, ""));
    assert!(path.starts_with('/'), "{location}");
    error.split('&').next().unwrap()
}

fn builder<S>(store: &S) -> AuthServerBuilder<S>
where
    S: tower_jwt_auth::store::port::AuthStore,
{
    AuthServer::builder(store.clone())
        .public_origin("https://app.example")
        .secret(SECRET.parse().unwrap())
        .registration(true)
        .login(|login| login.hasher(cheap()))
        .identity_provider("idp", Idp::default())
}

/// Registers a user. Returns the subject, and a browser in which the user is signed in.
async fn register(
    auth: &AuthServer,
    store: &impl UserStore,
    name: &str,
    verified: bool,
) -> (String, Browser) {
    let mut browser = Browser::new(auth);
    let body = json!({ "email": name, "password": PASSWORD, "transport": "cookie" });
    assert_eq!(browser.post("register", body).await.0, 201);
    let user = store
        .find(&Identifier::new(name).unwrap())
        .await
        .unwrap()
        .unwrap();
    if verified {
        let address = EmailAddress::new(name).unwrap();
        assert!(store.verify_email(&user.subject, &address).await.unwrap());
    }
    (user.subject, browser)
}

#[tokio::test]
async fn u47_an_identity_with_a_verified_address_is_linked_once_and_signs_in() {
    for (store, _folder) in stores().await {
        let events = Recorded::default();
        let auth = builder(&store)
            .events(events.clone())
            .start()
            .await
            .unwrap();
        let (ada, _) = register(&auth, &store, NAME, true).await;
        let mut browser = Browser::new(&auth);
        let state = browser.start("/welcome%3Fa=b").await;
        assert!(!browser.is_signed_in().await);
        events.take();
        let to = browser
            .callback(&format!("code=1:{NAME}&state={state}&iss={ISSUER}"))
            .await;
        assert_eq!(to, "/welcome?a=b");
        assert!(browser.is_signed_in().await);
        let seen = events.take();
        assert!(
            seen.contains(&"identity.linked") && seen.contains(&"login.succeeded"),
            "{seen:?}"
        );
        let linked = auth.identities().list(&ada).await.unwrap();
        let linked: Vec<_> = linked.iter().map(|one| one.identity.subject()).collect();
        assert_eq!(linked, ["1"]);

        // From now on the subject at the provider decides, with whatever address.
        for code in ["1", "1:eve@example.org"] {
            let mut browser = Browser::new(&auth);
            assert_eq!(browser.sign_in(code).await, "/");
            assert!(browser.is_signed_in().await);
        }
        // The provider has given the address to another person.
        let mut other = Browser::new(&auth);
        assert_eq!(
            error(&other.sign_in(&format!("2:{NAME}")).await),
            "link_required"
        );
        assert!(!other.is_signed_in().await);

        let identity = Identity::new(ISSUER, "1");
        assert!(auth.identities().unlink(&ada, &identity).await.unwrap());
        assert!(!auth.identities().unlink(&ada, &identity).await.unwrap());
        assert_eq!(error(&other.sign_in("1").await), "no_account");
    }
}

#[tokio::test]
async fn u47_no_identity_is_linked_to_an_account_by_an_address_that_either_side_has_not_verified() {
    for (store, _folder) in stores().await {
        let auth = builder(&store).start().await.unwrap();
        let (ada, _) = register(&auth, &store, NAME, false).await;
        let mut browser = Browser::new(&auth);
        // The account may have been registered by another person.
        assert_eq!(
            error(&browser.sign_in(&format!("1:{NAME}")).await),
            "link_required"
        );
        // The provider has not verified the address.
        let address = EmailAddress::new(NAME).unwrap();
        assert!(store.verify_email(&ada, &address).await.unwrap());
        assert_eq!(error(&browser.sign_in("1").await), "no_account");
        assert_eq!(
            error(&browser.sign_in("1:eve@example.org").await),
            "no_account"
        );
        assert!(!browser.is_signed_in().await);
        assert!(store.credentials("oidc", &ada).await.unwrap().is_empty());
        assert_eq!(browser.sign_in(&format!("1:{NAME}")).await, "/");
    }
}

#[tokio::test]
async fn u46_a_callback_works_once_and_in_the_browser_that_began() {
    for (store, _folder) in stores().await {
        let auth = builder(&store).start().await.unwrap();
        register(&auth, &store, NAME, true).await;
        let code = format!("code=1:{NAME}");
        let mut browser = Browser::new(&auth);
        let state = browser.start("/").await;
        let query = format!("{code}&state={state}");
        // Another browser, with and without a flow of its own.
        let mut other = Browser::new(&auth);
        assert_eq!(error(&other.callback(&query).await), "invalid_flow");
        other.start("/").await;
        assert_eq!(error(&other.callback(&query).await), "identity_refused");
        assert!(!other.is_signed_in().await);

        let before = browser.clone();
        assert_eq!(browser.callback(&query).await, "/");
        // Repeated, with the cookie of then.
        for mut again in [before, browser] {
            again.cookies.retain(|name, _| name.contains("flw"));
            assert_eq!(error(&again.callback(&query).await), "invalid_flow");
            assert!(!again.is_signed_in().await);
        }
        // A wrong state spends the flow.
        let mut browser = Browser::new(&auth);
        let state = browser.start("/").await;
        for (query, refused) in [
            (format!("{code}&state=x{state}"), "identity_refused"),
            (format!("{code}&state={state}"), "invalid_flow"),
        ] {
            assert_eq!(error(&browser.callback(&query).await), refused);
        }
        // A cookie that was changed, or belongs to another provider.
        let state = browser.start("/").await;
        let cookie = browser.cookies.get_mut("__Host-flw-id-idp").unwrap();
        cookie.replace_range(10..11, "_");
        let query = format!("{code}&state={state}");
        assert_eq!(error(&browser.callback(&query).await), "invalid_flow");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u46_of_concurrent_callbacks_one_signs_in() {
    for (store, _folder) in stores().await {
        let auth = builder(&store).start().await.unwrap();
        register(&auth, &store, NAME, true).await;
        let mut browser = Browser::new(&auth);
        let state = browser.start("/").await;
        let query = format!("code=1:{NAME}&state={state}");
        let mut callbacks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (mut browser, query) = (browser.clone(), query.clone());
            callbacks.spawn(async move { browser.callback(&query).await });
        }
        let mut answers = callbacks.join_all().await;
        answers.sort();
        let (first, rest) = answers.split_first().unwrap();
        assert_eq!(first, "/");
        assert!(
            rest.iter().all(|late| error(late) == "invalid_flow"),
            "{rest:?}"
        );
    }
}

#[tokio::test]
async fn u46_a_flow_is_over_after_ten_minutes() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let auth = builder(&store).start().await.unwrap();
    register(&auth, &store, NAME, true).await;
    for (minutes, is_over) in [(9, false), (11, true)] {
        let mut browser = Browser::new(&auth);
        let state = browser.start("/").await;
        clock.advance(Duration::from_secs(60 * minutes));
        let to = browser
            .callback(&format!("code=1:{NAME}&state={state}"))
            .await;
        assert_eq!(error(&to) == "invalid_flow", is_over, "{to}");
    }
}

#[tokio::test]
async fn u47_the_signed_in_user_links_an_identity() {
    for (store, _folder) in stores().await {
        let auth = builder(&store).start().await.unwrap();
        let (ada, mut adas) = register(&auth, &store, NAME, false).await;
        let (eve, mut eves) = register(&auth, &store, "eve@example.org", false).await;
        let link = async |browser: &mut Browser, code: &str| {
            let body = json!({ "return_to": "/account" });
            let (status, begun) = browser.post("identity/idp/link", body).await;
            assert_eq!(status, 200, "{begun}");
            let state = state_of(begun["location"].as_str().unwrap());
            browser
                .callback(&format!("code={code}&state={state}"))
                .await
        };
        assert_eq!(link(&mut adas, "1").await, "/account");
        assert_eq!(link(&mut adas, "1").await, "/account", "once more");
        assert_eq!(error(&link(&mut eves, "1").await), "identity_taken");
        assert_eq!(auth.identities().list(&ada).await.unwrap().len(), 1);
        assert!(auth.identities().list(&eve).await.unwrap().is_empty());
        let mut browser = Browser::new(&auth);
        assert_eq!(browser.sign_in("1").await, "/");

        // Only a request of the user's own page begins, and only while the session lives it ends.
        let mut stranger = Browser::new(&auth);
        assert_eq!(stranger.post("identity/idp/link", json!({})).await.0, 401);
        let body = json!({}).to_string();
        let forged = adas
            .send("POST", "identity/idp/link", "cross-site", &body)
            .await;
        assert_eq!(forged.status(), 403);
        let mut unproved = adas.clone();
        unproved
            .cookies
            .insert("__Host-csrf".to_owned(), "x".to_owned());
        assert_eq!(unproved.post("identity/idp/link", json!({})).await.0, 403);
        let (_, begun) = adas.post("identity/idp/link", json!({})).await;
        let state = state_of(begun["location"].as_str().unwrap());
        assert_eq!(adas.post("logout", json!({})).await.0, 204);
        let to = adas.callback(&format!("code=9&state={state}")).await;
        assert_eq!(error(&to), "invalid_token");
        assert_eq!(auth.identities().list(&ada).await.unwrap().len(), 1);
    }
}

/// A browser that two users share.
#[tokio::test]
async fn u47_a_link_ends_in_the_session_that_began_it() {
    for (store, _folder) in stores().await {
        let auth = builder(&store).start().await.unwrap();
        let (ada, mut adas) = register(&auth, &store, NAME, false).await;
        let (eve, mut eves) = register(&auth, &store, "eve@example.org", false).await;
        let (_, begun) = adas.post("identity/idp/link", json!({})).await;
        let state = state_of(begun["location"].as_str().unwrap());
        let cookie = adas.cookies["__Host-flw-id-idp"].clone();
        eves.cookies.insert("__Host-flw-id-idp".to_owned(), cookie);
        let to = eves.callback(&format!("code=1&state={state}")).await;
        assert_eq!(error(&to), "invalid_token");
        for subject in [ada, eve] {
            let linked = auth.identities().list(&subject).await.unwrap();
            assert!(linked.is_empty());
        }
    }
}

#[tokio::test]
async fn u51_the_user_lists_and_unlinks_identities_but_not_the_only_way_to_sign_in() {
    for (store, _folder) in stores().await {
        let create = UnknownIdentity::CreateAccount;
        let auth = builder(&store).on_unknown_identity(create);
        let auth = auth.start().await.unwrap();
        let list = async |browser: &mut Browser| {
            let answer = browser.send("GET", "identities", "same-origin", "").await;
            (answer.status().as_u16(), read(answer).await)
        };
        let unlink = json!({ "issuer": ISSUER, "subject": "1" });
        let mut stranger = Browser::new(&auth);
        assert_eq!(list(&mut stranger).await.0, 401);
        assert_eq!(
            stranger.post("identities/unlink", unlink.clone()).await.0,
            401
        );

        let mut ada = Browser::new(&auth);
        assert_eq!(ada.sign_in(&format!("1:{NAME}")).await, "/");
        let (status, linked) = list(&mut ada).await;
        let linked = &linked["identities"];
        assert_eq!((status, linked.as_array().unwrap().len()), (200, 1));
        let one = &linked[0];
        assert_eq!(
            (&one["provider"], &one["issuer"], &one["subject"]),
            (&json!("idp"), &json!(ISSUER), &json!("1"))
        );
        assert!(one["linked_at"].is_i64());
        let (status, refused) = ada.post("identities/unlink", unlink.clone()).await;
        assert_eq!(
            (status, &refused["error"]),
            (409, &json!("last_credential"))
        );

        // Another user, and another site.
        let (_, mut eve) = register(&auth, &store, "eve@example.org", false).await;
        assert_eq!(eve.post("identities/unlink", unlink.clone()).await.0, 404);
        let body = unlink.to_string();
        let forged = ada
            .send("POST", "identities/unlink", "cross-site", &body)
            .await;
        assert_eq!(forged.status(), 403);

        let (_, begun) = ada.post("identity/idp/link", json!({})).await;
        let state = state_of(begun["location"].as_str().unwrap());
        assert_eq!(ada.callback(&format!("code=2&state={state}")).await, "/");
        assert_eq!(ada.post("identities/unlink", unlink.clone()).await.0, 204);
        assert_eq!(ada.post("identities/unlink", json!({})).await.0, 400);
        assert_eq!(error(&Browser::new(&auth).sign_in("1").await), "no_account");
        assert_eq!(list(&mut ada).await.1["identities"][0]["subject"], "2");
    }
}

/// An identity at a provider that the server has no more, and a passkey on a server without passkeys, open
/// nothing, so that they do not count as another way.
#[tokio::test]
async fn u51_only_a_credential_with_which_the_user_can_sign_in_counts() {
    for (store, _folder) in stores().await {
        let create = UnknownIdentity::CreateAccount;
        let auth = builder(&store).on_unknown_identity(create);
        let auth = auth.start().await.unwrap();
        let mut ada = Browser::new(&auth);
        assert_eq!(ada.sign_in(&format!("1:{NAME}")).await, "/");
        let user = store.find(&Identifier::new(NAME).unwrap()).await.unwrap();
        let subject = user.unwrap().subject;
        for (kind, id) in [("oidc", "https://former.example 1"), ("passkey", "AQIDBA")] {
            let new = NewCredential::new(kind, id, &subject);
            assert!(store.link_credential(new).await.unwrap());
        }
        let unlink = json!({ "issuer": ISSUER, "subject": "1" });
        let (status, refused) = ada.post("identities/unlink", unlink).await;
        assert_eq!(
            (status, &refused["error"]),
            (409, &json!("last_credential"))
        );
        // The useless one itself may go.
        let former = json!({ "issuer": "https://former.example", "subject": "1" });
        assert_eq!(ada.post("identities/unlink", former).await.0, 204);
    }
}

/// A provider may give `ada` and the same name in full-width letters to two people.
#[tokio::test]
async fn u47_an_address_in_letters_of_another_width_links_no_identity() {
    for (store, _folder) in stores().await {
        let auth = builder(&store).start().await.unwrap();
        register(&auth, &store, NAME, true).await;
        // U+FF41 and U+FF45, in a query.
        for spelled in ["%EF%BD%81da@example.org", "ada@%EF%BD%85xample.org"] {
            let to = Browser::new(&auth).sign_in(&format!("1:{spelled}")).await;
            assert_eq!(error(&to), "no_account", "{spelled}");
        }
        let to = Browser::new(&auth).sign_in("1:%20ADA@Example.org").await;
        assert_eq!(to, "/");
    }
}

/// Nobody knows a password of the account any more, and there are no mails by which its owner could set one.
#[tokio::test]
async fn u51_a_password_that_a_take_over_has_locked_is_no_way_to_sign_in() {
    for (store, _folder) in stores().await {
        let create = UnknownIdentity::CreateAccount;
        let auth = builder(&store).on_unknown_identity(create);
        let auth = auth.start().await.unwrap();
        let (_, mut thief) = register(&auth, &store, NAME, false).await;
        let mut owner = Browser::new(&auth);
        assert_eq!(owner.sign_in(&format!("1:{NAME}")).await, "/");
        assert!(!thief.is_signed_in().await);
        let unlink = json!({ "issuer": ISSUER, "subject": "1" });
        let (status, refused) = owner.post("identities/unlink", unlink.clone()).await;
        assert_eq!(
            (status, &refused["error"]),
            (409, &json!("last_credential"))
        );
        // A password of the owner is one.
        let (_, mut eve) = register(&auth, &store, "eve@example.org", true).await;
        assert_eq!(eve.sign_in("2:eve@example.org").await, "/");
        let unlink = json!({ "issuer": ISSUER, "subject": "2" });
        assert_eq!(eve.post("identities/unlink", unlink).await.0, 204);
    }
}

#[tokio::test]
async fn u50_an_account_is_created_only_if_the_server_allows_it_and_the_address_is_verified() {
    for (store, _folder) in stores().await {
        let refusing = builder(&store).start().await.unwrap();
        let code = format!("1:{NAME}");
        assert_eq!(
            error(&Browser::new(&refusing).sign_in(&code).await),
            "no_account"
        );
        let create = UnknownIdentity::CreateAccount;
        let auth = builder(&store).on_unknown_identity(create);
        let auth = auth.registration(false).start().await.unwrap();
        assert_eq!(error(&Browser::new(&auth).sign_in("1").await), "no_account");
        let mut subjects = Vec::new();
        for code in [&*code, "1", "1:other@example.org"] {
            let mut browser = Browser::new(&auth);
            assert_eq!(browser.sign_in(code).await, "/");
            assert!(browser.is_signed_in().await);
            let user = store.find(&Identifier::new(NAME).unwrap()).await.unwrap();
            subjects.push(user.unwrap().subject);
        }
        subjects.dedup();
        assert_eq!(subjects.len(), 1);
        let other = Identifier::new("other@example.org").unwrap();
        assert!(store.find(&other).await.unwrap().is_none());
        // The account is an ordinary one: nobody else gets it by its address.
        let mut browser = Browser::new(&auth);
        let to = browser.sign_in(&format!("2:{NAME}")).await;
        assert_eq!(error(&to), "link_required");
    }
}

fn timed(store: &MemoryStore, clock: &TestClock) -> AuthServerBuilder<MemoryStore> {
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let keys = KeyRing::builder(key).clock(clock.clone()).build().unwrap();
    builder(store).keys(keys)
}

/// The holder of a stolen session must not add a way to sign in, nor remove the owner's.
#[tokio::test]
async fn u47_u51_a_change_of_identities_needs_a_recent_sign_in() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let lifetime = Duration::from_secs(30 * 60);
    let auth = timed(&store, &clock).tokens(move |tokens| tokens.access_lifetime(lifetime));
    let auth = auth.start().await.unwrap();
    let (_, mut browser) = register(&auth, &store, NAME, true).await;
    let unlink = json!({ "issuer": ISSUER, "subject": "1" });
    for (minutes, statuses) in [(0, [200, 404]), (14, [200, 404]), (1, [401, 401])] {
        clock.advance(Duration::from_secs(60 * minutes));
        let link = browser.post("identity/idp/link", json!({})).await;
        let unlink = browser.post("identities/unlink", unlink.clone()).await;
        assert_eq!([link.0, unlink.0], statuses, "{link:?} {unlink:?}");
        if statuses[0] == 401 {
            let error = "insufficient_user_authentication";
            assert_eq!(link.1["error"], error);
            assert_eq!(unlink.1["error"], error);
        }
    }
}

/// The row of a link that a crash has interrupted belongs to nobody.
#[tokio::test]
async fn u47_an_interrupted_link_does_not_keep_the_identity_from_its_owner() {
    for (store, _folder) in stores().await {
        let auth = builder(&store).start().await.unwrap();
        let (ada, mut browser) = register(&auth, &store, NAME, true).await;
        for code in [format!("1:{NAME}"), "2".to_owned()] {
            let sub = code.split(':').next().unwrap();
            let row = NewCredential::new("oidc", format!("{ISSUER} {sub}"), "usr_other");
            let row = row.data("unfinished:x");
            assert!(store.link_credential(row).await.unwrap());
            if code == "2" {
                assert_eq!(error(&browser.sign_in(&code).await), "no_account");
                let (_, begun) = browser.post("identity/idp/link", json!({})).await;
                let state = state_of(begun["location"].as_str().unwrap());
                let to = browser.callback(&format!("code=2&state={state}")).await;
                assert_eq!(to, "/");
            }
            assert_eq!(Browser::new(&auth).sign_in(&code).await, "/");
        }
        assert_eq!(auth.identities().list(&ada).await.unwrap().len(), 2);
        let other = store.credentials("oidc", "usr_other").await.unwrap();
        assert!(other.is_empty());
    }
}

/// The rows of interrupted links do not use up the room for others.
#[tokio::test]
async fn u47_interrupted_links_do_not_count() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let auth = timed(&store, &clock).start().await.unwrap();
    let (ada, mut browser) = register(&auth, &store, NAME, true).await;
    for number in 0..20 {
        let row = NewCredential::new("oidc", format!("{ISSUER} old-{number}"), &ada);
        let row = row.data("unfinished:x");
        assert!(store.link_credential(row).await.unwrap());
    }
    for (seconds, expected) in [(59, "too_many_identities"), (1, "")] {
        clock.advance(Duration::from_secs(seconds));
        let (_, begun) = browser.post("identity/idp/link", json!({})).await;
        let state = state_of(begun["location"].as_str().unwrap());
        let to = browser.callback(&format!("code=1&state={state}")).await;
        assert_eq!(error(&to), expected);
    }
    assert_eq!(store.credentials("oidc", &ada).await.unwrap().len(), 1);
}

#[tokio::test]
async fn u47_a_response_that_is_not_the_providers_is_refused() {
    let (store, _) = stores().await.remove(0);
    let auth = builder(&store).start().await.unwrap();
    register(&auth, &store, NAME, true).await;
    for (query, refused) in [
        ("error=access_denied", "access_denied"),
        ("error=temporarily_unavailable", "temporarily_unavailable"),
        ("error=invalid_scope&code=1", "identity_refused"),
        ("iss=https://other.example&code=1", "identity_refused"),
        ("", "identity_refused"),
        ("code=bad", "identity_refused"),
        ("code=foreign", "identity_refused"),
        ("code=down", "temporarily_unavailable"),
        ("code=1&code=2", "invalid_request"),
    ] {
        let mut browser = Browser::new(&auth);
        let state = browser.start("/here").await;
        let to = browser.callback(&format!("{query}&state={state}")).await;
        assert_eq!(error(&to), refused, "{query}");
        assert!(to.starts_with("/here#"), "{to}");
        assert!(!browser.is_signed_in().await);
    }
    // Another site must not sign its visitors in.
    let mut browser = Browser::new(&auth);
    let forged = browser
        .send("GET", "identity/idp/start", "cross-site", "")
        .await;
    assert_eq!(error(&location(&forged)), "access_denied");
    assert!(browser.cookies.is_empty());
    for (method, path, status) in [
        ("GET", "identity/other/start", 404),
        ("GET", "identity/idp", 404),
        ("GET", "identity/idp/else", 404),
        ("POST", "identity/idp/callback", 405),
        ("GET", "identity/idp/link", 405),
    ] {
        let answer = browser.send(method, path, "same-origin", "").await;
        assert_eq!(answer.status(), status, "{path}");
    }
}

#[tokio::test]
async fn u48_a_redirect_never_leads_to_another_site() {
    let (store, _) = stores().await.remove(0);
    let auth = builder(&store).start().await.unwrap();
    register(&auth, &store, NAME, true).await;
    for bad in [
        "https://evil.example",
        "//evil.example",
        "/%5Cevil.example",
        "%2F%09%2Fevil.example",
        "x",
    ] {
        let mut browser = Browser::new(&auth);
        let state = browser.start(bad).await;
        let to = browser
            .callback(&format!("code=1:{NAME}&state={state}"))
            .await;
        assert_eq!(to, "/", "{bad}");
    }
}

#[tokio::test]
async fn u31_u32_a_second_step_and_a_refusal_follow_a_redirect() {
    for (store, _folder) in stores().await {
        let policy = |first: FirstStep| async move {
            let is_needed = !first.amr().any(|method| method == "mfa");
            Ok::<_, StoreError>(
                is_needed
                    .then(|| "webauthn".to_owned())
                    .into_iter()
                    .collect(),
            )
        };
        let auth = builder(&store).second_step(policy).start().await.unwrap();
        let (ada, _) = register(&auth, &store, NAME, true).await;
        let mut browser = Browser::new(&auth);
        let to = browser.sign_in(&format!("1:{NAME}")).await;
        assert_eq!(error(&to), "mfa_required");
        assert!(
            to.contains("&mfa_methods=webauthn") && !browser.is_signed_in().await,
            "{to}"
        );
        let (_, token) = to.split_once("mfa_token=").unwrap();
        let token = token.split('&').next().unwrap();
        let parts = |browser: &Browser| {
            let cookies = browser
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            let cookies: Vec<_> = cookies.collect();
            let request = Request::get("/").header(header::COOKIE, cookies.join("; "));
            request.body(()).unwrap().into_parts().0
        };
        let endpoints = auth.endpoints();
        assert!(
            endpoints
                .pending_sign_in(&parts(&Browser::new(&auth)), token)
                .is_none()
        );
        let pending = endpoints.pending_sign_in(&parts(&browser), token).unwrap();
        assert_eq!(pending.subject(), ada);
        let who = SignIn::completing(pending, ["pop"])
            .unwrap()
            .redirect_to("/in");
        let answer = auth.sign_in(&parts(&browser), who).await;
        assert_eq!(
            (answer.status().as_u16(), &*location(&answer)),
            (303, "/in")
        );
        browser.keep(answer.headers());
        assert!(browser.is_signed_in().await);

        // What the provider has checked is not asked for again, if the application says so.
        let strong = Identity::new(ISSUER, "1").amr(["mfa"]);
        let IdentityOutcome::SignIn(who) = auth.identities().sign_in(&strong).await.unwrap() else {
            panic!("the identity is linked");
        };
        let answer = auth.sign_in(&parts(&browser), *who).await;
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn u34_what_another_person_has_linked_is_gone_after_a_take_over() {
    for (store, _folder) in stores().await {
        let auth = builder(&store).start().await.unwrap();
        let (subject, mut other) = register(&auth, &store, NAME, false).await;
        let (_, begun) = other.post("identity/idp/link", json!({})).await;
        let state = state_of(begun["location"].as_str().unwrap());
        assert_eq!(other.callback(&format!("code=1&state={state}")).await, "/");
        let address = EmailAddress::new(NAME).unwrap();
        let proved = auth.login().prove_email(auth.sessions(), &address).await;
        assert_eq!(proved.unwrap().unwrap().subject, subject);
        assert!(auth.identities().list(&subject).await.unwrap().is_empty());
        assert_eq!(error(&other.sign_in("1").await), "no_account");
        // The owner comes with the verified address.
        assert_eq!(Browser::new(&auth).sign_in(&format!("2:{NAME}")).await, "/");
    }
}

#[tokio::test]
async fn u47_a_provider_needs_an_origin_and_a_name() {
    let store = AnyStore::open("memory:").await.unwrap();
    let refused = async |name: &str, origin: Option<&str>| {
        let builder = AuthServer::builder(store.clone()).issuer("https://auth.example");
        let builder = builder.identity_provider(name, Idp::default());
        let builder = match origin {
            Some(origin) => builder.public_origin(origin),
            None => builder,
        };
        builder.start().await.err().map(|error| error.to_string())
    };
    let origin = Some("https://app.example");
    assert_eq!(refused("idp", origin).await, None);
    for (name, origin) in [("idp", None), ("", origin), ("A", origin), ("a/b", origin)] {
        let error = refused(name, origin).await.unwrap();
        assert!(error.starts_with("identity_provider"), "{error}");
    }
}
