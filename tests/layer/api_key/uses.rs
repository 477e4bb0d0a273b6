//! V4: when a key was used last.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower_jwt_auth::{
    event::{AuthEvent, sink_fn},
    layer::api_key::{ApiKey, ApiKeyLayer},
    time::Clock,
};

use crate::support::{
    answer::send,
    api_key::{Fault, Fixture, ask, issue, x_api_key},
    settle::settle,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn v4_last_used_at_is_written_at_most_once_a_minute() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    let writes = || fixture.store.touched.lock().unwrap().len();
    for _ in 0..50 {
        ask(&keys, key.expose()).await.passes("used");
        settle().await;
        fixture.clock.advance(SECOND);
    }
    assert_eq!(writes(), 1);
    // Another process reads that it was written.
    let other = fixture.keys();
    ask(&other, key.expose()).await.passes("elsewhere");
    settle().await;
    assert_eq!(writes(), 1);
    fixture.clock.advance(10 * SECOND);
    let now = fixture.clock.now();
    ask(&keys, key.expose()).await.passes("a minute later");
    settle().await;
    assert_eq!(writes(), 2);
    assert_eq!(fixture.store.row(key.id()).last_used_at, Some(now));
}

#[tokio::test]
async fn v4_last_used_at_is_never_written_on_the_path_of_a_request() {
    let fixture = Fixture::new();
    let keys = fixture.builder().remember(60 * SECOND).build().unwrap();
    let key = issue(&keys).await;
    let elsewhere = fixture.keys();
    ask(&elsewhere, key.expose()).await.passes("used");
    settle().await;
    fixture.clock.advance(30 * SECOND);
    ask(&keys, key.expose())
        .await
        .passes("known, and noted elsewhere");
    settle().await;
    fixture.clock.advance(30 * SECOND);
    let writes = || fixture.store.touched.lock().unwrap().len();
    assert_eq!(writes(), 1);
    // Due, and answered by one poll, in which no other task can run.
    let mut request = pin!(ask(&keys, key.expose()));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(answer) = request.as_mut().poll(&mut cx) else {
        panic!("it waited")
    };
    answer.passes("used");
    assert_eq!(writes(), 1);
    settle().await;
    assert_eq!(writes(), 2);
}

#[tokio::test]
async fn v4_a_store_that_cannot_write_lets_keys_in_and_is_left_alone_for_a_minute() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    ask(&keys, key.expose()).await.passes("noted");
    fixture.store.fails(Some(Fault::Down));
    settle().await;
    assert_eq!(keys.lost_uses(), 1);
    for _ in 0..10 {
        ask(&keys, key.expose()).await.passes("remembered");
        settle().await;
    }
    assert_eq!(keys.lost_uses(), 1);
    assert!(fixture.store.touched.lock().unwrap().is_empty());
}

#[tokio::test]
async fn v4_refused_keys_are_not_noted() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    keys.revoke("alice", key.id()).await.unwrap();
    ask(&keys, key.expose()).await.is("401/it", "revoked");
    settle().await;
    assert!(fixture.store.touched.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_is_used_elsewhere_is_told_once_for_each_network() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let fixture = Fixture::new();
    let keys = fixture.builder().build().unwrap();
    let (one, other) = (issue(&keys).await, issue(&keys).await);
    let layer = ApiKeyLayer::new(&keys)
        .networks(|head| {
            let from = head.headers().get("x-from")?;
            from.to_str().ok()?.parse().ok()
        })
        .events(sink_fn(move |event| {
            if let AuthEvent::ApiKeyNetwork { id, network, .. } = event {
                let line = format!("{} {id} {network}", event.name());
                sink.lock().unwrap().push(line);
            }
        }));
    let ask = async |key: &str, from: &str| {
        let mut request = x_api_key(key);
        let from = http::HeaderValue::from_str(from).unwrap();
        request.headers_mut().insert("x-from", from);
        send(layer.clone(), request).await
    };
    for (key, from) in [
        (&one, "192.0.2.1"),
        (&one, "192.0.2.1"),
        (&one, "2001:db8::"),
        (&other, "192.0.2.1"),
        (&one, "nowhere"),
    ] {
        ask(key.expose(), from).await.passes(from);
    }
    // What is refused is nobody's use.
    keys.revoke("alice", other.id()).await.unwrap();
    ask(other.expose(), "198.51.100.1")
        .await
        .is("401/it", "revoked");
    let line =
        |key: &ApiKey, from: &str| format!("api_key.new_network {} {from}", key.id().as_str());
    let expected = [
        line(&one, "192.0.2.1"),
        line(&one, "2001:db8::"),
        line(&other, "192.0.2.1"),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test]
async fn what_becomes_of_keys_is_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = || {
        let told = Arc::clone(&told);
        sink_fn(move |event| {
            let mut line = event.name().to_owned();
            if let Some(owner) = event.subject().filter(|_| line.starts_with("api_key.")) {
                line = format!("{line} {owner}");
            }
            told.lock().unwrap().push(line);
        })
    };
    let fixture = Fixture::new();
    let keys = fixture.builder().events(sink()).build().unwrap();
    let key = issue(&keys).await;
    let layer = ApiKeyLayer::new(&keys).events(sink());
    for _ in 0..2 {
        send(layer.clone(), x_api_key(key.expose()))
            .await
            .passes("used");
    }
    let rolled = keys.roll("alice", key.id(), Duration::ZERO).await.unwrap();
    keys.revoke("alice", rolled.id()).await.unwrap();
    send(layer, x_api_key(rolled.expose()))
        .await
        .is("401/it", "revoked");
    assert_eq!(
        *told.lock().unwrap(),
        [
            "api_key.created alice",
            "api_key.used alice",
            "request.allowed",
            "request.allowed",
            "api_key.rolled alice",
            "api_key.revoked alice",
            "request.denied",
        ]
    );
    assert!(!format!("{:?}", told.lock().unwrap()).contains(key.id().as_str()));
}

#[tokio::test]
async fn q11_uses_are_noted_again_after_a_store_and_a_sink_that_panicked() {
    let fixture = Fixture::new();
    let keys = fixture
        .builder()
        .events(sink_fn(|_| panic!("the sink")))
        .build()
        .unwrap();
    let (lost, kept) = (issue(&keys).await, issue(&keys).await);
    ask(&keys, lost.expose()).await.passes("queued");
    fixture.store.fails(Some(Fault::Panic));
    settle().await;
    assert_eq!(keys.lost_uses(), 1);
    fixture.store.fails(None);
    ask(&keys, kept.expose()).await.passes("used");
    while fixture.store.row(kept.id()).last_used_at.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(keys.lost_uses(), 1);
}
