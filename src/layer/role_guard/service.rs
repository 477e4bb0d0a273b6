//! The services, and their decision about one request.

use std::{
    convert::Infallible,
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    Decide, Decided, Decision, NoPolicy, Question, RoleGuardLayer, decide::DecisionWait,
    layer::Config,
};
use crate::{
    error::{AuthError, AuthErrorKind, Reason},
    layer::{
        extract::RequestHead,
        middleware::{
            Guarded, Immediate, Middleware, Never, ResponseBody, ResponseFuture, Suspended, Verdict,
        },
        response::InnerAnswers,
    },
    principal::{Anonymous, Principal},
    task::caught_now,
};

/// A service that lets only callers through who satisfy a [`Rule`](super::Rule).
///
/// Created by [`RoleGuardLayer`](super::RoleGuardLayer), which documents the decisions. The inner
/// service is not called for a refused request. With a policy engine, the inner service must be
/// `Clone`.
#[must_use = "services do nothing unless called"]
pub struct RoleGuardService<S, D = NoPolicy> {
    guarded: Guarded<S, RoleGuardLayer<D>>,
}

impl<S, D> RoleGuardService<S, D> {
    pub(super) fn new(inner: S, layer: RoleGuardLayer<D>) -> Self {
        Self {
            guarded: Guarded::new(inner, layer),
        }
    }

    /// Returns a reference to the inner service.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        self.guarded.inner()
    }

    /// Returns the inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.guarded.into_inner()
    }
}

impl<S, B, T> Service<Request<B>> for RoleGuardService<S>
where
    S: Service<Request<B>, Response = Response<T>>,
{
    type Response = Response<ResponseBody<T>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, Immediate>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.guarded.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.guarded.call(request)
    }
}

impl<S, D, B, T> Service<Request<B>> for RoleGuardService<S, D>
where
    S: Service<Request<B>, Response = Response<T>> + Clone,
    D: Decide,
{
    type Response = Response<ResponseBody<T>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, Suspended<RoleGuardLayer<D>, S, B>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.guarded.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.guarded.call_or_wait(request)
    }
}

impl<S: Clone, D> Clone for RoleGuardService<S, D> {
    fn clone(&self) -> Self {
        Self {
            guarded: self.guarded.clone(),
        }
    }
}

impl<S, D> fmt::Debug for RoleGuardService<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleGuardService").finish_non_exhaustive()
    }
}

impl Middleware for RoleGuardLayer {
    type Wait = Never;
    type Pass = ();
    type After = ();
    type Refusals = InnerAnswers;

    const NAME: &'static str = "role guard";

    fn decide(&self, head: RequestHead<'_>) -> Verdict<(), Never> {
        let rule = &self.config.rule;
        if let Some(fault) = rule.fault() {
            return Verdict::Refuse(misconfigured(fault));
        }
        match head.extensions().get::<Principal>() {
            Some(caller) if rule.admits(caller, head) => Verdict::Pass(()),
            caller => Verdict::Refuse(self.config.refusal(caller, head)),
        }
    }

    fn resume(&self, woke: Infallible, _: RequestHead<'_>) -> Verdict<(), Never> {
        match woke {}
    }

    fn admit<B>(&self, _: &mut Request<B>, (): ()) {}

    fn refusals(&self) -> &InnerAnswers {
        &self.config.answers
    }
}

impl<D: Decide> Middleware for RoleGuardLayer<D> {
    type Wait = DecisionWait<D::Future>;
    type Pass = ();
    type After = ();
    type Refusals = InnerAnswers;

    const NAME: &'static str = "policy engine";

    fn decide(&self, head: RequestHead<'_>) -> Verdict<(), Self::Wait> {
        let rule = &self.config.rule;
        if let Some(fault) = rule.fault_if_decided() {
            return Verdict::Refuse(misconfigured(fault));
        }
        match head.extensions().get::<Principal>() {
            Some(caller) if rule.admits_if_decided(caller, head) => {
                self.config.question(caller, head)
            }
            caller => Verdict::Refuse(self.config.refusal(caller, head)),
        }
    }

    fn resume(&self, decision: Decision, head: RequestHead<'_>) -> Verdict<(), Self::Wait> {
        self.config.conclude(decision, head)
    }

    fn admit<B>(&self, _: &mut Request<B>, (): ()) {}

    fn refusals(&self) -> &InnerAnswers {
        &self.config.answers
    }

    fn patience(&self) -> Duration {
        self.config.patience
    }
}

impl<D> Config<D> {
    /// Returns the refusal for a request whose caller, if it has one, does not satisfy the rule.
    fn refusal(&self, caller: Option<&Principal>, head: RequestHead<'_>) -> AuthError {
        match caller {
            Some(caller) => self.rule.refusal(caller, head),
            // RFC 9110 §15.5.2, §15.5.4: 403 is for a caller whose credentials are known.
            None if head.extensions().get::<Anonymous>().is_some() => {
                AuthErrorKind::MissingCredential.into()
            }
            None => misconfigured("the guard needs an authenticating layer around it"),
        }
    }
}

impl<D: Decide> Config<D> {
    /// Calls the policy engine.
    fn question(
        &self,
        caller: &Principal,
        head: RequestHead<'_>,
    ) -> Verdict<(), DecisionWait<D::Future>> {
        let action = self.rule.action_of(head);
        let decided = caught_now("policy engine", || {
            let id = action.map_or(Ok(None), |action| action.id(head))?;
            Ok(self.engine.decide(&Question::new(caller, head, action, id)))
        });
        match decided.unwrap_or_else(|_| Err(unavailable(1))) {
            Ok(Decided::Ready(decision)) => self.conclude(decision, head),
            Ok(Decided::Pending(future)) => {
                Verdict::Wait(DecisionWait::new(future), unavailable(1))
            }
            Err(error) => Verdict::Refuse(error),
        }
    }

    fn conclude(
        &self,
        decision: Decision,
        head: RequestHead<'_>,
    ) -> Verdict<(), DecisionWait<D::Future>> {
        Verdict::Refuse(match decision {
            Decision::Allow => return Verdict::Pass(()),
            Decision::Deny { reason } => {
                let requirement = match self.rule.action_of(head) {
                    Some(action) => format!("a policy for `{}`", action.name().escape_debug()),
                    None => "a policy for the request".to_owned(),
                };
                AuthError::forbidden(Reason::Rule, requirement).because(reason)
            }
            Decision::Unavailable {
                retry_after,
                reason,
            } => unavailable(retry_after).because(reason),
        })
    }
}

fn unavailable(retry_after: u32) -> AuthError {
    AuthError::unavailable(AuthErrorKind::PolicyUnavailable, retry_after)
}

fn misconfigured(problem: &'static str) -> AuthError {
    AuthError::caused_by(AuthErrorKind::Misconfigured, problem)
}

#[cfg(test)]
mod tests;
