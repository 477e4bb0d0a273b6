//! Decides about one request.

use std::{any::TypeId, sync::Arc, time::Duration};

use http::{
    HeaderValue, Method, StatusCode,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};
use serde::de::DeserializeOwned;

use super::{
    bound::NextNonce,
    forward::Forward,
    senders::{BoundTokens, Senders},
    unseen::Unseen,
    wait::TokenWait,
};
use crate::{
    error::{AuthError, AuthErrorKind, Scheme},
    event::AuthEvent,
    layer::{
        confirmations::Confirmations,
        extract::{Cleared, Credential, Kind, Place, RequestHead, TokenExtractor, is_b64token},
        middleware::{PATIENCE, Verdict},
        response::{Answers, Opening, Origins, origins},
    },
    principal::{Origin, Principal},
    revocation::{
        Both, CheckResult, NoRevocation, RevocationCheck, RevocationStatus, note_unchecked,
    },
    verify::{Examined, Verified, Verifier},
};

pub(super) struct Config<C, R> {
    pub(super) verifier: Verifier<C>,
    pub(super) revocation: Arc<R>,
    pub(super) confirmations: Vec<Confirmations>,
    pub(super) extractor: Arc<dyn TokenExtractor>,
    pub(super) answers: Arc<Answers>,
    /// References to `answers`, which guards inside this layer read from the principal.
    pub(super) origins: Origins,
    pub(super) optional: bool,
    /// Requests that are decided without a look at their credential.
    pub(super) unseen: Vec<Unseen>,
    pub(super) preflight: bool,
    pub(super) strip: bool,
    pub(super) forward: Arc<Forward>,
    pub(super) patience: Duration,
    pub(super) senders: Senders,
}

/// The decision about a request.
pub(super) type Decision<C, F> = Verdict<Pass<C>, TokenWait<C, F>>;

/// A request that passes.
pub(crate) enum Pass<C> {
    /// A token from the cache, whose caller no check and no listener has to see. The principal is created
    /// where it is inserted.
    Unwatched(Verified<C>, Place),
    Caller(Caller<C>),
    /// The cookies are deleted.
    Anonymous(Cleared),
    /// The response has the nonce for the next proof.
    WithNonce(Box<(Caller<C>, HeaderValue)>),
}

/// A verified token and its caller.
pub(crate) struct Caller<C> {
    pub(super) token: Verified<C>,
    pub(super) principal: Principal,
    pub(super) remembered: bool,
    pub(super) place: Place,
}

/// The state that is kept while a revocation check is pending.
pub(crate) struct Pending<C> {
    pub(super) caller: Caller<C>,
    pub(super) clear: Cleared,
    /// The caller proved possession of a key.
    pub(super) proved: Option<NextNonce>,
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
            senders: Senders::none(Arc::clone(&extractor)),
            extractor,
            origins: origins(&answers),
            answers,
            optional: false,
            unseen: Vec::new(),
            preflight: false,
            strip: false,
            forward: Arc::default(),
            patience: PATIENCE,
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
            origins: self.origins,
            optional: self.optional,
            unseen: self.unseen,
            preflight: self.preflight,
            strip: self.strip,
            forward: self.forward,
            patience: self.patience,
            senders: self.senders,
        }
    }

    pub(super) fn change_answers(&mut self, change: impl FnOnce(Answers) -> Answers) {
        let answers = Answers::clone(&self.answers);
        self.answers = Arc::new(change(answers));
        self.origins = origins(&self.answers);
        if let Some(dpop) = &self.senders.dpop {
            let answers = Answers::clone(&self.answers);
            let bound = Arc::new(answers.with_schemes(dpop.rules.schemes(), Scheme::Dpop));
            self.senders.dpop = Some(Arc::new(BoundTokens {
                rules: dpop.rules.clone(),
                origins: origins(&bound),
            }));
        }
    }

    /// Returns the origin of the principals that this layer inserts.
    pub(super) fn origin(&self) -> Origin {
        self.origins.of_thread().clone()
    }

    /// Returns the settings that let requests without a credential pass.
    pub(super) fn openings(&self) -> [Opening; 3] {
        [
            ("optional", self.optional),
            ("skip", self.unseen.iter().any(Unseen::is_skip)),
            ("allow_preflight", self.preflight),
        ]
    }
}

