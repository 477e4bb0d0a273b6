//! The verification of a token by a verifier, with or without a wait.

use serde::de::DeserializeOwned;

#[cfg(feature = "jwks")]
use super::introspection::{Answered, is_jwt};
use super::{
    Kind, Verified, Verifier,
    examine::{Arrived, Awaited, Examined, Waiting},
};
use crate::error::AuthError;

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier<C> {
    /// Verifies a token. Waits for the token's key if it has to be fetched.
    ///
    /// # Errors
    ///
    /// The reason for which the token is refused. An error whose
    /// [`status`](AuthError::status) is 503, such as
    /// [`KeysUnavailable`](crate::error::AuthErrorKind::KeysUnavailable), means that the token could not be checked
    /// now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect on others: a fetch or a call for which it waits continues.
    pub async fn verify(&self, token: impl AsRef<[u8]>) -> Result<Verified<C>, AuthError> {
        let token = token.as_ref();
        match self.examine(token) {
            Examined::Accepted(verified) | Examined::Remembered(verified) => Ok(verified),
            Examined::Refused(error) => Err(error),
            Examined::Wait(waiting) => self.verify_after(token, *waiting).await,
        }
    }

    /// Verifies a token after a wait. A token waits once for its key, and once for the authorization
    /// server's answer about it.
    async fn verify_after(&self, token: &[u8], waiting: Waiting) -> Result<Verified<C>, AuthError> {
        let examined = match waiting.wait.await {
            Arrived::Keys => self.examine(token),
            #[cfg(feature = "jwks")]
            Arrived::Answer(answered) => self.settle(token, &answered),
        };
        match examined {
            Examined::Accepted(verified) | Examined::Remembered(verified) => Ok(verified),
            Examined::Refused(error) => Err(error),
            Examined::Wait(again) => match again.wait {
                #[cfg(feature = "jwks")]
                Awaited::Answer(answer) => match self.settle(token, &answer.await) {
                    Examined::Accepted(verified) | Examined::Remembered(verified) => Ok(verified),
                    Examined::Refused(error) => Err(error),
                    Examined::Wait(again) => Err(again.error),
                },
                Awaited::Keys(_) => Err(again.error),
            },
        }
    }

    /// Verifies a token with the keys that are available, without waiting.
    ///
    /// # Errors
    ///
    /// The errors of [`verify`](Self::verify).
    /// [`KeysUnavailable`](crate::error::AuthErrorKind::KeysUnavailable) also if the token's key has to be fetched
    /// first, and [`IntrospectionUnavailable`](crate::error::AuthErrorKind::IntrospectionUnavailable) if no recent
    /// answer about the token is cached. If an available key does not verify the token, the token is
    /// refused immediately.
    pub fn verify_now(&self, token: impl AsRef<[u8]>) -> Result<Verified<C>, AuthError> {
        match self.examine(token.as_ref()) {
            Examined::Accepted(verified) | Examined::Remembered(verified) => Ok(verified),
            Examined::Refused(error) => Err(error),
            Examined::Wait(waiting) => Err(waiting.error),
        }
    }

    pub(crate) fn examine(&self, token: &[u8]) -> Examined<C> {
        match &self.kind {
            Kind::One(rules) => rules.examine::<false>(token),
            Kind::Group(group) => group.examine::<false>(token),
        }
    }

    /// Verifies a token by the authorization server's answer about it. The result is never a wait.
    #[cfg(feature = "jwks")]
    pub(crate) fn settle(&self, token: &[u8], answered: &Answered) -> Examined<C> {
        self.settle_as::<false>(token, answered)
    }

    /// As [`settle`](Self::settle), for a request that may prove possession of a key or a certificate.
    #[cfg(feature = "jwks")]
    pub(crate) fn settle_bound(&self, token: &[u8], answered: &Answered) -> Examined<C> {
        self.settle_as::<true>(token, answered)
    }

    #[cfg(feature = "jwks")]
    fn settle_as<const BOUND: bool>(&self, token: &[u8], answered: &Answered) -> Examined<C> {
        match &self.kind {
            Kind::One(rules) => rules.settle::<BOUND>(token, answered),
            Kind::Group(group) => match group.selected(token) {
                Ok(rules) => rules.settle::<BOUND>(token, answered),
                Err(unverified) => Err(unverified).into(),
            },
        }
    }

    /// Checks an answer about a token without a call, for `test_util` only.
    #[cfg(all(feature = "jwks", any(test, feature = "test-util")))]
    pub(crate) fn read_answer(&self, token: &[u8], json: &str) -> Result<Verified<C>, AuthError> {
        match &self.kind {
            Kind::One(rules) => rules.read_answer_alone(token, json),
            Kind::Group(_) => Err(crate::error::AuthErrorKind::Misconfigured.into()),
        }
    }

    /// Examines a token of a request that may prove possession of a key or a certificate. The caller must
    /// check everything that the binding of an accepted token names. A plain token has none.
    pub(crate) fn examine_bound(&self, token: &[u8]) -> Examined<C> {
        match &self.kind {
            Kind::One(rules) => rules.examine::<true>(token),
            Kind::Group(group) => group.examine::<true>(token),
        }
    }
}

impl<C> Verifier<C> {
    /// Returns `true` if a token is opaque, and a verifier introspects such tokens.
    pub(super) fn introspects(&self, token: &[u8]) -> bool {
        #[cfg(feature = "jwks")]
        {
            let mut rules = Vec::new();
            self.collect_rules(&mut rules);
            rules.iter().any(|rules| rules.introspected.is_some())
                && !is_jwt(token, self.allows_padding())
        }
        #[cfg(not(feature = "jwks"))]
        {
            let _ = token;
            false
        }
    }

    /// Returns `true` if this verifier has no keys, and introspects every token.
    pub(super) fn is_without_keys(&self) -> bool {
        #[cfg(feature = "jwks")]
        if let Kind::One(rules) = &self.kind {
            let introspected = rules.introspected.as_ref();
            return introspected.is_some_and(|introspected| introspected.is_alone());
        }
        false
    }
}
