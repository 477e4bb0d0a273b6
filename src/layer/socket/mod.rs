//! Chat: guests and users on the same routes, and sockets that close with their token.
//!
//! A [`ChatLayer`] inside an optional [`JwtAuthLayer`](crate::JwtAuthLayer) inserts a
//! [`ChatContext`] into the request's extensions: the caller, the session, the conversation, and
//! the right to manage conversations. [`SocketAuth`] serves WebSockets that close when their token has
//! expired or was revoked. Its [`SocketGuard`] does the same for event streams. Handlers use
//! [`UserPrincipal`], [`GuestPrincipal`] and [`AnyPrincipal`] to require a kind of caller, and [`Owner`] to
//! store the owner of a conversation. None of them accepts a service or an API key, whatever its subject is.
//!
//! Guests are created by [`Guests`]. The manual has a chapter about
//! [guests, chats and sockets](../../manual/guests/index.html).
//!
//! [`Guests`]: ../../server/session/struct.Guests.html
//! [`UserPrincipal`]: crate::principal::UserPrincipal
//! [`GuestPrincipal`]: crate::principal::GuestPrincipal
//! [`AnyPrincipal`]: crate::principal::AnyPrincipal
//!
//! # Examples
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_jwt_auth::{
//!     Principal,
//!     layer::{
//!         role_guard::Rule,
//!         socket::{ChatContext, ChatLayer},
//!     },
//!     principal::PrincipalKind,
//! };
//!
//! async fn whoami(request: Request<()>) -> Result<Response<String>, Infallible> {
//!     let mut response = Response::new(String::new());
//!     let chat = ChatContext::from_extensions(request.extensions());
//!     let who = match chat {
//!         Some(chat) if chat.can_manage() => "manager",
//!         Some(chat) if chat.is_authenticated() => "user",
//!         _ => "guest",
//!     };
//!     response.headers_mut().insert("x-who", http::HeaderValue::from_static(who));
//!     Ok(response)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Infallible> {
//! let chat = ChatLayer::new().manage(Rule::any_of(["editor"]));
//! let service = chat.layer(service_fn(whoami));
//! // The caller would be inserted by an authenticating layer; the example does it by hand.
//! let answer = |caller: Principal| {
//!     let mut request = Request::new(());
//!     request.extensions_mut().insert(caller);
//!     service.clone().oneshot(request)
//! };
//!
//! let alice = Principal::builder().subject("alice").roles(["editor"]).build();
//! assert_eq!(answer(alice).await?.headers()["x-who"], "manager");
//!
//! let guest = Principal::builder().kind(PrincipalKind::Guest).subject("gst_1").build();
//! assert_eq!(answer(guest).await?.headers()["x-who"], "guest");
//! # Ok(())
//! # }
//! ```

mod auth;
mod checked;
mod close;
mod context;
mod frames;
mod layer;
mod message;
mod owner;
mod served;
mod service;

pub use self::{
    auth::{SocketAuth, SocketGuard},
    close::CloseReason,
    context::ChatContext,
    frames::Frames,
    layer::ChatLayer,
    message::AuthMessage,
    owner::Owner,
    served::AuthSocket,
};
// Named only to write down the type of a service.
#[doc(hidden)]
pub use self::service::ChatService;
