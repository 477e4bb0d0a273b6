//! The two message types of a WebSocket that its loop has to understand.

use std::fmt;

/// Reads and creates the messages of one WebSocket library: the text of a message, and the Close frame.
///
/// The macro [`websocket_frames`](crate::websocket_frames) returns this value for axum, warp and
/// tokio-tungstenite. For another library, pass its two functions to [`new`](Self::new).
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::layer::socket::Frames;
///
/// enum Message {
///     Text(String),
///     Close(u16, &'static str),
/// }
///
/// const FRAMES: Frames<Message> = Frames::new(
///     |message| match message {
///         Message::Text(text) => Some(text),
///         Message::Close(..) => None,
///     },
///     Message::Close,
/// );
/// ```
pub struct Frames<M> {
    text: fn(&M) -> Option<&str>,
    close: fn(u16, &'static str) -> M,
}

impl<M> Frames<M> {
    /// Creates the value from two functions. `text` returns the text of a text message, and `None` for
    /// any other message. `close` creates a Close frame from a status code and a reason.
    #[must_use]
    pub const fn new(text: fn(&M) -> Option<&str>, close: fn(u16, &'static str) -> M) -> Self {
        Self { text, close }
    }

    pub(super) fn text<'m>(&self, message: &'m M) -> Option<&'m str> {
        (self.text)(message)
    }

    pub(super) fn close(&self, code: u16, reason: &'static str) -> M {
        (self.close)(code, reason)
    }
}

// Not derived: the message type need not implement `Copy`.
impl<M> Clone for Frames<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Frames<M> {}

impl<M> fmt::Debug for Frames<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").finish_non_exhaustive()
    }
}

/// Returns the [`Frames`](crate::layer::socket::Frames) of a WebSocket library: `axum`, `warp` or
/// `tokio_tungstenite`.
///
/// The macro names the types of the library that your crate depends on, whatever its version. This crate
/// does not depend on it.
///
/// ```
/// use axum::extract::ws::Message;
/// use tower_jwt_auth::{layer::socket::Frames, websocket_frames};
///
/// const FRAMES: Frames<Message> = websocket_frames!(axum);
/// ```
#[macro_export]
macro_rules! websocket_frames {
    (axum) => {
        $crate::layer::socket::Frames::<::axum::extract::ws::Message>::new(
            |message| match message {
                ::axum::extract::ws::Message::Text(text) => Some(text.as_str()),
                _ => None,
            },
            |code, reason| {
                let reason = reason.into();
                ::axum::extract::ws::Message::Close(Some(::axum::extract::ws::CloseFrame {
                    code,
                    reason,
                }))
            },
        )
    };
    (warp) => {
        $crate::layer::socket::Frames::<::warp::ws::Message>::new(
            |message| match message.is_text() {
                true => message.to_str().ok(),
                false => None,
            },
            ::warp::ws::Message::close_with,
        )
    };
    (tokio_tungstenite) => {
        $crate::layer::socket::Frames::<::tokio_tungstenite::tungstenite::Message>::new(
            |message| match message {
                ::tokio_tungstenite::tungstenite::Message::Text(text) => Some(text.as_str()),
                _ => None,
            },
            |code, reason| {
                let (code, reason) = (code.into(), reason.into());
                ::tokio_tungstenite::tungstenite::Message::Close(Some(
                    ::tokio_tungstenite::tungstenite::protocol::CloseFrame { code, reason },
                ))
            },
        )
    };
}
