//! A server in memory, and a client that looks at everything.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use http::{HeaderMap, Request, StatusCode, header::SET_COOKIE};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;
use tower_jwt_auth::{
    Claims, Verifier,
    event::{AuthEvent, sink_fn},
    key::{Algorithm, SigningKey},
    layer::{
        Confirmations,
        dpop::{Dpop, DpopBuilder},
        rate_limit::PeerAddr,
        response::Whole,
    },
    secret::SecretKey,
    server::{
        endpoints::{AuthEndpoints, AuthEndpointsBuilder},
        issue::{KeyRing, TokenIssuer},
        login::{Argon2Cost, Login, LoginBuilder, MemoryThrottle, Password, PasswordHasher},
        refresh::RefreshPolicy,
        session::{Guests, Sessions},
    },
    store::{
        MemoryStore,
        port::{SessionStore, UserRecord},
    },
    test_util::TestClock,
    time::Clock,
};

use super::{flaky::Flaky, users::Users};

pub(crate) const ISSUER: &str = "https://auth.example";
pub(crate) const ORIGIN: &str = "https://app.example";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The server.
pub(crate) struct Server {
    pub(crate) clock: TestClock,
    pub(crate) users: Users,
    pub(crate) store: MemoryStore,
    flaky: Flaky,
    told: Arc<Mutex<Vec<String>>>,
    pub(crate) verifier: Verifier<Claims>,
    pub(crate) endpoints: AuthEndpoints,
    pub(crate) sessions: Sessions,
    #[cfg_attr(not(feature = "totp"), allow(dead_code))]
    pub(crate) login: Login,
    pub(crate) confirmations: Confirmations,
}

impl Server {
    /// With ada, who is an admin, and bob, who is disabled.
    pub(crate) async fn start() -> Self {
        Self::with(true).await
    }

    pub(crate) async fn with(cookies: bool) -> Self {
        Self::with_policy(cookies, RefreshPolicy::browser()).await
    }

    pub(crate) async fn with_policy(cookies: bool, policy: RefreshPolicy) -> Self {
        Self::with_login(cookies, policy, |login, _| login).await
    }

    /// With these changes to the login, which get the store.
    pub(crate) async fn with_login(
        cookies: bool,
        policy: RefreshPolicy,
        change: impl FnOnce(LoginBuilder, &MemoryStore) -> LoginBuilder,
    ) -> Self {
        Self::with_parts(cookies, policy, change, |endpoints, _| endpoints).await
    }

    /// With proofs by these rules, which are for [`ORIGIN`].
    pub(crate) async fn with_dpop(change: impl FnOnce(DpopBuilder) -> DpopBuilder) -> (Self, Dpop) {
        let mut rules = None;
        let server = Self::with_parts(
            true,
            RefreshPolicy::browser(),
            |login, _| login,
            |endpoints, clock| {
                let dpop = change(Dpop::at(ORIGIN).clock(clock.clone())).build();
                let dpop = rules.insert(dpop.unwrap());
                endpoints.dpop(dpop.clone())
            },
        );
        let server = server.await;
        (server, rules.unwrap())
    }

    /// With these changes to the login and to the endpoints.
    pub(crate) async fn with_parts(
        cookies: bool,
        policy: RefreshPolicy,
        change: impl FnOnce(LoginBuilder, &MemoryStore) -> LoginBuilder,
        change_endpoints: impl FnOnce(AuthEndpointsBuilder, &TestClock) -> AuthEndpointsBuilder,
    ) -> Self {
        let clock = TestClock::new();
        let secret = SecretKey::generate();
        let store = MemoryStore::with_clock(clock.clone());
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let ring = KeyRing::builder(key).clock(clock.clone()).build().unwrap();
        let issuer = TokenIssuer::builder(ring)
            .issuer(ISSUER)
            .audience("api")
            .build()
            .unwrap();
        let verifier = issuer.verifier().build().unwrap();
        let flaky = Flaky {
            store: store.clone(),
            blind: Arc::default(),
            loses: Arc::default(),
            crossed: Arc::default(),
        };
        let confirmations = Confirmations::new(store.clone()).unwrap();
        let sessions = Sessions::builder(issuer, flaky.clone())
            .secret(secret.clone())
            .policy(policy)
            .mfa_acr("mfa")
            .confirmations(confirmations.clone())
            .build()
            .unwrap();
        let cheap = Argon2Cost::dangerous_custom(16, 1, 1).unwrap();
        let hasher = PasswordHasher::builder().cost(cheap).build().unwrap();
        let users = Users::default();
        let hash = hasher
            .hash(&Password::new(PASSWORD.to_owned()).unwrap())
            .await
            .unwrap();
        for (name, user) in [
            ("ada@example.org", UserRecord::new("u-ada").roles(["admin"])),
            ("bob@example.org", UserRecord::new("u-bob").disabled(true)),
        ] {
            let user = user.password(hash.clone());
            users.put(name, user);
        }
        let throttle = MemoryThrottle::with_clock(clock.clone());
        let login = Login::builder(users.clone(), throttle, secret.clone());
        let login = change(login.hasher(hasher).clock(clock.clone()), &store).build();
        let guests = Guests::builder(sessions.clone(), flaky.clone())
            .build()
            .unwrap();
        let told = Arc::<Mutex<Vec<String>>>::default();
        let events = Arc::clone(&told);
        let sink = sink_fn(move |event| {
            events.lock().unwrap().push(match event {
                AuthEvent::Denied { error, .. } => format!("{} {}", event.name(), error.as_str()),
                _ => event.name().to_owned(),
            });
        });
        let mut builder = AuthEndpoints::builder(sessions.clone(), login.clone(), secret)
            .registration(true)
            .guests(guests)
            .events(sink);
        if cookies {
            builder = builder.public_origin(ORIGIN);
        }
        let builder = change_endpoints(builder, &clock);
        Self {
            endpoints: builder.build().unwrap(),
            clock,
            users,
            store,
            flaky,
            told,
            verifier,
            sessions,
            login,
            confirmations,
        }
    }

