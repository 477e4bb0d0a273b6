//! Keys from a key server that rotates them, is slow, and hangs.
//!
//! Where an interval can be set it is a second, so that everybody is asked the same.

use std::{thread, time::Duration};

use http::{Request, StatusCode};
use serde_json::Value;
use tower_jwt_auth::{
    key::Algorithm,
    test_util::{Answer as Served, JwksFixture, TestKeys},
};

use super::{
    Case, Outcome,
    client::{Client, PATIENCE, shown},
};
use crate::{
    floor::Handler,
    peer::{Layered, Missing, Peer},
    setup::{Lax, REFRESH, Setup, bearer, jwk, jwks, lax_token, request},
};

pub(super) fn cases<P: Peer>() -> Vec<Case> {
    let or_absent = |outcome: Result<Outcome, Missing>| outcome.unwrap_or_else(Outcome::from);
    let (at_once, in_time, withdrawn) = rotated::<P>();
    vec![
        (
            "100 first requests, key server slow",
            "served, 1 fetch",
            or_absent(stampede::<P>()),
        ),
        (
            "key server hangs, keys known",
            "served without waiting",
            or_absent(hung::<P>()),
        ),
        ("new key, first request with it", "served", at_once),
        ("new key, 1 s refresh interval over", "served", in_time),
        (
            "withdrawn key, 1 s refresh interval over",
            "refused",
            withdrawn,
        ),
    ]
}

/// A key server, and somebody behind a middleware that asks it.
fn start<P: Peer>(server: &JwksFixture) -> Result<Client<impl Layered>, Missing> {
    let setup = Setup::at(Algorithm::Rs256, server.url());
    Ok(Client::new(P::around::<Lax, _>(setup, Handler(P::body))?))
}

fn stampede<P: Peer>() -> Result<Outcome, Missing> {
    let server = JwksFixture::start();
    server.answer(Served::json(jwks([old()])).after(Duration::from_millis(300)));
    let client = start::<P>(&server)?;
    let answers = client.send_all((0..100).map(|_| with_old()), PATIENCE);
    let (served, fetches) = (
        answers.iter().all(|one| one.is(StatusCode::OK)),
        server.hits(),
    );
    Ok(Outcome::of(served && fetches == 1, || {
        let fetches = if fetches == 1 {
            "1 fetch".into()
        } else {
            format!("{fetches} fetches")
        };
        format!("{}, {fetches}", shown(&answers))
    }))
}

fn hung<P: Peer>() -> Result<Outcome, Missing> {
    let server = JwksFixture::start();
    server.serve(jwks([old()]));
    let client = start::<P>(&server)?;
    settle(&client);
    server.answer(Served::hang());
    // Every interval is over, and somebody comes with a key that nobody knows.
    thread::sleep(REFRESH + MARGIN);
    client.send_off(request(&bearer(&lax_token(
        TestKeys::other(),
        "unknown",
        |_, _| (),
    ))));
    thread::sleep(Duration::from_millis(100));
    let answers = client.send_all((0..20).map(|_| with_old()), Duration::from_secs(1));
    let served = answers.iter().all(|one| one.is(StatusCode::OK));
    Ok(Outcome::of(served, || shown(&answers)))
}

/// A new key beside the old one, then without it.
fn rotated<P: Peer>() -> (Outcome, Outcome, Outcome) {
    let server = JwksFixture::start();
    server.serve(jwks([old()]));
    let client = match start::<P>(&server) {
        Ok(client) => client,
        Err(missing) => return (missing.into(), missing.into(), missing.into()),
    };
    settle(&client);
    let seen = lax_token(TestKeys::new(), OLD, |_, _| ());
    assert!(client.send_token(&seen).is(StatusCode::OK));

    server.serve(jwks([old(), new()]));
    let first = client.send(with_new());
    traffic(&client, with_old);
    let later = client.send(with_new());

    server.serve(jwks([new()]));
    traffic(&client, with_new);
    // One that was let in before: nothing remembered may outlive its key.
    let withdrawn = client.send_token(&seen);
    (
        Outcome::of(first.is(StatusCode::OK), || first.shown()),
        Outcome::of(later.is(StatusCode::OK), || later.shown()),
        Outcome::of(!withdrawn.is(StatusCode::OK), || withdrawn.shown()),
    )
}

/// Until the keys are there: not everybody waits for them.
fn settle<S: Layered>(client: &Client<S>) {
    for _ in 0..600 {
        if client.send(with_old()).is(StatusCode::OK) {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("the keys never came");
}

/// Requests for longer than the refresh interval: some look for new keys only when asked.
fn traffic<S: Layered>(client: &Client<S>, make: fn() -> Request<()>) {
    for _ in 0..12 {
        client.send(make());
        thread::sleep((REFRESH + MARGIN) / 6);
    }
}

fn old() -> Value {
    jwk(TestKeys::new(), Algorithm::Rs256, OLD)
}

fn new() -> Value {
    jwk(TestKeys::other(), Algorithm::Rs256, NEW)
}

fn with_old() -> Request<()> {
    request(&bearer(&lax_token(TestKeys::new(), OLD, |_, _| ())))
}

fn with_new() -> Request<()> {
    request(&bearer(&lax_token(TestKeys::other(), NEW, |_, _| ())))
}

const OLD: &str = "key-1";
const NEW: &str = "key-2";
const MARGIN: Duration = Duration::from_millis(300);
