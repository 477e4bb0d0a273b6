//! S3: keys come and go, and no token is refused on the way.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, RwLock},
    thread,
    time::Duration,
};

use http::{Request, header::CACHE_CONTROL};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_jwt_auth::{
    ConfigError, Verifier,
    event::{AuthEvent, sink_fn},
    key::{Algorithm, KeySet, SigningKey, VerifyingKey},
    server::issue::{AccessTokenClaims, KeyRing, KeyState, RotationError, TokenIssuer},
    test_util::TestClock,
    time::{Clock, Timestamp},
};

use crate::support::issuing::{
    AUDIENCE, ISSUER, alice, generated, issuer, kids, plain, read, ring,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A service elsewhere, which fetches the key set no sooner than its age forces it to, and never
/// because of a `kid` that it does not know.
struct Laggard {
    clock: TestClock,
    issuer: TokenIssuer,
    stretch: u32,
    verifier: Option<(Timestamp, Verifier)>,
}

impl Laggard {
    fn new(clock: &TestClock, issuer: &TokenIssuer, stretch: u32) -> Self {
        Self {
            clock: clock.clone(),
            issuer: issuer.clone(),
            stretch,
            verifier: None,
        }
    }

    async fn accepts(&mut self, token: &str) -> bool {
        let now = self.clock.now();
        if self
            .verifier
            .as_ref()
            .is_none_or(|(until, _)| now >= *until)
        {
            self.verifier = Some(self.fetch().await);
        }
        let (_, verifier) = self.verifier.as_ref().unwrap();
        verifier.verify_now(token).is_ok()
    }

    async fn fetch(&self) -> (Timestamp, Verifier) {
        let answer = self.issuer.jwks().oneshot(Request::new(())).await.unwrap();
        let age = answer.headers()[CACHE_CONTROL].to_str().unwrap();
        let age = age
            .strip_prefix("public, max-age=")
            .unwrap()
            .parse()
            .unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let verifier = Verifier::key_set(KeySet::from_jwks(body).unwrap())
            .rfc9068()
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .leeway(Duration::ZERO)
            .clock(self.clock.clone())
            .without_cache()
            .build()
            .unwrap();
        let age = Duration::from_secs(age) * self.stretch;
        (self.clock.now().plus(age), verifier)
    }
}

/// What a service meets that keeps the set `stretch` times as long as it may: how many keys signed,
/// and how many tokens were refused though they were alive.
async fn half_a_day(stretch: u32) -> (usize, usize) {
    let clock = TestClock::new();
    let keys = ring(&clock).rotate_every(3 * HOUR).publish_ahead(HOUR);
    let issuer = issuer(keys.max_age(10 * MINUTE).build().unwrap());
    let own = issuer.verifier().leeway(Duration::ZERO).build().unwrap();
    let mut far = Vec::new();
    let (mut kids, mut refused) = (HashSet::new(), 0);
    let mut alive = Vec::new();
    for minute in 0..12 * 60_u32 {
        // Fetches at different minutes of their ten.
        if minute % 3 == 0 && minute < 10 {
            far.push(Laggard::new(&clock, &issuer, stretch));
        }
        let minted = issuer
            .issue_access_token(AccessTokenClaims::for_subject("alice"))
            .unwrap();
        let token = minted.token().expose().clone();
        kids.insert(read(&token).0["kid"].as_str().unwrap().to_owned());
        alive.push((minted.expires_at(), token));
        alive.retain(|(expires, _)| clock.now() < *expires);
        // The oldest, one between, and the one just minted.
        for (_, token) in [0, alive.len() / 2, alive.len() - 1].map(|one| &alive[one]) {
            assert!(own.verify_now(token).is_ok(), "minute {minute}");
            for far in &mut far {
                refused += usize::from(!far.accepts(token).await);
            }
        }
        clock.advance(MINUTE);
    }
    (kids.len(), refused)
}

#[tokio::test]
async fn s3_rotation_by_time_has_no_gap_for_whoever_fetches_as_late_as_it_may() {
    assert_eq!(half_a_day(1).await, (4, 0));
    // The proof that this can fail: keeping the set for three hours loses tokens.
    let (_, refused) = half_a_day(18).await;
    assert!(refused > 0);
}

#[test]
fn s3_a_key_is_published_before_its_first_use_and_verifies_until_its_last_token_expired() {
    let clock = TestClock::new();
    let keys = ring(&clock).rotate_every(24 * HOUR).build().unwrap();
    let issuer = TokenIssuer::builder(keys.clone())
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .access_lifetime(30 * MINUTE)
        .build()
        .unwrap();
    let verifier = issuer
        .verifier()
        .leeway(5 * MINUTE)
        .without_cache()
        .build()
        .unwrap();
    let first = kids(&keys, KeyState::Active);

    clock.advance(23 * HOUR - Duration::from_secs(1));
    assert!(kids(&keys, KeyState::Next).is_empty());
    clock.advance(Duration::from_secs(1));
    let next = kids(&keys, KeyState::Next);
    assert_eq!(next.len(), 1);
    assert!(keys.jwks().contains(&next[0]));

    clock.advance(HOUR - Duration::from_secs(1));
    assert_eq!(kids(&keys, KeyState::Active), first);
    let last = (0..200)
        .map(|_| {
            issuer
                .issue_access_token(AccessTokenClaims::for_subject("alice"))
                .unwrap()
        })
        .max_by_key(|minted| minted.expires_at())
        .unwrap();

    clock.advance(Duration::from_secs(1));
    assert_eq!(kids(&keys, KeyState::Active), next);
    assert_eq!(kids(&keys, KeyState::Retiring), first);
    assert_eq!(
        read(&alice(&issuer)).0["kid"].as_str(),
        Some(next[0].as_str())
    );

    // To its last second, by the most patient verifier that there can be.
    let left = last.expires_at().since(clock.now()) + 5 * MINUTE;
    clock.advance(left - Duration::from_secs(1));
    assert!(verifier.verify_now(last.token().expose()).is_ok());
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        verifier
            .verify_now(last.token().expose())
            .unwrap_err()
            .as_str(),
        if left < 35 * MINUTE {
            "expired"
        } else {
            "unknown_key"
        }
    );
    clock.advance(2 * MINUTE);
    assert!(kids(&keys, KeyState::Retiring).is_empty());
    assert!(!keys.jwks().contains(&first[0]));
}

