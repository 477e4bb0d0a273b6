//! Sockets and streams that end with their token.

use std::{fmt, future::Future, mem, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use tokio::time;

use super::{AuthMessage, CloseReason, checked::Checked};
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::confirmations::Confirmations,
    principal::{Claims, Principal},
    revocation::{RevocationCheck, RevocationChecks, RevocationStatus, note_unchecked},
    time::{Clock, SystemClock},
    verify::Verifier,
};

/// Authenticates the sockets of a service. Cheap to clone.
///
/// - [`run`](Self::run) serves a WebSocket that answers messages, and [`accept`](Self::accept) one that also
///   sends by itself. Both work with axum, warp and tokio-tungstenite over hyper.
/// - [`guard`](Self::guard) guards anything else that outlives its request, such as an event stream.
///
/// # Examples
///
/// A WebSocket with axum. The layer around the route is optional, and its extractor is
/// `(Bearer::new(), WebSocketProtocol::new("bearer"))`.
///
/// ```
/// # #[cfg(all(feature = "axum", feature = "aws-lc-rs"))]
/// # mod example {
/// use axum::extract::ws::{Message, WebSocketUpgrade};
/// use axum::{extract::State, response::Response};
/// use tower_jwt_auth::{Principal, layer::socket::SocketAuth, websocket_frames};
///
/// async fn upgrade(
///     State(auth): State<SocketAuth>,
///     caller: Option<Principal>,
///     upgrade: WebSocketUpgrade,
/// ) -> Response {
///     let upgrade = upgrade.protocols(["bearer"]).max_message_size(16 * 1024);
///     upgrade.on_upgrade(async move |socket| {
///         let answer = async |caller: Principal, message| {
///             let Message::Text(text) = message else { return Ok(None) };
///             let name = caller.subject().unwrap_or_default();
///             Ok(Some(Message::text(format!("{name}: {text}"))))
///         };
///         auth.run(socket, websocket_frames!(axum), caller, answer).await;
///     })
/// }
/// # }
/// ```
#[must_use = "nothing is guarded before `guard`"]
pub struct SocketAuth<C = Claims> {
    config: Arc<Config<C>>,
}

struct Config<C> {
    verifier: Verifier<C>,
    revocation: RevocationChecks,
    confirmations: Vec<Confirmations>,
    clock: Arc<dyn Clock>,
    first_message: Duration,
    check_every: Duration,
    close_within: Duration,
}

impl<C> SocketAuth<C> {
    /// Creates the authentication for tokens that this verifier accepts.
    pub fn new(verifier: Verifier<C>) -> Self {
        Self {
            config: Arc::new(Config {
                verifier,
                revocation: RevocationChecks::new(),
                confirmations: Vec::new(),
                clock: Arc::new(SystemClock::new()),
                first_message: Duration::from_secs(10),
                check_every: Duration::from_secs(5),
                close_within: Duration::from_secs(5),
            }),
        }
    }

    /// Adds a revocation check: a socket is closed when the check refuses its token. May be called
    /// repeatedly: all checks apply. Add the checks of the layer that serves the handshake.
    ///
    /// A [`RevocationSet`](crate::revocation::RevocationSet) closes a socket immediately. Any other
    /// check is called at the start and then at intervals ([`check_every`](Self::check_every)). If it
    /// is unavailable, the socket is closed as [`CloseReason::Unavailable`].
    pub fn revocation(self, check: impl RevocationCheck) -> Self {
        self.with(|config| config.revocation = mem::take(&mut config.revocation).and(check))
    }

