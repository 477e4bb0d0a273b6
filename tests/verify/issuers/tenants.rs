//! Issuers that are known at run time only.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use tower_jwt_auth::{
    Claims, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeyNotifier, KeyWait, remote::RemoteKeySet},
    test_util::{TestClock, TestKeys},
    verify::{IssuerResolver, Resolution, Tenants},
};

use super::{AUDIENCE, B, memory::Memory, published, refusal, rules, signer};

/// Knows tenants by their issuer, and counts how often it is asked.
#[derive(Clone, Default)]
pub(crate) struct Register {
    tenants: Arc<Mutex<HashMap<String, Verifier>>>,
    asking: Arc<Mutex<Vec<KeyNotifier>>>,
    mode: Arc<Mutex<Mode>>,
    asked: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Mode {
    #[default]
    Knows,
    Asks,
    Down,
}

impl Register {
    pub(crate) fn add(&self, issuer: &str, verifier: Verifier) {
        self.tenants.lock().unwrap().insert(issuer.into(), verifier);
    }

    pub(crate) fn remove(&self, issuer: &str) {
        self.tenants.lock().unwrap().remove(issuer);
    }

    pub(crate) fn mode(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Tells everybody who waits that there are news.
    pub(crate) fn answer(&self) -> usize {
        let waiting = std::mem::take(&mut *self.asking.lock().unwrap());
        waiting.into_iter().map(KeyNotifier::notify).count()
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl IssuerResolver<Claims> for Register {
    fn resolve(&self, issuer: &str) -> Resolution<Claims> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match *self.mode.lock().unwrap() {
            Mode::Knows => match self.tenants.lock().unwrap().get(issuer) {
                Some(verifier) => Resolution::Trusted(verifier.clone()),
                None => Resolution::Untrusted,
            },
            Mode::Asks => {
                let (news, wait) = KeyWait::new();
                self.asking.lock().unwrap().push(news);
                Resolution::Wait(wait)
            }
            Mode::Down => Resolution::Unavailable { retry_after: 7 },
        }
    }
}

fn tenant(number: usize) -> String {
    format!("https://login.example/tenants/{number}")
}

fn token(issuer: &str, clock: &TestClock) -> String {
    signer(issuer, TestKeys::new(), Algorithm::Hs256, clock).token(|_| ())
}

fn register(tenants: usize, clock: &TestClock) -> Register {
    let register = Register::default();
    for number in 0..tenants {
        let issuer = tenant(number);
        let verifier = rules(&issuer, TestKeys::new(), Algorithm::Hs256, clock);
        register.add(&issuer, verifier.build().unwrap());
    }
    register
}

#[test]
fn a_tenant_is_resolved_once_while_it_is_remembered() {
    let clock = TestClock::new();
    let register = register(3, &clock);
    let verifier = Verifier::tenants(Tenants::new(register.clone()).clock(clock.clone()));
    for _ in 0..10 {
        for number in 0..3 {
            let principal = verifier.verify_now(token(&tenant(number), &clock)).unwrap();
            assert_eq!(
                principal.principal().issuer(),
                Some(tenant(number).as_str())
            );
        }
    }
    assert_eq!(register.asked(), 3);
    // What is remembered is who verifies, and nothing about a token.
    let forged = signer(&tenant(1), TestKeys::other(), Algorithm::Hs256, &clock).token(|_| ());
    assert_eq!(refusal(&verifier, &forged), AuthErrorKind::InvalidSignature);
    assert_eq!(register.asked(), 3);
}

#[test]
fn no_more_tenants_are_remembered_than_the_capacity() {
    let clock = TestClock::new();
    let register = register(100, &clock);
    let tenants = Tenants::new(register.clone())
        .capacity(10)
        .clock(clock.clone());
    let verifier = Verifier::tenants(tenants);
    let verify = |number| verifier.verify_now(token(&tenant(number), &clock)).unwrap();
    for number in 0..100 {
        verify(number);
    }
    assert_eq!(register.asked(), 100);
    // The ten newest are remembered …
    for number in 90..100 {
        verify(number);
    }
    assert_eq!(register.asked(), 100);
    // … the eleventh is not, and its return costs the oldest its place.
    verify(89);
    assert_eq!(register.asked(), 101);
    verify(91);
    assert_eq!(register.asked(), 101);
    verify(90);
    assert_eq!(register.asked(), 102);

    let none = Tenants::new(register.clone())
        .capacity(0)
        .clock(clock.clone());
    let none = Verifier::tenants(none);
    for asked in 103..106 {
        none.verify_now(token(&tenant(0), &clock)).unwrap();
        assert_eq!(register.asked(), asked);
    }
}

#[test]
fn a_tenant_that_is_no_longer_trusted_gets_out_when_its_age_is_reached() {
    let clock = TestClock::new();
    let register = register(2, &clock);
    let tenants = Tenants::new(register.clone()).max_age(Duration::from_secs(60));
    let verifier = Verifier::tenants(tenants.clock(clock.clone()));
    let verdict = |number| verifier.verify_now(token(&tenant(number), &clock));
    verdict(0).unwrap();
    register.remove(&tenant(0));

    clock.advance(Duration::from_secs(59));
    verdict(0).unwrap();
    verdict(1).unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(verdict(0).unwrap_err().kind(), AuthErrorKind::WrongIssuer);
    assert_eq!(register.asked(), 3);
    // The other one is younger.
    verdict(1).unwrap();
    assert_eq!(register.asked(), 3);

    // Ages do not follow the wall clock.
    clock.set(std::time::SystemTime::UNIX_EPOCH);
    let verifier_of = |number| rules(&tenant(number), TestKeys::new(), Algorithm::Hs256, &clock);
    register.add(&tenant(0), verifier_of(0).build().unwrap());
    verdict(0).unwrap();
    verdict(1).unwrap();
    assert_eq!(register.asked(), 4);
}

#[test]
fn e14_a_flood_of_unknown_issuers_costs_neither_memory_nor_fetches() {
    const FLOOD: usize = 100_000;

    let clock = TestClock::new();
    let register = register(1, &clock);
    let verifier = Verifier::tenants(Tenants::new(register.clone()).clock(clock.clone()));
    let good = token(&tenant(0), &clock);
    verifier.verify_now(&good).unwrap();

    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let flood = |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let claims = format!(r#"{{"iss":"https://{number}.evil.example/{number}"}}"#);
            let token = format!("{header}.{}.AAAA", URL_SAFE_NO_PAD.encode(claims));
            assert_eq!(refusal(&verifier, &token), AuthErrorKind::WrongIssuer);
        }
    };
    flood(0..10);
    let left = allocation_counter::measure(|| flood(10..FLOOD));
    assert_eq!((left.count_current, left.bytes_current), (0, 0));

    // Who was remembered before still is.
    let asked = register.asked();
    verifier.verify_now(&good).unwrap();
    assert_eq!(register.asked(), asked);
}

#[test]
fn e13_a_verifier_for_another_issuer_is_refused() {
    let clock = TestClock::new();
    let register = Register::default();
    let verifier = Verifier::tenants(Tenants::new(register.clone()).clock(clock.clone()));
    let (ours, other) = (tenant(0), tenant(1));
    let of = |issuer: &str| rules(issuer, TestKeys::new(), Algorithm::Hs256, &clock);
    for wrong in [
        of(&other).build().unwrap(),
        of(&ours).issuer(&other).build().unwrap(),
        Verifier::hs256(TestKeys::new().secret(Algorithm::Hs256))
            .audience(AUDIENCE)
            .clock(clock.clone())
            .build()
            .unwrap(),
        Verifier::by_issuer([of(&ours).build().unwrap(), of(&other).build().unwrap()]).unwrap(),
    ] {
        register.add(&ours, wrong);
        for issuer in [&ours, &other] {
            let kind = refusal(&verifier, &token(issuer, &clock));
            assert_eq!(kind, AuthErrorKind::WrongIssuer);
        }
    }
    register.add(&ours, of(&ours).build().unwrap());
    assert!(verifier.verify_now(token(&ours, &clock)).is_ok());
    // Named twice, it is still this one alone.
    register.add(&other, of(&other).issuer(&other).build().unwrap());
    assert!(verifier.verify_now(token(&other, &clock)).is_ok());
}

#[test]
fn q10_a_resolver_is_not_asked_about_what_has_no_signature() {
    let clock = TestClock::new();
    let register = register(1, &clock);
    let verifier = Verifier::tenants(Tenants::new(register.clone()).clock(clock.clone()));
    let token = token(&tenant(0), &clock);
    let (message, signature) = token.rsplit_once('.').unwrap();
    for bad in ["{}", "=", &format!("{signature}\""), &signature[..1]] {
        let kind = refusal(&verifier, &format!("{message}.{bad}"));
        assert_eq!(kind, AuthErrorKind::MalformedToken, "{bad}");
    }
    assert_eq!(register.asked(), 0);
    assert!(verifier.verify_now(&token).is_ok());
    assert_eq!(register.asked(), 1);
}

#[tokio::test]
async fn a_tenant_that_has_to_be_asked_for_is_answered_on_the_same_request() {
    let clock = TestClock::new();
    let register = register(1, &clock);
    let verifier = Verifier::tenants(Tenants::new(register.clone()).clock(clock.clone()));
    register.mode(Mode::Asks);

    let good = token(&tenant(0), &clock);
    // Without waiting there is no answer yet.
    assert_eq!(refusal(&verifier, &good), AuthErrorKind::KeysUnavailable);

    let (answered, ()) = tokio::join!(verifier.verify(&good), async {
        register.mode(Mode::Knows);
        assert_eq!(register.answer(), 2);
    });
    assert_eq!(answered.unwrap().subject(), Some("alice"));

    // A resolver that lets go without an answer keeps nobody waiting.
    register.remove(&tenant(0));
    let unknown = token(&tenant(9), &clock);
    register.mode(Mode::Asks);
    let (answered, ()) = tokio::join!(verifier.verify(&unknown), async {
        register.asking.lock().unwrap().clear();
    });
    assert_eq!(answered.unwrap_err().kind(), AuthErrorKind::KeysUnavailable);
}

#[test]
fn a_register_that_is_down_is_no_verdict() {
    let clock = TestClock::new();
    let register = register(2, &clock);
    let tenants = Tenants::new(register.clone()).max_age(Duration::from_secs(60));
    let verifier = Verifier::tenants(tenants.clock(clock.clone()));
    verifier.verify_now(token(&tenant(0), &clock)).unwrap();
    register.mode(Mode::Down);
    // Whoever is remembered passes; the others are told to come back.
    verifier.verify_now(token(&tenant(0), &clock)).unwrap();
    let error = verifier.verify_now(token(&tenant(1), &clock)).unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::KeysUnavailable);
    assert_eq!(error.retry_after(), Some(7));
    register.mode(Mode::Knows);
    verifier.verify_now(token(&tenant(1), &clock)).unwrap();
}

#[tokio::test]
async fn a_tenant_with_keys_from_the_network_is_announced_once_they_are_there() {
    let clock = TestClock::new();
    let url = "https://b.example/keys";
    let key = published(Algorithm::Rs256, json!({"kid": "k1"}));
    let memory = Memory::default().with(url, json!({"keys": [key]}));
    let register = Register::default();
    let verifier = Verifier::tenants(Tenants::new(register.clone()).clock(clock.clone()));
    register.mode(Mode::Asks);

    let token = signer(B, TestKeys::new(), Algorithm::Rs256, &clock).token(|_| ());
    let (answered, ()) = tokio::join!(verifier.verify(&token), async {
        // What a resolver does in a task of its own.
        let keys = RemoteKeySet::jwks(url)
            .fetch(memory.clone())
            .clock(clock.clone());
        let tenant = Verifier::key_source(keys.build().unwrap());
        let tenant = tenant
            .issuer(B)
            .audience(AUDIENCE)
            .clock(clock.clone())
            .build()
            .unwrap();
        tenant.ready().await.unwrap();
        register.add(B, tenant);
        register.mode(Mode::Knows);
        register.answer();
    });
    assert!(answered.is_ok());
    assert_eq!(memory.asked().len(), 1);
}