#[test]
fn s3_a_ring_that_nobody_used_publishes_before_it_activates() {
    let clock = TestClock::new();
    let keys = ring(&clock).rotate_every(24 * HOUR).build().unwrap();
    let issuer = issuer(keys.clone());
    let first = kids(&keys, KeyState::Active);

    clock.advance(1000 * HOUR);
    assert_eq!(
        read(&alice(&issuer)).0["kid"].as_str(),
        Some(first[0].as_str())
    );
    assert_eq!(kids(&keys, KeyState::Next).len(), 1);
    clock.advance(HOUR);
    let _ = alice(&issuer);
    assert_eq!(kids(&keys, KeyState::Retiring), first);
}

#[test]
fn s3_another_key_that_signs_is_told_once() {
    let clock = TestClock::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let keys = ring(&clock)
        .rotate_every(24 * HOUR)
        .events(sink_fn(move |event| {
            let AuthEvent::KeyRotated { kid, .. } = event else {
                panic!("{event:?}")
            };
            sink.lock().unwrap().push(kid.unwrap().to_owned());
        }));
    let keys = keys.build().unwrap();
    let issuer = issuer(keys.clone());
    let heard = || std::mem::take(&mut *told.lock().unwrap());
    for hour in 0..24 {
        let _ = alice(&issuer);
        assert!(heard().is_empty(), "{hour}");
        clock.advance(HOUR);
    }
    let _ = alice(&issuer);
    assert_eq!(heard(), kids(&keys, KeyState::Active));
    keys.publish(generated(keys.statuses()[0].algorithm()))
        .unwrap();
    keys.activate_now().unwrap();
    assert_eq!(heard(), kids(&keys, KeyState::Active));
    keys.withdraw_others().unwrap();
    assert!(heard().is_empty());
}

#[test]
fn s3_a_wall_clock_that_jumps_rotates_nothing() {
    let clock = TestClock::new();
    let keys = ring(&clock).rotate_every(24 * HOUR).build().unwrap();
    let first = keys.statuses();
    for jump in [clock.now().plus(5000 * HOUR), Timestamp::from_secs(0)] {
        clock.set(jump);
        assert_eq!(keys.statuses(), first);
    }
}

