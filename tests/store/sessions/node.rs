//! One node of a service: sessions over a store that counts what it is asked for.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_jwt_auth::{
    Claims, Principal, Verifier,
    error::StoreError,
    event::{AuthEvent, SessionEvent, sink_fn},
    key::{Algorithm, SigningKey},
    layer::Confirmations,
    principal::SessionId,
    secret::SecretKey,
    server::refresh::machine::RefreshTokens,
    server::{
        issue::{KeyRing, TokenIssuer},
        refresh::RefreshPolicy,
        session::{SessionClaims, Sessions, StartSession, TokenPair},
    },
    store::{
        AnyStore,
        port::{
            CreateOutcome, Family, LoadedSession, NewSessionRecord, RevokeReason, SessionRecord,
            SessionStore,
        },
    },
};

use super::place::Place;

/// What all nodes share, besides the store.
static KEYS: LazyLock<KeyRing> =
    LazyLock::new(|| KeyRing::new(SigningKey::generate(Algorithm::EdDsa).unwrap()).unwrap());
pub(super) const SECRET: [u8; 32] = *b"\xf3\x17 a secret of just 32 bytes! \x8e\xa1";

/// Takes a store away that nothing else can take away.
#[derive(Clone, Default)]
pub(super) struct Switch(Arc<AtomicBool>);

impl Switch {
    pub(super) fn set(&self, away: bool) {
        self.0.store(away, Ordering::SeqCst);
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.0.load(Ordering::SeqCst) {
            true => Err(StoreError::unavailable("taken away")),
            false => Ok(()),
        }
    }
}

#[derive(Clone)]
pub(super) struct Watched {
    pub(super) store: AnyStore,
    pub(super) switch: Switch,
    calls: Arc<AtomicUsize>,
}

impl Watched {
    pub(super) fn new(store: AnyStore, switch: Switch) -> Self {
        Self {
            store,
            switch,
            calls: Arc::default(),
        }
    }

    /// How often it was asked since the last call.
    pub(super) fn take_calls(&self) -> usize {
        self.calls.swap(0, Ordering::SeqCst)
    }

    fn asked(&self) -> Result<&AnyStore, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.switch.check()?;
        Ok(&self.store)
    }
}

macro_rules! pass_on {
    ($(fn $method:ident($($name:ident: $kind:ty),*) -> $output:ty;)*) => {
        impl SessionStore for Watched {
            $(async fn $method(&self, $($name: $kind),*) -> Result<$output, StoreError> {
                self.asked()?.$method($($name),*).await
            })*
        }
    };
}

pass_on! {
    fn create(session: NewSessionRecord) -> CreateOutcome;
    fn load(id: SessionId) -> Option<LoadedSession>;
    fn advance(id: SessionId, from: &Family, to: &Family) -> Option<LoadedSession>;
    fn advance_live(
        id: SessionId, live: u64, grace: Duration, bound_key: Option<&str>
    ) -> Option<LoadedSession>;
    fn confirm(id: SessionId, generation: u64) -> ();
    fn revoke(id: SessionId, reason: RevokeReason) -> bool;
    fn replace(old: SessionId, new: NewSessionRecord) -> Option<CreateOutcome>;
    fn revoke_others(subject: &str, keep: SessionId, reason: RevokeReason) -> Vec<SessionId>;
    fn revoke_all(subject: &str, reason: RevokeReason) -> u32;
    fn epoch(subject: &str) -> u32;
    fn list(subject: &str, limit: u32) -> Vec<SessionRecord>;
    fn purge(limit: u32) -> u64;
}

pub(super) struct Node {
    pub(super) sessions: Sessions,
    pub(super) store: Watched,
    pub(super) confirmations: Confirmations,
    pub(super) tokens: RefreshTokens,
    verifier: Verifier<Claims>,
    events: Arc<Mutex<Vec<SessionEvent>>>,
}

impl Node {
    pub(super) async fn of(place: &Place) -> Self {
        Self::over(place.node().await, RefreshPolicy::browser())
    }

    pub(super) fn over(store: Watched, policy: RefreshPolicy) -> Self {
        let confirmations = Confirmations::new(store.clone()).unwrap();
        let events: Arc<Mutex<Vec<SessionEvent>>> = Arc::default();
        let told = Arc::clone(&events);
        let sessions = Sessions::builder(issuer(), store.clone())
            .secret(secret())
            .policy(policy)
            .confirmations(confirmations.clone())
            .events(sink_fn(move |event| {
                if let AuthEvent::Session(event) = *event {
                    told.lock().unwrap().push(event.clone());
                }
            }));
        Self {
            sessions: sessions.build().unwrap(),
            store,
            confirmations,
            tokens: RefreshTokens::new(&secret()),
            verifier: verifier(),
            events,
        }
    }

    pub(super) async fn sign_in(&self, subject: &str) -> TokenPair {
        let start = StartSession::new(subject).label("a browser");
        let start = start.claims(SessionClaims::new().roles(["editor"]));
        self.sessions.start(start).await.unwrap()
    }

    pub(super) async fn refresh(&self, pair: &TokenPair) -> TokenPair {
        let refreshed = self.sessions.refresh(pair.refresh_token().expose());
        refreshed.await.unwrap()
    }

    /// The code of a refresh that is refused.
    pub(super) async fn refused(&self, pair: &TokenPair) -> &'static str {
        let refreshed = self.sessions.refresh(pair.refresh_token().expose());
        let error = refreshed.await.unwrap_err();
        assert_eq!(error.error(), "invalid_grant", "{error:?}");
        error.code().unwrap()
    }

    pub(super) fn caller(&self, pair: &TokenPair) -> Principal {
        let token = self.verifier.verify_now(pair.access_token().expose());
        token.unwrap().principal()
    }

    pub(super) fn generation(&self, pair: &TokenPair) -> u64 {
        let token = self.tokens.read(pair.refresh_token().expose());
        token.unwrap().generation()
    }

    /// What was told since the last call.
    pub(super) fn take_events(&self) -> Vec<SessionEvent> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

pub(super) fn secret() -> SecretKey {
    SecretKey::from_bytes(SECRET).unwrap()
}

pub(super) fn issuer() -> TokenIssuer {
    let issuer = TokenIssuer::builder(KEYS.clone()).issuer("https://as.example");
    issuer.audience("api").build().unwrap()
}

pub(super) fn verifier() -> Verifier<Claims> {
    issuer().verifier().build().unwrap()
}
