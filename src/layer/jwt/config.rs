//! Decides about one request, and changes the request accordingly.

use std::sync::Arc;

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};
use serde::de::DeserializeOwned;

use super::{forward::Forward, future::After};
use crate::{
    error::{AuthError, AuthErrorKind},
    event::AuthEvent,
    key::KeyWait,
    layer::{
        confirmations::Confirmations,
        extract::{Cleared, Credential, Place, RequestHead, TokenExtractor, is_b64token},
        response::{self, Answers, Opening, ResponseBody, answers_in, forget_derived},
    },
    principal::{Anonymous, Origin, Principal},
    revocation::{Both, CheckResult, RevocationCheck, RevocationStatus},
    verify::{Examined, Verified, Verifier},
};

pub(super) struct Config<C, R> {
    pub(super) verifier: Verifier<C>,
    pub(super) revocation: Arc<R>,
    pub(super) confirmations: Vec<Confirmations>,
    pub(super) extractor: Arc<dyn TokenExtractor>,
    pub(super) answers: Arc<Answers>,
    /// A reference to `answers`, which guards inside this layer read from the principal.
    origin: Origin,
    pub(super) optional: bool,
    pub(super) skips: Vec<Arc<Predicate>>,
    pub(super) preflight: bool,
    pub(super) strip: bool,
    pub(super) forward: Arc<Forward>,
}

