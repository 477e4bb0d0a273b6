//! The chat of the login server: guests begin a conversation, users continue it.
//!
//! The bot repeats messages. A limited number of conversations is kept in this process's memory. Store yours
//! in the database, where every node finds them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{
        DefaultBodyLimit, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    http::{
        StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
    routing::{any, get},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower_jwt_auth::{
    Principal,
    error::StoreError,
    layer::socket::{AuthMessage, ChatContext, ChatLayer, CloseReason, Owner, SocketAuth},
    principal::{AnyPrincipal, PrincipalKind},
    server::session::{ClaimHook, Guests},
};

#[derive(Clone)]
pub(crate) struct Chat {
    pub(crate) conversations: Conversations,
    pub(crate) guests: Guests,
    pub(crate) sockets: SocketAuth,
}

/// Returns the routes. They need an optional authenticating layer outside.
pub(crate) fn routes(chat: Chat) -> Router {
    Router::new()
        .route("/chat/messages", get(history).post(say))
        .route("/chat/context", get(context))
        .route("/chat/ws", any(upgrade))
        .with_state(chat)
        .layer(DefaultBodyLimit::max(LONGEST))
        .layer(ChatLayer::new())
}

async fn context(State(chat): State<Chat>, caller: ChatContext) -> Json<Value> {
    let conversation = caller.subject().map(|owner| chat.conversations.name(owner));
    Json(json!({
        "authenticated": caller.is_authenticated(),
        "user_id": caller.user_id(),
        "session_id": caller.session_id(),
        "conversation": conversation,
        "can_manage_tasks": caller.is_authenticated(),
        "permissions": caller.permissions().collect::<Vec<_>>(),
        "expires_at": caller.expires_at().map(|at| at.as_secs()),
    }))
}

async fn history(State(chat): State<Chat>, caller: AnyPrincipal) -> Json<Value> {
    let owner = caller.subject().unwrap_or_default();
    Json(json!({ "messages": chat.conversations.lines(owner) }))
}

#[derive(Deserialize)]
struct Said {
    text: String,
}

async fn say(State(chat): State<Chat>, caller: AnyPrincipal, Json(said): Json<Said>) -> Response {
    match chat.hear(&caller, &said.text).await {
        Ok(reply) => Json(reply).into_response(),
        Err(CloseReason::Unavailable) => {
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")]).into_response()
        }
        Err(_) => {
            let challenge = r#"Bearer error="invalid_token""#;
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response()
        }
    }
}

/// The layer has verified a token in the handshake. Without one there, the first message has the token.
async fn upgrade(
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
            // The JSON of `POST /chat/messages`, or plain text.
            let said = serde_json::from_str(&text).map(|said: Said| said.text);
            let said = said.as_deref().unwrap_or(&text);
            let reply = self.hear(guard.caller(), said).await?.to_string();
            tokio::select! {
                // A client that does not read must not outlive its token.
                reason = guard.closed() => return Err(reason),
                sent = socket.send(Message::Text(reply.into())) => if sent.is_err() {
                    return Ok(());
                },
            }
        }
    }

    /// Takes a message and returns the answer.
    async fn hear(&self, caller: &Principal, text: &str) -> Result<Value, CloseReason> {
        // All tokens are of one issuer, so the subject identifies the owner. A service cannot be an owner.
        let owner = Owner::of(caller).ok_or(CloseReason::Unauthenticated)?;
        let owner = owner.subject();
        let is_guest = caller.kind() == PrincipalKind::Guest;
        // Writing keeps the guest linkable for another hour. A guest that was just linked on another node
        // cannot write any more.
        if is_guest {
            match self.guests.touch(owner).await {
                Ok(true) => {}
                Ok(false) => return Err(CloseReason::Revoked),
                Err(_) => return Err(CloseReason::Unavailable),
            }
        }
        let reply = format!("You said: {text}");
        let conversation = self.conversations.add(owner, is_guest, [text, &reply]);
        Ok(json!({ "reply": reply, "conversation": conversation }))
    }
}

/// All conversations, by the subject that owns them.
#[derive(Clone, Default)]
pub(crate) struct Conversations(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    all: HashMap<String, Conversation>,
    /// The most recently claimed guests and their users. A message that is in progress while its guest is
    /// claimed is added to the user's conversation.
    claimed: VecDeque<(String, String)>,
}

