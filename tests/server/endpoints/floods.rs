//! Floods of logins, and who gets in beside them.

use std::{sync::Arc, time::Duration};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};
use tower::ServiceExt;
use tower_jwt_auth::{
    error::StoreError,
    layer::rate_limit::PeerAddr,
    secret::SecretKey,
    server::{
        endpoints::AuthEndpoints,
        login::{Argon2Cost, Identifier, Login, MemoryThrottle, PasswordHash, PasswordHasher},
        session::Guests,
    },
    store::port::{NewUser, UserRecord, UserStore},
};

use crate::support::{
    endpoints::{Answer, PASSWORD, Server, ada, bearer, form, json as post},
    users::Users,
};

/// Finds nobody by a name of the flood before it may: until then its place in the pool is taken.
#[derive(Clone)]
struct Slow {
    users: Users,
    came: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

impl UserStore for Slow {
    async fn find(&self, identifier: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        if identifier.as_str().starts_with("flood") {
            self.came.add_permits(1);
            self.go.acquire().await.unwrap().forget();
        }
        self.users.find(identifier).await
    }

    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        if subject.starts_with("gst_") {
            self.came.add_permits(1);
            self.go.acquire().await.unwrap().forget();
        }
        self.users.find_by_subject(subject).await
    }

    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        self.users.replace_hash(subject, old, new).await
    }

    fn can_create(&self) -> bool {
        true
    }

    async fn create(&self, user: NewUser) -> Result<bool, StoreError> {
        self.users.create(user).await
    }
}

/// A server with sixteen places to hash.
struct Flooded {
    users: Slow,
    endpoints: AuthEndpoints,
    server: Server,
}

impl Flooded {
    async fn new() -> Self {
        let server = Server::start().await;
        let users = Slow {
            users: server.users.clone(),
            came: Arc::new(Semaphore::new(0)),
            go: Arc::new(Semaphore::new(0)),
        };
        let secret = SecretKey::generate();
        let throttle = MemoryThrottle::with_clock(server.clock.clone());
        let cost = Argon2Cost::dangerous_custom(16, 1, 1).unwrap();
        let hasher = PasswordHasher::builder()
            .cost(cost)
            .concurrency(2.try_into().unwrap())
            .queue(14)
            .wait(Duration::from_secs(600));
        let login = Login::builder(users.clone(), throttle, secret.clone())
            .hasher(hasher.build().unwrap())
            .clock(server.clock.clone())
            .build();
        let guests = Guests::builder(server.sessions.clone(), server.store.clone())
            .build()
            .unwrap();
        let endpoints = AuthEndpoints::builder(server.sessions.clone(), login, secret)
            .guests(guests)
            .registration(true)
            .build()
            .unwrap();
        Self {
            users,
            endpoints,
            server,
        }
    }

    /// So many guests of a network, with the password that they have not.
    async fn guests(&self, network: &str, count: usize) -> Vec<Request<Full<bytes::Bytes>>> {
        let mut asks = Vec::new();
        for _ in 0..count {
            let guest = self.from(network, post("guest", &json!({}))).await;
            assert_eq!(guest.status, 200, "{guest:?}");
            let body = json!({ "current_password": "a guess", "new_password": PASSWORD });
            asks.push(bearer(post("password", &body), &guest.access()));
        }
        asks
    }

    async fn from(&self, network: &str, request: Request<Full<bytes::Bytes>>) -> Answer {
        send(self.endpoints.clone(), network.to_owned(), request).await
    }

    /// A hundred and twenty logins, a new name each time; as many as get a place keep it.
    async fn flood(&self, networks: &[&str], places: u32) -> JoinSet<Answer> {
        let mut flood = JoinSet::new();
        for n in 0..120 {
            let body = json!({ "email": format!("flood-{n}"), "password": "wrong" });
            let network = networks[n % networks.len()].to_owned();
            flood.spawn(send(self.endpoints.clone(), network, post("login", &body)));
        }
        let came = self.users.came.acquire_many(places).await;
        came.unwrap().forget();
        for _ in 0..120 - places {
            let refused = flood.join_next().await.unwrap().unwrap();
            refused.is(503, "temporarily_unavailable");
        }
        assert_eq!(self.users.came.available_permits(), 0);
        flood
    }

    async fn ebb(&self, mut flood: JoinSet<Answer>) {
        self.users.go.add_permits(flood.len());
        while let Some(answer) = flood.join_next().await {
            answer.unwrap().is(401, "invalid_grant");
        }
    }
}

