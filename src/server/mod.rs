//! The issuing side: a service that signs users in, and issues, refreshes and revokes their tokens.
//!
//! [`AuthServer`] is the front door: from settings and a store to layers, endpoints and background tasks.
//! It consists of these parts, which can also be used by themselves:
//!
//! | module | contents |
//! |---|---|
//! | [`issue`] | [`TokenIssuer`](issue::TokenIssuer): access tokens (RFC 9068), the signing keys and their rotation, the published key set |
//! | [`refresh`] | refresh tokens and the [`RefreshPolicy`](refresh::RefreshPolicy): grace window, detection of stolen tokens |
//! | [`session`] | [`Sessions`](session::Sessions): start, refresh, list, end; [`Guests`](session::Guests); [`Housekeeping`](session::Housekeeping) |
//! | [`login`] | [`Login`](login::Login): identifier and password, throttling, password change and reset |
//! | [`mail`] | [`Mailer`](mail::Mailer), [`MailFlows`](mail::MailFlows): links and codes by mail, and notices |
//! | [`endpoints`] | [`AuthEndpoints`](endpoints::AuthEndpoints): all of it over HTTP, with tokens in bodies or cookies |
//!
//! Each part works without those below it. A service that only signs tokens needs only `issue`. A service
//! that authenticates by a passkey or another identity provider passes the subject to
//! [`AuthServer::sign_in`], which responds as a login does. Without endpoints it calls
//! [`Sessions::start`](session::Sessions::start).
//!
//! Sessions, users and counters are kept in a [store](crate::store). Resource servers verify the issued
//! tokens with [`TokenIssuer::verifier`](issue::TokenIssuer::verifier) in the same process, and by the
//! published key set in another one.
//!
//! | question | chapter of the manual |
//! |---|---|
//! | wiring a login server, your users table, cookies | [login](crate::manual::login) |
//! | session lifetimes, refresh policies, revocation | [sessions](crate::manual::sessions) |
//! | signing keys and rotation | [issuing](crate::manual::issuing) |
//! | anonymous users | [guests](crate::manual::guests) |
//!
//! [`AuthSettings`] reads the configuration from the environment. The example `auth_server` is a complete
//! server, and [`endpoints`] has the wiring of the parts as an example.

mod auth_server;
pub mod endpoints;
pub mod issue;
pub mod login;
pub mod mail;
pub mod refresh;
pub mod session;
mod settings;

pub use self::auth_server::{AuthServer, AuthServerBuilder};
pub use self::settings::{AuthSecrets, AuthSettings, SeedUser};
