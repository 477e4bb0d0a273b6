//! Q11: a panic in a feed or in an event sink ends no task and changes no answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::sync::mpsc;
use tower_jwt_auth::{
    JwtAuthLayer, Principal,
    error::StoreError,
    event::{AuthEvent, EventSink, sink_fn},
    layer::socket::SocketAuth,
    revocation::{Feed, Revocation, RevocationSet},
    time::Timestamp,
};

use crate::support::{
    answer::send,
    fixture::{Fixture, bearer},
};

const LONG: Duration = Duration::from_secs(600);

fn session(name: &str) -> Principal {
    Principal::builder().session_id(name).build()
}

/// Panics in its first load and whenever the word is `panic`; every other word is a revoked session.
struct Fragile {
    loads: u32,
    words: mpsc::Receiver<String>,
}

impl Feed for Fragile {
    async fn load(&mut self, _: &RevocationSet) -> Result<(), StoreError> {
        self.loads += 1;
        assert_ne!(self.loads, 1, "on purpose");
        Ok(())
    }

    async fn next(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        let word = self.words.recv().await;
        let word = word.ok_or_else(|| StoreError::unavailable("closed"))?;
        assert_ne!(word, "panic", "on purpose");
        let until = Timestamp::from_millis(i64::MAX);
        set.insert(&Revocation::session(word, until));
        Ok(())
    }
}

async fn until_revoked(set: &RevocationSet, name: &str) {
    let mut changes = set.changes();
    while !set.contains(&session(name)) {
        changes.changed().await;
    }
}

#[tokio::test]
async fn q11_a_revocation_feed_and_its_sink_that_panic_do_not_end_the_following() {
    let (words, receiver) = mpsc::channel(8);
    let feed = Fragile {
        loads: 0,
        words: receiver,
    };
    let told = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&told);
    let set = RevocationSet::follow(feed)
        .unwrap()
        .events(sink_fn(move |event| {
            counted.fetch_add(1, Ordering::SeqCst);
            panic!("{}", event.name());
        }));
    assert!(set.loaded(LONG).await, "the second load");
    assert_eq!(told.load(Ordering::SeqCst), 2, "lost and found");
    for word in ["first", "panic", "second"] {
        words.send(word.to_owned()).await.unwrap();
    }
    until_revoked(&set, "second").await;
    assert!(set.contains(&session("first")));
    assert_eq!(told.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn q11_an_event_sink_that_panics_changes_no_answer_and_silences_no_other_sink() {
    let heard = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&heard);
    let counting = sink_fn(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let broken = sink_fn(|_: &AuthEvent<'_>| panic!("on purpose"));
    let fixture = Fixture::new();
    let layer = fixture.layer().events(broken.and(counting));
    let token = fixture.token();
    for (layer, token, status) in [
        (layer.clone(), Some(&*token), StatusCode::OK),
        (layer.clone(), Some("a.b.c"), StatusCode::UNAUTHORIZED),
        (layer.clone(), None, StatusCode::UNAUTHORIZED),
        (layer.optional(), None, StatusCode::OK),
    ] {
        assert_eq!(answer(layer, token).await, status);
    }
    assert_eq!(heard.load(Ordering::SeqCst), 4);
}

async fn answer(layer: JwtAuthLayer, token: Option<&str>) -> StatusCode {
    let request = match token {
        Some(token) => bearer(token),
        None => http::Request::new(String::new()),
    };
    send(layer, request).await.status
}

/// Never loads.
struct Silent;

impl Feed for Silent {
    async fn load(&mut self, _: &RevocationSet) -> Result<(), StoreError> {
        Err(StoreError::unavailable("unplugged"))
    }

    async fn next(&mut self, _: &RevocationSet) -> Result<(), StoreError> {
        Err(StoreError::unavailable("unplugged"))
    }
}

#[tokio::test]
async fn q18_a_set_of_one_issuer_judges_neither_the_tokens_of_another_nor_their_freshness() {
    let fixture = Fixture::new();
    let token = fixture.token();
    let unloaded = || RevocationSet::follow(Silent).unwrap();
    for (set, status) in [
        (
            unloaded().of_issuer("https://other.example"),
            StatusCode::OK,
        ),
        (
            unloaded()
                .of_issuer("https://other.example")
                .require_fresh(),
            StatusCode::OK,
        ),
        (
            unloaded().of_issuer("https://as.example"),
            StatusCode::SERVICE_UNAVAILABLE,
        ),
        (unloaded(), StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let layer = fixture.layer().revocation(set);
        assert_eq!(send(layer, bearer(&token)).await.status, status);
    }
    // A socket asks the same set.
    let set = unloaded().of_issuer("https://other.example");
    let sockets = SocketAuth::new(fixture.builder().build().unwrap()).revocation(set);
    let caller = Principal::builder().issuer("https://as.example").build();
    assert!(sockets.guard(caller).is_ok());
    // A token that names no issuer may be its own.
    assert!(sockets.guard(Principal::builder().build()).is_err());
}
