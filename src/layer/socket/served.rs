//! The loop of a WebSocket that ends with its token.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use futures_sink::Sink;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::{AuthMessage, CloseReason, Frames, SocketAuth, SocketGuard};
use crate::{
    principal::{Claims, Principal},
    task::end_of_wait,
};

/// An authenticated WebSocket, which ends with its token; created by [`SocketAuth::accept`].
///
/// [`recv`](Self::recv) and [`send`](Self::send) replace those of the socket. When the token has expired or
/// was revoked, they send a Close frame with the [reason](CloseReason), read what the client has
/// already sent for at most 5 s, and return. A client that does not read cannot delay the end.
/// Messages that [renew](AuthMessage) the token are processed and not returned.
///
/// Set the maximum size of a message in the WebSocket library, because the library holds a message in
/// memory before this type receives it.
pub struct AuthSocket<S, M, C = Claims> {
    line: Line<S, M>,
    guard: SocketGuard<C>,
    /// A renewal that was received. It is kept until it is processed, so that a dropped future does not
    /// lose it.
    renewal: Option<AuthMessage>,
}

/// A socket and its end.
struct Line<S, M> {
    socket: S,
    frames: Frames<M>,
    state: State,
    close_within: Duration,
}

#[derive(Clone, Copy)]
enum State {
    Open,
    Closing {
        reason: CloseReason,
        sent: bool,
        until: Instant,
    },
    Over(Option<CloseReason>),
}

impl<C: DeserializeOwned + Send + Sync + 'static> SocketAuth<C> {
    /// Authenticates a WebSocket after its upgrade.
    ///
    /// `caller` is the caller of the handshake, from an optional authenticating layer with a
    /// [`WebSocketProtocol`](crate::layer::extract::WebSocketProtocol). Without one, the first text
    /// message has to be an [`AuthMessage`].
    ///
    /// # Examples
    ///
    /// A server that sends the time, with axum:
    ///
    /// ```
    /// # #[cfg(all(feature = "axum", feature = "aws-lc-rs"))]
    /// # mod example {
    /// use axum::{extract::{State, ws::{Message, WebSocketUpgrade}}, response::Response};
    /// use tower_jwt_auth::{Principal, layer::socket::SocketAuth, websocket_frames};
    ///
    /// async fn upgrade(
    ///     State(auth): State<SocketAuth>,
    ///     caller: Option<Principal>,
    ///     upgrade: WebSocketUpgrade,
    /// ) -> Response {
    ///     upgrade.protocols(["bearer"]).on_upgrade(async move |socket| {
    ///         let Ok(mut socket) = auth.accept(socket, websocket_frames!(axum), caller).await else {
    ///             return;
    ///         };
    ///         let mut seconds = tokio::time::interval(std::time::Duration::from_secs(1));
    ///         loop {
    ///             tokio::select! {
    ///                 message = socket.recv() => if message.is_none() { return },
    ///                 _ = seconds.tick() => {
    ///                     let now = format!("{:?}", std::time::SystemTime::now());
    ///                     socket.send(Message::text(now)).await;
    ///                 }
    ///             }
    ///         }
    ///     })
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The reason with which the socket was closed, as for [`guard`](Self::guard) and
    /// [`first_message`](Self::first_message).
    pub async fn accept<S, M, E>(
        &self,
        socket: S,
        frames: Frames<M>,
        caller: Option<Principal>,
    ) -> Result<AuthSocket<S, M, C>, CloseReason>
    where
        S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
    {
        let mut line = Line {
            socket,
            frames,
            state: State::Open,
            close_within: self.closes_within(),
        };
        let guard = match caller {
            Some(caller) => self.guard(caller),
            None => self.first_message(line.first_text()).await,
        };
        match guard {
            Ok(guard) => Ok(AuthSocket {
                line,
                guard,
                renewal: None,
            }),
            Err(reason) => {
                line.end(reason);
                line.goodbye().await;
                Err(reason)
            }
        }
    }

    /// Serves a WebSocket that answers messages, from its upgrade to its end. Returns the reason with
    /// which the socket was closed; `None` if the client left.
    ///
    /// `answer` receives the caller and each message, and returns the answer to send, if any. An error
    /// closes the socket. Pings and messages that renew the token need no answer; the former are passed
    /// to `answer` like every message.
    ///
    /// [`SocketAuth`] has an example.
    ///
    /// # Cancel safety
    ///
    /// When the socket has to be closed, the future of `answer` is dropped, as a server drops the future
    /// of a handler whose client left.
    pub async fn run<S, M, E, F, A>(
        &self,
        socket: S,
        frames: Frames<M>,
        caller: Option<Principal>,
        mut answer: F,
    ) -> Option<CloseReason>
    where
        S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
        F: FnMut(Principal, M) -> A,
        A: Future<Output = Result<Option<M>, CloseReason>>,
    {
        let mut socket = match self.accept(socket, frames, caller).await {
            Ok(socket) => socket,
            Err(reason) => return Some(reason),
        };
        while let Some(message) = socket.recv().await {
            let answer = answer(socket.caller().clone(), message);
            match within(&mut socket.guard, answer).await {
                Ok(Ok(Some(answer))) => {
                    socket.send(answer).await;
                }
                Ok(Ok(None)) => {}
                Ok(Err(reason)) | Err(reason) => socket.close(reason).await,
            }
        }
        socket.reason()
    }
}