    /// Adds the confirmations of the sessions whose tokens these sockets accept. Each token in a
    /// handshake, a first message or a renewal proves that its refresh token has arrived.
    ///
    /// The policy [`balanced`](crate::server::refresh::RefreshPolicy::balanced) requires them at every
    /// consumer of the access tokens. May be called repeatedly, for the sessions of several
    /// issuers.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    pub fn confirmations(self, confirmations: Confirmations) -> Self {
        self.with(|config| config.confirmations.push(confirmations))
    }

    /// Sets the timeout for the first message; 10 s by default.
    pub fn first_message_within(self, time: Duration) -> Self {
        self.with(|config| config.first_message = time)
    }

    /// Sets the interval of checks that nothing announces, 5 s by default: the clock, which may have
    /// been set; the key of the token, which may have been withdrawn; and revocation checks other
    /// than a [`RevocationSet`](crate::revocation::RevocationSet). Expiry and the entries of a set
    /// take effect without waiting for it.
    pub fn check_every(self, interval: Duration) -> Self {
        self.with(|config| config.check_every = interval.max(SHORTEST))
    }

    /// Sets the time after a Close frame for which [`run`](Self::run) and [`accept`](Self::accept) still
    /// read the socket; 5 s by default. A connection that is closed with unread data is reset, and the
    /// client then does not receive the Close frame.
    pub fn close_within(self, time: Duration) -> Self {
        self.with(|config| config.close_within = time)
    }

    /// Sets the clock by which tokens expire.
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|config| config.clock = Arc::new(clock))
    }

    fn with(mut self, change: impl FnOnce(&mut Config<C>)) -> Self {
        let config = Arc::make_mut(&mut self.config);
        change(config);
        self
    }
}

impl<C: 'static> SocketAuth<C> {
    /// Guards a socket whose caller passed an authenticating layer.
    ///
    /// The layer has waited for the revocation checks that query a store. They are called again,
    /// and [`SocketGuard::closed`] waits for their results.
    ///
    /// # Errors
    ///
    /// The reason to close the socket immediately: [`CloseReason::Expired`],
    /// [`CloseReason::Revoked`], [`CloseReason::Unavailable`].
    pub fn guard(&self, caller: Principal) -> Result<SocketGuard<C>, CloseReason> {
        let guard = self.open(caller)?;
        self.config.confirm(&guard.caller);
        Ok(guard)
    }

    /// Returns the time to read after a Close frame.
    pub(super) fn closes_within(&self) -> Duration {
        self.config.close_within
    }

    fn open(&self, caller: Principal) -> Result<SocketGuard<C>, CloseReason> {
        let checked = self.config.checked(&caller);
        match self.config.end_of(&caller, &checked) {
            Some(reason) => Err(reason),
            None => Ok(SocketGuard {
                auth: self.clone(),
                caller,
                checked,
                closed: None,
            }),
        }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> SocketAuth<C> {
    /// Guards a socket without a caller by its first message, an [`AuthMessage`].
    ///
    /// `message` is a future that waits for this message. It returns `None` if the socket was
    /// closed or the message is not text.
    ///
    /// # Errors
    ///
    /// The reason to close the socket: [`CloseReason::Unauthenticated`] if another message came,
    /// the token is not valid, or no message came in time. [`CloseReason::Expired`] if the token
    /// has expired. Otherwise as for [`guard`](Self::guard).
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
        let mut guard = self.open(verified.principal())?;
        guard.checked.settle().await;
        match guard.end() {
            Some(reason) => Err(reason),
            None => {
                self.config.confirm(&guard.caller);
                Ok(guard)
            }
        }
    }
}

/// One open socket or stream, with the time at which it has to end.
///
/// Only a new token extends it ([`renew`](Self::renew)). Other messages of the client, such as
/// pings, do not.
pub struct SocketGuard<C = Claims> {
    auth: SocketAuth<C>,
    caller: Principal,
    checked: Checked,
    /// Once closed, it stays closed.
    closed: Option<CloseReason>,
}

impl<C> SocketGuard<C> {
    /// Returns the caller, as authenticated by the newest token.
    #[must_use]
    pub fn caller(&self) -> &Principal {
        &self.caller
    }
}

