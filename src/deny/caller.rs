//! What an authenticating layer left in a request's extensions.

use std::sync::Arc;

use http::Extensions;

#[cfg(any(feature = "axum", feature = "tonic", feature = "warp"))]
use crate::error::{AuthError, AuthErrorKind};
use crate::{
    deny::{Answers, answers::answers_of},
    principal::{Anonymous, Principal},
};

/// The answers of the layer that authenticated, where one of this crate did.
pub(crate) fn answers_in(extensions: &Extensions) -> Option<Arc<Answers>> {
    let origin = match extensions.get::<Principal>() {
        Some(caller) => caller.origin(),
        None => extensions.get::<Anonymous>()?.origin(),
    };
    origin.and_then(answers_of)
}

/// Removes what a layer inside made of a request's caller, and left beside it.
#[derive(Clone, Copy)]
pub(crate) struct Derived(fn(&mut Extensions));

impl Derived {
    /// The layer leaves a `T`.
    pub(crate) fn leaving<T: Clone + Send + Sync + 'static>() -> Self {
        Self(|extensions| drop(extensions.remove::<T>()))
    }
}

/// Removes what was made of a caller who is about to be replaced.
pub(crate) fn forget_derived(extensions: &mut Extensions) {
    if let Some(Derived(forget)) = extensions.remove() {
        forget(extensions);
    }
}

/// The caller as a `T`, a [`Principal`] or a `Verified`; `None` where nobody is signed in.
///
/// The error is a mistake in how the layers are put together, or 403 for a caller who is known and
/// has no claims: an API key has none.
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
            let problem = "the caller has an API key, and claims are asked for";
            return Err(AuthError::caused_by(AuthErrorKind::Forbidden, problem));
        }
        Some(_) => format!(
            "the authenticating layer leaves no {}: is its claims type another one?",
            std::any::type_name::<T>()
        ),
        None => "no authenticating layer stands around the handler".to_owned(),
    };
    Err(AuthError::caused_by(AuthErrorKind::Misconfigured, problem))
}
