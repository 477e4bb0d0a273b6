//! Proofs that were used before, and floods: G14 to G18, G33, G34.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use serde_json::json;
use tokio::sync::Semaphore;
use tower_jwt_auth::{
    error::{AuthErrorKind, StoreError},
    key::Algorithm,
    revocation::{Revocation, RevocationSet},
    test_util::DpopClient,
    time::Timestamp,
    verify::proof::{ProofId, ReplayStore},
};

use super::{TARGET, World, ask, invalid_proof, refused, request};
use crate::{
    jwt::revocation::later,
    support::{answer::send, fixture::bearer},
};

#[tokio::test]
async fn g14_a_proof_passes_once() {
    let world = World::new();
    let layer = world.layer();
    let request = world.proven();
    ask(&layer, request.clone()).await.passes("first");
    invalid_proof(&ask(&layer, request.clone()).await, "again");
    world.clock().advance(Duration::from_secs(60));
    invalid_proof(&ask(&layer, request.clone()).await, "while it is fresh");
    world.clock().advance(Duration::from_secs(60));
    invalid_proof(&ask(&layer, request).await, "too old");
}

/// The wall clock of a machine may be wrong for a moment, in both directions.
#[tokio::test]
async fn g14_a_wrong_wall_clock_makes_no_used_proof_new() {
    for (wrong, later) in [(120, 0), (120, 30), (-120, 0), (-120, 30)] {
        let world = World::new();
        let layer = world.layer();
        let request = world.proven();
        ask(&layer, request.clone()).await.passes("first");
        let right = world.clock().timestamp();
        world.clock().set(Timestamp::from_secs(right + wrong));
        // Any request with a proof removes what has ended.
        let answer = ask(&layer, world.proven()).await;
        assert_eq!(answer.status, StatusCode::OK, "{wrong}");
        world.clock().advance(Duration::from_secs(later));
        let passed = i64::try_from(later).unwrap();
        world.clock().set(Timestamp::from_secs(right + passed));
        invalid_proof(&ask(&layer, request).await, &format!("{wrong} {later}"));
    }
}

#[tokio::test]
async fn g14_layers_with_the_same_rules_remember_together() {
    let world = World::new();
    let rules = world.rules().build().unwrap();
    let (one, other) = (
        world.fixture.layer().dpop(rules.clone()),
        world.fixture.layer().dpop(rules).optional(),
    );
    let request = world.proven();
    ask(&one, request.clone()).await.passes("first");
    invalid_proof(&ask(&other, request).await, "on another route");
}

#[tokio::test]
async fn g14_replays_pass_only_by_an_explicit_setting() {
    let world = World::new();
    let layer = world.layer_with(world.rules().dangerous_allow_replay());
    let request = world.proven();
    for _ in 0..3 {
        ask(&layer, request.clone()).await.passes("repeatedly");
    }
    world.clock().advance(Duration::from_secs(61));
    invalid_proof(&ask(&layer, request).await, "too old");
}

#[tokio::test]
async fn g15_two_clients_may_use_one_identifier() {
    let world = World::new();
    let layer = world.layer();
    let other = DpopClient::new(Algorithm::Es256).clock(world.clock().clone());
    let token = world.fixture.es.bound_token(&other, |_| ());
    let same = world.with_claim("jti", json!("1"));
    let proof = other.edited_proof("GET", TARGET, &token, |_, claims| {
        claims.insert("jti".into(), json!("1"))
    });
    ask(&layer, same).await.passes("one");
    ask(&layer, request(&token, &[&proof]))
        .await
        .passes("the other");
}

