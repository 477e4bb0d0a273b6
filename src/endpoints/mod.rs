//! The endpoints of a login server: sign in, refresh, sign out, and what goes with them.
//!
//! [`AuthEndpoints`] is a tower service. Route all paths below its
//! [base path](AuthEndpointsBuilder::base_path) to it. It needs no authenticating layer
//! around it, and must not have one.
//!
//! | route below the base path | body | answer |
//! |---|---|---|
//! | `POST login` | `username` or `email`, `password`, and `device_token` where there is one | 200, the tokens; wrong credentials 401 |
//! | `POST guest` | nothing; where there are guests | 200, the tokens of a new guest; a guest is answered with the token that it has |
//! | `POST token` | the form of RFC 6749: `grant_type=password` or `refresh_token` | 200; wrong credentials 400 `invalid_grant` |
//! | `POST refresh` | `refresh_token`, or the cookie | 200, new tokens; else 400 `invalid_grant` |
//! | `POST logout` | `scope`: `device` (default), `others`, `all` | 204 |
//! | `POST password` | `current_password`, `new_password`, with a live access token | 200, new tokens; every other session ends; a wrong current password 400 `invalid_password`; a guest 403 `access_denied` |
//! | `POST revoke` | `token` (RFC 7009) | 200, also for an unknown token |
//! | `GET sessions`, `HEAD sessions` | | 200, the caller's sessions |
//! | `DELETE sessions/{sid}` | | 204; 404 where the caller has no such session |
//! | `POST register` | as `login`; where it was switched on | 201, the tokens; 409 where the name is taken, or the guest is an account's |
//!
//! A login and a registration with `"link": true` and the token of a guest, in the header or the cookie,
//! keep what the guest had: [`session::Guests`](crate::session::Guests). Ask the person first.
//!
//! Bodies are JSON or forms in UTF-8, of at most 16 KiB. Fields that an endpoint does not read are ignored. With `transport=cookie`, in the query or
//! the body, the tokens go into cookies ([`CookieNames`]) instead of the answer; a refresh by cookie
//! answers by cookie.
//!
//! The answers to a login, a registration and a change of the password that are not by cookie hold a
//! `device_token` ([`DeviceTokens`](crate::login::DeviceTokens)), which the next login sends back.
//!
//! `login`, `register`, `token` and `guest` take a `client_id`, one of those of the
//! [issuer](crate::issue::TokenIssuerBuilder::client_id); an unknown one counts as none. A refresh that
//! names a known client must name that of the session.
//!
//! Errors are those of RFC 6749 §5.2. An account that the grant source refuses at login is
//! `access_denied`. A client signs its user out on `invalid_grant` alone; a 429
//! and a 503 say when to try again, and leave tokens and cookies as they are.
//!
//! # Examples
//!
//! A login server and an API beside it, in memory. A database is another
//! [store](crate::store); [`AuthSettings`](crate::settings::AuthSettings) reads from the environment what
//! is made up here, and the example `auth_server` is such a server in full.
//!
//! ```
//! # #[cfg(not(all(feature = "aws-lc-rs", feature = "axum")))]
//! # fn main() {}
//! # #[cfg(all(feature = "aws-lc-rs", feature = "axum"))]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use axum::{Router, body::{self, Body}, routing::get};
//! use http::{Request, StatusCode, header::{AUTHORIZATION, CONTENT_TYPE}};
//! use tower::ServiceExt;
//! use tower_jwt_auth::{
//!     JwtAuthLayer, Principal,
//!     endpoints::AuthEndpoints,
//!     extract::Bearer,
//!     issue::{KeyRing, TokenIssuer},
//!     key::{Algorithm, SigningKey},
//!     login::Login,
//!     secret::SecretKey,
//!     session::Sessions,
//!     store::MemoryStore,
//! };
//!
//! let origin = "https://app.example";
//! let store = MemoryStore::new();
//! let secret = SecretKey::generate(); // one for all processes: "…".parse()
//! let key = SigningKey::generate(Algorithm::EdDsa)?; // likewise: SigningKey::from_pem
//! let issuer = TokenIssuer::builder(KeyRing::new(key)?).issuer(origin).audience(origin).build()?;
//! let verifier = issuer.verifier().build()?;
//! let revoked = store.revocations()?;
//! revoked.loaded(Duration::from_secs(5)).await;
//!
//! let sessions = Sessions::builder(issuer, store.clone())
//!     .secret(secret.clone())
//!     .revocation(revoked.clone()) // what ends here is refused here immediately
//!     .build()?;
//! let login = Login::builder(store.clone(), store, secret.clone()).build();
//! let endpoints = AuthEndpoints::builder(sessions, login, secret)
//!     .public_origin(origin)
//!     .registration(true)
//!     .build()?;
//!
//! let cookie = endpoints.cookie().ok_or("no public origin")?;
//! let auth = JwtAuthLayer::new(verifier).extract((Bearer::new(), cookie)).revocation(revoked);
//! let me = get(async |caller: Principal| caller.subject().unwrap_or_default().to_owned());
//! let app = Router::new()
//!     .route("/me", me)
//!     .route_layer(auth)
//!     .route_service("/.well-known/{*document}", endpoints.well_known())
//!     .route_service("/api/auth/{*endpoint}", endpoints);
//!
//! let ada = r#"{"email":"ada@example.org","password":"a long password"}"#;
//! let register = Request::post("/api/auth/register").header(CONTENT_TYPE, "application/json");
//! let answer = app.clone().oneshot(register.body(Body::from(ada))?).await?;
//! assert_eq!(answer.status(), StatusCode::CREATED);
//! let tokens = body::to_bytes(answer.into_body(), 10_000).await?;
//! let tokens: serde_json::Value = serde_json::from_slice(&tokens)?;
//! let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap_or_default());
//!
//! for (method, path, status) in [
//!     ("GET", "/me", StatusCode::OK),
//!     ("POST", "/api/auth/logout", StatusCode::NO_CONTENT),
//!     ("GET", "/me", StatusCode::UNAUTHORIZED),
//! ] {
//!     let request = Request::builder().method(method).uri(path).header(AUTHORIZATION, &bearer);
//!     let answer = app.clone().oneshot(request.body(Body::empty())?).await?;
//!     assert_eq!(answer.status(), status, "{path}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! At every refresh, roles and disabled accounts come from the user store of the [`Login`]:
//! [`SessionsBuilder::grant_source`](crate::session::SessionsBuilder::grant_source) sets another source.
//!
//! [`Login`]: crate::login::Login
//!
//! In front of real clients it also has to know which network an attempt comes from:
//! [`AuthEndpointsBuilder::clients`].
//!
//! # Security
//!
//! - Every answer is `no-store`.
//! - A cookie counts only with the CSRF rules of [`extract::Cookie`](crate::extract::Cookie). By cookie,
//!   `refresh`, `logout`, `password` and `DELETE sessions/{sid}` also need the session's proof in
//!   `X-CSRF-Token`. Of several
//!   refresh cookies the one that is proved counts: another host of the domain can set more.
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
mod register;
mod service;
mod strangers;
mod well_known;

pub(crate) use self::cookies::trusted;
pub use self::{
    builder::AuthEndpointsBuilder, cookies::CookieNames, service::AuthEndpoints,
    well_known::WellKnown,
};
