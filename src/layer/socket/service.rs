//! The service, and its decision about one request.

use std::convert::Infallible;

use http::Request;

use super::{ChatContext, ChatLayer};
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{
        extract::RequestHead,
        middleware::{Middleware, Never, Verdict, immediate_service},
        response::{Derived, InnerAnswers},
        role_guard::Rule,
    },
    principal::{Anonymous, Principal},
};

immediate_service! {
    /// A service that inserts a [`ChatContext`] into every request; created by
    /// [`ChatLayer`](super::ChatLayer).
    ChatService, ChatLayer, ()
}

impl Middleware for ChatLayer {
    type Wait = Never;
    type Pass = ChatContext;
    type After = ();
    type Refusals = InnerAnswers;

    const NAME: &'static str = "chat layer";

    fn decide(&self, head: RequestHead<'_>) -> Verdict<ChatContext, Never> {
        match self.context(head) {
            Ok(context) => Verdict::Pass(context),
            Err(error) => Verdict::Refuse(error),
        }
    }

    fn resume(&self, woke: Infallible, _: RequestHead<'_>) -> Verdict<ChatContext, Never> {
        match woke {}
    }

    fn admit<B>(&self, request: &mut Request<B>, context: ChatContext) {
        let extensions = request.extensions_mut();
        extensions.insert(context);
        extensions.insert(Derived::leaving::<ChatContext>());
    }

    fn refusals(&self) -> &InnerAnswers {
        &self.config.answers
    }
}

impl ChatLayer {
    fn context(&self, head: RequestHead<'_>) -> Result<ChatContext, AuthError> {
        let extensions = head.extensions();
        let fault = self.config.manage.as_ref().and_then(Rule::fault);
        if let Some(fault) = fault {
            return Err(AuthError::caused_by(AuthErrorKind::Misconfigured, fault));
        }
        if let Some(caller) = extensions.get::<Principal>() {
            let rule = self.config.manage.as_ref();
            let can_manage = rule.is_some_and(|rule| rule.admits(caller, head));
            return Ok(ChatContext::new(Some(caller.clone()), can_manage));
        }
        match extensions.get::<Anonymous>() {
            Some(_) if self.config.anonymous => Ok(ChatContext::new(None, false)),
            Some(_) => Err(AuthErrorKind::MissingCredential.into()),
            None => Err(AuthError::caused_by(
                AuthErrorKind::Misconfigured,
                "no authenticating layer ran before the chat layer",
            )),
        }
    }
}
