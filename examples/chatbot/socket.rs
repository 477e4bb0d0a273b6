//! The chat over a WebSocket, which closes when its token expires or is revoked.

use std::time::Duration;

use axum::{
    extract::{
        FromRef, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
};
use serde_json::json;
use tokio::time::timeout;
use tower_jwt_auth::{
    Principal,
    layer::socket::{AuthMessage, CloseReason, Owner, SocketAuth},
    principal::PrincipalKind,
    server::session::Guests,
};

use crate::bot::Bot;

/// The state of the chat's routes.
#[derive(Clone)]
pub(crate) struct Chat {
    pub(crate) bot: Bot,
    pub(crate) guests: Guests,
    pub(crate) sockets: SocketAuth,
}

impl FromRef<Chat> for Bot {
    fn from_ref(chat: &Chat) -> Self {
        chat.bot.clone()
    }
}

/// The layer has verified a token in the handshake. Without one there, the first message has the token.
pub(crate) async fn upgrade(
    State(chat): State<Chat>,
    caller: Option<Principal>,
    upgrade: WebSocketUpgrade,
) -> Response {
    // A frame is held in memory before the message is checked.
    let upgrade = upgrade
        .max_frame_size(LONGEST)
        .max_message_size(LONGEST)
        .protocols(["bearer"]);
    upgrade.on_upgrade(async move |mut socket| {
        let Err(reason) = chat.talk(caller, &mut socket).await else {
            return;
        };
        let (code, reason) = (reason.code(), reason.as_str().into());
        let goodbye = async {
            let close = Message::Close(Some(CloseFrame { code, reason }));
            let _ = socket.send(close).await;
            // Unread data would reset the connection before the client reads the close frame.
            while let Some(Ok(_)) = socket.recv().await {}
        };
        let _ = timeout(GOODBYE, goodbye).await;
    })
}

impl Chat {
    /// Takes a message and returns the answer.
    pub(crate) async fn hear(&self, who: &Principal, text: &str) -> Result<String, CloseReason> {
        let owner = Owner::of(who).ok_or(CloseReason::Unauthenticated)?;
        let owner = owner.subject();
        let is_guest = who.kind() == PrincipalKind::Guest;
        // Writing keeps the guest linkable for another hour.
        if is_guest {
            match self.guests.touch(owner).await {
                Ok(true) => {}
                Ok(false) => return Err(CloseReason::Revoked),
                Err(_) => return Err(CloseReason::Unavailable),
            }
        }
        Ok(self.bot.hear(owner, !is_guest, text))
    }

    async fn talk(
        &self,
        caller: Option<Principal>,
        socket: &mut WebSocket,
    ) -> Result<(), CloseReason> {
        let mut guard = match caller {
            Some(caller) => self.sockets.guard(caller)?,
            None => {
                let first = async {
                    match socket.recv().await {
                        Some(Ok(Message::Text(text))) => Some(text.to_string()),
                        _ => None,
                    }
                };
                self.sockets.first_message(first).await?
            }
        };
        loop {
            let message = tokio::select! {
                reason = guard.closed() => return Err(reason),
                message = socket.recv() => message,
            };
            let Some(Ok(message)) = message else {
                return Ok(());
            };
            let Message::Text(text) = message else {
                continue;
            };
            if let Some(renewal) = AuthMessage::parse(&text) {
                guard.renew(renewal.token().expose()).await?;
                continue;
            }
            let reply = self.hear(guard.caller(), &text).await?;
            let conversation = guard.caller().subject();
            let reply = json!({ "reply": reply, "conversation": conversation }).to_string();
            tokio::select! {
                // A client that does not read must not outlive its token.
                reason = guard.closed() => return Err(reason),
                sent = socket.send(Message::Text(reply.into())) => if sent.is_err() {
                    return Ok(());
                },
            }
        }
    }
}

/// The maximum size of a message, including its token, in bytes.
pub(crate) const LONGEST: usize = 8 * 1024;
const GOODBYE: Duration = Duration::from_secs(5);
