//! The cache in front of a group of issuers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tower_jwt_auth::{
    Claims, Verified, Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    test_util::{TestClock, TestIssuer, TestKeys},
    verify::{IssuerResolver, Resolution, Tenants, VerifierBuilder},
};

use super::{A, AUDIENCE, B, refusal};
use crate::verdicts::{Asked, MODES};

/// Two issuers whose keys count their lookups, and a token of each.
struct Two {
    clock: TestClock,
    keys: [Arc<Asked>; 2],
    tokens: [String; 2],
}

impl Two {
    fn new() -> Self {
        let clock = TestClock::new();
        let keys = [TestKeys::new(), TestKeys::other()].map(|keys| Asked::of(keys, 0));
        let signers = [(A, TestKeys::new()), (B, TestKeys::other())];
        let tokens = signers.map(|(issuer, keys)| Self::issuer(issuer, keys, &clock).token(|_| ()));
        Self {
            clock,
            keys,
            tokens,
        }
    }

    fn issuer(issuer: &str, keys: TestKeys, clock: &TestClock) -> TestIssuer {
        let signer = TestIssuer::with_keys(Algorithm::Es256, keys);
        signer
            .issuer(issuer)
            .audience(AUDIENCE)
            .clock(clock.clone())
    }

    fn rules(&self, number: usize) -> VerifierBuilder {
        Verifier::key_source(Arc::clone(&self.keys[number]))
            .issuer([A, B][number])
            .audience(AUDIENCE)
            .clock(self.clock.clone())
    }

    fn lookups(&self) -> [usize; 2] {
        [self.keys[0].lookups(), self.keys[1].lookups()]
    }

    fn verify_both(&self, verifier: &Verifier) {
        for (token, issuer) in self.tokens.iter().zip([A, B]) {
            let verified = verifier.verify_now(token).unwrap();
            assert_eq!(verified.principal().issuer(), Some(issuer));
        }
    }
}

