//! The chat of the login server: guests begin a conversation, users continue it.
//!
//! The bot repeats messages. A limited number of conversations is kept in this process's memory. Store yours
//! in the database, where every node finds them.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::{
        DefaultBodyLimit, State,
        ws::{Message, WebSocketUpgrade},
    },
    response::Response,
    routing::{any, get},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_jwt_auth::{
    AuthServer, Principal,
    error::StoreError,
    layer::socket::{ChatContext, ChatLayer, CloseReason, Owner},
    principal::{AnyPrincipal, PrincipalKind},
    server::session::ClaimHook,
    websocket_frames,
};

#[derive(Clone)]
struct Chat {
    conversations: Conversations,
    auth: AuthServer,
}

pub(crate) fn routes(conversations: Conversations, auth: AuthServer) -> Router {
    let layer = auth.socket_layer();
    Router::new()
        .route("/chat/messages", get(history).post(say))
        .route("/chat/context", get(context))
        .route("/chat/ws", any(upgrade))
        .with_state(Chat {
            conversations,
            auth,
        })
        .layer(DefaultBodyLimit::max(LONGEST))
        .layer(ChatLayer::new())
        .layer(layer)
}

async fn context(State(chat): State<Chat>, caller: ChatContext) -> Json<Value> {
    let conversation = caller.subject().map(|owner| chat.conversations.name(owner));
    Json(json!({
        "authenticated": caller.is_authenticated(), "user_id": caller.user_id(),
        "session_id": caller.session_id(), "conversation": conversation,
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

async fn say(
    State(chat): State<Chat>,
    caller: AnyPrincipal,
    Json(said): Json<Said>,
) -> Result<Json<Value>, CloseReason> {
    chat.hear(&caller, &said.text).await.map(Json)
}

/// The layer has verified a token in the handshake. Without one there, the first message has the token.
async fn upgrade(
    State(chat): State<Chat>,
    caller: Option<Principal>,
    upgrade: WebSocketUpgrade,
) -> Response {
    // A frame is held in memory before the message is checked.
    let upgrade = upgrade.max_frame_size(LONGEST).max_message_size(LONGEST);
    let upgrade = upgrade.protocols(["bearer"]);
    upgrade.on_upgrade(async move |socket| {
        let answer = async |caller: Principal, message| {
            let Message::Text(text) = message else {
                return Ok(None);
            };
            // The JSON of `POST /chat/messages`, or plain text.
            let said = serde_json::from_str(&text).map(|said: Said| said.text);
            let reply = chat.hear(&caller, said.as_deref().unwrap_or(&text)).await?;
            Ok(Some(Message::text(reply.to_string())))
        };
        let (sockets, frames) = (chat.auth.sockets(), websocket_frames!(axum));
        sockets.run(socket, frames, caller, answer).await;
    })
}

impl Chat {
    /// Takes a message and returns the answer.
    async fn hear(&self, caller: &Principal, text: &str) -> Result<Value, CloseReason> {
        // All tokens are of one issuer, so the subject identifies the owner. A service cannot be an owner.
        let owner = Owner::of(caller).ok_or(CloseReason::Unauthenticated)?;
        let is_guest = caller.kind() == PrincipalKind::Guest;
        // Writing keeps the guest linkable for another hour. A guest that was just linked on another node
        // cannot write any more.
        if is_guest {
            let alive = self.auth.guests().touch(owner.subject()).await;
            if !alive.map_err(|_| CloseReason::Unavailable)? {
                return Err(CloseReason::Revoked);
            }
        }
        let reply = format!("You said: {text}");
        let conversations = &self.conversations;
        conversations.add(owner.subject(), is_guest, [text, &reply]);
        Ok(json!({ "reply": reply, "conversation": conversations.name(owner.subject()) }))
    }
}

/// The lines of all conversations, by the subject that owns them.
#[derive(Clone, Default)]
pub(crate) struct Conversations(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// With a flag for what a guest wrote, before the user signed in.
    lines: VecDeque<(String, Value)>,
    /// The most recently claimed guests and their users. The user's conversation goes on under the guest's
    /// name. A message that is in progress while its guest is claimed is added to it.
    claimed: VecDeque<(String, String)>,
}

impl Conversations {
    /// Returns the identifier of the owner's conversation.
    pub(crate) fn name(&self, owner: &str) -> String {
        let kept = self.kept();
        let claimed = kept.claimed.iter().find(|(_, user)| user == owner);
        claimed.map_or(owner, |(guest, _)| guest).to_owned()
    }

    pub(crate) fn lines(&self, owner: &str) -> Vec<Value> {
        let kept = self.kept();
        let own = kept.lines.iter().filter(|(of, _)| of == owner);
        own.map(|(_, line)| line.clone()).collect()
    }

    /// Adds a message and its answer.
    pub(crate) fn add(&self, owner: &str, from_guest: bool, texts: [&str; 2]) {
        let mut kept = self.kept();
        let Kept { lines, claimed } = &mut *kept;
        let claimed = claimed.iter().find(|(guest, _)| guest == owner);
        let owner = claimed.map_or(owner, |(_, user)| user);
        for (from, text) in ["you", "bot"].into_iter().zip(texts) {
            let line = json!({ "from": from, "text": text, "from_guest": from_guest });
            lines.push_back((owner.to_owned(), line));
        }
        let own = lines.iter().filter(|(of, _)| of == owner).count();
        let mut old = own.saturating_sub(LINES);
        lines.retain(|(of, _)| {
            let goes = of == owner && old > 0;
            old -= usize::from(goes);
            !goes
        });
        lines.drain(..lines.len().saturating_sub(ALL_LINES));
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClaimHook for Conversations {
    /// Puts the guest's lines after the user's. A second call finds none.
    async fn on_claim(&self, guest: &str, user: &str) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let lines = mem::take(&mut kept.lines).into_iter();
        let (moved, rest) = lines.partition::<VecDeque<_>, _>(|(owner, _)| owner == guest);
        kept.lines = rest;
        let moved = moved.into_iter().map(|(_, line)| (user.to_owned(), line));
        kept.lines.extend(moved);
        kept.claimed.retain(|(known, _)| known != guest);
        kept.claimed.push_front((guest.to_owned(), user.to_owned()));
        kept.claimed.truncate(ALL_LINES);
        Ok(())
    }
}

/// The maximum size of a message, including its token, in bytes.
const LONGEST: usize = 8 * 1024;
const LINES: usize = 20;
const ALL_LINES: usize = 20_000;
