//! Keys for programs: how they look, who holds them, and the layer that lets them in.
//!
//! ```text
//! acme_live_7Hq2bLx0Zk_3kTz…43 characters…Vd9fQ1Zx
//! └ prefix ┘└── id ──┘ └──────── secret ───────┘└crc ┘
//! ```
//!
//! The prefix and the checksum let a secret scanner find a key that was published by mistake, and let
//! the server drop garbage without asking its store. The identifier is the row's key; of the secret
//! only a digest is kept.
//!
//! [`ApiKeys`] issues, lists, rolls and revokes; [`ApiKeyLayer`] reads a request's key from
//! `X-API-Key` or `Authorization: Bearer` and leaves the same [`Principal`](crate::Principal) as a
//! token does, so that a [`RoleGuardLayer`](crate::RoleGuardLayer) need not know the difference. A key
//! has scopes and no roles. Its subject is the owner, its kind is
//! [`Service`](crate::principal::PrincipalKind::Service).
//!
//! # Examples
//!
//! ```
//! # use std::{collections::HashMap, sync::Mutex, time::Duration};
//! # use tower_jwt_auth::{api_key::*, clock::Timestamp, error::StoreError};
//! # #[derive(Default)]
//! # struct Store(Mutex<HashMap<ApiKeyId, ApiKeyRecord>>);
//! # impl ApiKeyStore for Store {
//! #     async fn find(&self, id: &ApiKeyId) -> Result<Option<ApiKeyRecord>, StoreError> {
//! #         Ok(self.0.lock().unwrap().get(id).cloned())
//! #     }
//! #     async fn list(&self, _: &str) -> Result<Vec<ApiKeyRecord>, StoreError> { Ok(Vec::new()) }
//! #     async fn create(&self, record: &ApiKeyRecord) -> Result<bool, StoreError> {
//! #         Ok(self.0.lock().unwrap().insert(record.id.clone(), record.clone()).is_none())
//! #     }
//! #     async fn roll(&self, _: &ApiKeyId, _: &str, _: &SecretDigest, _: &str, _: Duration)
//! #         -> Result<bool, StoreError> { Ok(false) }
//! #     async fn revoke(&self, id: &ApiKeyId, _: &str) -> Result<bool, StoreError> {
//! #         Ok(self.0.lock().unwrap().remove(id).is_some())
//! #     }
//! #     async fn revoke_all(&self, _: &str) -> Result<Vec<ApiKeyId>, StoreError> { Ok(Vec::new()) }
//! #     async fn touch(&self, _: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> { Ok(()) }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let store = Store::default();
//! use std::convert::Infallible;
//!
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_jwt_auth::RoleGuardLayer;
//! use tower_jwt_auth::api_key::{ApiKeyFormat, ApiKeyLayer, ApiKeys, NewApiKey};
//!
//! let keys = ApiKeys::builder(ApiKeyFormat::new("acme_live")?, store)
//!     .scopes("orders:read orders:write".parse()?)
//!     .build()?;
//! let key = keys.issue(NewApiKey::new("alice").label("ci").scope("orders:read".parse()?)).await?;
//! let shown_once = key.expose();
//!
//! let service = ServiceBuilder::new()
//!     .layer(ApiKeyLayer::new(&keys))
//!     .layer(RoleGuardLayer::scope(["orders:read"]))
//!     .service(service_fn(async |_: Request<String>| {
//!         Ok::<_, Infallible>(Response::new(String::new()))
//!     }));
//! let request = Request::get("/orders").header("x-api-key", shown_once).body(String::new())?;
//! assert_eq!(service.clone().oneshot(request.clone()).await?.status(), StatusCode::OK);
//!
//! keys.revoke("alice", key.id()).await?;
//! assert_eq!(service.oneshot(request).await?.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! # Beside tokens
//!
//! Both layers are optional, in either order, and a guard inside demands a caller. Whose a `Bearer`
//! credential is, is decided by its form and never by trial, so the token's layer has to know the
//! keys' prefix:
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! use tower::ServiceBuilder;
//! use tower_jwt_auth::{JwtAuthLayer, RoleGuardLayer, Verifier, extract::Bearer};
//! # use tower_jwt_auth::api_key::{ApiKeyLayer, ApiKeyStore, ApiKeys};
//! # fn layers<S: ApiKeyStore>(keys: &ApiKeys<S>, verifier: Verifier) {
//!
//! let layers = ServiceBuilder::new()
//!     .layer(JwtAuthLayer::new(verifier).extract(Bearer::new().except_prefix("acme_live_")).optional())
//!     .layer(ApiKeyLayer::new(keys).optional())
//!     .layer(RoleGuardLayer::authenticated());
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! | request | answer |
//! |---|---|
//! | a token, or a key in either place | its caller |
//! | a token and a key, whether good or not | refused: 400 where the first of them is good, else as that one is |
//! | `X-API-Key` and any `Bearer` credential, seen by the key's layer | 400 |
//! | a bad token or a bad key | 401 |
//! | neither | nobody: 401 by the guard |
//!
//! # What is remembered
//!
//! A key that the store knows is remembered for [30 s](ApiKeysBuilder::remember), a refusal for 5 s;
//! of many requests that bring one key at once, one asks the store. Expiry is exact all the same. A
//! revocation is noticed at once in the process that made it, and in all others where they share a
//! [`RevocationSet`](ApiKeysBuilder::revocation). While the store cannot be asked, a key that is not
//! remembered is 503.

mod builder;
mod config;
mod error;
mod examine;
mod future;
mod key;
mod keys;
mod layer;
mod lookup;
mod networks;
mod new;
mod record;
mod service;
mod store;
mod uses;

pub(crate) use self::store::LISTED;
pub use self::{
    builder::ApiKeysBuilder,
    error::ApiKeyError,
    future::ApiKeyFuture,
    key::{ApiKey, ApiKeyFormat, ApiKeyId, PresentedApiKey, SecretDigest},
    keys::ApiKeys,
    layer::ApiKeyLayer,
    new::NewApiKey,
    record::{ApiKeyRecord, ApiKeyRefusal, PreviousSecret},
    service::ApiKeyService,
    store::ApiKeyStore,
};
