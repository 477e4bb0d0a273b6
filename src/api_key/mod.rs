//! Keys for programs: how they look, what is kept of them, and the port to where it is kept.
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
//! # Examples
//!
//! ```
//! use tower_jwt_auth::api_key::ApiKeyFormat;
//!
//! let format = ApiKeyFormat::new("acme_live")?;
//! let key = format.mint();
//! let shown_once = key.expose().to_owned();
//!
//! let presented = format.parse(&shown_once).ok_or("not a key")?;
//! assert_eq!(presented.id(), key.id());
//! assert_eq!(presented.digest(), key.digest());
//! assert!(format.parse(&shown_once.replace("live", "test")).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod key;
mod record;
mod store;

pub use self::{
    key::{ApiKey, ApiKeyFormat, ApiKeyId, PresentedApiKey, SecretDigest},
    record::{ApiKeyRecord, ApiKeyRefusal, PreviousSecret},
    store::ApiKeyStore,
};
