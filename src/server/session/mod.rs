//! Sessions of authenticated subjects: start, refresh, list, revoke.
//!
//! [`Sessions`] combines a [`TokenIssuer`], a [`SessionStore`] and the refresh tokens. It depends
//! neither on HTTP nor on passwords. After your code has authenticated a subject, by a password, a
//! passkey or another provider, it [starts](Sessions::start) a session for it. The manual has a
//! [chapter about sessions](crate::manual::sessions).
//!
//! | task | method |
//! |---|---|
//! | sign a subject in | [`Sessions::start`] |
//! | exchange a refresh token | [`Sessions::refresh`] |
//! | exchange that of a session that is bound to a key | [`Sessions::refresh_bound`] |
//! | show the devices of a user | [`Sessions::list`] |
//! | sign out: this device, the others, all | [`Sessions::revoke`], [`revoke_others`](Sessions::revoke_others), [`revoke_all`](Sessions::revoke_all) |
//! | raise a session after another factor was proved | [`Sessions::step_up`] |
//! | end all sessions after a password change, and start a new one | [`Sessions::restart`] |
//! | read roles and disabled accounts at every refresh | [`ClaimsSource`] |
//! | delete expired rows | [`Sessions::housekeeping`] |
//! | serve anonymous users, and keep their data when they sign in | [`Guests`] |
//!
//! # Examples
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_jwt_auth::{
//!     key::{Algorithm, SigningKey},
//!     secret::SecretKey,
//!     server::{
//!         issue::{KeyRing, TokenIssuer},
//!         session::{SessionClaims, Sessions, StartSession},
//!     },
//!     store::MemoryStore,
//! };
//!
//! let issuer = TokenIssuer::builder(KeyRing::new(SigningKey::generate(Algorithm::EdDsa)?)?)
//!     .issuer("https://auth.example")
//!     .audience("api")
//!     .build()?;
//! let sessions = Sessions::builder(issuer, MemoryStore::new())
//!     .secret(SecretKey::generate())
//!     .build()?;
//!
//! let start = StartSession::new("alice")
//!     .amr(["pwd"])
//!     .claims(SessionClaims::new().roles(["editor"]));
//! let first = sessions.start(start).await?;
//! let second = sessions.refresh(first.refresh_token().expose()).await?;
//!
//! // A second tab that presents the same token at the same time receives the same successor.
//! let again = sessions.refresh(first.refresh_token().expose()).await?;
//! assert_eq!(again.refresh_token().expose(), second.refresh_token().expose());
//!
//! sessions.revoke_token(second.refresh_token().expose()).await?;
//! let refused = sessions.refresh(second.refresh_token().expose()).await.unwrap_err();
//! assert_eq!(refused.code(), Some("session_revoked"));
//! # Ok(())
//! # }
//! ```

mod builder;
mod claims;
mod conversation;
mod end;
mod error;
mod guests;
mod housekeeping;
mod mint;
mod pair;
mod refresh;
mod start;
mod step_up;
mod view;

use std::{
    fmt,
    future::{self, Future},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::Poll,
    time::Duration,
};

pub(crate) use self::builder::DEFAULT_MAX_SESSIONS;
use self::builder::Lifetimes;
use self::claims::ErasedClaimsSource;
pub(crate) use self::pair::{TokenResponse, token_type};
pub(crate) use self::refresh::Presenter;
pub(crate) use self::start::has_second_factor;
pub use self::{
    builder::SessionsBuilder,
    claims::{ClaimsOrigin, ClaimsSource, SessionClaims, StaticClaims},
    error::{SessionError, SessionErrorKind},
    guests::{
        ClaimHook, ClaimRun, ClaimWorker, GuestStart, GuestTokens, Guests, GuestsBuilder,
        LinkOutcome, LinkRequest, Promotion, SignInOutcome,
    },
    housekeeping::{Housekeeper, Housekeeping},
    pair::TokenPair,
    start::StartSession,
    view::Session,
};
use crate::{
    error::{StoreError, StoreErrorKind},
    event::{Events, RevokeReason, SessionEvent},
    layer::Confirmations,
    principal::{Principal, PrincipalKind, SessionId},
    revocation::RevocationSet,
    server::{
        issue::{AccessToken, IssueError, TokenIssuer},
        refresh::{RefreshPolicy, RefreshToken, RefreshTokens},
    },
    store::port::{
        CreateOutcome, ErasedSessionStore, LISTED, NewSessionRecord, SessionRecord, SessionStore,
    },
    task,
};

/// Starts, refreshes, lists and revokes sessions. Cheap to clone.
///
/// # Cancel safety
///
/// Every future may be dropped at any point. Writes run in separate tasks, which complete even if
/// the future is dropped because the client disconnected.
///
/// # Panics
///
/// The methods panic outside a tokio runtime.
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

struct Inner {
    issuer: TokenIssuer,
    store: Arc<dyn ErasedSessionStore>,
    tokens: RefreshTokens,
    policy: RefreshPolicy,
    users: Lifetimes,
    guests: Lifetimes,
    /// The maximum number of sessions per user.
    most: Option<usize>,
    /// The claims source of the builder, or else that of the first endpoints. Without either, a session
    /// keeps its claims.
    claims: OnceLock<Arc<dyn ErasedClaimsSource>>,
    claims_timeout: Duration,
    /// The `acr` of a session with a second factor.
    mfa_acr: Option<String>,
    events: Events,
    /// The sets that the layers of this process check.
    revocations: Vec<RevocationSet>,
    confirmations: Option<Confirmations>,
}

impl Sessions {
    /// Creates a builder of sessions in this store, whose access tokens this issuer signs.
    pub fn builder(issuer: TokenIssuer, store: impl SessionStore) -> SessionsBuilder {
        SessionsBuilder::new(issuer, Arc::new(store))
    }

    /// Starts a session for a subject that your code has authenticated.
    ///
    /// The session is always new: tokens that the client held before are not upgraded (no session
    /// fixation).
    ///
    /// # Errors
    ///
    /// - [`SessionErrorKind::Superseded`]: all sessions of the subject were revoked after the epoch
    ///   was read.
    /// - [`SessionErrorKind::Disabled`]: the claims source returned `None` for the subject.
    /// - [`SessionErrorKind::StoreUnavailable`], [`SessionErrorKind::ClaimsUnavailable`],
    ///   [`SessionErrorKind::NotMinted`].
    pub async fn start(&self, start: StartSession) -> Result<TokenPair, SessionError> {
        let Prepared {
            new,
            token,
            claims,
            access,
            idle,
        } = self.inner.prepare(start).await?;
        let record = self
            .write(move |inner| async move {
                let record = inner.create(new).await?;
                inner.evict(&record).await;
                Ok(record)
            })
            .await?;
        Ok(self.inner.pair(access, &token, &claims, &record, idle))
    }

    /// Revokes all sessions of the subject and starts a new one.
    ///
    /// Call it after a change of the password, of other credentials or of rights: sessions that
    /// were opened with the old credentials end. The epoch in `start` is ignored.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start). The old sessions may already be revoked; the user signs in again. If the
    /// key ring is out of date, they are not.
    pub async fn restart(&self, start: StartSession) -> Result<TokenPair, SessionError> {
        self.check_keys()?;
        let reason = RevokeReason::CredentialsChanged;
        let epoch = self.revoke_all(&start.subject, reason).await?;
        self.start(start.epoch(epoch)).await
    }

    /// Returns the subject's epoch. Read it before you verify the password, and pass it to
    /// [`StartSession::epoch`].
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::StoreUnavailable`].
    pub async fn epoch(&self, subject: &str) -> Result<u32, SessionError> {
        Ok(self.inner.store.epoch(subject).await?)
    }

    /// Returns the live sessions of the subject, the most recently used first; 100 at most. The
    /// session `current` is [marked](Session::is_current).
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::StoreUnavailable`].
    pub async fn list(
        &self,
        subject: &str,
        current: Option<SessionId>,
    ) -> Result<Vec<Session>, SessionError> {
        let records = self.inner.store.list(subject, LISTED).await?;
        let views = records.iter().map(|record| {
            let mut session = Session::of(record)?;
            session.current = Some(session.id()) == current;
            Ok(session)
        });
        views.collect()
    }

    /// Returns the session with this id if it is alive: neither revoked, nor expired, nor past its
    /// idle timeout.
    ///
    /// Each call queries the store. Use it for actions that must not be done with an access token
    /// whose session has ended.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::StoreUnavailable`].
    pub async fn find(&self, id: SessionId) -> Result<Option<Session>, SessionError> {
        let Some(loaded) = self.inner.store.load(id).await? else {
            return Ok(None);
        };
        let family = &loaded.session.family;
        if family.revoked || loaded.now >= family.ends_at() {
            return Ok(None);
        }
        Ok(Some(Session::of(&loaded.session)?))
    }

    /// Returns the session id of a refresh token, also of a spent one.
    ///
    /// The store is not queried, so the session may have ended.
    #[must_use]
    pub fn session_of(&self, presented: &str) -> Option<SessionId> {
        let token = self.inner.tokens.read(presented)?;
        Some(token.session_id())
    }

    /// Returns the key to which the session of a refresh token is bound. `None` also if there is no session.
    pub(crate) async fn bound_key(&self, presented: &str) -> Result<Option<String>, SessionError> {
        let Some(id) = self.session_of(presented) else {
            return Ok(None);
        };
        let loaded = repeated(|| self.inner.store.load(id)).await?;
        Ok(loaded.and_then(|loaded| loaded.session.bound_key))
    }

    /// Confirms that the client has received the refresh token that was issued with this caller's
    /// access token.
    ///
    /// For a custom endpoint that verifies access tokens itself. The layers and sockets of this crate
    /// confirm if they were given the confirmations, and the endpoints confirm through the sessions.
    /// The call never waits. It has no effect for a caller of another issuer, or without
    /// [confirmations](SessionsBuilder::confirmations).
    pub fn confirm(&self, caller: &Principal) {
        if caller.issuer() == Some(self.inner.issuer.issuer())
            && let Some(confirmations) = &self.inner.confirmations
        {
            confirmations.saw(caller);
        }
    }

    /// Returns an error if this node does not sign now. A write that has to be followed by a new session
    /// is made only after this check: it would otherwise end sessions, and return no new one.
    pub(crate) fn check_keys(&self) -> Result<(), SessionError> {
        match self.inner.issuer.keys().may_sign() {
            true => Ok(()),
            false => Err(IssueError::KeysUnavailable.into()),
        }
    }

    /// Returns `true` if these are clones of one value.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Sets the claims source of these sessions and their clones, unless the builder was given one.
    pub(crate) fn default_claims(&self, source: impl ClaimsSource) {
        // The first endpoints win; other endpoints of the same sessions have the same users.
        let _ = self.inner.claims.set(Arc::new(source));
    }

    /// Returns the issuer of the access tokens.
    #[must_use]
    pub fn issuer(&self) -> &TokenIssuer {
        &self.inner.issuer
    }

    /// Runs `work` in a separate task, which completes even if the caller is dropped.
    ///
    /// The first poll of a store that does not wait is made here: a task takes longer than its write. Other
    /// stores wake tasks of their own when they are polled. If the task followed them, the runtime would
    /// wake another thread at every write.
    async fn write<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T, SessionError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SessionError>> + Send + 'static,
    {
        let mut work = task::caught("write of a session", work(Arc::clone(&self.inner)));
        let first = match self.inner.store.is_immediate() {
            true => future::poll_fn(|cx| Poll::Ready(Pin::new(&mut work).poll(cx))).await,
            false => Poll::Pending,
        };
        let outcome = match first {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => match tokio::spawn(work).await {
                Ok(outcome) => outcome,
                // The runtime is shutting down.
                Err(lost) => return Err(StoreError::interrupted(lost).into()),
            },
        };
        outcome.unwrap_or_else(|panicked| Err(StoreError::interrupted(panicked).into()))
    }
}

