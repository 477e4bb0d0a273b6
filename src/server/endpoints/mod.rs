//! The endpoints of a login server: login, refresh, logout, and related endpoints.
//!
//! [`AuthEndpoints`] is a tower service. Route all paths below its [base
//! path](AuthEndpointsBuilder::base_path) to it. Do not put an authenticating layer around it: it reads
//! tokens itself.
//!
//! | route below the base path | body | response |
//! |---|---|---|
//! | `POST login` | `username` or `email`, `password`, and `device_token` if the client has one | 200, the tokens; wrong credentials 401 |
//! | `POST guest` (if guests are enabled) | nothing | 200, the tokens of a new guest; a guest gets the existing token |
//! | `POST token` | the form of RFC 6749: `grant_type=password` or `refresh_token` | 200; wrong credentials 400 `invalid_grant` |
//! | `POST refresh` | `refresh_token`, or the cookie | 200, new tokens; otherwise 400 `invalid_grant` |
//! | `POST logout` | `scope`: `device` (default), `others`, `all` | 204 |
//! | `POST password` | `current_password`, `new_password`, with a live access token | 200, new tokens; every other session ends; a wrong current password 400 `invalid_password`; a guest 403 `access_denied` |
//! | `POST login/continue` (if second factors are enabled) | `mfa_token`, `code`, `remember` | 200, the tokens; see [below](#second-step) |
//! | `POST totp`, `POST totp/confirm` (the same) | `account`; `code`; with a live access token | 200, the secret of an authenticator; 200, the recovery codes |
//! | `GET totp`, `HEAD totp` (the same) | | 200, the state of the caller's second factors |
//! | `POST totp/disable`, `POST recovery-codes` (the same) | `code`, with a live access token | 204; 200, new recovery codes |
//! | `POST step-up` (the same) | `code`, with a live access token | 200, the tokens of a new session in place of the caller's |
//! | `POST revoke` | `token` (RFC 7009) | 200, also for an unknown token |
//! | `GET sessions`, `HEAD sessions` | | 200, the caller's sessions; `bound` is `true` for those that are bound to a key |
//! | `DELETE sessions/{sid}` | | 204; 404 if the caller has no such session |
//! | `POST register` (if registration is enabled) | as `login` | 201, the tokens; 202 without tokens if addresses must be verified; 409 if the name is taken, or the guest belongs to an account |
//!
//! | `POST password/forgot` (if there is a [mailer](AuthEndpointsBuilder::mail)) | `email` | 202, for known and unknown addresses; a link goes to the address |
//! | `POST password/reset` (likewise) | `token` of the link, `new_password` | 204; every session ends; a bad token 400 `invalid_link` |
//! | `POST login/email` (if [sign-in by mail](crate::server::mail::MailFlowsBuilder::sign_in) is enabled) | `email`, and `device_token` unless it is a cookie | 202, for known and unknown addresses, with a `flow`; a code goes to the address. A known device still gets codes if others have used up the limit of the address |
//! | `POST login/code` (likewise) | `code`, and the `flow` unless it is a cookie | 200, the tokens; a bad code 400 `invalid_code` |
//! | `POST email/verification` (likewise, if the users [keep addresses](crate::store::port::UserStore::keeps_email)) | `email` | 202, as `password/forgot` |
//! | `POST email/verify` (likewise) | `token` of the link | 204; a bad token 400 `invalid_link` |
//! | `POST email/change` (likewise) | `new_email`, `current_password`, with a live access token | 202; a link goes to the new address, a notice to the current one |
//! | `POST email/confirm` (likewise) | `token` of the link | 204; the user signs in with the new address from then on; a bad token 400 `invalid_link` |
//!
//! A login or a registration with `"link": true` and a guest's token, in the header or the cookie,
//! keeps the guest's data: [`Guests`](crate::server::session::Guests). Ask the user for consent first.
//!
//! Bodies are JSON or forms in UTF-8, of at most 16 KiB, and are read for at most [10
//! seconds](AuthEndpointsBuilder::body_timeout). A longer body is 413, a slower one 408. Fields that an
//! endpoint does not read are ignored. With `transport=cookie`, in the query or the body, the tokens are
//! set as cookies ([`CookieNames`]) instead of returned in the body. A refresh by cookie responds with
//! cookies.
//!
//! A short body that an endpoint does not need is read for at most one second, so that the client can use
//! its connection again. If the body is longer or slower, the response over HTTP/1.1 has
//! `Connection: close`.
//!
//! Without cookies, the responses to a login, a registration and a password change contain a
//! `device_token` ([`DeviceTokens`](crate::server::login::DeviceTokens)), which the client sends with the next
//! login.
//!
//! `login`, `register`, `token` and `guest` accept a `client_id`, one of those of the
//! [issuer](crate::server::issue::TokenIssuerBuilder::client_id). An unknown one counts as absent. A refresh
//! that names a known client must name the client of the session.
//!
//! # Second step
//!
//! After the first factor a user with an authenticator (`LoginBuilder::totp`), or a
//! [policy](crate::server::login::SecondStepPolicy), may need another one. `login` then responds with 403, and
//! `token` with 400 (RFC 6749 §5.2):
//!
//! ```json
//! {"error":"mfa_required","error_description":"…","mfa_token":"mf1_…","mfa_methods":["totp","recovery_code"],"expires_in":300}
//! ```
//!
//! The `mfa_token` is not an access token. It completes one sign-in within five minutes, on the device that
//! asked for it: the browser with the cookie of this response, or a client with the same `User-Agent`. A wrong
//! code is 400 `invalid_code`. A token that is late, spent or of another device is 400 `invalid_grant` with
//! the code `mfa_token_invalid`. Too many wrong codes are 429 `slow_down`.
//! [`sign_in`](AuthEndpoints::sign_in) responds in the same way as `login`.
//!
//! If the server [remembers devices](crate::server::AuthServerBuilder::remember_devices), `"remember": true` at
//! `login/continue` returns a `remember_token`, or sets it as a cookie. A later `login` with it needs no code.
//!
//! # Identity providers
//!
//! Each [provider](AuthEndpointsBuilder::identity_provider) has three routes below the base path. They serve
//! browsers, and set cookies.
//!
//! | route | input | response |
//! |---|---|---|
//! | `GET identity/{name}/start` | `return_to` in the query, a path of this site | 303 to the provider |
//! | `POST identity/{name}/link` | `return_to`; with a live access token and a sign-in within the last 15 minutes | 200 with the `location` to which the page sends the browser; the identity is linked to the caller |
//! | `GET identity/{name}/callback` | the parameters of the provider | 303 to `return_to`, signed in |
//!
//! Two more serve all clients:
//!
//! | route | body | response |
//! |---|---|---|
//! | `GET identities`, `HEAD identities` | with a live access token | 200, the caller's identities |
//! | `POST identities/unlink` | `issuer` and `subject`; with a live access token and a sign-in within the last 15 minutes | 204; 404 if the caller has no such identity; 409 `last_credential` if the caller has no password, gets no mail, and has no other identity of a configured provider and no passkey |
//!
//! The callback's full URL is the redirect URI that is registered at the provider. An error is in the fragment
//! of `return_to`, with the members of other errors: `#error=no_account&error_description=…`.
//!
//! | error | cause |
//! |---|---|
//! | `access_denied` | the user or the provider declined; or the account may not sign in |
//! | `identity_refused` | the response of the provider is not valid |
//! | `invalid_flow` | another browser began, more than ten minutes have passed, or the callback was used before |
//! | `no_account` | no user has the identity or its address, and [no account is created](AuthEndpointsBuilder::on_unknown_identity) |
//! | `link_required` | a user has the address: sign in to that account first, then link the identity ([`Identities`](crate::server::login::Identities)) |
//! | `identity_taken`, `too_many_identities` | the identity was not linked |
//! | `mfa_required` | another factor is needed; `mfa_token` and `mfa_methods` are in the fragment too |
//! | `temporarily_unavailable` | the provider or a store is unavailable |
//!
//! # Passkeys
//!
//! With a [`PasskeyAuthority`](AuthEndpointsBuilder::passkeys), browsers register passkeys and sign in with them. A
//! challenge is bound to the browser by a cookie, is used once, and is valid for ten minutes.
//!
//! | route below the base path | body | response |
//! |---|---|---|
//! | `POST passkeys/register/options` | with a live access token and a sign-in within the last 15 minutes | 200, the options of `navigator.credentials.create` |
//! | `POST passkeys/register` (the same) | `credential`: the result as a JSON text; `label` | 201, the `id` |
//! | `POST passkeys/options` | | 200, the options of `navigator.credentials.get` |
//! | `POST passkeys/sign-in` | `credential`; `mfa_token` to complete a sign-in with the method `webauthn` | 200, the tokens; otherwise 400 `invalid_passkey` |
//! | `GET passkeys`, `HEAD passkeys` | with a live access token | 200, the caller's passkeys |
//! | `POST passkeys/remove` | `id`; as `register` | 204; 404 if the caller has no such passkey; 409 as `identities/unlink` |
//!
//! A passkey verifies its user, so a sign-in with it counts as two factors (`amr` with `pop` and `mfa`).
//!
//! # Bound tokens
//!
//! With [`dpop`](AuthEndpointsBuilder::dpop), a client may prove that it holds a key (RFC 9449): every request
//! for tokens then has the header `DPoP` with a proof. The session is bound to the key, the access token names
//! it in `cnf.jkt`, and `token_type` is `DPoP`. Such tokens are sent as `Authorization: DPoP`, with a proof, to
//! these endpoints and to [layers that accept them](crate::layer::dpop). The manual has a
//! [chapter](crate::manual::dpop#issuing-bound-tokens).
//!
//! | request | result |
//! |---|---|
//! | a sign-in, a registration or a guest, with a proof | a session that is bound to the key |
//! | a refresh of a bound session, with a proof by its key | new tokens, bound to the key |
//! | the same without a proof, or with one by another key | 400 `invalid_dpop_proof`; the session continues, and the token is not used up |
//! | a refresh of another session, with a proof | new tokens of the type `Bearer`; the session stays as it is |
//! | `password`, `step-up` with a bound token | the new session is bound to the same key |
//! | an invalid or used proof | 400 `invalid_dpop_proof`; beside a bound access token 401 |
//! | a proof without a current nonce, if [nonces](crate::layer::dpop::DpopBuilder::nonces) are demanded | 400 `use_dpop_nonce`; beside a bound access token 401; with the header `DPoP-Nonce` |
//! | `transport=cookie` with a proof | 400 `invalid_request`: a browser adds no proof to a cookie |
//! | `logout` and `revoke` with the refresh token | the session ends, without a proof |
//!
//! A token for one conversation is not bound.
//!
//! # Errors
//!
//! Errors are those of RFC 6749 §5.2. If the [claims source](crate::server::session::ClaimsSource) refuses an account at login, the error is
//! `access_denied`. If [addresses must be verified](crate::server::mail::MailFlowsBuilder::require_verified), a user with
//! another one gets 403 `email_not_verified` after a correct proof. A client should sign its user out only on `invalid_grant`. A 429 and a 503 name the
//! time of the next attempt, and leave tokens and cookies unchanged.
//!
//! # Examples
//!
//! A login server and an API next to it, in memory. For a database, use another [store](crate::store).
//! [`AuthSettings`](crate::AuthSettings) reads the values that are fixed here from the
//! environment. The example `auth_server` is a complete server.
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
//!     key::{Algorithm, SigningKey},
//!     layer::extract::Bearer,
//!     secret::SecretKey,
//!     server::{
//!         endpoints::AuthEndpoints,
//!         issue::{KeyRing, TokenIssuer},
//!         login::Login,
//!         session::Sessions,
//!     },
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
//! let auth = JwtAuthLayer::new(verifier).extractor((Bearer::new(), cookie)).revocation(revoked);
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
//! At every refresh, roles and disabled accounts are read from the user store of the [`Login`].
//! [`SessionsBuilder::claims_source`](crate::server::session::SessionsBuilder::claims_source) sets another
//! source.
//!
//! [`Login`]: crate::server::login::Login
//!
//! In production the server also needs the client address of each attempt:
//! [`AuthEndpointsBuilder::client_ip`].
//!
//! # Security
//!
//! - Every response is `no-store`.
//! - A cookie is accepted only under the CSRF rules of [`Cookie`](crate::layer::extract::Cookie). By
//!   cookie, `refresh`, `logout`, `password` and `DELETE sessions/{sid}` also require the session's
//!   CSRF proof in `X-CSRF-Token`. Of several refresh cookies, the one whose session is proved is used,
//!   because another host of the domain can set more.
//! - A failed refresh never deletes a cookie: if two tabs refresh at the same time, the losing one
//!   would delete the cookie of the other.

mod answer;
mod arrival;
mod builder;
mod challenge;
mod cookies;
mod door;
mod dpop;
mod fields;
mod flow;
mod guests;
mod identities;
mod identity;
mod login;
mod logout;
mod mail;
mod mail_sign_in;
mod passkeys;
mod password;
mod path;
mod refresh;
mod register;
mod second;
mod service;
mod signup_limit;
#[cfg(feature = "totp")]
mod totp;
mod well_known;

pub(crate) use self::cookies::trusted;
pub use self::{
    builder::AuthEndpointsBuilder, cookies::CookieNames, flow::FlowError, service::AuthEndpoints,
    well_known::WellKnown,
};
