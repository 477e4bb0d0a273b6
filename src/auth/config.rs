//! The decision about one request, and what the request gets from it.

use std::sync::Arc;

use http::{
    HeaderValue, Method, Request, StatusCode,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};
use serde::de::DeserializeOwned;

use super::{forward::Forward, future::After};
use crate::{
    deny::{self, Answers},
    error::{AuthError, AuthErrorKind},
    extract::{Credential, Place, TokenExtractor, is_b64token},
    head::RequestHead,
    key::KeyWait,
    principal::{Anonymous, Origin, Principal},
    verify::{Examined, Verified, Verifier},
};

pub(super) struct Config<C> {
    pub(super) verifier: Verifier<C>,
    pub(super) extractor: Arc<dyn TokenExtractor>,
    pub(super) answers: Arc<Answers>,
    /// `answers`, for the guards inside.
    origin: Origin,
    pub(super) optional: bool,
    pub(super) skips: Vec<Arc<Predicate>>,
    pub(super) preflight: bool,
    pub(super) strip: bool,
    pub(super) forward: Forward,
}

pub(super) type Predicate = dyn Fn(RequestHead<'_>) -> bool + Send + Sync;

/// What is to be done with a request.
pub(super) enum Decision<C> {
    Authenticated(Verified<C>, After),
    Anonymous(After),
    Denied(AuthError),
    Wait(KeyWait),
}

impl<C> Config<C> {
    pub(super) fn new(verifier: Verifier<C>, extractor: Arc<dyn TokenExtractor>) -> Self {
        let answers = Arc::new(Answers::default());
        Self {
            verifier,
            extractor,
            origin: deny::origin(&answers),
            answers,
            optional: false,
            skips: Vec::new(),
            preflight: false,
            strip: false,
            forward: Forward::default(),
        }
    }

    pub(super) fn change_answers(&mut self, change: impl FnOnce(Answers) -> Answers) {
        let answers = Answers::clone(&self.answers);
        self.answers = Arc::new(change(answers));
        self.origin = deny::origin(&self.answers);
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Config<C> {
    pub(super) fn decide(&self, head: RequestHead<'_>) -> Decision<C> {
        if self.passes_unseen(head) {
            return Decision::Anonymous(After::Nothing);
        }
        match self.extractor.extract(head) {
            Ok(Some(credential)) => self.judge(&credential),
            Ok(None) if self.optional => Decision::Anonymous(After::Nothing),
            Ok(None) => Decision::Denied(AuthErrorKind::MissingCredential.into()),
            Err(error) => Decision::Denied(error),
        }
    }

    fn judge(&self, credential: &Credential<'_>) -> Decision<C> {
        let place = credential.place();
        let malformed = || !self.may_be_a_token(credential.token());
        let error = match self.verifier.examine(credential.token()) {
            Examined::Done(Ok(token)) => {
                // RFC 6750 §2.3: an answer to a token in the query is private.
                let after = match place {
                    Place::Query => After::Private,
                    _ => After::Nothing,
                };
                return Decision::Authenticated(token, after);
            }
            // Nothing is fetched for what cannot be a token.
            Examined::Wait(wait) if !malformed() => return Decision::Wait(wait),
            Examined::Wait(_) => AuthErrorKind::MalformedCredential.into(),
            Examined::Done(Err(error)) => error,
        };
        let status = error.status();
        match credential.clear() {
            // That keys are unavailable says nothing about the cookie.
            Some(clear) if self.optional && status.is_client_error() => {
                Decision::Anonymous(After::ClearCookie(clear.clone()))
            }
            // RFC 6750 §2.1, §3.1: looked at only now, because a scan of every token would cost
            // more than the rest of the layer.
            _ if status == StatusCode::UNAUTHORIZED && malformed() => {
                Decision::Denied(AuthErrorKind::MalformedCredential.into())
            }
            _ => Decision::Denied(error),
        }
    }

    /// RFC 6750 §2.1. Where padding is allowed, every segment may end with it.
    fn may_be_a_token(&self, value: &[u8]) -> bool {
        let mut segments = value.split(|byte| *byte == b'.');
        is_b64token(value) || (self.verifier.allows_padding() && segments.all(is_b64token))
    }

    /// Whether the inner service is to see another request than the client sent.
    #[cfg(feature = "warp")]
    pub(super) fn changes_requests(&self) -> bool {
        self.strip || !self.forward.is_empty()
    }

    fn passes_unseen(&self, head: RequestHead<'_>) -> bool {
        (self.preflight && is_preflight(head)) || self.skips.iter().any(|names| names(head))
    }

    /// Removes from the request what only this layer may say. What the client sent, and what an
    /// outer layer said, must not be taken for this layer's word.
    pub(super) fn clean<B>(&self, request: &mut Request<B>) {
        if !request.extensions().is_empty() {
            let extensions = request.extensions_mut();
            extensions.remove::<Verified<C>>();
            extensions.remove::<Principal>();
            extensions.remove::<Anonymous>();
        }
        self.forward.clean(request.headers_mut());
    }

    /// Prepares a request that passes for the inner service.
    pub(super) fn admit<B>(&self, request: &mut Request<B>, token: Option<Verified<C>>) {
        if self.strip {
            let mut target = std::mem::take(request.uri_mut());
            self.extractor.strip(request.headers_mut(), &mut target);
            *request.uri_mut() = target;
        }
        let origin = Some(self.origin.clone());
        let Some(token) = token else {
            request.extensions_mut().insert(Anonymous::new(origin));
            return;
        };
        let principal = token.principal_from(origin);
        self.forward.write(&principal, request.headers_mut());
        let extensions = request.extensions_mut();
        extensions.insert(principal);
        extensions.insert(token);
    }
}

impl<C> Clone for Config<C> {
    fn clone(&self) -> Self {
        Self {
            verifier: self.verifier.clone(),
            extractor: Arc::clone(&self.extractor),
            answers: Arc::clone(&self.answers),
            origin: self.origin.clone(),
            optional: self.optional,
            skips: self.skips.clone(),
            preflight: self.preflight,
            strip: self.strip,
            forward: self.forward.clone(),
        }
    }
}

// Fetch standard, "CORS-preflight request".
fn is_preflight(head: RequestHead<'_>) -> bool {
    let headers = head.headers();
    let asks = |value: &HeaderValue| !value.is_empty();
    head.method() == Method::OPTIONS
        && headers.get(ORIGIN).is_some_and(asks)
        && headers.get(ACCESS_CONTROL_REQUEST_METHOD).is_some_and(asks)
}
