//! W8: a socket ends when the key of its token is withdrawn, whatever the verifier is made of.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tower_jwt_auth::{
    Claims, Verifier,
    key::{Algorithm, KeySet, SharedKeySet},
    layer::socket::{CloseReason, SocketAuth},
    test_util::{TestClock, TestIssuer, TestKeys},
    verify::{IssuerResolver, Resolution, Tenants},
};

const ISSUER: &str = "https://as.example";

/// The keys of an issuer, and a token of the first one.
struct Keys {
    shared: SharedKeySet,
    clock: TestClock,
    token: String,
}

fn set(keys: &[TestKeys]) -> KeySet {
    let keys = keys.iter().map(|keys| keys.verifying_key(Algorithm::Es256));
    KeySet::new(keys).unwrap()
}

impl Keys {
    fn new() -> Self {
        let clock = TestClock::new();
        let issuer = TestIssuer::new(Algorithm::Es256).clock(clock.clone());
        Self {
            shared: SharedKeySet::new(set(&[TestKeys::new(), TestKeys::other()])),
            token: issuer.issuer(ISSUER).token(|_| ()),
            clock,
        }
    }

    fn verifier(&self) -> Verifier {
        let verifier = Verifier::key_source(self.shared.clone())
            .algorithms([Algorithm::Es256])
            .issuer(ISSUER)
            .clock(self.clock.clone())
            .dangerous_any_audience();
        verifier.build().unwrap()
    }

    /// The other key stays.
    fn withdraw(&self) {
        self.shared.replace(set(&[TestKeys::other()]));
    }

    async fn end_sockets_of(&self, verifier: Verifier, case: &str) {
        let sockets = SocketAuth::new(verifier.clone()).clock(self.clock.clone());
        let sockets = sockets.check_every(Duration::from_millis(5));
        let caller = verifier.verify_now(&self.token).unwrap().principal();
        let mut socket = sockets.guard(caller.clone()).unwrap();
        // Another set with the same key.
        self.shared.replace(set(&[TestKeys::new()]));
        assert_eq!(socket.end(), None, "{case}");
        self.withdraw();
        assert!(verifier.verify_now(&self.token).is_err(), "{case}");
        assert_eq!(socket.closed().await, CloseReason::Revoked, "{case}");
        assert_eq!(
            sockets.guard(caller).err(),
            Some(CloseReason::Revoked),
            "{case}"
        );
    }
}

#[tokio::test]
async fn w8_with_one_verifier() {
    let keys = Keys::new();
    keys.end_sockets_of(keys.verifier(), "one").await;
}

#[tokio::test]
async fn w8_with_several_issuers_or_algorithms() {
    let keys = Keys::new();
    let other =
        Verifier::hs256("a secret of at least thirty-two bytes").issuer("https://b.example");
    let others = [keys.verifier(), other.build().unwrap()];
    keys.end_sockets_of(Verifier::by_issuer(others.clone()).unwrap(), "issuers")
        .await;
    let keys = Keys::new();
    let by_algorithm = [keys.verifier(), others[1].clone()];
    keys.end_sockets_of(Verifier::by_algorithm(by_algorithm).unwrap(), "algorithms")
        .await;
}

struct Resolver {
    verifier: Verifier,
    knows: Arc<AtomicBool>,
}

impl IssuerResolver<Claims> for Resolver {
    fn resolve(&self, _: &str) -> Resolution<Claims> {
        match self.knows.load(Ordering::SeqCst) {
            true => Resolution::Trusted(self.verifier.clone()),
            false => Resolution::Untrusted,
        }
    }
}

fn tenants(keys: &Keys) -> (Verifier, Arc<AtomicBool>) {
    let knows = Arc::new(AtomicBool::new(true));
    let resolver = Resolver {
        verifier: keys.verifier(),
        knows: Arc::clone(&knows),
    };
    let tenants = Tenants::new(resolver).max_age(Duration::ZERO);
    (Verifier::tenants(tenants), knows)
}

#[tokio::test]
async fn w8_with_tenants() {
    let keys = Keys::new();
    keys.end_sockets_of(tenants(&keys).0, "tenants").await;
}

#[tokio::test]
async fn w8_a_tenant_that_is_no_longer_trusted_ends_its_sockets() {
    let keys = Keys::new();
    let (verifier, knows) = tenants(&keys);
    let sockets = SocketAuth::new(verifier.clone()).clock(keys.clock.clone());
    let caller = verifier.verify_now(&keys.token).unwrap().principal();
    let mut socket = sockets.guard(caller).unwrap();
    assert_eq!(socket.end(), None);
    knows.store(false, Ordering::SeqCst);
    assert_eq!(socket.end(), Some(CloseReason::Revoked));
}