pub(super) type Predicate = dyn Fn(RequestHead<'_>) -> bool + Send + Sync;

/// The decision about a request.
pub(super) enum Decision<C, F> {
    Authenticated(Caller<C>, After),
    Anonymous(After),
    Denied(AuthError),
    /// Keys are being fetched. The error is the response if the keys stay unavailable.
    Wait(KeyWait, AuthError),
    /// The revocation check has to query its source first.
    Ask(F, Asked<C>),
}

/// A verified token and its caller.
pub(super) struct Caller<C> {
    token: Verified<C>,
    principal: Principal,
    remembered: bool,
}

/// The state that is kept while a revocation check is pending.
pub(super) struct Asked<C> {
    caller: Caller<C>,
    after: After,
    clear: Cleared,
}

impl<C, R> Config<C, R> {
    pub(super) fn new(
        verifier: Verifier<C>,
        revocation: R,
        extractor: Arc<dyn TokenExtractor>,
    ) -> Self
    where
        C: Send + Sync + 'static,
    {
        let answers = Arc::new(Answers::leaving::<Verified<C>>());
        Self {
            verifier,
            revocation: Arc::new(revocation),
            confirmations: Vec::new(),
            extractor,
            origin: response::origin(&answers),
            answers,
            optional: false,
            skips: Vec::new(),
            preflight: false,
            strip: false,
            forward: Arc::default(),
        }
    }

    /// Returns this configuration with an additional revocation check.
    pub(super) fn with_revocation<T>(self, revocation: T) -> Config<C, Both<R, T>> {
        Config {
            verifier: self.verifier,
            revocation: Arc::new(Both::new(self.revocation, revocation)),
            confirmations: self.confirmations,
            extractor: self.extractor,
            answers: self.answers,
            origin: self.origin,
            optional: self.optional,
            skips: self.skips,
            preflight: self.preflight,
            strip: self.strip,
            forward: self.forward,
        }
    }

    pub(super) fn change_answers(&mut self, change: impl FnOnce(Answers) -> Answers) {
        let answers = Answers::clone(&self.answers);
        self.answers = Arc::new(change(answers));
        self.origin = response::origin(&self.answers);
    }

    /// Returns the settings that let requests without a credential pass.
    pub(super) fn openings(&self) -> [Opening; 3] {
        [
            ("optional", self.optional),
            ("skip", !self.skips.is_empty()),
            ("allow_preflight", self.preflight),
        ]
    }
}

impl<C, R> Config<C, R>
where
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    pub(super) fn decide(&self, head: RequestHead<'_>) -> Decision<C, R::Future> {
        if let Err(error) = self.answers.check_openings(&self.openings()) {
            return Decision::Denied(error);
        }
        if let Some(event) = self.passes_unseen(head) {
            self.answers.events.emit(|| event);
            return Decision::Anonymous(After::Nothing);
        }
        let found = head.extensions().get::<Principal>();
        match self.extractor.extract(head) {
            Ok(Some(credential)) if credential.is_foreign() => match self.optional {
                true => self.nobody(After::Nothing),
                false => self.judge(&credential),
            },
            // RFC 6750 §2: an API key and a token are two credentials, in any order of the layers.
            Ok(Some(_)) if found.is_some_and(Principal::is_by_key) => {
                Decision::Denied(AuthErrorKind::MultipleCredentials.into())
            }
            Ok(Some(credential)) => self.judge(&credential),
            Ok(None) if self.optional => self.nobody(After::Nothing),
            Ok(None) => Decision::Denied(AuthErrorKind::MissingCredential.into()),
            Err(error) => Decision::Denied(error),
        }
    }

    fn judge(&self, credential: &Credential<'_>) -> Decision<C, R::Future> {
        let malformed = || !self.may_be_a_token(credential.token());
        let error = match self.verifier.examine(credential.token()) {
            Examined::Done(Ok(token)) => return self.check(token, false, credential),
            Examined::Remembered(token) => return self.check(token, true, credential),
            // A value that cannot be a token causes no fetch.
            Examined::Wait(wait, error) if !malformed() => return Decision::Wait(wait, error),
            Examined::Wait(..) => AuthErrorKind::MalformedCredential.into(),
            Examined::Done(Err(error)) => error,
        };
        // RFC 6750 §2.1, §3.1: the syntax is checked only after a failure, because a scan of every
        // token would cost more than the rest of the layer.
        let error = match error.status() {
            StatusCode::UNAUTHORIZED if malformed() => AuthErrorKind::MalformedCredential.into(),
            _ => error,
        };
        self.refuse(error, credential.clearing())
    }

    /// Runs the revocation check, on every request, for a token that verifies.
    fn check(
        &self,
        token: Verified<C>,
        remembered: bool,
        credential: &Credential<'_>,
    ) -> Decision<C, R::Future> {
        let principal = token.principal_from(Some(self.origin.clone()));
        let proof = credential.proof();
        if proof.is_some_and(|proof| !proof.fits(principal.session_id())) {
            return self.refuse(AuthErrorKind::CrossSite.into(), Cleared::Nothing);
        }
        let check = self.revocation.check(&principal);
        let asked = Asked {
            caller: Caller {
                token,
                principal,
                remembered,
            },
            after: match credential.place() {
                // Caches treat only the `Authorization` header as a credential (RFC 9111 §3.5).
                Place::Authorization => After::Nothing,
                _ => After::Private,
            },
            clear: credential.clearing(),
        };
        match check {
            CheckResult::Ready(status) => self.conclude(status, asked),
            CheckResult::Pending(future) => Decision::Ask(future, asked),
        }
    }

    /// Decides by the status that the revocation check returned.
    pub(super) fn conclude(
        &self,
        status: RevocationStatus,
        asked: Asked<C>,
    ) -> Decision<C, R::Future> {
        match status {
            RevocationStatus::Valid => {
                let caller = &asked.caller;
                for confirmations in &self.confirmations {
                    confirmations.saw(&caller.principal);
                }
                self.answers.events.emit(|| AuthEvent::Allowed {
                    caller: &caller.principal,
                    remembered: caller.remembered,
                });
                Decision::Authenticated(asked.caller, asked.after)
            }
            RevocationStatus::Revoked => self.refuse(AuthErrorKind::Revoked.into(), asked.clear),
            RevocationStatus::Unavailable { retry_after } => {
                let kind = AuthErrorKind::RevocationUnavailable;
                Decision::Denied(AuthError::unavailable(kind, retry_after))
            }
        }
    }

    /// Returns the response to a refused request.
    pub(super) fn deny<T>(
        &self,
        error: AuthError,
        head: RequestHead<'_>,
    ) -> Response<ResponseBody<T>> {
        self.answers.deny(error, head)
    }

    fn refuse(&self, error: AuthError, clear: Cleared) -> Decision<C, R::Future> {
        match clear {
            Cleared::Nothing => Decision::Denied(error),
            // Unavailable keys do not make the cookie a bad one.
            clear if self.optional && error.status().is_client_error() => {
                self.nobody(After::ClearCookie(clear))
            }
            _ => Decision::Denied(error),
        }
    }

    fn nobody(&self, after: After) -> Decision<C, R::Future> {
        self.answers.events.emit(|| AuthEvent::Anonymous);
        Decision::Anonymous(after)
    }

    /// Returns `true` if the value has the syntax of a bearer token (RFC 6750 §2.1). With padding
    /// allowed, every segment may end with it.
    fn may_be_a_token(&self, value: &[u8]) -> bool {
        let mut segments = value.split(|byte| *byte == b'.');
        is_b64token(value) || (self.verifier.allows_padding() && segments.all(is_b64token))
    }

    fn passes_unseen(&self, head: RequestHead<'_>) -> Option<AuthEvent<'static>> {
        if self.preflight && is_preflight(head) {
            return Some(AuthEvent::Preflight);
        }
        let skipped = self.skips.iter().any(|names| names(head));
        skipped.then_some(AuthEvent::Skipped)
    }

    /// Removes from the request everything that only this layer may set. Values from the client or from
    /// an outer layer must not pass for values of this layer.
    pub(super) fn clean<B>(&self, request: &mut Request<B>) {
        if !request.extensions().is_empty() {
            let extensions = request.extensions_mut();
            // An outer layer's claims may be of another type than this layer's.
            if let Some(outer) = answers_in(extensions) {
                outer.forget(extensions);
            }
            extensions.remove::<Verified<C>>();
            extensions.remove::<Anonymous>();
            // An API key and a token are independent: no token replaces the principal of a key.
            if !extensions.get().is_some_and(Principal::is_by_key) {
                extensions.remove::<Principal>();
                forget_derived(extensions);
            }
        }
        self.forward.clean(request.headers_mut());
    }

    /// Prepares a request that passes for the inner service.
    pub(super) fn admit<B>(&self, request: &mut Request<B>, caller: Option<Caller<C>>) {
        if self.strip {
            let mut target = std::mem::take(request.uri_mut());
            self.extractor.strip(request.headers_mut(), &mut target);
            *request.uri_mut() = target;
        }
        let Some(Caller {
            token, principal, ..
        }) = caller
        else {
            let extensions = request.extensions_mut();
            if extensions.get::<Principal>().is_none() {
                extensions.insert(Anonymous::new(Some(self.origin.clone())));
            }
            return;
        };
        self.forward.write(&principal, request.headers_mut());
        let extensions = request.extensions_mut();
        extensions.insert(principal);
        extensions.insert(token);
    }
}

impl<C> Caller<C> {
    #[cfg(feature = "warp")]
    pub(super) fn into_token(self) -> Verified<C> {
        self.token
    }
}

impl<C, R> Clone for Config<C, R> {
    fn clone(&self) -> Self {
        Self {
            verifier: self.verifier.clone(),
            revocation: Arc::clone(&self.revocation),
            confirmations: self.confirmations.clone(),
            extractor: Arc::clone(&self.extractor),
            answers: Arc::clone(&self.answers),
            origin: self.origin.clone(),
            optional: self.optional,
            skips: self.skips.clone(),
            preflight: self.preflight,
            strip: self.strip,
            forward: Arc::clone(&self.forward),
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