struct Conversation {
    /// The subject that began the conversation. It is kept when a user takes the conversation over.
    name: String,
    lines: VecDeque<Line>,
    used: Instant,
}

#[derive(Clone, Serialize)]
struct Line {
    from: &'static str,
    text: String,
    /// `true` if a guest wrote the message, before the user signed in.
    from_guest: bool,
}

impl Conversations {
    fn name(&self, owner: &str) -> String {
        let kept = self.kept();
        let name = kept.all.get(owner).map_or(owner, |one| &one.name);
        name.to_owned()
    }

    fn lines(&self, owner: &str) -> Vec<Line> {
        let kept = self.kept();
        let lines = kept.all.get(owner).map(|one| one.lines.iter().cloned());
        lines.into_iter().flatten().collect()
    }

    /// Adds a message and its answer, and returns the conversation's identifier.
    fn add(&self, owner: &str, from_guest: bool, [said, answered]: [&str; 2]) -> String {
        let mut kept = self.kept();
        let Kept { all, claimed } = &mut *kept;
        let user = claimed.iter().find(|(guest, _)| guest == owner);
        let owner = user.map_or(owner, |(_, user)| user);
        make_room(all, owner);
        let one = all
            .entry(owner.to_owned())
            .or_insert_with(|| Conversation::of(owner));
        for (from, text) in [("you", said), ("bot", answered)] {
            let text = text.to_owned();
            one.lines.push_back(Line {
                from,
                text,
                from_guest,
            });
        }
        one.trim();
        one.name.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClaimHook for Conversations {
    /// Appends the guest's conversation to the user's. A second call finds nothing to move.
    async fn on_claim(&self, guest: &str, user: &str) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let Kept { all, claimed } = &mut *kept;
        if !claimed.iter().any(|(known, _)| known == guest) {
            claimed.truncate(CONVERSATIONS - 1);
            claimed.push_front((guest.to_owned(), user.to_owned()));
        }
        let mut goes_on = match all.remove(guest) {
            Some(begun) => begun,
            None if all.contains_key(user) => return Ok(()),
            None => Conversation::of(guest),
        };
        if let Some(mut had) = all.remove(user) {
            had.lines.append(&mut goes_on.lines);
            goes_on.lines = had.lines;
        }
        goes_on.trim();
        make_room(all, user);
        all.insert(user.to_owned(), goes_on);
        Ok(())
    }
}

impl Conversation {
    fn of(subject: &str) -> Self {
        Self {
            name: subject.to_owned(),
            lines: VecDeque::new(),
            used: Instant::now(),
        }
    }

    fn trim(&mut self) {
        let old = self.lines.len().saturating_sub(LINES);
        self.lines.drain(..old);
        self.used = Instant::now();
    }
}

/// Removes the least recently used conversation if there is no room for a new one.
fn make_room(all: &mut HashMap<String, Conversation>, owner: &str) {
    if all.len() < CONVERSATIONS || all.contains_key(owner) {
        return;
    }
    let silent = all.iter().min_by_key(|(_, one)| one.used);
    if let Some(owner) = silent.map(|(owner, _)| owner.clone()) {
        all.remove(&owner);
    }
}

/// The maximum size of a message, including its token, in bytes.
const LONGEST: usize = 8 * 1024;
const LINES: usize = 20;
const CONVERSATIONS: usize = 1000;
const GOODBYE: Duration = Duration::from_secs(5);

// These tests run as part of tests/auth_server.rs.
#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn w2_a_guests_message_that_meets_the_claim_goes_on_with_the_user() {
        let conversations = Conversations::default();
        let name = conversations.add("gst_1", true, ["before", "ok"]);
        conversations.on_claim("gst_1", "alice").await.unwrap();
        // The request passed the layer before the claim.
        assert_eq!(conversations.add("gst_1", true, ["late", "ok"]), name);
        let texts = |owner| {
            let lines = conversations.lines(owner);
            lines.into_iter().map(|line| line.text).collect::<Vec<_>>()
        };
        assert_eq!(texts("alice"), ["before", "ok", "late", "ok"]);
        assert!(texts("gst_1").is_empty());
        // The hook may be called twice.
        conversations.on_claim("gst_1", "alice").await.unwrap();
        assert_eq!(texts("alice").len(), 4);
    }
}
