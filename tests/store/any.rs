//! The store that a URL names.

use std::time::Duration;

use tower_jwt_auth::{
    ConfigError,
    key::{Algorithm, SigningKey},
    principal::SessionId,
    secret::SecretKey,
    server::{
        issue::{KeyRing, TokenIssuer},
        login::UserClaims,
        session::Sessions,
    },
    store::{AnyFeed, AnyStore, contract::Fixture},
};

struct Any(AnyStore);

impl Fixture for Any {
    type Store = AnyStore;
    type Feed = AnyFeed;

    fn store(&self) -> AnyStore {
        self.0.clone()
    }

    fn feed(&self) -> AnyFeed {
        self.0.feed()
    }

    async fn age(&self, id: SessionId, by: Duration) {
        match &self.0 {
            AnyStore::Memory(store) => store.age(id, by),
            other => panic!("{other:?}"),
        }
    }

    async fn set_back(&self, id: SessionId, by: Duration) {
        match &self.0 {
            AnyStore::Memory(store) => store.set_back(id, by),
            other => panic!("{other:?}"),
        }
    }
}

mod contract {
    use super::{Any, AnyStore};

    tower_jwt_auth::session_store_contract!(Any(AnyStore::open("memory:").await.unwrap()));
}

/// A future that is moved a few times on its way should be small. The networked stores box theirs.
#[tokio::test]
async fn t16_the_future_of_a_refresh_is_small() {
    let store = AnyStore::open("memory:").await.unwrap();
    let keys = KeyRing::new(SigningKey::generate(Algorithm::EdDsa).unwrap()).unwrap();
    let issuer = TokenIssuer::builder(keys).issuer("https://as.example");
    let issuer = issuer.audience("api").build().unwrap();
    let builder = || Sessions::builder(issuer.clone(), store.clone()).secret(SecretKey::generate());
    let plain = builder().build().unwrap();
    let users = builder().claims_source(UserClaims::new(store.clone()));
    let users = users.build().unwrap();
    for size in [
        size_of_val(&plain.refresh("")),
        size_of_val(&users.refresh("")),
        size_of_val(&users.refresh_for("", Some("web"))),
    ] {
        println!("{size} bytes");
        assert!(size <= 2048, "{size} bytes");
    }
}

#[tokio::test]
async fn a_url_that_names_no_store_is_refused_and_not_repeated() {
    for url in [
        "",
        "memory",
        "mysql://:hunter2@host/",
        "hunter2",
        "postgres://:hunter2@host:notaport/",
        "redis://:hunter2@host:notaport/",
    ] {
        let error = AnyStore::open(url).await.unwrap_err();
        let mut told = format!("{error} {error:?}");
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
        while let Some(error) = cause {
            told += &error.to_string();
            cause = error.source();
        }
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[cfg(not(feature = "redis"))]
#[tokio::test]
async fn a_feature_that_is_off_is_named() {
    let error = AnyStore::open("redis://host").await.unwrap_err();
    assert!(matches!(error, ConfigError::Invalid { .. }));
    assert!(error.to_string().contains("feature `redis`"), "{error}");
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn redis_is_opened_without_a_server() {
    let store = AnyStore::open("redis://127.0.0.1:1").await;
    assert!(matches!(store, Ok(AnyStore::Redis(_))));
    let refused = AnyStore::open("redis://host:port").await;
    assert!(matches!(refused, Err(ConfigError::Invalid { .. })));
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sqlite_is_opened_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("any.db").display());
    let store = AnyStore::open(&url).await;
    assert!(matches!(store, Ok(AnyStore::Sqlite(_))));
    let missing = AnyStore::open("sqlite:/no/such/folder/auth.db").await;
    assert!(matches!(missing, Err(ConfigError::Store(_))));
}