#[test]
fn s3_by_hand_a_key_is_activated_once_it_was_published_for_long_enough() {
    let clock = TestClock::new();
    let issuer = plain(&clock);
    let keys = issuer.keys();
    let verifier = issuer.verifier().build().unwrap();
    let old = alice(&issuer);
    assert!(matches!(keys.activate(), Err(RotationError::NoNext)));

    let next = generated(Algorithm::Es256);
    let kid = next.kid().unwrap().to_owned();
    keys.publish(next).unwrap();
    assert!(keys.jwks().contains(&kid));
    assert!(matches!(
        keys.publish(generated(Algorithm::Es256)),
        Err(RotationError::NextPresent)
    ));
    clock.advance(59 * MINUTE);
    match keys.activate() {
        Err(RotationError::TooEarly { ready_in }) => assert_eq!(ready_in, MINUTE),
        other => panic!("{other:?}"),
    }
    assert_eq!(kids(keys, KeyState::Next), [kid.as_str()]);
    clock.advance(MINUTE);
    let old = [old, alice(&issuer)];
    keys.activate().unwrap();

    let (header, _) = read(&alice(&issuer));
    assert_eq!(
        (header["alg"].as_str(), header["kid"].as_str()),
        (Some("ES256"), Some(&*kid))
    );
    assert!(verifier.verify_now(alice(&issuer)).is_ok());
    assert_eq!(
        verifier.verify_now(&old[0]).unwrap_err().as_str(),
        "expired"
    );
    assert!(verifier.verify_now(&old[1]).is_ok());
    clock.advance(35 * MINUTE);
    assert!(kids(keys, KeyState::Retiring).is_empty());
}

#[test]
fn s3_a_stolen_key_is_gone_at_once() {
    let clock = TestClock::new();
    let issuer = plain(&clock);
    let keys = issuer.keys();
    let verifier = issuer.verifier().build().unwrap();
    let stolen = kids(keys, KeyState::Active).remove(0);
    let forged = alice(&issuer);
    // Remembered by the verifier, which must not help.
    assert!(verifier.verify_now(&forged).is_ok());

    assert!(matches!(keys.withdraw(&stolen), Err(RotationError::Active)));
    keys.publish(generated(Algorithm::EdDsa)).unwrap();
    keys.activate_now().unwrap();
    keys.withdraw(&stolen).unwrap();
    assert_eq!(
        verifier.verify_now(&forged).unwrap_err().as_str(),
        "unknown_key"
    );
    assert!(!keys.jwks().contains(&stolen));
    assert!(matches!(
        keys.withdraw(&stolen),
        Err(RotationError::UnknownKey)
    ));
    assert!(verifier.verify_now(alice(&issuer)).is_ok());
}

#[test]
fn a_next_key_can_be_withdrawn_and_then_signs_nothing() {
    let issuer = plain(&TestClock::new());
    let keys = issuer.keys();
    let before = keys.statuses();
    let next = generated(Algorithm::EdDsa);
    let kid = next.kid().unwrap().to_owned();
    keys.publish(next).unwrap();
    keys.withdraw(&kid).unwrap();
    assert_eq!(keys.statuses(), before);
    assert!(matches!(keys.activate_now(), Err(RotationError::NoNext)));
}

#[test]
fn a_key_that_retired_elsewhere_verifies_until_it_is_withdrawn() {
    let clock = TestClock::new();
    let pem = include_str!("../../../src/key/signing/test-only/p256.pkcs8.pem");
    let key = || SigningKey::from_pem(pem).unwrap();
    let before = issuer(
        KeyRing::builder(key())
            .clock(clock.clone())
            .build()
            .unwrap(),
    );
    let after = issuer(ring(&clock).retiring(key()).build().unwrap());
    let verifier = after.verifier().build().unwrap();
    clock.advance(5000 * HOUR);
    assert!(verifier.verify_now(alice(&before)).is_ok());
    assert!(verifier.verify_now(alice(&after)).is_ok());
    after.keys().withdraw(key().kid().unwrap()).unwrap();
    assert_eq!(
        verifier.verify_now(alice(&before)).unwrap_err().as_str(),
        "unknown_key"
    );
}

