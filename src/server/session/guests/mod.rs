//! Guests: anonymous subjects, each of which can be linked to one user or become one account.

mod builder;
mod claim;
mod hook;
mod link;
mod pending;
mod start;

use std::{fmt, sync::Arc, time::Duration};

use self::hook::ErasedClaimHook;
pub use self::{
    builder::GuestsBuilder,
    hook::ClaimHook,
    link::{LinkOutcome, LinkRequest, Promotion, SignInOutcome},
    pending::{ClaimRun, ClaimWorker},
    start::{GuestStart, GuestTokens},
};
use super::{Housekeeping, SessionError, SessionErrorKind, Sessions};
use crate::{
    principal::{Principal, PrincipalKind},
    store::port::{DeviceDigest, ErasedGuestStore, GuestStore, LoadedGuest},
};

/// Starts guests and links them to users. Cheap to clone.
///
/// The manual's chapter is [`crate::manual::guests`].
///
/// # Cancel safety
///
/// Every future may be dropped at any point. Writes and calls of the claim hook run in separate
/// tasks.
///
/// # Panics
///
/// The methods panic outside a tokio runtime.
///
/// # Examples
///
/// ```
/// # #[cfg(not(feature = "aws-lc-rs"))]
/// # fn main() {}
/// # #[cfg(feature = "aws-lc-rs")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::{
///     error::StoreError,
///     key::{Algorithm, SigningKey},
///     secret::SecretKey,
///     server::{
///         issue::{KeyRing, TokenIssuer},
///         session::{
///             ClaimHook, GuestStart, Guests, LinkOutcome, LinkRequest, Sessions,
///             StartSession,
///         },
///     },
///     store::MemoryStore,
/// };
///
/// /// Moves the conversations. It may be called twice.
/// struct Conversations;
///
/// impl ClaimHook for Conversations {
///     async fn on_claim(&self, guest: &str, user: &str) -> Result<(), StoreError> {
///         println!("UPDATE conversation SET owner = '{user}' WHERE owner = '{guest}'");
///         Ok(())
///     }
/// }
///
/// let issuer = TokenIssuer::builder(KeyRing::new(SigningKey::generate(Algorithm::EdDsa)?)?)
///     .issuer("https://auth.example")
///     .audience("api")
///     .build()?;
/// let verifier = issuer.verifier().build()?;
/// let store = MemoryStore::new();
/// let sessions = Sessions::builder(issuer, store.clone())
///     .secret(SecretKey::generate())
///     .build()?;
/// let guests = Guests::builder(sessions, store).on_claim(Conversations).build()?;
///
/// let guest = guests.start(GuestStart::new()).await?;
/// let caller = verifier.verify_now(guest.tokens().access_token().expose())?.principal();
///
/// // Alice's password was right, and she asked to keep her conversation.
/// let signed_in = guests.sign_in(StartSession::new("alice"), LinkRequest::from_body(caller)).await?;
/// assert_eq!(signed_in.outcome(), LinkOutcome::Linked);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Guests {
    inner: Arc<Inner>,
}

struct Inner {
    sessions: Sessions,
    store: Arc<dyn ErasedGuestStore>,
    hook: Option<Arc<dyn ErasedClaimHook>>,
    /// The time for which a login waits for the hook. The hook continues in the background after
    /// that.
    patience: Duration,
    hook_timeout: Duration,
    claims_every: Duration,
    link_within: Duration,
}

impl Guests {
    /// Creates a builder for the guests of these sessions.
    ///
    /// `store` must be the store of the sessions, because a claim or a promotion ends the guest's
    /// sessions in the same step. If both are stores of this crate, [`build`](GuestsBuilder::build)
    /// checks it.
    pub fn builder(sessions: Sessions, store: impl GuestStore) -> GuestsBuilder {
        GuestsBuilder::new(sessions, Arc::new(store))
    }

