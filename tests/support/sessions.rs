//! A service in one value: an issuer, a store that can fail, sessions, and what they told.

use std::sync::{Arc, LazyLock, Mutex};

use tower_jwt_auth::{
    Principal, Verifier,
    event::{AuthEvent, EventSink, SessionEvent, sink_fn},
    key::{Algorithm, SigningKey},
    revocation::RevocationSet,
    secret::SecretKey,
    server::refresh::machine::RefreshTokens,
    server::{
        issue::{KeyRing, TokenIssuer},
        refresh::RefreshPolicy,
        session::{SessionClaims, Sessions, SessionsBuilder, StartSession, TokenPair},
    },
    store::MemoryStore,
    test_util::TestClock,
};

use super::watched::Watched;

/// The key of every service under test.
static KEYS: LazyLock<KeyRing> = LazyLock::new(|| {
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    KeyRing::builder(key)
        .clock(TestClock::new())
        .build()
        .unwrap()
});

pub(crate) fn issuer(keys: KeyRing) -> TokenIssuer {
    TokenIssuer::builder(keys)
        .issuer("https://as.example")
        .audience("api")
        .build()
        .unwrap()
}

pub(crate) struct Service {
    pub(crate) sessions: Sessions,
    pub(crate) store: Watched,
    pub(crate) memory: MemoryStore,
    /// The store's clock; the issuer has another one.
    pub(crate) clock: TestClock,
    pub(crate) secret: SecretKey,
    pub(crate) verifier: Verifier,
    pub(crate) events: Events,
}

#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<SessionEvent>>>);

impl Events {
    pub(crate) fn sink(&self) -> impl EventSink {
        let kept = Arc::clone(&self.0);
        sink_fn(move |event| {
            if let AuthEvent::Session(event) = *event {
                kept.lock().unwrap().push(event.clone());
            }
        })
    }

    /// Those that were told since the last call.
    pub(crate) fn take(&self) -> Vec<SessionEvent> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(crate) fn service() -> Service {
    service_with(|builder, _| builder)
}

pub(crate) fn with_policy(policy: RefreshPolicy) -> Service {
    service_with(|builder, _| builder.policy(policy))
}

pub(crate) fn service_with(
    configure: impl FnOnce(SessionsBuilder, &MemoryStore) -> SessionsBuilder,
) -> Service {
    let clock = TestClock::new();
    let memory = MemoryStore::with_clock(clock.clone());
    let store = Watched::new(memory.clone());
    let secret = SecretKey::generate();
    let events = Events::default();
    let issuer = issuer(KEYS.clone());
    let verifier = issuer.verifier().build().unwrap();
    let builder = Sessions::builder(issuer, store.clone())
        .secret(secret.clone())
        .events(events.sink());
    Service {
        sessions: configure(builder, &memory).build().unwrap(),
        store,
        memory,
        clock,
        secret,
        verifier,
        events,
    }
}

impl Service {
    /// Alice signs in.
    pub(crate) async fn sign_in(&self) -> TokenPair {
        self.sessions.start(alice()).await.unwrap()
    }

    pub(crate) async fn refresh(&self, pair: &TokenPair) -> TokenPair {
        self.try_refresh(pair).await.unwrap()
    }

    pub(crate) async fn try_refresh(
        &self,
        pair: &TokenPair,
    ) -> Result<TokenPair, tower_jwt_auth::server::session::SessionError> {
        self.sessions.refresh(pair.refresh_token().expose()).await
    }

    /// The code of a refresh that is refused.
    pub(crate) async fn refused(&self, pair: &TokenPair) -> &'static str {
        let error = self.try_refresh(pair).await.unwrap_err();
        assert_eq!(error.error(), "invalid_grant");
        assert_eq!(error.status(), 400);
        assert_eq!(error.retry_after(), None);
        error.code().unwrap()
    }

    pub(crate) fn caller(&self, pair: &TokenPair) -> Principal {
        let token = self.verifier.verify_now(pair.access_token().expose());
        token.unwrap().principal()
    }

    /// What a node knows to be revoked.
    pub(crate) fn revocations(&self) -> RevocationSet {
        RevocationSet::follow_with_clock(self.memory.feed(), self.clock.clone()).unwrap()
    }

    pub(crate) fn generation(&self, pair: &TokenPair) -> u64 {
        let tokens = RefreshTokens::new(&self.secret);
        let token = tokens.read(pair.refresh_token().expose());
        token.unwrap().generation()
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(std::time::Duration::from_secs(seconds));
    }
}

pub(crate) fn alice() -> StartSession {
    StartSession::new("alice")
        .amr(["pwd"])
        .label("a browser")
        .claims(SessionClaims::new().roles(["editor"]).scope("orders:read"))
}