/// Trusts the issuers of these verifiers.
struct Register(Vec<(&'static str, Verifier)>);

impl IssuerResolver<Claims> for Register {
    fn resolve(&self, issuer: &str) -> Resolution<Claims> {
        let mut all = self.0.iter();
        match all.find(|(known, _)| *known == issuer) {
            Some((_, verifier)) => Resolution::Trusted(verifier.clone()),
            None => Resolution::Untrusted,
        }
    }
}

/// The groups of these two verifiers, flat and nested, fixed and at run time.
fn groups(a: &Verifier, b: &Verifier, clock: &TestClock) -> Vec<Verifier> {
    let by_issuer =
        |members: [&Verifier; 2]| Verifier::by_issuer(members.map(Clone::clone)).unwrap();
    let inner = Verifier::by_algorithm([a.clone()]).unwrap();
    let tenants = |capacity: Option<usize>| {
        let tenants = Tenants::new(Register(vec![(A, inner.clone()), (B, b.clone())]));
        let tenants = tenants.clock(clock.clone());
        Verifier::tenants(match capacity {
            Some(capacity) => tenants.cache_capacity(capacity),
            None => tenants,
        })
    };
    vec![
        by_issuer([a, b]),
        by_issuer([&inner, b]),
        tenants(None),
        tenants(Some(0)),
    ]
}

#[test]
fn q4_a_token_of_several_issuers_is_looked_up_once_while_its_keys_stay() {
    for (one, other) in [(0, 0), (1, 1), (0, 1), (1, 0)] {
        for place in 0..4 {
            let two = Two::new();
            let a = MODES[one](two.rules(0)).build().unwrap();
            let b = MODES[other](two.rules(1)).build().unwrap();
            let verifier = &groups(&a, &b, &two.clock)[place];
            for _ in 0..4 {
                two.verify_both(verifier);
            }
            assert_eq!(two.lookups(), [1, 1], "{one} {other} {place}");
            // A change of one issuer's keys concerns its tokens alone.
            two.keys[0].generation.store(1, Ordering::Relaxed);
            for _ in 0..4 {
                two.verify_both(verifier);
            }
            assert_eq!(two.lookups(), [2, 1], "{one} {other} {place}");
            // Keys that cannot tell if they changed.
            two.keys[1].generation.store(Asked::NONE, Ordering::Relaxed);
            for _ in 0..3 {
                two.verify_both(verifier);
            }
            assert_eq!(two.lookups(), [2, 4], "{one} {other} {place}");
        }
    }
}

#[test]
fn q4_a_verdict_of_several_issuers_ends_with_its_time() {
    for place in 0..4 {
        let two = Two::new();
        let a = two.rules(0).leeway(Duration::ZERO).build().unwrap();
        let b = two.rules(1).build().unwrap();
        let verifier = &groups(&a, &b, &two.clock)[place];
        let until = two.clock.timestamp() + 100;
        let tokens = [(A, TestKeys::new()), (B, TestKeys::other())].map(|(issuer, keys)| {
            let issuer = Two::issuer(issuer, keys, &two.clock);
            issuer.token(|claims| claims.insert("exp".into(), json!(until)))
        });
        let verify = |number: usize| {
            let verdict = verifier.verify_now(&tokens[number]);
            verdict.map(drop).map_err(|error| error.kind())
        };
        assert_eq!([verify(0), verify(1), verify(0), verify(1)], [Ok(()); 4]);
        two.clock.advance(Duration::from_secs(99));
        assert_eq!([verify(0), verify(1)], [Ok(()); 2]);
        two.clock.advance(Duration::from_secs(1));
        // Each by its own issuer's rules.
        assert_eq!(
            [verify(0), verify(1)],
            [Err(AuthErrorKind::Expired), Ok(())]
        );
        two.clock.advance(Duration::from_secs(60));
        assert_eq!(verify(1), Err(AuthErrorKind::Expired));
        assert_eq!(two.lookups(), [2, 2]);
    }
}

#[test]
fn q4_of_several_issuers_only_the_very_same_token_is_found_again() {
    for place in 0..4 {
        let two = Two::new();
        let a = two.rules(0).build().unwrap();
        let b = two.rules(1).build().unwrap();
        let verifier = &groups(&a, &b, &two.clock)[place];
        two.verify_both(verifier);
        let token = &two.tokens[0];
        for position in 0..token.rfind('.').unwrap() {
            let mut other = token.clone().into_bytes();
            other[position] = if other[position] == b'A' { b'B' } else { b'A' };
            assert!(verifier.verify_now(&other).is_err(), "{position}");
        }
        // A refused token is verified every time.
        let forged = Two::issuer(A, TestKeys::other(), &two.clock).token(|_| ());
        let before = two.lookups();
        for _ in 0..3 {
            assert_eq!(refusal(verifier, &forged), AuthErrorKind::UnknownKey);
        }
        assert_eq!(two.lookups()[0], before[0] + 3);
        two.verify_both(verifier);
    }
}

#[test]
fn q5_an_issuer_without_a_cache_has_none_in_a_group() {
    for place in 0..4 {
        let two = Two::new();
        let a = two.rules(0).build().unwrap();
        let b = two.rules(1).without_cache().build().unwrap();
        let verifier = &groups(&a, &b, &two.clock)[place];
        for _ in 0..4 {
            two.verify_both(verifier);
        }
        assert_eq!(two.lookups(), [1, 4], "{place}");
    }
}

#[test]
fn q4_a_token_ends_with_its_tenant() {
    let two = Two::new();
    let held = || two.keys.each_ref().map(Arc::strong_count);
    let before = held();
    let [a, b] = [0, 1].map(|number| two.rules(number).build().unwrap());
    let tenants = Tenants::new(Register(vec![(A, a), (B, b)]))
        .clock(two.clock.clone())
        .max_age(Duration::from_secs(60))
        .capacity(1);
    let verifier = Verifier::tenants(tenants);
    let verify = |number: usize| drop(verifier.verify_now(&two.tokens[number]).unwrap());
    verify(0);
    verify(0);
    assert_eq!(two.lookups(), [1, 0]);
    // The other tenant takes its place.
    verify(1);
    verify(0);
    assert_eq!(two.lookups(), [2, 1]);
    // The maximum age is over: the tenant is resolved again.
    verify(0);
    assert_eq!(two.lookups(), [2, 1]);
    two.clock.advance(Duration::from_secs(60));
    verify(0);
    assert_eq!(two.lookups(), [3, 1]);
    // A cached token keeps no keys alive.
    drop(verifier);
    assert_eq!(held(), before);
}

/// Trusts an issuer until it is told not to.
struct Revocable(Verifier, Arc<AtomicBool>);

impl IssuerResolver<Claims> for Revocable {
    fn resolve(&self, _: &str) -> Resolution<Claims> {
        if self.1.load(Ordering::Relaxed) {
            Resolution::Trusted(self.0.clone())
        } else {
            Resolution::Untrusted
        }
    }
}

#[test]
fn q4_a_cached_token_of_a_tenant_that_is_no_longer_trusted_is_refused() {
    let two = Two::new();
    let trusted = Arc::new(AtomicBool::new(true));
    let resolver = Revocable(two.rules(0).build().unwrap(), Arc::clone(&trusted));
    let tenants = Tenants::new(resolver)
        .clock(two.clock.clone())
        .max_age(Duration::from_secs(60));
    let verifier = Verifier::tenants(tenants);
    let token = &two.tokens[0];
    verifier.verify_now(token).unwrap();
    trusted.store(false, Ordering::Relaxed);
    two.clock.advance(Duration::from_secs(59));
    verifier.verify_now(token).unwrap();
    two.clock.advance(Duration::from_secs(1));
    for _ in 0..2 {
        assert_eq!(refusal(&verifier, token), AuthErrorKind::WrongIssuer);
    }
    assert_eq!(two.lookups(), [1, 0]);
}

#[test]
fn e21_a_check_is_asked_once_for_a_token_of_a_group() {
    let asked = Arc::new(AtomicUsize::new(0));
    let two = Two::new();
    let counted = Arc::clone(&asked);
    let check = move |_: &Verified<Claims>| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let a = two.rules(0).validate_with(check).build().unwrap();
    let verifier = Verifier::by_issuer([a, two.rules(1).build().unwrap()]).unwrap();
    for _ in 0..3 {
        two.verify_both(&verifier);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn q5_a_hit_of_several_issuers_allocates_no_more_than_a_hit_of_one() {
    let two = Two::new();
    let a = two.rules(0).build().unwrap();
    let b = two.rules(1).build().unwrap();
    let mut all = groups(&a, &b, &two.clock);
    // Their own caches take more.
    all.truncate(3);
    for verifier in all {
        let hit = || drop(verifier.verify_now(&two.tokens[0]).unwrap());
        hit();
        assert_eq!(allocation_counter::measure(hit).count_total, 0);
        // A frequent token is copied once for the thread.
        hit();
        let often = || (0..9).for_each(|_| hit());
        assert_eq!(allocation_counter::measure(often).count_total, 0);
    }
}
