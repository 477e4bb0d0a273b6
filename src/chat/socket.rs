//! Sockets and streams that end with their token.

use std::{
    fmt,
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::time;

use super::{AuthMessage, CloseReason};
use crate::{
    claims::Claims,
    clock::{Clock, SystemClock, Timestamp},
    error::{AuthError, AuthErrorKind},
    principal::Principal,
    refresh::Confirmations,
    revoke::{Changes, Check, RevocationCheck, RevocationSet, RevocationStatus},
    verify::Verifier,
};

/// How the sockets of a service are authenticated. Cheap to clone.
///
/// # Examples
///
/// A WebSocket of axum; the socket loops of other frameworks look the same.
///
/// ```
/// # #[cfg(all(feature = "axum", feature = "aws-lc-rs"))]
/// # mod example {
/// use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
/// use axum::{extract::State, response::Response};
/// use tower_jwt_auth::{Principal, chat::{AuthMessage, CloseReason, SocketAuth}};
///
/// async fn upgrade(
///     State(auth): State<SocketAuth>,
///     caller: Option<Principal>,
///     upgrade: WebSocketUpgrade,
/// ) -> Response {
///     let upgrade = upgrade.protocols(["bearer"]);
///     upgrade.on_upgrade(async move |mut socket| {
///         if let Err(reason) = talk(&auth, caller, &mut socket).await {
///             let (code, reason) = (reason.code(), reason.as_str().into());
///             let _ = socket.send(Message::Close(Some(CloseFrame { code, reason }))).await;
///         }
///     })
/// }
///
/// async fn talk(
///     auth: &SocketAuth,
///     caller: Option<Principal>,
///     socket: &mut WebSocket,
/// ) -> Result<(), CloseReason> {
///     let mut guard = match caller {
///         Some(caller) => auth.guard(caller)?,
///         // No token in the handshake: it is the first message.
///         None => auth.first_message(async {
///             match socket.recv().await {
///                 Some(Ok(Message::Text(text))) => Some(text.to_string()),
///                 _ => None,
///             }
///         }).await?,
///     };
///     loop {
///         let message = tokio::select! {
///             reason = guard.closed() => return Err(reason),
///             message = socket.recv() => message,
///         };
///         let Some(Ok(message)) = message else { return Ok(()) };
///         let Message::Text(text) = message else { continue };
///         if let Some(renewal) = AuthMessage::parse(&text) {
///             guard.renew(renewal.token().expose()).await?;
///             continue;
///         }
///         let _ = socket.send(Message::Text(text)).await;
///     }
/// }
/// # }
/// ```
#[must_use = "nothing is guarded before `guard`"]
pub struct SocketAuth<C = Claims> {
    config: Arc<Config<C>>,
}

struct Config<C> {
    verifier: Verifier<C>,
    revoked: Vec<RevocationSet>,
    confirmations: Vec<Confirmations>,
    clock: Arc<dyn Clock>,
    first_message: Duration,
    check_every: Duration,
}

impl<C> SocketAuth<C> {
    /// Tokens that this verifier accepts.
    pub fn new(verifier: Verifier<C>) -> Self {
        Self {
            config: Arc::new(Config {
                verifier,
                revoked: Vec::new(),
                confirmations: Vec::new(),
                clock: Arc::new(SystemClock::new()),
                first_message: Duration::from_secs(10),
                check_every: Duration::from_secs(5),
            }),
        }
    }

    /// Closes sockets whose token is revoked in this set. May be called repeatedly: all sets count,
    /// each with its own demand of freshness. Without a set a socket ends with its token's expiry
    /// alone.
    pub fn revocation(self, revoked: RevocationSet) -> Self {
        self.with(|config| config.revoked.push(revoked))
    }

    /// Sets the confirmations of the sessions whose tokens these sockets take: each token in a
    /// handshake, a first message or a renewal proves that its refresh token has arrived.
    ///
    /// The policy [`balanced`](crate::refresh::RefreshPolicy::balanced) requires them of every consumer
    /// of the access tokens. May be called repeatedly, for the sessions of several issuers.
    pub fn confirmations(self, confirmations: Confirmations) -> Self {
        self.with(|config| config.confirmations.push(confirmations))
    }

    /// How long a socket may wait with its first message; 10 s by default.
    pub fn first_message_within(self, time: Duration) -> Self {
        self.with(|config| config.first_message = time)
    }

    /// How often time is looked at besides, in case the clock was set; 5 s by default. Expiry and
    /// revocations do not wait for it.
    pub fn check_every(self, interval: Duration) -> Self {
        self.with(|config| config.check_every = interval.max(SHORTEST))
    }

    /// By which clock tokens expire.
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|config| config.clock = Arc::new(clock))
    }

    /// Guards a socket whose caller an authenticating layer let through.
    ///
    /// # Errors
    ///
    /// The reason to close it at once: [`CloseReason::Expired`], [`CloseReason::Revoked`],
    /// [`CloseReason::Unavailable`].
    pub fn guard(&self, caller: Principal) -> Result<SocketGuard<C>, CloseReason> {
        // Before the question, so that nothing is missed in between.
        let changes = self.config.changes(&caller);
        if let Some(reason) = self.config.end_of(&caller) {
            return Err(reason);
        }
        self.config.confirm(&caller);
        Ok(SocketGuard {
            auth: self.clone(),
            caller,
            changes,
            closed: None,
        })
    }

    fn with(mut self, change: impl FnOnce(&mut Config<C>)) -> Self {
        let config = Arc::make_mut(&mut self.config);
        change(config);
        self
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> SocketAuth<C> {
    /// Guards a socket that has no caller yet, by its first message: an [`AuthMessage`].
    ///
    /// `message` waits for it; `None`: there is none, or it is no text.
    ///
    /// # Errors
    ///
    /// The reason to close it: [`CloseReason::Unauthenticated`] where another message came, a token
    /// that is no good, or nothing in time; otherwise as [`guard`](Self::guard).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `message`.
    pub async fn first_message(
        &self,
        message: impl Future<Output = Option<String>>,
    ) -> Result<SocketGuard<C>, CloseReason> {
        let refused = CloseReason::Unauthenticated;
        let message = time::timeout(self.config.first_message, message).await;
        let text = message.ok().flatten().ok_or(refused)?;
        let message = AuthMessage::parse(&text).ok_or(refused)?;
        let verified = self.config.verifier.verify(message.token().expose()).await;
        let verified = verified.map_err(|error| refusal(&error))?;
        self.guard(verified.principal())
    }
}

/// One open socket or stream: tells when it has to end.
///
/// Nothing that the peer sends makes it last longer, a ping least of all, except a token:
/// [`renew`](Self::renew).
pub struct SocketGuard<C = Claims> {
    auth: SocketAuth<C>,
    caller: Principal,
    changes: Vec<Changes>,
    /// Once closed, always closed.
    closed: Option<CloseReason>,
}

impl<C> SocketGuard<C> {
    /// Who is at the other end, by the newest token.
    #[must_use]
    pub fn caller(&self) -> &Principal {
        &self.caller
    }

    /// Waits until the socket has to be closed, and says why: the token has expired (without
    /// leeway), or it was revoked, of which the set of this process learns within its feed's time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: it is made for `select!` in a loop.
    pub async fn closed(&mut self) -> CloseReason {
        let config = Arc::clone(&self.auth.config);
        loop {
            if let Some(reason) = self.end() {
                return reason;
            }
            let wait = config.left(&self.caller).min(config.check_every);
            // The time is looked at again in any case.
            let _ = time::timeout(wait, any_changed(&mut self.changes)).await;
        }
    }

    /// As [`closed`](Self::closed), for a stream of events that runs until then.
    pub async fn into_closed(mut self) -> CloseReason {
        self.closed().await
    }

    /// Why the socket has to be closed now, where it has to.
    #[must_use]
    pub fn end(&mut self) -> Option<CloseReason> {
        self.closed = self
            .closed
            .or_else(|| self.auth.config.end_of(&self.caller));
        self.closed
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> SocketGuard<C> {
    /// Lets the socket last as long as this token, which must be of the same caller: the same
    /// issuer, subject and kind, the same session, the same conversation.
    ///
    /// # Security
    ///
    /// Another subject's token would carry what was said to one person over to another; a user's
    /// would make a guest's socket a signed-in one, which a new socket is for.
    ///
    /// # Errors
    ///
    /// The reason to close the socket: [`CloseReason::Unauthenticated`] where the token is no good
    /// or another one's, [`CloseReason::Expired`] where the old one had expired already; otherwise
    /// as [`SocketAuth::guard`]. [`closed`](Self::closed) says the same from then on, except after
    /// [`CloseReason::Unavailable`], after which the old token counts still.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the old token in place.
    pub async fn renew(&mut self, token: &str) -> Result<(), CloseReason> {
        if let Some(reason) = self.end() {
            return Err(reason);
        }
        let config = Arc::clone(&self.auth.config);
        let renewed = match config.verifier.verify(token).await {
            Ok(verified) => verified.principal(),
            Err(error) => return Err(self.close(refusal(&error))),
        };
        if !continues(&self.caller, &renewed) {
            return Err(self.close(CloseReason::Unauthenticated));
        }
        // Before the question, so that nothing is missed in between.
        let changes = config.changes(&renewed);
        if let Some(reason) = config.end_of(&renewed) {
            return Err(self.close(reason));
        }
        // While the keys were waited for.
        if let Some(reason) = self.end() {
            return Err(reason);
        }
        config.confirm(&renewed);
        self.caller = renewed;
        self.changes = changes;
        Ok(())
    }

    fn close(&mut self, reason: CloseReason) -> CloseReason {
        if reason != CloseReason::Unavailable {
            self.closed = Some(reason);
        }
        reason
    }
}

impl<C> Config<C> {
    /// The use of a token proves that the refresh token arrived that came with it.
    fn confirm(&self, caller: &Principal) {
        for confirmations in &self.confirmations {
            confirmations.saw(caller);
        }
    }

    fn changes(&self, caller: &Principal) -> Vec<Changes> {
        let revoked = self.revoked.iter();
        revoked.map(|set| set.changes_for(caller)).collect()
    }

    fn end_of(&self, caller: &Principal) -> Option<CloseReason> {
        let sets = self.revoked.iter();
        let status = sets.fold(RevocationStatus::Valid, |status, set| {
            status.and(match set.check(caller) {
                Check::Ready(status) => status,
                Check::Pending(_) => RevocationStatus::unavailable(1),
            })
        });
        match status {
            RevocationStatus::Valid => {}
            RevocationStatus::Revoked => return Some(CloseReason::Revoked),
            RevocationStatus::Unavailable { .. } => return Some(CloseReason::Unavailable),
        }
        self.left(caller).is_zero().then_some(CloseReason::Expired)
    }

    /// How long the caller's token is good. One that never expires is good for ever.
    fn left(&self, caller: &Principal) -> Duration {
        let now = Timestamp::from(self.clock.now());
        let expires = caller.expires_at().map(Timestamp::from);
        expires.map_or(Duration::MAX, |expires| expires.since(now))
    }
}

/// Waits until one of the sets has changed.
async fn any_changed(changes: &mut [Changes]) {
    let waits = changes
        .iter_mut()
        .map(|changes| Box::pin(changes.changed()));
    let mut waits: Vec<_> = waits.collect();
    poll_fn(|cx| {
        let mut waits = waits.iter_mut();
        match waits.any(|wait| wait.as_mut().poll(cx).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// Whether the renewed token is of the same caller.
fn continues(old: &Principal, new: &Principal) -> bool {
    old.subject().is_some()
        && old.subject() == new.subject()
        && old.issuer() == new.issuer()
        && old.kind() == new.kind()
        && old.session_id() == new.session_id()
        && old.conversation() == new.conversation()
}

/// A token that cannot be judged now is no bad one.
fn refusal(error: &AuthError) -> CloseReason {
    match error.kind() {
        AuthErrorKind::Expired => CloseReason::Expired,
        _ if error.status().is_server_error() => CloseReason::Unavailable,
        _ => CloseReason::Unauthenticated,
    }
}

impl<C> Clone for SocketAuth<C> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
        }
    }
}

impl<C> Clone for Config<C> {
    fn clone(&self) -> Self {
        Self {
            verifier: self.verifier.clone(),
            revoked: self.revoked.clone(),
            confirmations: self.confirmations.clone(),
            clock: Arc::clone(&self.clock),
            first_message: self.first_message,
            check_every: self.check_every,
        }
    }
}

impl<C> fmt::Debug for SocketAuth<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketAuth")
            .field("revoked", &self.config.revoked)
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for SocketGuard<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketGuard")
            .field("caller", &self.caller)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

const SHORTEST: Duration = Duration::from_millis(1);