#[test]
fn secrets_rotate_by_hand_the_first_signs_and_three_verify() {
    let clock = TestClock::new();
    let secret = |byte: u8| SigningKey::from_secret(Algorithm::Hs256, [byte; 32]).unwrap();
    let alone = |byte: u8| {
        let key = VerifyingKey::from_secret(Algorithm::Hs256, [byte; 32]).unwrap();
        let verifier = Verifier::key(key).audience(AUDIENCE).clock(clock.clone());
        verifier.build().unwrap()
    };
    let keys = KeyRing::builder(secret(1))
        .retiring(secret(2))
        .clock(clock.clone());
    let issuer = issuer(keys.build().unwrap());
    let verifier = issuer.verifier().build().unwrap();
    assert!(alone(1).verify_now(alice(&issuer)).is_ok());
    let old = KeyRing::builder(secret(2))
        .clock(clock.clone())
        .build()
        .unwrap();
    let old = alice(&self::issuer(old));
    assert!(verifier.verify_now(&old).is_ok());

    issuer.keys().publish(secret(3)).unwrap();
    assert_eq!(issuer.keys().jwks(), r#"{"keys":[]}"#);
    let next = KeyRing::builder(secret(3))
        .clock(clock.clone())
        .build()
        .unwrap();
    assert!(verifier.verify_now(alice(&self::issuer(next))).is_ok());
    issuer.keys().activate_now().unwrap();
    assert!(alone(3).verify_now(alice(&issuer)).is_ok());
    // A fourth would have to be tried too.
    assert!(matches!(
        issuer.keys().publish(secret(4)),
        Err(RotationError::Key(ConfigError::KeySet(_)))
    ));
    issuer.keys().withdraw_others().unwrap();
    assert_eq!(issuer.keys().statuses().len(), 1);
    assert!(verifier.verify_now(&old).is_err());
}

#[test]
fn a_ring_that_cannot_work_is_refused() {
    let clock = TestClock::new();
    let named = |kid: &str| generated(Algorithm::EdDsa).with_kid(kid);
    let secret = || generated(Algorithm::Hs256);
    let of = |key| KeyRing::builder(key).clock(clock.clone());
    for (builder, name) in [
        (ring(&clock).max_age(Duration::from_secs(59)), "max_age"),
        (
            ring(&clock).max_age(25 * HOUR).publish_ahead(30 * HOUR),
            "max_age",
        ),
        (
            ring(&clock).max_age(HOUR).publish_ahead(59 * MINUTE),
            "publish_ahead",
        ),
        (
            ring(&clock)
                .publish_ahead(10 * MINUTE)
                .rotate_every(59 * MINUTE),
            "rotate_every",
        ),
        (
            ring(&clock).publish_ahead(3 * HOUR).rotate_every(2 * HOUR),
            "rotate_every",
        ),
        (of(secret()).rotate_every(24 * HOUR), "rotate_every"),
    ] {
        let refused = builder.build();
        assert!(
            matches!(&refused, Err(ConfigError::Invalid { name: found, .. }) if found == name),
            "{name}: {refused:?}"
        );
    }
    assert!(matches!(
        of(named("a")).next(named("a")).build(),
        Err(ConfigError::KeySet(_))
    ));
    assert!(matches!(
        of(secret()).next(named("a")).build(),
        Err(ConfigError::MixedFamilies)
    ));

    let keys = of(named("a")).build().unwrap();
    let before = keys.statuses();
    assert!(matches!(
        keys.publish(named("a")),
        Err(RotationError::Key(_))
    ));
    assert!(matches!(keys.publish(secret()), Err(RotationError::Key(_))));
    assert_eq!(keys.statuses(), before);
    // The longest times that there are overflow nothing; where they are equal, the next key is
    // published at once.
    let long = || ring(&clock).rotate_every(Duration::MAX);
    let keys = long().publish_ahead(Duration::MAX).build().unwrap();
    assert_eq!(keys.statuses().len(), 2);
    let keys = long().build().unwrap();
    clock.advance(5000 * HOUR);
    assert_eq!(keys.statuses().len(), 1);
}

#[test]
fn s3_threads_that_mint_while_keys_change_lose_no_token() {
    let clock = TestClock::new();
    let keys = ring(&clock).rotate_every(2 * HOUR).build().unwrap();
    let issuer = issuer(keys);
    let verifier = issuer.verifier().build().unwrap();
    // The clock stands between a token's minting and its verification; the threads race each other.
    let stands = RwLock::new(());
    let kids: HashSet<String> = thread::scope(|scope| {
        let mint = || {
            let mut kids = HashSet::new();
            for _ in 0..200 {
                let _stands = stands.read().unwrap();
                let token = alice(&issuer);
                assert!(verifier.verify_now(&token).is_ok());
                kids.insert(read(&token).0["kid"].as_str().unwrap().to_owned());
            }
            kids
        };
        let minting: Vec<_> = (0..4).map(|_| scope.spawn(mint)).collect();
        for _ in 0..60 {
            let moves = stands.write().unwrap();
            clock.advance(5 * MINUTE);
            drop(moves);
            let _ = alice(&issuer);
        }
        let kids = minting.into_iter().map(|thread| thread.join().unwrap());
        kids.flatten().collect()
    });
    // Five hours: never more than one key per period, whatever the threads did.
    assert!((1..=3).contains(&kids.len()), "{kids:?}");
}