impl<C: 'static> SocketGuard<C> {
    /// Waits until the socket has to be closed, and returns the reason: the token has expired
    /// (without leeway), it was revoked, or its key was withdrawn. A revocation arrives in this
    /// process's set within the latency of the feed.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and created again, as `select!` in a loop does.
    pub async fn closed(&mut self) -> CloseReason {
        let config = Arc::clone(&self.auth.config);
        loop {
            if let Some(reason) = self.end() {
                return reason;
            }
            let wait = config.left(&self.caller).min(config.check_every);
            self.checked.changed(&self.caller, wait).await;
        }
    }

    /// Waits as [`closed`](Self::closed) does, for an event stream that runs until then.
    pub async fn into_closed(mut self) -> CloseReason {
        self.closed().await
    }

    /// Returns the reason if the socket has to be closed now.
    #[must_use]
    pub fn end(&mut self) -> Option<CloseReason> {
        self.closed = self
            .closed
            .or_else(|| self.auth.config.end_of(&self.caller, &self.checked));
        self.closed
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> SocketGuard<C> {
    /// Extends the socket to the lifetime of this token. The token must be of the same caller: the
    /// same issuer, subject and kind, the same session, the same conversation.
    ///
    /// # Security
    ///
    /// A token of another subject would carry one person's messages over to another. A user's token
    /// would turn a guest's socket into a signed-in one; open a new socket for that.
    ///
    /// # Errors
    ///
    /// The reason to close the socket:
    ///
    /// - [`CloseReason::Unauthenticated`]: the token is not valid, or belongs to another caller.
    /// - [`CloseReason::Expired`]: the new token, or before that the old one, has expired.
    /// - Otherwise as for [`SocketAuth::guard`].
    ///
    /// [`closed`](Self::closed) returns the same reason from then on. The exception is
    /// [`CloseReason::Unavailable`], after which the old token remains in force.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the old token in force.
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
        let mut checked = config.checked(&renewed);
        checked.settle().await;
        if let Some(reason) = config.end_of(&renewed, &checked) {
            return Err(self.close(reason));
        }
        // The old token may have ended while the verifier waited for keys, or a check for its store.
        if let Some(reason) = self.end() {
            return Err(reason);
        }
        config.confirm(&renewed);
        self.caller = renewed;
        self.checked = checked;
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
    /// Records that the client has received the refresh token that was issued with this token.
    fn confirm(&self, caller: &Principal) {
        for confirmations in &self.confirmations {
            confirmations.saw(caller);
        }
    }

    fn checked(&self, caller: &Principal) -> Checked {
        if self.revocation.is_empty() {
            note_unchecked(caller);
        }
        Checked::new(&self.revocation, caller, self.check_every)
    }

    fn end_of(&self, caller: &Principal, checked: &Checked) -> Option<CloseReason>
    where
        C: 'static,
    {
        match checked.status(caller) {
            RevocationStatus::Valid => {}
            RevocationStatus::Revoked => return Some(CloseReason::Revoked),
            RevocationStatus::Unavailable { .. } => return Some(CloseReason::Unavailable),
        }
        if !self.verifier.holds_key_of(caller) {
            return Some(CloseReason::Revoked);
        }
        self.left(caller).is_zero().then_some(CloseReason::Expired)
    }

    /// Returns the remaining lifetime of the caller's token; `Duration::MAX` if it never expires.
    fn left(&self, caller: &Principal) -> Duration {
        let now = self.clock.now();
        let expires = caller.expires_at();
        expires.map_or(Duration::MAX, |expires| expires.since(now))
    }
}

/// Returns `true` if the renewed token belongs to the same caller.
fn continues(old: &Principal, new: &Principal) -> bool {
    old.subject().is_some()
        && old.subject() == new.subject()
        && old.issuer() == new.issuer()
        && old.kind() == new.kind()
        && old.session_id() == new.session_id()
        && old.conversation() == new.conversation()
}

/// Returns the close reason for a verification error. A token that cannot be verified now is not
/// refused as invalid.
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
            revocation: self.revocation.clone(),
            confirmations: self.confirmations.clone(),
            clock: Arc::clone(&self.clock),
            first_message: self.first_message,
            check_every: self.check_every,
            close_within: self.close_within,
        }
    }
}

impl<C> fmt::Debug for SocketAuth<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketAuth")
            .field("revocation", &self.config.revocation)
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