    pub(crate) fn unplug_users(&self) {
        self.users.down.store(true, Ordering::Relaxed);
    }

    /// What the endpoints told since this was asked last.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// From now on no session can be read.
    pub(crate) fn blind(&self) {
        self.flaky.blind.store(true, Ordering::Relaxed);
    }

    /// So many sessions are started while their subject signs out everywhere.
    pub(crate) fn cross(&self, times: usize) {
        self.flaky.crossed.store(times, Ordering::Relaxed);
    }

    /// The next promotion's answer is lost.
    pub(crate) fn lose_promotion(&self) {
        self.flaky.loses.store(true, Ordering::Relaxed);
    }

    pub(crate) async fn send(&self, request: Request<Full<bytes::Bytes>>) -> Answer {
        let Ok(response) = self.endpoints.clone().oneshot(request).await;
        Answer::of(response).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(json(path, body)).await
    }

    /// Signs ada in.
    pub(crate) async fn sign_in(&self) -> Answer {
        let answer = self.post("login", &ada()).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer
    }

    /// Signs ada in with cookies.
    pub(crate) async fn browser(&self) -> Browser {
        let answer = self.send(json("login?transport=cookie", &ada())).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let mut browser = Browser::default();
        browser.keep(&answer);
        browser
    }

    /// Whether a session is alive, by its access token's `sid`.
    pub(crate) async fn is_alive(&self, access: &str) -> bool {
        let token = self.verifier.verify_now(access).unwrap();
        let session = token.principal().session_id().unwrap().parse().unwrap();
        let peek = self.store.load(session).await.unwrap();
        peek.is_some_and(|peek| !peek.session.family.revoked)
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
        let _ = self.clock.now();
    }
}

pub(crate) fn ada() -> Value {
    serde_json::json!({ "email": "ada@example.org", "password": PASSWORD })
}

pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    let peer = PeerAddr("203.0.113.9:50000".parse().unwrap());
    let builder = Request::builder().method(method).extension(peer);
    builder.uri(format!("/api/auth/{path}"))
}

pub(crate) fn json(path: &str, body: &Value) -> Request<Full<bytes::Bytes>> {
    let builder = request("POST", path).header("content-type", "application/json");
    builder.body(Full::from(body.to_string())).unwrap()
}

pub(crate) fn form(path: &str, body: &str) -> Request<Full<bytes::Bytes>> {
    let kind = "application/x-www-form-urlencoded; charset=utf-8";
    let builder = request("POST", path).header("content-type", kind);
    builder.body(Full::from(body.to_owned())).unwrap()
}

pub(crate) fn bearer(
    mut request: Request<Full<bytes::Bytes>>,
    token: &str,
) -> Request<Full<bytes::Bytes>> {
    let value = format!("Bearer {token}").try_into().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) async fn of(response: http::Response<Whole>) -> Self {
        let (parts, body) = response.into_parts();
        let body: Result<_, Infallible> = body.collect().await;
        let Ok(body) = body;
        Self {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes().to_vec(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn access(&self) -> String {
        self.text("access_token")
    }

    pub(crate) fn refresh(&self) -> String {
        self.text("refresh_token")
    }

    pub(crate) fn cookies(&self) -> Vec<&str> {
        let values = self.headers.get_all(SET_COOKIE).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    }

    /// RFC 6749 §5.2, and that nobody may keep it.
    #[track_caller]
    pub(crate) fn is(self, status: u16, error: &str) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.text("error"), error, "{self:?}");
        self.not_kept()
    }

    #[track_caller]
    pub(crate) fn not_kept(self) -> Self {
        assert_eq!(self.headers["cache-control"], "no-store");
        assert_eq!(self.headers["pragma"], "no-cache");
        assert_eq!(self.headers["x-content-type-options"], "nosniff");
        self
    }
}

/// Keeps cookies and sends them, as a page of the site does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Browser {
    pub(crate) cookies: HashMap<String, String>,
}

impl Browser {
    pub(crate) fn keep(&mut self, answer: &Answer) {
        for cookie in answer.cookies() {
            let (name, rest) = cookie.split_once('=').unwrap();
            let (value, attributes) = rest.split_once(';').unwrap();
            match attributes.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    /// A request with the cookies and the proof, from the site's own page.
    pub(crate) fn request(&self, path: &str) -> Request<Full<bytes::Bytes>> {
        self.dress(json(path, &serde_json::json!({})))
    }

    pub(crate) fn dress(
        &self,
        mut request: Request<Full<bytes::Bytes>>,
    ) -> Request<Full<bytes::Bytes>> {
        let pairs = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let cookies = pairs.collect::<Vec<_>>().join("; ");
        let proof = self.cookies.get("__Host-csrf").cloned().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert("cookie", cookies.try_into().unwrap());
        headers.insert("x-csrf-token", proof.try_into().unwrap());
        headers.insert(
            "sec-fetch-site",
            http::HeaderValue::from_static("same-origin"),
        );
        request
    }
}