impl<S, M, C> AuthSocket<S, M, C> {
    /// Returns the caller, as authenticated by the newest token.
    #[must_use]
    pub fn caller(&self) -> &Principal {
        self.guard.caller()
    }

    /// Returns the reason with which the socket was closed; `None` if it is open or the client left.
    #[must_use]
    pub fn reason(&self) -> Option<CloseReason> {
        match self.line.state {
            State::Open => None,
            State::Closing { reason, .. } => Some(reason),
            State::Over(reason) => reason,
        }
    }
}

impl<S, M, E, C> AuthSocket<S, M, C>
where
    S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
    C: DeserializeOwned + Send + Sync + 'static,
{
    /// Receives the next message. Returns `None` when the socket has ended: it was closed, or the client
    /// left.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and created again, as `select!` in a loop does. No message is lost.
    pub async fn recv(&mut self) -> Option<M> {
        loop {
            if !self.line.is_open() {
                self.line.goodbye().await;
                return None;
            }
            if let Some(renewal) = &self.renewal {
                let renewed = self.guard.renew(renewal.token().expose()).await;
                self.renewal = None;
                if let Err(reason) = renewed {
                    self.line.end(reason);
                }
                continue;
            }
            match within(&mut self.guard, self.line.next()).await {
                Err(reason) => self.line.end(reason),
                Ok(None) => self.line.state = State::Over(None),
                Ok(Some(message)) => {
                    let text = self.line.frames.text(&message);
                    match text.and_then(AuthMessage::parse) {
                        Some(renewal) => self.renewal = Some(renewal),
                        None => return Some(message),
                    }
                }
            }
        }
    }

    /// Sends a message. Returns `false` if the socket has ended, before the message or while it was sent.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message may have been sent.
    pub async fn send(&mut self, message: M) -> bool {
        if self.line.is_open() {
            match within(&mut self.guard, self.line.send(message)).await {
                Ok(true) => return true,
                Ok(false) => self.line.state = State::Over(None),
                Err(reason) => self.line.end(reason),
            }
        }
        self.line.goodbye().await;
        false
    }

    /// Closes the socket with this reason, unless it has ended already.
    pub async fn close(&mut self, reason: CloseReason) {
        if self.line.is_open() {
            self.line.end(reason);
        }
        self.line.goodbye().await;
    }
}

impl<S, M> Line<S, M> {
    fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Begins the end.
    fn end(&mut self, reason: CloseReason) {
        self.state = State::Closing {
            reason,
            sent: false,
            until: end_of_wait(Instant::now(), self.close_within),
        };
    }
}

impl<S, M, E> Line<S, M>
where
    S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
{
    /// Returns the next message; `None` if the connection has ended or is broken.
    async fn next(&mut self) -> Option<M> {
        let next = poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).await;
        next.and_then(Result::ok)
    }

    async fn first_text(&mut self) -> Option<String> {
        loop {
            let message = self.next().await?;
            if let Some(text) = self.frames.text(&message) {
                return Some(text.to_owned());
            }
        }
    }

    async fn send(&mut self, message: M) -> bool {
        let mut message = Some(message);
        poll_fn(|cx| self.poll_send(cx, &mut message))
            .await
            .is_some()
    }

    /// Sends what is in `message` and flushes it. `None` if the connection is broken.
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Option<M>) -> Poll<Option<()>> {
        if message.is_some() {
            if ready!(Pin::new(&mut self.socket).poll_ready(cx)).is_err() {
                return Poll::Ready(None);
            }
            if let Some(message) = message.take()
                && Pin::new(&mut self.socket).start_send(message).is_err()
            {
                return Poll::Ready(None);
            }
        }
        let flushed = ready!(Pin::new(&mut self.socket).poll_flush(cx));
        Poll::Ready(flushed.ok())
    }

    /// Sends the Close frame and reads until the client has closed as well, for a limited time.
    async fn goodbye(&mut self) {
        let State::Closing { reason, until, .. } = self.state else {
            return;
        };
        let _ = timeout_at(until, poll_fn(|cx| self.poll_goodbye(cx))).await;
        self.state = State::Over(Some(reason));
    }

    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let State::Closing { reason, sent, .. } = &mut self.state
            && !*sent
        {
            if ready!(Pin::new(&mut self.socket).poll_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            *sent = true;
            let frame = self.frames.close(reason.code(), reason.as_str());
            if Pin::new(&mut self.socket).start_send(frame).is_err() {
                return Poll::Ready(());
            }
        }
        // A client that does not read its messages may still send.
        if let Poll::Ready(Err(_)) = Pin::new(&mut self.socket).poll_flush(cx) {
            return Poll::Ready(());
        }
        while let Some(Ok(_)) = ready!(Pin::new(&mut self.socket).poll_next(cx)) {}
        Poll::Ready(())
    }
}

/// Completes with the future, or with the reason if the socket has to be closed before.
async fn within<C: 'static, T>(
    guard: &mut SocketGuard<C>,
    work: impl Future<Output = T>,
) -> Result<T, CloseReason> {
    let (mut closed, mut work) = (pin!(guard.closed()), pin!(work));
    poll_fn(|cx| {
        if let Poll::Ready(reason) = closed.as_mut().poll(cx) {
            return Poll::Ready(Err(reason));
        }
        work.as_mut().poll(cx).map(Ok)
    })
    .await
}

impl<S, M, C> fmt::Debug for AuthSocket<S, M, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSocket")
            .field("reason", &self.reason())
            .finish_non_exhaustive()
    }
}
