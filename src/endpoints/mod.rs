//! The endpoints of a login server: sign in, refresh, sign out, and what goes with them.
//!
//! [`AuthEndpoints`] is a tower service; mount it where you like. It needs no authenticating layer
//! around it, and must not have one.
//!
//! | route below the mount | body | answer |
//! |---|---|---|
//! | `POST login` | `username` or `email`, `password` | 200, the tokens; wrong credentials 401 |
//! | `POST guest` | nothing; where there are guests | 200, the tokens of a new guest; a guest is answered with the token that it has |
//! | `POST token` | the form of RFC 6749: `grant_type=password` or `refresh_token` | 200; wrong credentials 400 `invalid_grant` |
//! | `POST refresh` | `refresh_token`, or the cookie | 200, new tokens; else 400 `invalid_grant` |
//! | `POST logout` | `scope`: `device` (default), `others`, `all` | 204 |
//! | `POST password` | `current_password`, `new_password`, with a live access token | 200, new tokens; every other session ends |
//! | `POST revoke` | `token` (RFC 7009) | 200, also for an unknown token |
//! | `GET sessions` | | 200, the caller's sessions |
//! | `DELETE sessions/{sid}` | | 204; 404 where the caller has no such session |
//! | `POST register` | as `login`; where it was switched on | 201, the tokens; 409 where the name is taken |
//!
//! A login and a registration with `"link": true` and the token of a guest, in the header or the cookie,
//! keep what the guest had: [`session::Guests`](crate::session::Guests). Ask the person first.
//!
//! Bodies are JSON or forms. With `transport=cookie`, in the query or the body, the tokens go into
//! cookies ([`CookieNames`]) instead of the answer; a refresh by cookie answers by cookie.
//!
//! Errors are those of RFC 6749 §5.2. A client signs its user out on `invalid_grant` alone; a 429
//! and a 503 say when to try again, and leave tokens and cookies as they are.
//!
//! # Security
//!
//! - Every answer is `no-store`.
//! - A cookie counts only with the CSRF rules of [`extract::Cookie`](crate::extract::Cookie); a
//!   refresh and a logout by cookie need the session's proof in `X-CSRF-Token` besides.
//! - A failed refresh never deletes a cookie: of two tabs the loser would throw away the winner's.

mod answer;
mod builder;
mod cookies;
mod fields;
mod guests;
mod login;
mod logout;
mod password;
mod refresh;
mod service;
mod well_known;

pub use self::{
    builder::AuthEndpointsBuilder, cookies::CookieNames, service::AuthEndpoints,
    well_known::WellKnown,
};
