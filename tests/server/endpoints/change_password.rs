//! Changes of the password that are cut short.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tower::ServiceExt;
use tower_jwt_auth::{
    error::StoreError,
    secret::SecretKey,
    server::{
        endpoints::AuthEndpoints,
        login::{Argon2Cost, Identifier, Login, MemoryThrottle, PasswordHash, PasswordHasher},
    },
    store::port::{NewUser, UserRecord, UserStore},
};

use crate::support::{
    endpoints::{Answer, ORIGIN, PASSWORD, Server, ada, bearer, json as post},
    users::Users,
};

const NEW: &str = "another long password";

/// What happens to the store when a hash is replaced.
const WELL: u8 = 0;
/// It is written, and the answer never comes.
const HANGS: u8 = 1;
/// It is written, and the answer is lost.
const INTERRUPTED: u8 = 2;
/// It is written, and the answer is lost and the store with it.
const LOST: u8 = 3;
/// Nothing is written.
const REFUSED: u8 = 4;
/// It is written when it may.
const LATE: u8 = 5;

#[derive(Clone)]
struct Faulty {
    users: Users,
    fault: Arc<AtomicU8>,
    asked: Arc<Semaphore>,
    go: Arc<Semaphore>,
    written: Arc<Semaphore>,
}

impl UserStore for Faulty {
    async fn find(&self, identifier: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        self.users.find(identifier).await
    }

    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        let lost = self.fault.load(Ordering::Relaxed) == LOST;
        match lost && self.written.available_permits() > 0 {
            true => Err(StoreError::unavailable("unplugged")),
            false => self.users.find_by_subject(subject).await,
        }
    }

    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        let fault = self.fault.load(Ordering::Relaxed);
        if fault == REFUSED {
            return Err(StoreError::unavailable("unplugged"));
        }
        self.asked.add_permits(1);
        if fault == LATE {
            self.go.acquire().await.unwrap().forget();
        }
        let replaced = self.users.replace_hash(subject, old, new).await;
        self.written.add_permits(1);
        match fault {
            HANGS => std::future::pending().await,
            INTERRUPTED | LOST => Err(StoreError::interrupted("cut")),
            _ => replaced,
        }
    }

    fn can_create(&self) -> bool {
        true
    }

    async fn create(&self, user: NewUser) -> Result<bool, StoreError> {
        self.users.create(user).await
    }
}

/// A server with a thief and the owner signed in.
struct Robbed {
    server: Server,
    users: Faulty,
    endpoints: AuthEndpoints,
    thief: Answer,
    owner: Answer,
}

impl Robbed {
    async fn new(fault: u8) -> Self {
        let server = Server::start().await;
        let (thief, owner) = (server.sign_in().await, server.sign_in().await);
        let users = Faulty {
            users: server.users.clone(),
            fault: Arc::new(fault.into()),
            asked: Arc::new(Semaphore::new(0)),
            go: Arc::new(Semaphore::new(0)),
            written: Arc::new(Semaphore::new(0)),
        };
        let secret = SecretKey::generate();
        let throttle = MemoryThrottle::with_clock(server.clock.clone());
        let cost = Argon2Cost::dangerous_custom(16, 1, 1).unwrap();
        let login = Login::builder(users.clone(), throttle, secret.clone())
            .hasher(PasswordHasher::builder().cost(cost).build().unwrap())
            .clock(server.clock.clone())
            .build();
        let endpoints = AuthEndpoints::builder(server.sessions.clone(), login, secret);
        Self {
            endpoints: endpoints.public_origin(ORIGIN).build().unwrap(),
            server,
            users,
            thief,
            owner,
        }
    }

    fn change(&self) -> Request<Full<bytes::Bytes>> {
        let body = json!({ "current_password": PASSWORD, "new_password": NEW });
        bearer(post("password", &body), &self.owner.access())
    }

    async fn send(&self, request: Request<Full<bytes::Bytes>>) -> Answer {
        let Ok(response) = self.endpoints.clone().oneshot(request).await;
        Answer::of(response).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(post(path, body)).await
    }

    async fn refresh(&self, session: &Answer) -> Answer {
        let body = json!({ "refresh_token": session.refresh() });
        self.post("refresh", &body).await
    }

    async fn the_thief_is_out(&self) {
        self.refresh(&self.thief).await.is(400, "invalid_grant");
        assert!(!self.server.is_alive(&self.thief.access()).await);
        self.post("login", &ada()).await.is(401, "invalid_grant");
        let new = json!({ "email": "ada@example.org", "password": NEW });
        assert_eq!(self.post("login", &new).await.status, 200);
    }
}

/// Of a store that never answers it is found out after five seconds what it wrote.
#[tokio::test]
async fn a_change_whose_client_and_store_hang_up_still_ends_every_session() {
    let robbed = Robbed::new(HANGS).await;
    let mut change = Box::pin(robbed.send(robbed.change()));
    let written = robbed.users.written.acquire();
    tokio::select! {
        answer = &mut change => panic!("{answer:?}"),
        written = written => written.unwrap().forget(),
    }
    drop(change);
    let is_out = async {
        while robbed.server.is_alive(&robbed.thief.access()).await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(120), is_out).await.unwrap();
    robbed.the_thief_is_out().await;
}

/// The thief knows the old password too, and uses it at the last moment.
#[tokio::test]
async fn whoever_signs_in_just_before_the_change_is_out_though_its_client_hung_up() {
    let robbed = Robbed::new(LATE).await;
    let mut change = Box::pin(robbed.send(robbed.change()));
    let asked = robbed.users.asked.acquire();
    tokio::select! {
        answer = &mut change => panic!("{answer:?}"),
        asked = asked => asked.unwrap().forget(),
    }
    drop(change);
    let thief = robbed.post("login", &ada()).await;
    assert_eq!(thief.status, 200, "{thief:?}");
    robbed.users.go.add_permits(1);
    let written = robbed.users.written.acquire();
    let written = timeout(Duration::from_secs(60), written).await;
    written
        .expect("it is written without its client")
        .unwrap()
        .forget();
    let robbed = Robbed { thief, ..robbed };
    robbed.the_thief_is_out().await;
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_found_out_and_ends_every_session() {
    let robbed = Robbed::new(INTERRUPTED).await;
    let answer = robbed.send(robbed.change()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(robbed.refresh(&answer).await.status, 200);
    robbed.the_thief_is_out().await;
}

#[tokio::test]
async fn a_change_that_nobody_knows_the_end_of_ends_every_session() {
    let robbed = Robbed::new(LOST).await;
    let answer = robbed.send(robbed.change()).await;
    answer.is(503, "temporarily_unavailable");
    robbed.the_thief_is_out().await;
}

#[tokio::test]
async fn a_change_that_was_not_written_can_be_tried_again() {
    let robbed = Robbed::new(REFUSED).await;
    let answer = robbed.send(robbed.change()).await;
    answer.is(503, "temporarily_unavailable");
    robbed.users.fault.store(WELL, Ordering::Relaxed);
    // The old password is still the right one, and the session is alive.
    let answer = robbed.send(robbed.change()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    robbed.the_thief_is_out().await;
}