    /// Returns `true` if the caller is a guest whose session is alive.
    ///
    /// Check it before you start a guest, so that two requests for a guest return the same one. It
    /// is `false` for a token whose session has ended, even if the token has not expired, and for a
    /// conversation token. Each call queries the store.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::StoreUnavailable`].
    pub async fn is_alive(&self, caller: &Principal) -> Result<bool, SessionError> {
        Ok(self.subject_of(caller).await?.is_some())
    }

    /// Records a write of the guest. Returns `false` if the guest must not write any more.
    ///
    /// A guest can be linked for an hour after its last write
    /// ([`link_within`](GuestsBuilder::link_within)).
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::StoreUnavailable`].
    pub async fn touch(&self, guest: &str) -> Result<bool, SessionError> {
        Ok(claim::touch(self.store(), guest).await?)
    }

    /// Returns the owner of data that the *server* writes late for a guest, such as the end of an
    /// answer.
    ///
    /// The owner is the guest while it is unclaimed, and the user for 30 seconds after a claim.
    /// After that, or if the guest is unknown or expired, the result is `None`. A promoted guest
    /// stays the owner, under the same subject.
    ///
    /// # Security
    ///
    /// Do not use it to authorize requests. A request with a claimed guest's token is already
    /// refused by the verifier's revocation check.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::StoreUnavailable`].
    pub async fn owner(&self, guest: &str) -> Result<Option<String>, SessionError> {
        let Some(LoadedGuest { guest, now }) = self.store().find_guest(guest).await? else {
            return Ok(None);
        };
        Ok(match guest.claim {
            Some(claim) => (now < claim.at.plus(TOMBSTONE)).then_some(claim.user),
            None if now < guest.expires_at || guest.promoted_at.is_some() => Some(guest.subject),
            None => None,
        })
    }

    /// Deletes at most `limit` guests that expired at least a day ago, and returns the number of
    /// deleted guests.
    ///
    /// # Errors
    ///
    /// [`SessionErrorKind::StoreUnavailable`].
    pub async fn purge(&self, limit: u32) -> Result<u64, SessionError> {
        Ok(self.store().purge_guests(limit).await?)
    }

    /// Returns the housekeeping of [`Sessions::housekeeping`], extended by guests that expired at
    /// least a day ago.
    pub fn housekeeping(&self) -> Housekeeping {
        let store = Arc::clone(&self.inner.store);
        self.sessions().housekeeping().also(move |limit| {
            let store = Arc::clone(&store);
            async move { store.purge_guests(limit).await }
        })
    }

    /// Returns the sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    fn store(&self) -> &dyn ErasedGuestStore {
        &*self.inner.store
    }

    /// Returns the subject of a guest whose session is alive in the store. A token that verifies
    /// may belong to a session that was ended a moment ago.
    async fn subject_of(&self, caller: &Principal) -> Result<Option<String>, SessionError> {
        let Some(subject) = self.named(caller) else {
            return Ok(None);
        };
        let alive = match self.inner.sessions.alive(caller).await {
            Ok((session, _)) => session.kind() == PrincipalKind::Guest,
            Err(error) if error.kind() == SessionErrorKind::StoreUnavailable => return Err(error),
            Err(_) => false,
        };
        Ok(alive.then(|| subject.to_owned()))
    }

    /// Returns the subject of a guest token of this issuer, in whatever state the guest is.
    fn named<'c>(&self, caller: &'c Principal) -> Option<&'c str> {
        let ours = caller.issuer() == Some(self.sessions().issuer().issuer());
        let guest = caller.kind() == PrincipalKind::Guest && caller.conversation().is_none();
        caller.subject().filter(|_| ours && guest)
    }
}

impl fmt::Debug for Guests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guests")
            .field("sessions", &self.inner.sessions)
            .field("link_within", &self.inner.link_within)
            .finish_non_exhaustive()
    }
}

/// Longer than an answer takes that was begun before the claim.
const TOMBSTONE: Duration = Duration::from_secs(30);