#[tokio::test]
async fn g16_another_method_or_spelling_of_the_target_makes_no_new_proof() {
    let world = World::new();
    let layer = world.layer();
    ask(&layer, world.with_claim("jti", json!("1")))
        .await
        .passes("first");
    for target in [
        "https://api.example/notes?x=1",
        "https://API.example:443/notes",
    ] {
        let request = world.edited(|_, claims| {
            claims.insert("jti".into(), json!("1"));
            claims.insert("htu".into(), json!(target))
        });
        invalid_proof(&ask(&layer, request).await, target);
    }
    let proof = world
        .client
        .edited_proof("POST", TARGET, &world.token, |_, claims| {
            claims.insert("jti".into(), json!("1"))
        });
    let mut post = world.with_proof(&proof);
    *post.method_mut() = http::Method::POST;
    invalid_proof(&ask(&layer, post).await, "POST");
}

#[tokio::test]
async fn g17_long_identifiers_are_hashed_or_refused() {
    let world = World::new();
    let layer = world.layer();
    let long = world.with_claim("jti", json!("x".repeat(4_000)));
    ask(&layer, long.clone()).await.passes("4 KB");
    invalid_proof(&ask(&layer, long).await, "again");
    let huge = world.with_claim("jti", json!("x".repeat(1_000_000)));
    invalid_proof(&ask(&layer, huge).await, "1 MB");
}

#[tokio::test]
async fn g18_a_full_memory_refuses_the_key_that_fills_it_and_no_other() {
    let world = World::new();
    let rules = world.rules().proof_capacity(20).build().unwrap();
    let layer = world.fixture.layer().dpop(rules.clone());
    let mut passed = 0;
    for _ in 0..50 {
        passed += usize::from(ask(&layer, world.proven()).await.ran());
    }
    assert_eq!(passed, 10, "half of the places");
    let verified = rules.verifications();
    invalid_proof(&ask(&layer, world.proven()).await, "full");
    assert_eq!(
        rules.verifications(),
        verified,
        "a refused flood costs no signature"
    );
    let other = DpopClient::new(Algorithm::Es256).clock(world.clock().clone());
    let token = world.fixture.es.bound_token(&other, |_| ());
    let proof = other.proof("GET", TARGET, &token);
    ask(&layer, request(&token, &[&proof]))
        .await
        .passes("another key");
    world.clock().advance(Duration::from_secs(62));
    ask(&layer, world.proven()).await.passes("later");
}

/// Two hundred thousand proofs, each well-formed, by a thief with a stolen token and a key of her own.
#[tokio::test]
async fn g18_a_flood_of_made_up_proofs_costs_no_signature_and_no_memory() {
    let world = World::new();
    let rules = world.rules().build().unwrap();
    let layer = world.fixture.layer().dpop(rules.clone());
    ask(&layer, world.proven()).await.passes("the client");
    let before = (rules.verifications(), rules.remembered());
    let thief = DpopClient::new(Algorithm::Es256).clock(world.clock().clone());
    let proof = thief.proof("GET", TARGET, &world.token);
    let (message, signature) = proof.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let head = request(&world.token, &[]);
    for number in 0..200_000 {
        // Another proof each time, as far as anything before the signature can see.
        let made_up = match number % 4 {
            0 => proof.clone(),
            1 => format!("{header}.{claims}{number:04}.{signature}"),
            2 => format!("{header}.{claims}.{number:08}{}", &signature[8..]),
            _ => format!("{number}.{claims}.{signature}"),
        };
        let mut flood = head.clone();
        flood.headers_mut().insert("dpop", made_up.parse().unwrap());
        assert!(!ask(&layer, flood).await.ran());
    }
    assert_eq!((rules.verifications(), rules.remembered()), before);
    ask(&layer, world.proven())
        .await
        .passes("the client, afterwards");
}

/// A thief who has seen a proof knows the public key. Each request costs one signature, and nothing else.
#[tokio::test]
async fn g18_g34_wrong_signatures_by_the_key_of_the_token_are_not_remembered() {
    let world = World::new();
    let rules = world.rules().proof_capacity(20).build().unwrap();
    let layer = world.fixture.layer().dpop(rules.clone());
    let signature = "A".repeat(86);
    for number in 1..=200 {
        let proof = world.client.proof("GET", TARGET, &world.token);
        let (message, _) = proof.rsplit_once('.').unwrap();
        let forged = world.with_proof(&format!("{message}.{signature}"));
        invalid_proof(&ask(&layer, forged).await, "forged");
        assert_eq!((rules.verifications(), rules.remembered()), (number, 0));
    }
    ask(&layer, world.proven()).await.passes("the client");
}

