//! Tokens that are good for one use: for a forgotten password, an e-mail address, a locked name.

use std::{fmt, future::Future, time::Duration};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    error::StoreError,
    secret::{Secret, random},
    token::base62::{base62, checksum, is_base62, strip_checksum},
};

/// What a token that is good for one use is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OneTimePurpose {
    /// Setting a new password without the old one.
    Reset,
    /// Proving that somebody reads the mail of an address.
    Verification,
    /// Opening a [hard lock](crate::login::LoginBuilder::hard_lock).
    Unlock,
}

impl OneTimePurpose {
    /// Those that a new password ends: they replace or guard the old one.
    pub(super) const UNDER_A_PASSWORD: [Self; 2] = [Self::Reset, Self::Unlock];

    /// A stable name, as stores keep it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Verification => "verification",
            Self::Unlock => "unlock",
        }
    }
}

/// A token that was just made: 256 random bits and a checksum, 53 characters that need no escaping
/// in a URL. It is sent to its owner and kept nowhere.
///
/// # Security
///
/// A server that takes it from a link must not act on `GET`: mail scanners open links.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_jwt_auth::{
///     login::{NewOneTime, OneTimePurpose, OneTimeStore, OneTimeToken},
///     store::MemoryStore,
/// };
///
/// let store = MemoryStore::new();
/// let token = OneTimeToken::mint();
/// let hour = Duration::from_secs(3600);
/// store.issue(NewOneTime::new(&token, OneTimePurpose::Reset, "user-1", hour)).await?;
///
/// let presented = OneTimeToken::read(token.expose()).ok_or("not a token")?;
/// let whose = store.redeem(&presented, OneTimePurpose::Reset).await?;
/// assert_eq!(whose.as_deref(), Some("user-1"));
/// assert_eq!(store.redeem(&presented, OneTimePurpose::Reset).await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct OneTimeToken {
    text: Secret<String>,
    digest: OneTimeDigest,
}

impl OneTimeToken {
    /// A new one.
    ///
    /// # Panics
    ///
    /// If the operating system has no random bytes.
    #[must_use]
    pub fn mint() -> Self {
        let secret = Secret::new(base62(random::<32>()));
        // Never grows: what is left behind by a move would not be wiped.
        let mut text = String::with_capacity(LENGTH);
        text.extend([PREFIX, secret.expose().as_str()]);
        let sum = checksum(&text);
        text.extend(sum.into_iter().map(char::from));
        Self {
            digest: OneTimeDigest::of(&text),
            text: Secret::new(text),
        }
    }

    /// What is looked for of a token that somebody presents; `None` for anything that never was one, a
    /// wrong checksum included: no store needs to be asked about it.
    #[must_use]
    pub fn read(presented: &str) -> Option<OneTimeDigest> {
        if presented.len() != LENGTH {
            return None;
        }
        let secret = strip_checksum(presented)?.strip_prefix(PREFIX)?;
        is_base62(secret).then(|| OneTimeDigest::of(presented))
    }

    /// The whole token, to be sent to its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// What is kept of it.
    #[must_use]
    pub fn digest(&self) -> &OneTimeDigest {
        &self.digest
    }
}

impl fmt::Debug for OneTimeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeToken(..)")
    }
}

/// The SHA-256 of a token: what a store keeps. Compared in constant time, never printed.
#[derive(Clone, Copy, Eq)]
pub struct OneTimeDigest([u8; 32]);

impl OneTimeDigest {
    fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// From its bytes, as they were kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be kept.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for OneTimeDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for OneTimeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeDigest(..)")
    }
}

/// A token to be kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewOneTime {
    /// What is kept of the token.
    pub digest: OneTimeDigest,
    /// What it is good for.
    pub purpose: OneTimePurpose,
    /// Whose it is.
    pub subject: String,
    /// For how long it is good.
    pub lifetime: Duration,
}

impl NewOneTime {
    /// Of a token that was just made.
    #[must_use]
    pub fn new(
        token: &OneTimeToken,
        purpose: OneTimePurpose,
        subject: impl Into<String>,
        lifetime: Duration,
    ) -> Self {
        Self {
            digest: *token.digest(),
            purpose,
            subject: subject.into(),
            lifetime,
        }
    }
}

/// Where the tokens are kept that are good for one use. Times are the store's.
///
/// # Cancel safety
///
/// A future that is dropped leaves a write either done or not done. A token whose redemption was
/// lost on the way may be spent: its owner asks for another one.
pub trait OneTimeStore: Send + Sync + 'static {
    /// Keeps a token. One that is kept already stays as it is.
    fn issue(&self, token: NewOneTime) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whose a token is, which is spent by that: of many who ask at once one is told.
    ///
    /// `None` for one that is unknown, spent or over, or is good for something else; that last one is
    /// not spent.
    fn redeem(
        &self,
        digest: &OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;

    /// Spends all tokens of a subject that are good for this. Tokens that are issued afterwards are not
    /// affected.
    ///
    /// A [`Login`](crate::login::Login) with this [store](crate::login::LoginBuilder::one_time) calls it
    /// after each new password, for resets and unlocks: an older mail must not set the password again.
    fn forget(
        &self,
        subject: &str,
        purpose: OneTimePurpose,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

const PREFIX: &str = "ot1_";
const LENGTH: usize = PREFIX.len() + 43 + 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_made_and_nothing_else_is() {
        let token = OneTimeToken::mint();
        assert_eq!(token.expose().len(), 53);
        assert_eq!(OneTimeToken::read(token.expose()), Some(*token.digest()));
        assert_ne!(token.digest(), OneTimeToken::mint().digest());
        let text = token.expose();
        for bad in [
            "",
            &text[1..],
            &format!("{text}0"),
            &text.replacen("ot1_", "ot2_", 1),
            &text.replacen("ot1_", "OT1_", 1),
            &format!("ot1_{}", "é".repeat(24)),
        ] {
            assert_eq!(OneTimeToken::read(bad), None, "{bad}");
        }
        assert_eq!(
            format!("{token:?} {:?}", token.digest()),
            "OneTimeToken(..) OneTimeDigest(..)"
        );
    }
}
