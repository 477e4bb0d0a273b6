//! Cookies that tell a device on which somebody signed in before.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    clock::Timestamp,
    secret::{SecretKey, random},
};

/// The value of the cookie that tells a device on which somebody signed in before.
///
/// Attempts from such a device have a counter of their own, so that nobody can keep the owner of an
/// account out by guessing at it. The cookie is no credential: it opens nothing without the password.
///
/// ```text
/// value = b64url( 0x01 | H(16) | nonce(16) | expiry(8) | tag(16) )
/// H     = first 16 bytes of SHA-256("device subject\0" || subject)
/// tag   = first 16 bytes of HMAC-SHA-256(key, 0x01 | H | nonce | expiry)
/// ```
///
/// # Examples
///
/// ```
/// use std::time::SystemTime;
///
/// use tower_jwt_auth::{login::DeviceCookies, secret::SecretKey};
///
/// let cookies = DeviceCookies::new(&SecretKey::generate());
/// let now = SystemTime::now().into();
/// let value = cookies.mint("user-1", now);
/// let device = cookies.read(&value, now).ok_or("not ours")?;
/// assert!(device.belongs_to("user-1"));
/// assert!(!device.belongs_to("user-2"));
/// assert!(cookies.read("something else", now).is_none());
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug)]
pub struct DeviceCookies {
    keys: Vec<crate::secret::DerivedKey>,
}

impl DeviceCookies {
    /// How long a cookie is good for: a year.
    pub const MAX_AGE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// With keys derived from the server's secret: the first mints, all read.
    #[must_use]
    pub fn new(secret: &SecretKey) -> Self {
        Self {
            keys: secret.derive("device cookie"),
        }
    }

    /// A value for a device on which this subject just signed in.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    #[must_use]
    pub fn mint(&self, subject: &str, now: Timestamp) -> String {
        let mut value = Vec::with_capacity(VALUE);
        value.push(VERSION);
        value.extend(subject_hash(subject));
        value.extend(random::<16>());
        value.extend(now.plus(Self::MAX_AGE).as_millis().to_be_bytes());
        let tag = self
            .keys
            .first()
            .and_then(|key| tag(key.key.expose(), &value));
        value.extend(tag.unwrap_or_default());
        URL_SAFE_NO_PAD.encode(value)
    }

    /// Reads a value that a client sent. `None` unless this server minted it within a year.
    #[must_use]
    pub fn read(&self, value: &str, now: Timestamp) -> Option<TrustedDevice> {
        // Before any decoding.
        if value.len() != ENCODED {
            return None;
        }
        let mut bytes = [0; VALUE];
        if URL_SAFE_NO_PAD.decode_slice(value, &mut bytes).ok()? != VALUE {
            return None;
        }
        let (body, presented) = bytes.split_last_chunk::<16>()?;
        let genuine = self
            .keys
            .iter()
            .any(|key| tag(key.key.expose(), body).is_some_and(|tag| tag.ct_eq(presented).into()));
        if !genuine {
            return None;
        }
        let (version, rest) = body.split_first()?;
        let (subject, rest) = rest.split_first_chunk::<16>()?;
        let (nonce, rest) = rest.split_first_chunk::<16>()?;
        let expiry = Timestamp::from_millis(i64::from_be_bytes(rest.try_into().ok()?));
        (*version == VERSION && now < expiry).then_some(TrustedDevice {
            subject: *subject,
            nonce: *nonce,
        })
    }
}

/// A device that carries a genuine cookie.
#[derive(Clone, Debug)]
pub struct TrustedDevice {
    subject: [u8; 16],
    nonce: [u8; 16],
}

impl TrustedDevice {
    /// Whether this subject signed in on it.
    #[must_use]
    pub fn belongs_to(&self, subject: &str) -> bool {
        self.subject.ct_eq(&subject_hash(subject)).into()
    }

    /// What tells this device from others.
    pub(super) fn nonce(&self) -> &[u8] {
        &self.nonce
    }
}

fn subject_hash(subject: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(b"device subject\0")
        .chain_update(subject)
        .finalize()
        .into();
    digest.first_chunk().copied().unwrap_or_default()
}

/// HMAC takes a key of any length, so there always is one.
fn tag(key: &[u8], body: &[u8]) -> Option<[u8; 16]> {
    let mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    let tag: [u8; 32] = mac.chain_update(body).finalize().into_bytes().into();
    tag.first_chunk().copied()
}

const VERSION: u8 = 1;
const VALUE: usize = 1 + 16 + 16 + 8 + 16;
const ENCODED: usize = VALUE.div_ceil(3) * 4;