#[tokio::test]
async fn g33_no_signature_is_verified_before_everything_else_holds() {
    let world = World::new();
    let rules = world.rules().build().unwrap();
    let layer = world.fixture.layer().dpop(rules.clone());
    let used = world.proven();
    ask(&layer, used.clone()).await.passes("the only good one");
    assert_eq!(rules.verifications(), 1);

    let thief = DpopClient::new(Algorithm::Es256).clock(world.clock().clone());
    let by_thief = thief.proof("GET", TARGET, &world.token);
    let unbound = world.fixture.token();
    let expired = world
        .fixture
        .es
        .bound_token(&world.client, |claims| claims["exp"] = json!(1));
    let own = |token: &str| world.client.proof("GET", TARGET, token);
    for (case, request) in [
        ("another key", world.with_proof(&by_thief)),
        ("an unbound token", request(&unbound, &[&own(&unbound)])),
        ("an expired token", request(&expired, &[&own(&expired)])),
        ("no token", request("x.y.z", &[&own("x.y.z")])),
        ("as Bearer", bearer(&world.token)),
        (
            "another type",
            world.edited(|header, _| header.insert("typ".into(), json!("JWT"))),
        ),
        (
            "another algorithm",
            world.edited(|header, _| header.insert("alg".into(), json!("ES384"))),
        ),
        ("another token", world.with_claim("ath", json!("x"))),
        ("another method", world.with_claim("htm", json!("PUT"))),
        (
            "another target",
            world.with_claim("htu", json!("https://evil/notes")),
        ),
        ("too old", world.with_claim("iat", json!(1))),
        ("used before", used),
    ] {
        let answer = ask(&layer, request).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{case}");
        assert_eq!(rules.verifications(), 1, "{case}");
    }
    // A wrong signature is the last thing, and leaves nothing behind.
    let proof = own(&world.token);
    let (message, _) = proof.rsplit_once('.').unwrap();
    let forged = world.with_proof(&format!("{message}.{}", "A".repeat(86)));
    invalid_proof(&ask(&layer, forged).await, "forged");
    assert_eq!((rules.verifications(), rules.remembered()), (2, 1));
    ask(&layer, world.with_proof(&proof))
        .await
        .passes("the same identifier, signed");
}

/// A store that all nodes share.
#[derive(Clone, Default)]
struct Shared {
    used: Arc<Mutex<HashSet<[u8; 32]>>>,
    asked: Arc<AtomicUsize>,
    /// Every call waits for a permit, if there is one.
    gate: Option<Arc<Semaphore>>,
    down: bool,
}

impl ReplayStore for Shared {
    async fn first_use(&self, proof: &ProofId, _: Timestamp) -> Result<bool, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            drop(gate.acquire().await);
        }
        match self.down {
            true => Err(StoreError::unavailable("down")),
            false => Ok(self.used.lock().unwrap().insert(*proof.as_bytes())),
        }
    }
}

#[tokio::test]
async fn g34_of_a_hundred_equal_proofs_on_two_nodes_one_passes() {
    let world = World::new();
    let store = Shared::default();
    let nodes = [0, 1].map(|_| world.layer_with(world.rules().replay_store(store.clone())));
    for _ in 0..10 {
        let request = world.proven();
        let answers = (0..100).map(|number| ask(&nodes[number % 2], request.clone()));
        let answers = futures_util::future::join_all(answers).await;
        let passed = answers.iter().filter(|answer| answer.ran()).count();
        assert_eq!(passed, 1);
        for answer in answers.iter().filter(|answer| !answer.ran()) {
            invalid_proof(answer, "again");
        }
    }
    // Each node asks about a proof at most once.
    assert!(store.asked.load(Ordering::SeqCst) <= 20);
}

