//! The values that an authenticating layer inserts into a request's extensions.

use std::sync::Arc;

use http::Extensions;

#[cfg(any(feature = "axum", feature = "tonic", feature = "warp"))]
use crate::error::{AuthError, AuthErrorKind, Reason};
use crate::{
    layer::response::{Answers, answers::answers_of},
    principal::{Anonymous, Principal},
};

/// Returns the settings of the authenticating layer, if a layer of this crate authenticated the
/// request.
pub(crate) fn answers_in(extensions: &Extensions) -> Option<Arc<Answers>> {
    let origin = match extensions.get::<Principal>() {
        Some(caller) => caller.origin(),
        None => extensions.get::<Anonymous>()?.origin(),
    };
    origin.and_then(answers_of)
}

/// Removes a value that an inner layer derived from the caller and inserted into the extensions.
#[derive(Clone, Copy)]
pub(crate) struct Derived(fn(&mut Extensions));

impl Derived {
    /// Creates the marker for a layer that inserts a `T`.
    pub(crate) fn leaving<T: Clone + Send + Sync + 'static>() -> Self {
        Self(|extensions| drop(extensions.remove::<T>()))
    }
}

/// Removes the values derived from a caller who is about to be replaced.
pub(crate) fn forget_derived(extensions: &mut Extensions) {
    if let Some(Derived(forget)) = extensions.remove() {
        forget(extensions);
    }
}

/// Returns the caller as a `T`, which is a [`Principal`] or a `Verified`, or `None` for an anonymous
/// request.
///
/// # Errors
///
/// - `Misconfigured` if no authenticating layer ran, or its claims type is another one.
/// - `Forbidden` (403) if claims are requested for a caller with an API key, which has none.
#[cfg(any(feature = "axum", feature = "tonic", feature = "warp"))]
pub(crate) fn caller_in<T>(extensions: &Extensions) -> Result<Option<T>, AuthError>
where
    T: Clone + Send + Sync + 'static,
{
    if let Some(caller) = extensions.get::<T>() {
        return Ok(Some(caller.clone()));
    }
    if extensions.get::<Anonymous>().is_some() {
        return Ok(None);
    }
    let problem = match extensions.get::<Principal>() {
        Some(caller) if caller.is_by_key() => {
            let requirement = "the claims of a token, which an API key does not have";
            return Err(AuthError::forbidden(Reason::Caller, requirement));
        }
        Some(_) => format!(
            "the authenticating layer provides no {}; check that its claims type is the same",
            std::any::type_name::<T>()
        ),
        None => "the handler needs an authenticating layer around it".to_owned(),
    };
    Err(AuthError::caused_by(AuthErrorKind::Misconfigured, problem))
}
