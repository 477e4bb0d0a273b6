//! The key ring on every store: the contract, and a dump without a private key.

use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use sqlx::Row;
use tower_jwt_auth::{
    error::{StoreError, StoreErrorKind},
    secret::SecretKey,
    server::issue::{AccessTokenClaims, SharedKeyRing, TokenIssuer},
    store::{
        MemoryStore, SqliteStore,
        port::{KeyRingStore, StoredKeyRing},
    },
};

use crate::{patient::Patient, postgres, sqlite::Folder, support::redis};

mod memory {
    tower_jwt_auth::key_ring_store_contract!(crate::login::memory::memory());
}

mod any {
    tower_jwt_auth::key_ring_store_contract!(crate::login::memory::any().await);
}

mod in_sqlite {
    tower_jwt_auth::key_ring_store_contract!(crate::sqlite::Nodes::start().await);
}

mod in_postgres {
    tower_jwt_auth::key_ring_store_contract!(
        #[ignore = "needs PostgreSQL"]
        crate::postgres::Nodes::alone().await
    );
}

mod in_redis {
    use crate::redis::server::Redis;
    use crate::support::redis::FORGETFUL;

    tower_jwt_auth::key_ring_store_contract!(
        #[ignore = "needs redis-server"]
        Redis::start(FORGETFUL).await
    );
}

/// Two nodes that share a ring, on the first and the second handle of a store. Returns the published
/// set.
async fn shared<S: KeyRingStore + Clone>(stores: [S; 2]) -> String {
    let secret = SecretKey::from_bytes([7; 32]).unwrap();
    let [one, two] = stores;
    let (one, two) = tokio::join!(
        SharedKeyRing::builder(one, secret.clone()).open(),
        SharedKeyRing::builder(two, secret).open()
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    one.rotate().await.unwrap();
    two.refresh().await.unwrap();
    assert_eq!(one.keys().jwks(), two.keys().jwks());
    assert_eq!(two.statuses().len(), 2);
    let issuer = |ring: &SharedKeyRing| {
        let issuer = TokenIssuer::builder(ring.keys()).issuer("https://as.example");
        issuer.audience("api").build().unwrap()
    };
    let token = issuer(&one)
        .issue_access_token(AccessTokenClaims::for_subject("alice"))
        .unwrap();
    let verifier = issuer(&two).verifier().build().unwrap();
    assert!(verifier.verify_now(token.token().expose()).is_ok());
    one.keys().jwks()
}

/// The beginning of an Ed25519 key in PKCS#8 (RFC 8410 §7), in the forms in which a dump may have it.
fn forms_of_a_private_key() -> Vec<Vec<u8>> {
    let key = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        key.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
    ];
    for skipped in 0..3 {
        let whole = (key.len() - skipped) / 3 * 3;
        let part = &key[skipped..skipped + whole];
        forms.push(STANDARD_NO_PAD.encode(part).into_bytes());
        forms.push(URL_SAFE_NO_PAD.encode(part).into_bytes());
    }
    forms
}

fn contains(dump: &[u8], part: &[u8]) -> bool {
    dump.windows(part.len()).any(|window| window == part)
}

#[track_caller]
fn holds_no_private_key(dump: &[u8], set: &str) {
    let set: serde_json::Value = serde_json::from_str(set).unwrap();
    for key in set["keys"].as_array().unwrap() {
        let kid = key["kid"].as_str().unwrap();
        assert!(contains(dump, kid.as_bytes()), "the dump has the ring");
    }
    for form in forms_of_a_private_key() {
        assert!(!contains(dump, &form), "{}", String::from_utf8_lossy(&form));
    }
}

#[test]
fn s9_the_search_finds_a_key_in_every_form() {
    let folder = "src/test_util/keys/first/ed25519.test-only.pkcs8.der";
    let key = std::fs::read(folder).unwrap();
    let found = |dump: &[u8]| {
        forms_of_a_private_key()
            .iter()
            .any(|form| contains(dump, form))
    };
    assert!(found(&key) && !found(&key[16..]));
    for before in 0..3 {
        let moved = [&[0; 3][..before], &key].concat();
        assert!(found(STANDARD_NO_PAD.encode(&moved).as_bytes()));
        assert!(found(URL_SAFE_NO_PAD.encode(&moved).as_bytes()));
    }
}

#[tokio::test]
async fn s9_a_memory_store_holds_no_private_key() {
    let store = MemoryStore::new();
    let set = shared([store.clone(), store.clone()]).await;
    let dump = store.load_key_ring().await.unwrap().keys;
    holds_no_private_key(dump.as_bytes(), &set);
}

#[tokio::test]
async fn s9_a_copy_of_the_sqlite_files_holds_no_private_key() {
    let folder = Folder::new();
    let file = folder.file();
    let open = || SqliteStore::open(&file);
    let set = shared([open().await.unwrap(), open().await.unwrap()]).await;
    let mut dump = Vec::new();
    for file in std::fs::read_dir(std::path::Path::new(&file).parent().unwrap()).unwrap() {
        dump.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    holds_no_private_key(&dump, &set);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn s9_a_dump_of_postgres_holds_no_private_key() {
    let nodes = postgres::Nodes::alone().await;
    let set = shared(nodes.stores.clone()).await;
    let tables =
        "SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = current_schema()";
    let tables: Vec<String> = sqlx::query_scalar(tables)
        .fetch_all(&nodes.pool)
        .await
        .unwrap();
    assert!(tables.len() > 5, "{tables:?}");
    let mut dump = Vec::new();
    for table in tables {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT CAST(t AS text) FROM {table} t"
        )));
        for row in rows.fetch_all(&nodes.pool).await.unwrap() {
            dump.extend(row.get::<String, _>(0).into_bytes());
        }
    }
    holds_no_private_key(&dump, &set);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn s9_a_dump_of_redis_holds_no_private_key() {
    let server = redis::Server::start(redis::DURABLE).await;
    let set = shared([server.store(), server.store()]).await;
    let keys: Vec<String> = server.ask(&["KEYS", "*"]).await.unwrap();
    assert_eq!(keys, ["{auth}:key_ring"]);
    let left: i64 = server.ask(&["PTTL", &keys[0]]).await.unwrap();
    assert_eq!(left, -1, "a ring never expires");
    let fields: Vec<Vec<u8>> = server.ask(&["HVALS", &keys[0]]).await.unwrap();
    holds_no_private_key(&fields.concat(), &set);
}

impl<S: KeyRingStore> KeyRingStore for Patient<S> {
    async fn load_key_ring(&self) -> Result<StoredKeyRing, StoreError> {
        self.0.load_key_ring().await
    }

    async fn swap_key_ring(&self, from: u64, to: u64, keys: &str) -> Result<bool, StoreError> {
        loop {
            match self.0.swap_key_ring(from, to, keys).await {
                Err(error) if error.kind() == StoreErrorKind::Unavailable => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                swapped => return swapped,
            }
        }
    }

    async fn key_ring_changed(&self, seen: u64) -> Result<(), StoreError> {
        self.0.key_ring_changed(seen).await
    }
}