async fn send(
    endpoints: AuthEndpoints,
    network: String,
    mut request: Request<Full<bytes::Bytes>>,
) -> Answer {
    let peer = PeerAddr(format!("{network}:50000").parse().unwrap());
    request.extensions_mut().insert(peer);
    let Ok(response) = endpoints.oneshot(request).await;
    Answer::of(response).await
}

fn new_user(name: &str) -> Value {
    json!({ "email": name, "password": PASSWORD })
}

fn token() -> Request<Full<bytes::Bytes>> {
    let fields = format!("username=ada@example.org&password={PASSWORD}");
    form("token", &fields)
}

/// Fault 33.
#[tokio::test]
async fn u18_a_flood_of_one_network_leaves_half_of_the_pool_to_the_others() {
    let flooded = Flooded::new().await;
    let flooder = "198.51.100.1";
    let flood = flooded.flood(&[flooder], 6).await;
    // The same subscriber, and another one.
    for network in ["203.0.113.7", "[2001:db8::1]", "203.0.113.8"] {
        let login = flooded.from(network, post("login", &ada())).await;
        assert_eq!(login.status, 200, "{login:?}");
        assert_eq!(flooded.from(network, token()).await.status, 200);
        let eve = new_user(&format!(
            "eve-{}",
            network.len() + network.matches('8').count()
        ));
        let register = flooded.from(network, post("register", &eve)).await;
        assert_eq!(register.status, 201, "{register:?}");
        let body = json!({ "current_password": PASSWORD, "new_password": PASSWORD });
        let change = bearer(post("password", &body), &login.access());
        let change = flooded.from(network, change).await;
        assert_eq!(change.status, 200, "{change:?}");
    }
    for refused in [
        post("login", &ada()),
        token(),
        post("register", &new_user("fay")),
    ] {
        let refused = flooded.from(flooder, refused).await;
        refused.is(503, "temporarily_unavailable");
    }
    flooded.ebb(flood).await;
    let login = flooded.from(flooder, post("login", &ada())).await;
    assert_eq!(login.status, 200);
}

/// A known device and a session are not kept out, neither by the own network nor by many.
#[tokio::test]
async fn u14_a_flood_leaves_places_to_known_devices_and_sessions() {
    let flooded = Flooded::new().await;
    let flooder = "198.51.100.1";
    let many = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];
    let login = flooded.from(flooder, post("login", &ada())).await;
    let mut known = (login.text("device_token"), login.access());
    for (networks, places) in [(&many[..1], 6), (&many[..], 12)] {
        let flood = flooded.flood(networks, places).await;
        for network in [flooder, "203.0.113.7"] {
            let mut body = ada();
            body["device_token"] = known.0.into();
            let login = flooded.from(network, post("login", &body)).await;
            assert_eq!(login.status, 200, "{login:?}");
            known = (login.text("device_token"), login.access());
            let body = json!({ "current_password": PASSWORD, "new_password": PASSWORD });
            let change = bearer(post("password", &body), &known.1);
            let change = flooded.from(network, change).await;
            assert_eq!(change.status, 200, "{change:?}");
            known = (change.text("device_token"), change.access());
        }
        flooded.ebb(flood).await;
    }
    let flood = flooded.flood(&many, 12).await;
    let stranger = flooded.from("203.0.113.7", post("login", &ada())).await;
    stranger.is(503, "temporarily_unavailable");
    flooded.ebb(flood).await;
    drop(flooded.server);
}

/// A guest has no password. Its guesses would take the places that are kept for those who have one.
#[tokio::test]
async fn u14_guests_take_no_places_of_known_devices_and_sessions() {
    let flooded = Flooded::new().await;
    let login = flooded.from("203.0.113.7", post("login", &ada())).await;
    let mut asks = JoinSet::new();
    for network in ["198.51.100.1", "198.51.100.2"] {
        for ask in flooded.guests(network, 8).await {
            let (endpoints, network) = (flooded.endpoints.clone(), network.to_owned());
            asks.spawn(send(endpoints, network, ask));
        }
    }
    while asks.try_join_next().is_some() || flooded.users.came.available_permits() < asks.len() {
        tokio::task::yield_now().await;
    }
    let mut body = ada();
    body["device_token"] = login.text("device_token").into();
    let known = flooded.from("203.0.113.7", post("login", &body)).await;
    assert_eq!(known.status, 200, "{known:?}");
    for ask in flooded.guests("198.51.100.3", 1).await {
        let refused = flooded.from("198.51.100.3", ask).await;
        refused.is(403, "access_denied");
    }
    flooded.users.go.add_permits(asks.len());
}