/// A session that can be written, and its tokens.
struct Prepared {
    new: NewSessionRecord,
    token: RefreshToken,
    claims: SessionClaims,
    access: AccessToken,
    idle: Duration,
}

impl Inner {
    /// Runs every fallible step of a start before the session is written.
    async fn prepare(&self, mut start: StartSession) -> Result<Prepared, SessionError> {
        let now = self.issuer.keys().clock().now();
        start.settle(now, self.mfa_acr.as_deref());
        let epoch = match start.epoch {
            Some(epoch) => epoch,
            None => self.store.epoch(&start.subject).await?,
        };
        let token = self.tokens.start();
        let lifetimes = self.lifetimes(start.kind);
        let new = NewSessionRecord {
            id: token.session_id(),
            subject: start.subject,
            kind: start.kind,
            epoch: Some(epoch),
            idle: lifetimes.idle,
            lifetime: lifetimes.lifetime,
            bound_key: start.bound_key,
            details: serde_json::to_string(&start.details).map_err(StoreError::invalid)?,
        };
        let expected = Session::to_be(&new, epoch, start.details, now);
        let claims = self.claims_of(&expected).await?;
        let access = self.mint(&expected, &claims, token.generation(), lifetimes.idle)?;
        Ok(Prepared {
            new,
            token,
            claims,
            access,
            idle: lifetimes.idle,
        })
    }

