//! The login server through its front door alone: what it wires, no test wires.

mod bound;
mod csrf;
mod ends;
#[cfg(feature = "totp")]
mod factors;
mod identities;
mod parts;
mod passkeys;
mod resource;
mod reuse;
mod sockets;
mod start;
mod step_up;
#[cfg(feature = "tracing")]
mod warned;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    AuthServer, AuthSettings, Principal,
    event::{AuthEvent, EventSink},
    layer::rate_limit::PeerAddr,
    principal::SessionId,
    server::{
        AuthServerBuilder,
        login::{Argon2Cost, Identifier, PasswordHasher},
    },
    store::{AnyStore, port::UserStore},
};

pub(crate) const NAME: &str = "ada@example.org";
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// 32 bytes.
pub(crate) const SECRET: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";

type Body = Full<bytes::Bytes>;

/// A server and its store.
pub(crate) struct Front {
    pub(crate) auth: AuthServer,
    pub(crate) store: AnyStore,
    pub(crate) events: Recorded,
    folder: Option<tempfile::TempDir>,
}

/// The names of the events, in order.
#[derive(Clone, Default)]
pub(crate) struct Recorded(Arc<Mutex<Vec<&'static str>>>);

impl EventSink for Recorded {
    fn record(&self, event: &AuthEvent<'_>) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.push(event.name());
    }
}

impl Recorded {
    pub(crate) fn take(&self) -> Vec<&'static str> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *names)
    }
}

/// A store, and the folder that it is in.
pub(crate) type Place = (AnyStore, Option<tempfile::TempDir>);

/// One store of each kind that needs no server.
pub(crate) async fn stores() -> Vec<Place> {
    let mut stores = vec![(AnyStore::open("memory:").await.unwrap(), None)];
    if cfg!(feature = "sqlite") {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("auth.db").display());
        stores.push((AnyStore::open(&url).await.unwrap(), Some(folder)));
    }
    stores
}

pub(crate) fn vars(vars: &[(&str, &str)]) -> AuthSettings {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    AuthSettings::from_vars(vars.iter().map(owned)).unwrap()
}

pub(crate) fn cheap() -> PasswordHasher {
    let cost = Argon2Cost::dangerous_custom(16, 1, 1).unwrap();
    PasswordHasher::builder().cost(cost).build().unwrap()
}

impl Front {
    /// A server with ada, who is an admin, on each store.
    pub(crate) async fn on_each(more: &[(&str, &str)]) -> Vec<Self> {
        Self::changed(more, |builder| builder).await
    }

    /// The same, with a change to each builder.
    pub(crate) async fn changed(
        more: &[(&str, &str)],
        change: impl Fn(AuthServerBuilder<AnyStore>) -> AuthServerBuilder<AnyStore>,
    ) -> Vec<Self> {
        let seed = format!("{NAME}:{PASSWORD}:admin");
        let mut all = vec![("AUTH_SEED_USER", &*seed)];
        all.extend_from_slice(more);
        let settings = vars(&all);
        let mut servers = Vec::new();
        for (store, folder) in stores().await {
            let events = Recorded::default();
            let builder = AuthServer::builder(store.clone())
                .settings(settings.clone())
                .login(|login| login.hasher(cheap()))
                .events(events.clone());
            let auth = change(builder).start().await.unwrap();
            servers.push(Self {
                auth,
                store,
                events,
                folder,
            });
        }
        servers
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self.folder {
            Some(_) => "SQLite",
            None => "memory",
        }
    }

    /// The subject of ada.
    pub(crate) async fn ada(&self) -> String {
        let name = Identifier::new(NAME).unwrap();
        let found = UserStore::find(&self.store, &name).await.unwrap();
        found.unwrap().subject
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let Ok(response) = self.auth.endpoints().oneshot(request).await;
        Answer::of(response).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(post(path, body)).await
    }

    pub(crate) async fn sign_in(&self) -> Answer {
        let answer = self.post("login", &ada()).await;
        assert_eq!(answer.status, 200, "{}: {answer:?}", self.kind());
        answer
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        let body = json!({ "refresh_token": token });
        self.post("refresh", &body).await
    }

    /// The status of a request to an API behind the layer.
    pub(crate) async fn call(&self, access: &str) -> StatusCode {
        let request = Request::get("/").header("authorization", format!("Bearer {access}"));
        self.through_layer(request.body(()).unwrap()).await.0
    }

    /// The status, and the caller that the API sees.
    pub(crate) async fn through_layer(
        &self,
        request: Request<()>,
    ) -> (StatusCode, Option<Principal>) {
        let seen = Arc::<Mutex<Option<Principal>>>::default();
        let caller = Arc::clone(&seen);
        let api = service_fn(move |request: Request<()>| {
            *caller.lock().unwrap() = request.extensions().get().cloned();
            std::future::ready(Ok::<_, Infallible>(http::Response::new(String::new())))
        });
        let Ok(answer) = self.auth.layer().layer(api).oneshot(request).await;
        let caller = seen.lock().unwrap().take();
        (answer.status(), caller)
    }

    /// The caller of an access token.
    pub(crate) fn caller(&self, access: &str) -> Principal {
        let token = self.auth.verifier().verify_now(access);
        token.unwrap().principal()
    }

    pub(crate) fn session(&self, access: &str) -> SessionId {
        self.caller(access).session_id().unwrap().parse().unwrap()
    }
}

pub(crate) fn ada() -> Value {
    json!({ "email": NAME, "password": PASSWORD })
}

pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    let peer: SocketAddr = "203.0.113.9:50000".parse().unwrap();
    let builder = Request::builder().method(method).extension(PeerAddr(peer));
    builder.uri(format!("/api/auth/{path}"))
}

pub(crate) fn post(path: &str, body: &Value) -> Request<Body> {
    let builder = request("POST", path).header("content-type", "application/json");
    builder.body(Full::from(body.to_string())).unwrap()
}

pub(crate) fn bearer(mut request: Request<Body>, token: &str) -> Request<Body> {
    let value = format!("Bearer {token}").try_into().unwrap();
    request.headers_mut().insert("authorization", value);
    request
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    body: Vec<u8>,
}

impl Answer {
    async fn of<B>(response: http::Response<B>) -> Self
    where
        B: http_body::Body<Error = Infallible>,
    {
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await;
        Self {
            status: parts.status,
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
}

/// Repeats a check until it holds. The bound only keeps a broken test from hanging.
pub(crate) async fn until(case: &str, mut holds: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !holds().await {
        assert!(since.elapsed() < Duration::from_secs(60), "{case}: never");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
