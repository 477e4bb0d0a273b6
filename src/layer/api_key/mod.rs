//! API keys for programs: their format, their store, and the layer that authenticates them.
//!
//! ```text
//! acme_live_7Hq2bLx0Zk_3kTz…43 characters…Vd9fQ1Zx
//! └ prefix ┘└── id ──┘ └──────── secret ───────┘└crc ┘
//! ```
//!
//! The prefix and the checksum allow secret scanners to find a published key, and allow the server
//! to refuse garbage without a query. The identifier is the primary key of the row. The store keeps
//! only a digest of the secret.
//!
//! [`ApiKeys`] issues, lists, rolls and revokes keys. [`ApiKeyLayer`] reads a request's key from
//! `X-API-Key` or `Authorization: Bearer` and inserts a [`Principal`](crate::Principal) as the
//! token layer does, so that a [`RoleGuardLayer`](crate::RoleGuardLayer) works with both. A key has
//! scopes and no roles. Its subject is the owner, and its kind is
//! [`Service`](crate::principal::PrincipalKind::Service).
//!
//! # Examples
//!
//! ```
//! # use std::{collections::HashMap, sync::Mutex};
//! # use tower_jwt_auth::{layer::api_key::*, time::Timestamp, error::StoreError};
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
//! #     async fn roll(&self, _: &ApiKeyRecord, _: &ApiKeyRecord) -> Result<bool, StoreError> { Ok(false) }
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
//! use tower_jwt_auth::layer::api_key::{ApiKeyFormat, ApiKeyLayer, ApiKeys, NewApiKey};
//!
//! let keys = ApiKeys::builder(ApiKeyFormat::new("acme_live")?, store)
//!     .scopes("orders:read orders:write")
//!     .build()?;
//! let key = keys.issue(NewApiKey::new("alice").label("ci").scope("orders:read")).await?;
//! let shown_once = key.expose();
//!
//! let service = ServiceBuilder::new()
//!     .layer(ApiKeyLayer::new(&keys))
//!     .layer(RoleGuardLayer::scope("orders:read"))
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
//! # Keys and tokens together
//!
//! Make both layers optional, in either order, and add a guard inside that requires a caller. The
//! form of a `Bearer` credential decides which layer handles it, and no layer tries the credential
//! of another. The token layer therefore needs the keys' prefix:
//!
//! ```
//! # #[cfg(not(feature = "aws-lc-rs"))]
//! # fn main() {}
//! # #[cfg(feature = "aws-lc-rs")]
//! # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
//! use tower::ServiceBuilder;
//! use tower_jwt_auth::{JwtAuthLayer, RoleGuardLayer, Verifier, layer::extract::Bearer};
//! # use tower_jwt_auth::layer::api_key::{ApiKeyLayer, ApiKeys};
//! # fn layers(keys: &ApiKeys, verifier: Verifier) {
//!
//! let layers = ServiceBuilder::new()
//!     .layer(JwtAuthLayer::new(verifier).extractor(Bearer::new().except_prefix("acme_live_")).optional())
//!     .layer(ApiKeyLayer::new(keys).optional())
//!     .layer(RoleGuardLayer::authenticated());
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! | request | result |
//! |---|---|
//! | a token, or a key in either header | the caller of that credential |
//! | a token and a key | refused: 400 if the outer layer accepts its credential, otherwise the outer layer's refusal |
//! | `X-API-Key` and any `Bearer` credential, at the key layer | 400 |
//! | an invalid token or an invalid key | 401 |
//! | neither | anonymous: 401 by the guard |
//!
//! # Caching
//!
//! A key found in the store is cached for [30 s](ApiKeysBuilder::remember), a refusal for 5 s.
//! Concurrent requests with the same key share one query. The expiry of a key is checked on every
//! request. A revocation takes effect immediately in the process that made it, and in other
//! processes when it arrives in a shared [`RevocationSet`](ApiKeysBuilder::revocation). While the
//! store is unavailable, a request with a key that is not cached gets a 503.

mod builder;
mod config;
mod error;
mod examine;
mod key;
mod keys;
mod layer;
mod lookup;
mod networks;
mod new;
mod owner;
mod record;
mod service;
mod store;
mod uses;

pub use self::{
    builder::ApiKeysBuilder,
    error::ApiKeyError,
    key::{ApiKey, ApiKeyFormat, ApiKeyId, PresentedApiKey, SecretDigest},
    keys::ApiKeys,
    layer::ApiKeyLayer,
    new::NewApiKey,
    record::{ApiKeyRecord, ApiKeyRefusal, PreviousSecret},
    store::ApiKeyStore,
};
pub(crate) use self::{owner::revoke_all_in, store::LISTED};
// Named only to write down the type of a service.
#[doc(hidden)]
pub use self::service::ApiKeyService;