    async fn create(&self, new: NewSessionRecord) -> Result<SessionRecord, SessionError> {
        let id = new.id;
        let mut created = self.store.create(new.clone()).await;
        if is_interrupted(&created) {
            created = match self.store.create(new).await? {
                // The first write succeeded: ids are random, so no other session has this one.
                CreateOutcome::Exists => {
                    let loaded = self.store.load(id).await?;
                    Ok(loaded.map_or(CreateOutcome::EpochMoved, |loaded| {
                        CreateOutcome::Created(loaded.session)
                    }))
                }
                other => Ok(other),
            };
        }
        match created? {
            CreateOutcome::Created(record) => {
                self.events.session(|| SessionEvent::Started {
                    subject: record.subject.clone(),
                    session: record.id,
                    kind: record.kind,
                });
                Ok(record)
            }
            CreateOutcome::EpochMoved => Err(SessionError::new(SessionErrorKind::Superseded)),
            CreateOutcome::Exists => {
                Err(StoreError::invalid("a session of this name exists").into())
            }
        }
    }

    /// Ends the user's sessions above the limit: those that were never refreshed, the oldest first,
    /// then the least recently used ones. Errors are ignored, because the next login tries again.
    async fn evict(&self, newest: &SessionRecord) {
        let Some(most) = self.most.filter(|_| newest.kind != PrincipalKind::Guest) else {
            return;
        };
        let Ok(mut others) = self.live(&newest.subject).await else {
            return;
        };
        others.retain(|session| session.id != newest.id);
        others.sort_by_key(|session| {
            let family = &session.family;
            (family.rotated_at.is_some(), family.used_at, session.id)
        });
        let excess = (others.len() + 1).saturating_sub(most);
        for session in others.iter().take(excess.min(LISTED as usize)) {
            let evicted = self.store.revoke(session.id, RevokeReason::Displaced);
            if let Ok(true) = evicted.await {
                self.refuse_session(session.id);
                self.events.session(|| SessionEvent::Evicted {
                    subject: session.subject.clone(),
                    session: session.id,
                });
            }
        }
    }

    /// Returns all live sessions of a subject. There may be many, if the limit is newer than they are.
    async fn live(&self, subject: &str) -> Result<Vec<SessionRecord>, StoreError> {
        let mut limit = LISTED;
        loop {
            let sessions = self.store.list(subject, limit).await?;
            if sessions.len() < limit as usize || limit == u32::MAX {
                return Ok(sessions);
            }
            limit = limit.saturating_mul(10);
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("issuer", &self.inner.issuer)
            .field("policy", &self.inner.policy)
            .finish_non_exhaustive()
    }
}

/// Calls the store, and again if the answer was lost. For calls that have the same effect twice.
async fn repeated<T, F>(call: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let answer = call().await;
    match is_interrupted(&answer) {
        true => call().await,
        false => answer,
    }
}

/// Returns `true` if the connection was lost while the store answered, so that the call should be
/// repeated.
fn is_interrupted<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(error) if error.kind() == StoreErrorKind::Interrupted)
}