#[tokio::test]
async fn g34_only_a_proof_with_a_good_signature_reaches_the_store() {
    let world = World::new();
    let store = Shared::default();
    let layer = world.layer_with(world.rules().replay_store(store.clone()));
    let proof = world.client.proof("GET", TARGET, &world.token);
    let (message, _) = proof.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", "A".repeat(86));
    invalid_proof(&ask(&layer, world.with_proof(&forged)).await, "forged");
    assert_eq!(store.asked.load(Ordering::SeqCst), 0);
    ask(&layer, world.with_proof(&proof)).await.passes("signed");
    assert_eq!(store.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn g18_a_store_that_is_down_or_silent_is_unavailable_and_never_open() {
    let world = World::new();
    let down = Shared {
        down: true,
        ..Shared::default()
    };
    let layer = world.layer_with(world.rules().replay_store(down));
    let answer = ask(&layer, world.proven()).await.unavailable("down");
    answer.because(AuthErrorKind::StoreUnavailable);

    let silent = Shared {
        gate: Some(Arc::new(Semaphore::new(0))),
        ..Shared::default()
    };
    let layer = world.layer_with(world.rules().replay_store(silent));
    let layer = layer.wait_limit(Duration::from_millis(10));
    let answer = ask(&layer, world.proven()).await.unavailable("silent");
    answer.because(AuthErrorKind::StoreUnavailable);
    // On a route for everybody too.
    let answer = ask(&layer.optional(), world.proven())
        .await
        .unavailable("optional");
    assert!(!answer.ran());
}

#[tokio::test]
async fn t12_a_revocation_that_arrives_during_the_wait_for_the_store_counts() {
    let world = World::new();
    let gate = Arc::new(Semaphore::new(0));
    let store = Shared {
        gate: Some(Arc::clone(&gate)),
        ..Shared::default()
    };
    let revoked = RevocationSet::local_with_clock(world.clock().clone());
    let layer = world.layer_with(world.rules().replay_store(store.clone()));
    let layer = layer.revocation(revoked.clone());
    let token = world
        .fixture
        .es
        .bound_token(&world.client, |claims| claims["jti"] = json!("t1"));
    let proof = world.client.proof("GET", TARGET, &token);
    let revoke = async {
        while store.asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        revoked.insert(&Revocation::token("t1", later(world.clock())));
        gate.add_permits(1);
    };
    let (answer, ()) = tokio::join!(send(layer, request(&token, &[&proof])), revoke);
    refused(&answer, "invalid_token", "revoked");
}

#[tokio::test]
async fn g18_a_store_and_no_detection_contradict_each_other() {
    let world = World::new();
    let rules = world.rules().replay_store(Shared::default());
    assert!(rules.dangerous_allow_replay().build().is_err());
    for capacity in [0, 1] {
        assert!(world.rules().proof_capacity(capacity).build().is_err());
    }
}

#[tokio::test]
async fn g18_a_request_without_a_proof_never_waits_for_the_store() {
    let world = World::new();
    let store = Shared {
        gate: Some(Arc::new(Semaphore::new(0))),
        ..Shared::default()
    };
    let layer = world.layer_with(world.rules().replay_store(store.clone()));
    ask(&layer, bearer(world.fixture.token()))
        .await
        .passes("a plain token");
    assert_eq!(store.asked.load(Ordering::SeqCst), 0);
    let thief = DpopClient::new(Algorithm::Es256).clock(world.clock().clone());
    let proof = thief.proof("GET", TARGET, &world.token);
    refused(
        &ask(&layer, world.with_proof(&proof)).await,
        "invalid_token",
        "another key",
    );
    assert_eq!(store.asked.load(Ordering::SeqCst), 0);
}
