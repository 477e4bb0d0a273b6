//! One-time tokens: for a forgotten password, an e-mail address, a locked name.

use std::{fmt, future::Future, time::Duration};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    error::StoreError,
    secret::{
        Secret,
        base62::{base62, checksum, is_base62, strip_checksum},
        random,
    },
    server::login::EmailAddress,
};

/// The purpose of a one-time token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OneTimePurpose {
    /// Setting a new password without the old one.
    Reset,
    /// Proof that the user receives mail at an address.
    Verification,
    /// Removal of a [hard lock](crate::server::login::LoginBuilder::hard_lock).
    Unlock,
    /// Signing in without a password.
    SignIn,
    /// Proof that the user receives mail at the address that replaces the current one.
    EmailChange,
    /// The end of a [flow](crate::server::endpoints::AuthEndpoints::begin_flow) of the application. The subject
    /// is the name of the flow.
    Flow,
}

impl OneTimePurpose {
    /// The purposes whose tokens a new password invalidates.
    pub(crate) const UNDER_A_PASSWORD: [Self; 4] =
        [Self::Reset, Self::Unlock, Self::SignIn, Self::EmailChange];

    /// The purposes whose tokens were sent to the user's address.
    pub(crate) const BY_MAIL: [Self; 4] = [
        Self::Reset,
        Self::SignIn,
        Self::EmailChange,
        Self::Verification,
    ];

    /// Returns `true` if the subject of these tokens is a user. Anonymous users begin flows, so that a list
    /// of the tokens of a flow has no bound.
    pub(crate) const fn has_owner(self) -> bool {
        !matches!(self, Self::Flow)
    }

    /// Returns a stable name, which stores persist.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Verification => "verification",
            Self::Unlock => "unlock",
            Self::SignIn => "sign_in",
            Self::EmailChange => "email_change",
            Self::Flow => "flow",
        }
    }
}

/// A new one-time token: 256 random bits and a checksum, as 53 characters that need no escaping in
/// a URL. It is sent to its owner, and its text is not stored.
///
/// # Security
///
/// A server that takes the token from a link must not act on `GET`, because mail scanners open
/// links.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_jwt_auth::store::{
///     MemoryStore,
///     port::{NewOneTime, OneTimePurpose, OneTimeStore, OneTimeToken},
/// };
///
/// let store = MemoryStore::new();
/// let token = OneTimeToken::mint();
/// let hour = Duration::from_secs(3600);
/// store.issue(NewOneTime::new(&token, OneTimePurpose::Reset, "user-1", hour)).await?;
///
/// let presented = OneTimeToken::read(token.expose()).ok_or("not a token")?;
/// let spent = store.redeem(&presented, OneTimePurpose::Reset).await?;
/// assert_eq!(spent.map(|spent| spent.subject).as_deref(), Some("user-1"));
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
    /// Creates a token.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random bytes.
    #[must_use]
    pub fn mint() -> Self {
        Self::of_secret(&Secret::new(base62(random::<32>())))
    }

    /// Creates the token with this secret: 43 base62 digits.
    pub(crate) fn of_secret(secret: &Secret<String>) -> Self {
        // The buffer never grows: a reallocation would leave a copy that is not wiped.
        let mut text = String::with_capacity(LENGTH);
        text.extend([PREFIX, secret.expose().as_str()]);
        let sum = checksum(&text);
        text.extend(sum.into_iter().map(char::from));
        Self {
            digest: OneTimeDigest::of(&text),
            text: Secret::new(text),
        }
    }

    /// Parses a presented token and returns its digest, under which the store finds it.
    ///
    /// Returns `None` for a text that cannot be a token, for example because its checksum is wrong.
    /// No query is needed to refuse such a text.
    #[must_use]
    pub fn read(presented: &str) -> Option<OneTimeDigest> {
        Self::secret_of(presented).map(|_| OneTimeDigest::of(presented))
    }

    /// Returns the secret of a presented text; `None` if the text cannot be a token.
    pub(crate) fn secret_of(presented: &str) -> Option<&str> {
        if presented.len() != LENGTH {
            return None;
        }
        let secret = strip_checksum(presented)?.strip_prefix(PREFIX)?;
        is_base62(secret).then_some(secret)
    }

    /// Returns the whole token, to be sent to its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose()
    }

    /// Returns the digest, for the store.
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

/// The SHA-256 digest of a token, which a store keeps. The comparison takes constant time, and
/// `Debug` does not print the digest.
#[derive(Clone, Copy, Eq)]
pub struct OneTimeDigest([u8; 32]);

impl OneTimeDigest {
    fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Creates a digest from the bytes in a store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes for a store.
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

/// A token to insert.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewOneTime {
    /// The digest of the token.
    pub digest: OneTimeDigest,
    /// The purpose of the token.
    pub purpose: OneTimePurpose,
    /// The subject to whom the token belongs.
    pub subject: String,
    /// The address that the token proves, if it was sent by mail.
    pub email: Option<String>,
    /// The subject's epoch at the time of the request, if the token starts a session: a session must
    /// not outlive a change of the password in between.
    pub epoch: Option<u32>,
    /// The lifetime of the token.
    pub lifetime: Duration,
}

impl NewOneTime {
    /// Creates the row of a new token.
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
            email: None,
            epoch: None,
            lifetime,
        }
    }

    /// Sets the address that the token proves.
    #[must_use]
    pub fn email(mut self, address: &EmailAddress) -> Self {
        self.email = Some(address.as_str().to_owned());
        self
    }

    /// Sets the subject's epoch.
    #[must_use]
    pub fn epoch(mut self, epoch: u32) -> Self {
        self.epoch = Some(epoch);
        self
    }
}

/// The row of a token that was redeemed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpentOneTime {
    /// The subject to whom the token belonged.
    pub subject: String,
    /// The address that the token proved, if it was sent by mail.
    pub email: Option<String>,
    /// The epoch with which the token was issued.
    pub epoch: Option<u32>,
}

impl SpentOneTime {
    /// Creates the row of a redeemed token.
    #[must_use]
    pub fn new(subject: impl Into<String>, email: Option<String>, epoch: Option<u32>) -> Self {
        Self {
            subject: subject.into(),
            email,
            epoch,
        }
    }
}

/// A store of one-time tokens. Times are times of the store's clock.
///
/// # Cancel safety
///
/// A dropped future leaves a write either done or not done. A token may be spent although the
/// result of its redemption was lost; its owner then requests another one.
pub trait OneTimeStore: Send + Sync + 'static {
    /// Inserts a token. A token that exists is unchanged.
    fn issue(&self, token: NewOneTime) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Redeems a token: spends it and returns its subject, address and epoch. Of concurrent calls one
    /// receives them.
    ///
    /// Returns `None` if the token is unknown, spent or expired, or has another purpose. A token
    /// with another purpose is not spent.
    fn redeem(
        &self,
        digest: &OneTimeDigest,
        purpose: OneTimePurpose,
    ) -> impl Future<Output = Result<Option<SpentOneTime>, StoreError>> + Send;

    /// Spends all tokens of a subject with this purpose. Tokens that are issued later are not
    /// affected. Not called for [`OneTimePurpose::Flow`].
    ///
    /// A [`Login`](crate::server::login::Login) with this [store](crate::server::login::LoginBuilder::one_time)
    /// calls the method after each new password, for every purpose but verifications: an older mail
    /// must not be able to set the password again.
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
