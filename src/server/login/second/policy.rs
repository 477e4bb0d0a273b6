//! The policy that asks for a second step.

use std::future::Future;

use crate::{erased::erased, error::StoreError};

/// A sign-in whose first factor was proved: the input of a [`SecondStepPolicy`].
#[derive(Clone, Debug)]
pub struct FirstStep {
    pub(crate) subject: String,
    pub(crate) amr: Vec<String>,
}

impl FirstStep {
    /// Returns the subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the authentication methods so far (RFC 8176 §2).
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        self.amr.iter().map(String::as_str)
    }
}

/// A policy that may ask for another factor after the first one.
///
/// It is called at every sign-in after the first factor was proved, before a session starts. The
/// built-in policy of `LoginBuilder::totp` asks subjects who have enrolled. A policy
/// of your own is asked as well: the methods of both are offered.
///
/// Closures implement it.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{
///     error::StoreError,
///     server::login::{FirstStep, SecondStepPolicy},
/// };
///
/// fn is_policy(_: impl SecondStepPolicy) {}
///
/// // Administrators also use a passkey.
/// is_policy(|first: FirstStep| async move {
///     let is_admin = first.subject() == "usr_admin";
///     Ok::<_, StoreError>(if is_admin { vec!["webauthn".to_owned()] } else { Vec::new() })
/// });
/// ```
pub trait SecondStepPolicy: Send + Sync + 'static {
    /// Returns the names of the methods by which the subject may prove another factor. An empty list
    /// asks for none.
    ///
    /// # Errors
    ///
    /// Any error: the sign-in is answered with 503.
    fn methods(
        &self,
        first: FirstStep,
    ) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;
}

impl<F, R> SecondStepPolicy for F
where
    F: Fn(FirstStep) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Vec<String>, StoreError>> + Send,
{
    fn methods(
        &self,
        first: FirstStep,
    ) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send {
        self(first)
    }
}

erased! {
    pub(crate) trait ErasedSecondStepPolicy: SecondStepPolicy {
        async fn methods(&self, first: FirstStep) -> Result<Vec<String>, StoreError>;
    }
}
