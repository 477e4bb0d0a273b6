//! Metadata that hang while the keys can be had: D49.

use std::{
    collections::HashMap,
    future::{Future, pending},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::json;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::remote::{FetchError, Fetcher, RemoteKeySet, RemoteKeySetBuilder},
    test_util::{TestClock, TestKeys},
};

use crate::support::remote::{seconds, token_of, token_with_kid, verifier};
use crate::support::until::until;

const METADATA: &str = "/.well-known/openid-configuration";

/// A client without a network. A path without a document hangs.
#[derive(Clone, Default)]
struct Paths(Arc<Mutex<HashMap<&'static str, String>>>);

impl Paths {
    fn serve(&self, path: &'static str, document: impl Into<String>) {
        self.0.lock().unwrap().insert(path, document.into());
    }

    fn name(&self, path: &str) {
        let url = format!("https://as.example{path}");
        let metadata = json!({ "issuer": "https://as.example", "jwks_uri": url });
        self.serve(METADATA, metadata.to_string());
    }

    fn hang(&self, path: &str) {
        self.0.lock().unwrap().remove(path);
    }
}

impl Fetcher for Paths {
    fn fetch(
        &self,
        request: Request<()>,
    ) -> impl Future<Output = Result<Response<Bytes>, FetchError>> + Send {
        let answer = self.0.lock().unwrap().get(request.uri().path()).cloned();
        async {
            match answer {
                Some(document) => Ok(Response::new(document.into())),
                None => pending().await,
            }
        }
    }
}

struct Found {
    paths: Paths,
    clock: TestClock,
    keys: RemoteKeySet,
    verifier: Verifier,
}

impl Found {
    async fn start(
        edit: impl FnOnce(RemoteKeySetBuilder<Paths>) -> RemoteKeySetBuilder<Paths>,
    ) -> Self {
        let (paths, clock) = (Paths::default(), TestClock::new());
        paths.name("/jwks");
        paths.serve("/jwks", TestKeys::new().jwks());
        let keys = RemoteKeySet::oidc("https://as.example")
            .clock(clock.clone())
            .fetch(paths.clone());
        let keys = edit(keys.timeout(WAIT).wait(WAIT));
        let keys = keys.build().unwrap();
        keys.ready().await.unwrap();
        Self {
            verifier: verifier(&keys, &clock),
            paths,
            clock,
            keys,
        }
    }

    /// Has a request start the fetch that is due.
    fn fetches(&self) {
        let token = token_of(TestKeys::new(), &self.clock);
        assert!(self.verifier.verify_now(token).is_ok());
    }
}

/// A rotated key arrives although somebody asks for a kid that does not exist.
async fn rotates(hang: impl Fn(&Paths)) {
    for tries in 1.. {
        let set = Found::start(|keys| keys).await;
        hang(&set.paths);
        set.paths.serve("/jwks", TestKeys::other().jwks());
        let good = token_of(TestKeys::other(), &set.clock);
        let unknown = token_with_kid("made up", &set.clock);
        let begun = Instant::now();
        let (unknown, good) = tokio::join!(set.verifier.verify(unknown), set.verifier.verify(good));
        // A machine that stood still for as long as a request waits proves nothing.
        if begun.elapsed() >= WAIT && tries < 5 {
            continue;
        }
        assert_eq!(unknown.unwrap_err().kind(), AuthErrorKind::UnknownKey);
        assert!(good.is_ok(), "{:?}", good.unwrap_err().kind());
        assert!(set.keys.last_error().is_none());
        return;
    }
}

const WAIT: Duration = Duration::from_secs(4);

#[tokio::test]
async fn d49_metadata_that_hang_do_not_cost_the_keys() {
    rotates(|paths| paths.hang(METADATA)).await;
}

#[tokio::test]
async fn d49_a_new_place_that_hangs_does_not_cost_the_keys_of_the_old_one() {
    rotates(|paths| paths.name("/new")).await;
}

#[tokio::test]
async fn d49_old_metadata_that_hang_do_not_cost_the_keys() {
    for new in [None, Some("/new")] {
        let set = Found::start(|keys| keys.max_age(seconds(24 * 3600))).await;
        match new {
            Some(path) => set.paths.name(path),
            None => set.paths.hang(METADATA),
        }
        set.clock.advance(seconds(24 * 3600));
        set.fetches();
        until(|| set.keys.is_fresh() || set.keys.last_error().is_some()).await;
        assert!(set.keys.last_error().is_none(), "{new:?}");
    }
}

#[tokio::test]
async fn d49_a_key_set_that_moved_is_found_though_the_old_place_hangs() {
    let set = Found::start(|keys| keys).await;
    set.paths.name("/new");
    set.paths.serve("/new", TestKeys::new().jwks());
    set.paths.hang("/jwks");
    set.clock.advance(seconds(700));
    set.fetches();
    until(|| set.keys.last_error().is_some()).await;
    set.clock.advance(seconds(2));
    set.fetches();
    until(|| set.keys.is_fresh()).await;
}