impl<C, R> Config<C, R>
where
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    #[inline(always)]
    pub(super) fn decide(&self, head: RequestHead<'_>) -> Decision<C, R::Future> {
        if let Err(error) = self.answers.check_openings(|| self.openings()) {
            return Verdict::Refuse(error);
        }
        if let Some(decision) = self.decide_unseen(head) {
            return decision;
        }
        let found = head.extensions().get::<Principal>();
        // Matched by reference, because a credential is large.
        let extracted = self.extractor.extract(head);
        if let Ok(Some(credential)) = &extracted {
            return match credential.kind() {
                // RFC 6750 §2: an API key and a token are two credentials, in any order of the layers.
                Kind::Own if found.is_some_and(Principal::is_by_key) => {
                    Verdict::Refuse(AuthErrorKind::MultipleCredentials.into())
                }
                Kind::Own => self.judge(credential),
                _ => self.judge_other(credential, head),
            };
        }
        match extracted {
            Ok(_) if self.optional => self.pass_without(found),
            Ok(_) => Verdict::Refuse(AuthErrorKind::MissingCredential.into()),
            Err(error) => Verdict::Refuse(error),
        }
    }

    /// Decides about a credential of another layer, or about a token of a client that may prove possession.
    #[cold]
    fn judge_other(
        &self,
        credential: &Credential<'_>,
        head: RequestHead<'_>,
    ) -> Decision<C, R::Future> {
        match credential.kind() {
            Kind::Bound => self.judge_bound(credential, head),
            // The layer of that credential counts the request.
            Kind::Foreign if self.optional => Verdict::Pass(Pass::Anonymous(Cleared::Nothing)),
            _ if self.senders.mtls.is_some() => self.judge_certified(credential, head),
            _ => self.judge(credential),
        }
    }

    #[inline]
    fn judge(&self, credential: &Credential<'_>) -> Decision<C, R::Future> {
        match self.verifier.examine(credential.token()) {
            Examined::Remembered(token) if self.is_unwatched() && credential.proof().is_none() => {
                Verdict::Pass(Pass::Unwatched(token, credential.place()))
            }
            examined => self.judge_examined(examined, credential),
        }
    }

    /// Returns `true` if no check and no listener needs the principal of a token from the cache.
    fn is_unwatched(&self) -> bool {
        TypeId::of::<R>() == TypeId::of::<NoRevocation>()
            && self.confirmations.is_empty()
            && !self.answers.events.is_enabled()
    }

    #[inline(never)]
    pub(super) fn judge_examined(
        &self,
        examined: Examined<C>,
        credential: &Credential<'_>,
    ) -> Decision<C, R::Future> {
        let error = match examined {
            Examined::Accepted(token) => return self.check(token, false, credential),
            Examined::Remembered(token) => return self.check(token, true, credential),
            // A value that cannot be a token causes no fetch.
            Examined::Wait(waiting) if self.may_be_a_token(credential.token()) => {
                return match self.known_as_revoked(&waiting) {
                    Some(error) => self.refuse(error, credential.clearing()),
                    None => Self::wait_for(*waiting),
                };
            }
            Examined::Wait(_) => AuthErrorKind::MalformedCredential.into(),
            Examined::Refused(error) => error,
        };
        // RFC 6750 §2.1, §3.1: the syntax is checked only after a failure, because a scan of every
        // token would cost more than the rest of the layer.
        self.refuse(self.explain(error, credential), credential.clearing())
    }

    /// Returns the refusal of a token with what is known about the token.
    pub(super) fn explain(&self, error: AuthError, credential: &Credential<'_>) -> AuthError {
        match error.status() {
            StatusCode::UNAUTHORIZED if !self.may_be_a_token(credential.token()) => {
                AuthErrorKind::MalformedCredential.into()
            }
            _ if self.answers.are_read() => self.verifier.describe(credential.token(), error),
            _ => error,
        }
    }

    /// Runs the revocation check, on every request, for a token that verifies.
    pub(super) fn check(
        &self,
        token: Verified<C>,
        remembered: bool,
        credential: &Credential<'_>,
    ) -> Decision<C, R::Future> {
        let principal = token.principal_from(Some(self.origin()));
        let proof = credential.proof();
        if proof.is_some_and(|proof| !proof.fits(principal.session_id())) {
            let problem = "the CSRF proof is not of the token's session";
            let error = AuthError::caused_by(AuthErrorKind::CrossSite, problem);
            return self.refuse(error, Cleared::Nothing);
        }
        let check = self.revocation.check(&principal);
        let caller = Caller {
            token,
            principal,
            remembered,
            place: credential.place(),
        };
        match check {
            CheckResult::Ready(status) => self.conclude(status, caller, || credential.clearing()),
            CheckResult::Pending(check) => {
                let clear = credential.clearing();
                let pending = Some(Pending {
                    caller,
                    clear,
                    proved: None,
                });
                let refusal = AuthError::unavailable(AuthErrorKind::RevocationUnavailable, 1);
                Verdict::Wait(TokenWait::Check { check, pending }, refusal)
            }
        }
    }

    /// Decides by the status that the revocation check returned after a wait.
    pub(super) fn conclude_pending(
        &self,
        status: RevocationStatus,
        pending: Pending<C>,
    ) -> Decision<C, R::Future> {
        match pending.proved {
            None => self.conclude(status, pending.caller, || pending.clear),
            Some(next) => self.conclude_bound(status, pending.caller, next),
        }
    }

    pub(super) fn conclude(
        &self,
        status: RevocationStatus,
        caller: Caller<C>,
        clear: impl FnOnce() -> Cleared,
    ) -> Decision<C, R::Future> {
        match status {
            RevocationStatus::Valid => {
                for confirmations in &self.confirmations {
                    confirmations.saw(&caller.principal);
                }
                if !caller.remembered && TypeId::of::<R>() == TypeId::of::<NoRevocation>() {
                    note_unchecked(&caller.principal);
                }
                self.answers.events.emit(|| AuthEvent::Allowed {
                    caller: &caller.principal,
                    remembered: caller.remembered,
                });
                Verdict::Pass(Pass::Caller(caller))
            }
            RevocationStatus::Revoked => {
                let error = AuthError::from(AuthErrorKind::Revoked);
                let subject = caller.principal.subject();
                self.refuse(error.of_subject(subject), clear())
            }
            RevocationStatus::Unavailable { retry_after } => {
                let kind = AuthErrorKind::RevocationUnavailable;
                Verdict::Refuse(AuthError::unavailable(kind, retry_after))
            }
        }
    }

    pub(super) fn refuse(&self, error: AuthError, clear: Cleared) -> Decision<C, R::Future> {
        match clear {
            Cleared::Nothing => Verdict::Refuse(error),
            // Unavailable keys do not make the cookie a bad one.
            clear if self.optional && error.status().is_client_error() => self.anonymous(clear),
            _ => Verdict::Refuse(error),
        }
    }

    /// Passes a request without a token. A caller whom an outer layer authenticated by an API key is not
    /// anonymous, and was counted there.
    fn pass_without(&self, found: Option<&Principal>) -> Decision<C, R::Future> {
        match found {
            Some(found) if found.is_by_key() => Verdict::Pass(Pass::Anonymous(Cleared::Nothing)),
            _ => self.anonymous(Cleared::Nothing),
        }
    }

    fn anonymous(&self, clear: Cleared) -> Decision<C, R::Future> {
        self.answers.events.emit(|| AuthEvent::Anonymous);
        Verdict::Pass(Pass::Anonymous(clear))
    }

    /// Returns `true` if the value has the syntax of a bearer token (RFC 6750 §2.1). With padding
    /// allowed, every segment may end with it.
    pub(super) fn may_be_a_token(&self, value: &[u8]) -> bool {
        let mut segments = value.split(|byte| *byte == b'.');
        is_b64token(value) || (self.verifier.allows_padding() && segments.all(is_b64token))
    }

    /// Decides about a request whatever its credential is.
    fn decide_unseen(&self, head: RequestHead<'_>) -> Option<Decision<C, R::Future>> {
        if self.preflight && is_preflight(head) {
            return Some(self.decide_preflight(head));
        }
        // Usually there is nothing in the list.
        let concerning = self.unseen.iter().find(|held| self.concerns(held, head))?;
        Some(self.decide_by(concerning, head))
    }

    fn concerns(&self, unseen: &Unseen, head: RequestHead<'_>) -> bool {
        match unseen {
            Unseen::Skip(names) => names(head),
            // A gateway would take the document for a permission.
            Unseen::Metadata(metadata) => metadata.is_at(head) && !self.answers.is_for_gateway(),
            Unseen::Fault(..) => true,
        }
    }

    #[cold]
    fn decide_by(&self, unseen: &Unseen, head: RequestHead<'_>) -> Decision<C, R::Future> {
        match unseen {
            Unseen::Skip(_) => self.pass_unseen(AuthEvent::Skipped),
            Unseen::Metadata(metadata) => {
                Verdict::Answer(Box::new(metadata.answer_to(head.method())))
            }
            Unseen::Fault(_, problem) => {
                let kind = AuthErrorKind::Misconfigured;
                Verdict::Refuse(AuthError::caused_by(kind, *problem))
            }
        }
    }

    /// A preflight request for the metadata is answered as such.
    #[cold]
    fn decide_preflight(&self, head: RequestHead<'_>) -> Decision<C, R::Future> {
        let mut unseen = self.unseen.iter().filter(|unseen| !unseen.is_skip());
        match unseen.find(|held| self.concerns(held, head)) {
            Some(concerning) => self.decide_by(concerning, head),
            None => self.pass_unseen(AuthEvent::Preflight),
        }
    }

    fn pass_unseen(&self, event: AuthEvent<'_>) -> Decision<C, R::Future> {
        self.answers.events.emit(|| event);
        Verdict::Pass(Pass::Anonymous(Cleared::Nothing))
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
            origins: Arc::clone(&self.origins),
            optional: self.optional,
            unseen: self.unseen.clone(),
            preflight: self.preflight,
            strip: self.strip,
            forward: Arc::clone(&self.forward),
            patience: self.patience,
            senders: self.senders.clone(),
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
