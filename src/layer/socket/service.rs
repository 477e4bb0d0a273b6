//! The service.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{ChatContext, layer::Config};
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{
        extract::RequestHead,
        middleware::GateFuture,
        response::{Derived, ResponseBody, answers_in},
        role_guard::Rule,
    },
    principal::{Anonymous, Principal},
};

/// A service that inserts a [`ChatContext`] into every request; created by
/// [`ChatLayer`](super::ChatLayer).
#[derive(Clone, Debug)]
#[must_use = "services do nothing unless called"]
pub struct ChatService<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> ChatService<S> {
    pub(super) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }

    /// Returns the inner service.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R> Service<Request<B>> for ChatService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = GateFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.config.context(RequestHead::of(&request)) {
            Ok(context) => {
                let extensions = request.extensions_mut();
                extensions.insert(context);
                extensions.insert(Derived::leaving::<ChatContext>());
                GateFuture::inner(self.inner.call(request))
            }
            Err(error) => {
                let head = RequestHead::of(&request);
                let answers = answers_in(head.extensions()).unwrap_or_default();
                GateFuture::denied(answers.deny(error, head))
            }
        }
    }
}

impl Config {
    fn context(&self, head: RequestHead<'_>) -> Result<ChatContext, AuthError> {
        let extensions = head.extensions();
        let fault = self.manage.as_ref().and_then(Rule::fault);
        if let Some(fault) = fault {
            return Err(AuthError::caused_by(AuthErrorKind::Misconfigured, fault));
        }
        if let Some(caller) = extensions.get::<Principal>() {
            let rule = self.manage.as_ref();
            let can_manage = rule.is_some_and(|rule| rule.admits(caller, head));
            return Ok(ChatContext::new(Some(caller.clone()), can_manage));
        }
        match extensions.get::<Anonymous>() {
            Some(_) if self.anonymous => Ok(ChatContext::new(None, false)),
            Some(_) => Err(AuthErrorKind::MissingCredential.into()),
            None => Err(AuthError::caused_by(
                AuthErrorKind::Misconfigured,
                "no authenticating layer ran before the chat layer",
            )),
        }
    }
}
