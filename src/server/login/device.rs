//! Tokens of devices that signed in before.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    secret::{Secret, SecretKey, random},
    store::port::UserRecord,
    time::Timestamp,
};

/// Mints and verifies the tokens of trusted devices, on which a user signed in before.
///
/// Attempts from a trusted device have a separate counter, so that an attacker cannot lock out the
/// owner of an account by guessing its password. A browser keeps the token in a cookie, any other
/// client in its storage. The token is not an authentication factor: signing in still needs the
/// password.
///
/// The token is bound to the subject and to the current password hash. An attacker who once knew
/// the password may hold many tokens, and each would allow five guesses at the next password. A
/// change of the password therefore invalidates all tokens, and so does a rehash with another cost.
/// Each login on a device returns a new token.
///
/// ```text
/// value = b64url( V | H(16) | nonce(16) | P(12) | expiry(8) | tag(16) )
/// H     = first 16 bytes of SHA-256("device subject\0" || subject)
/// P     = first 12 bytes of HMAC-SHA-256(key, "password\0" || stored hash)
/// V     = 0x02, or 0x03 after a second factor
/// tag   = first 16 bytes of HMAC-SHA-256(key, V | H | nonce | P | expiry)
/// ```
///
/// # Examples
///
/// ```
/// use std::time::SystemTime;
///
/// use tower_jwt_auth::{
///     secret::SecretKey,
///     server::login::{DeviceTokens, PasswordHash},
///     store::port::UserRecord,
/// };
///
/// let tokens = DeviceTokens::new(&SecretKey::generate());
/// let now = SystemTime::now().into();
/// let user = UserRecord::new("user-1").password(PasswordHash::new("$argon2id$old".to_owned()));
/// let token = tokens.mint(&user, now);
/// let device = tokens.read(token.expose(), now).ok_or("not valid")?;
/// assert!(device.belongs_to(&user));
/// assert!(!device.belongs_to(&UserRecord::new("user-2")));
/// let changed = user.password(PasswordHash::new("$argon2id$new".to_owned()));
/// assert!(!device.belongs_to(&changed));
/// assert!(tokens.read("something else", now).is_none());
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug)]
pub struct DeviceTokens {
    keys: Vec<crate::secret::DerivedKey>,
}

impl DeviceTokens {
    /// The lifetime of a token: a year.
    pub const MAX_AGE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// Derives the keys from the server's secret. The first key mints, and all of them verify.
    #[must_use]
    pub fn new(secret: &SecretKey) -> Self {
        Self {
            keys: secret.derive("device cookie"),
        }
    }

    /// Returns a new token for a device on which this user has just signed in.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random bytes.
    #[must_use]
    pub fn mint(&self, user: &UserRecord, now: Timestamp) -> Secret<String> {
        self.mint_as(VERSION, user, now)
    }

    /// Returns a new token for a device on which this user has just proved a second factor.
    pub(super) fn mint_proved(&self, user: &UserRecord, now: Timestamp) -> Secret<String> {
        self.mint_as(PROVED, user, now)
    }

    fn mint_as(&self, version: u8, user: &UserRecord, now: Timestamp) -> Secret<String> {
        let key = self.keys.first().map(|derived| &derived.key);
        let mut value = Vec::with_capacity(VALUE);
        value.push(version);
        value.extend(subject_hash(&user.subject));
        value.extend(random::<16>());
        value.extend(key.and_then(|key| mark(key, user)).unwrap_or_default());
        value.extend(now.plus(Self::MAX_AGE).as_millis().to_be_bytes());
        let tag = key.and_then(|key| mac::<16>(key, &[&value]));
        value.extend(tag.unwrap_or_default());
        Secret::new(URL_SAFE_NO_PAD.encode(value))
    }

    /// Reads a token that a client sent. Returns `None` unless this server minted it within a year.
    #[must_use]
    pub fn read(&self, value: &str, now: Timestamp) -> Option<TrustedDevice> {
        // Checked before any decoding.
        if value.len() != ENCODED {
            return None;
        }
        let mut bytes = [0; VALUE];
        if URL_SAFE_NO_PAD.decode_slice(value, &mut bytes).ok()? != VALUE {
            return None;
        }
        let (body, presented) = bytes.split_last_chunk::<16>()?;
        let mut keys = self.keys.iter().map(|derived| &derived.key);
        let key = keys
            .find(|key| mac::<16>(key, &[body]).is_some_and(|tag| tag.ct_eq(presented).into()))?;
        let (version, rest) = body.split_first()?;
        let (subject, rest) = rest.split_first_chunk::<16>()?;
        let (nonce, rest) = rest.split_first_chunk::<16>()?;
        let (password, rest) = rest.split_first_chunk::<MARK>()?;
        let expiry = Timestamp::from_millis(i64::from_be_bytes(rest.try_into().ok()?));
        let is_known = [VERSION, PROVED].contains(version);
        (is_known && now < expiry).then(|| TrustedDevice {
            proved: *version == PROVED,
            subject: *subject,
            nonce: *nonce,
            password: *password,
            key: key.clone(),
        })
    }
}

/// A device that presented a valid token.
#[derive(Clone, Debug)]
pub struct TrustedDevice {
    subject: [u8; 16],
    nonce: [u8; 16],
    password: [u8; MARK],
    /// `true` if the user has proved a second factor on the device.
    proved: bool,
    /// The key that minted the token.
    key: Secret<[u8; 32]>,
}

impl TrustedDevice {
    /// Returns `true` if this user signed in on the device with their current password.
    #[must_use]
    pub fn belongs_to(&self, user: &UserRecord) -> bool {
        let subject = self.subject.ct_eq(&subject_hash(&user.subject));
        let password = mark(&self.key, user).map(|mark| self.password.ct_eq(&mark));
        password.is_some_and(|password| (subject & password).into())
    }

    /// Returns `true` if the device is no new one for this user. A user without a password is recognized by
    /// the subject alone.
    pub(super) fn is_known_to(&self, user: &UserRecord) -> bool {
        let subject: bool = self.subject.ct_eq(&subject_hash(&user.subject)).into();
        self.belongs_to(user) || (user.password.is_none() && subject)
    }

    /// Returns `true` if the user has also proved a second factor on the device.
    #[must_use]
    pub fn has_second_factor(&self) -> bool {
        self.proved
    }

    /// Returns the random value that identifies the device.
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

/// Returns a value that depends on the user's password hash, and from which a client cannot derive
/// the hash.
fn mark(key: &Secret<[u8; 32]>, user: &UserRecord) -> Option<[u8; MARK]> {
    let hash = user.password.as_ref()?;
    mac(key, &[b"password\0", hash.expose().as_bytes()])
}

/// Returns the first `N` bytes of an HMAC. HMAC accepts keys of any length, so the result is never
/// `None`.
fn mac<const N: usize>(key: &Secret<[u8; 32]>, parts: &[&[u8]]) -> Option<[u8; N]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    let mac: [u8; 32] = mac.finalize().into_bytes().into();
    mac.first_chunk().copied()
}

// Separates the domains: no other authenticated text starts with this byte, "password" included.
const VERSION: u8 = 2;
/// As [`VERSION`], for a device on which a second factor was proved.
const PROVED: u8 = 3;
const MARK: usize = 12;
const VALUE: usize = 1 + 16 + 16 + MARK + 8 + 16;
const ENCODED: usize = VALUE.div_ceil(3) * 4;
