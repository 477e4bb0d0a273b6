//! The response settings of a layer inside an authenticating layer.

use std::{
    mem,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::Response;

use super::{Answers, ErrorResponder, Refuse, answers_in, form::Form};
use crate::{
    error::AuthError,
    event::{EventSink, Events},
    layer::extract::RequestHead,
};

/// Response settings that default to those of the authenticating layer until one of them is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct InnerAnswers {
    own: Answers,
    /// If `true`, `own` applies even if the caller carries the authenticating layer's settings.
    is_own: bool,
    events: Events,
    /// Combined with the form of the authenticating layer, even if `own` applies.
    form: Form,
    /// `own` with the challenges of the first authenticating layer whose challenges have more than a
    /// realm: a guard usually is inside one layer.
    within: OnceLock<Within>,
}

/// The settings of a layer inside another one.
#[derive(Clone, Debug)]
struct Within {
    outer: Arc<Answers>,
    answers: Arc<Answers>,
}

impl InnerAnswers {
    pub(crate) fn realm(&mut self, realm: String) {
        self.change(|answers| answers.with_realm(realm));
    }

    pub(crate) fn responder(&mut self, responder: impl ErrorResponder) {
        self.change(|answers| answers.with_responder(Arc::new(responder)));
    }

    pub(crate) fn terse(&mut self) {
        self.change(Answers::without_details);
    }

    /// Sets the event sink, independently of the response settings.
    pub(crate) fn events(&mut self, sink: impl EventSink) {
        self.events = Events::to(sink);
    }

    pub(crate) fn grpc(&mut self, framing: bool) {
        self.form.grpc = framing;
    }

    pub(crate) fn gateway(&mut self) {
        self.form.gateway = true;
    }

    /// Returns `true` if a refusal may explain itself to the client.
    pub(crate) fn details(&self, head: RequestHead<'_>) -> bool {
        match answers_in(head.extensions()).filter(|_| !self.is_own) {
            Some(carried) => carried.challenges.details(),
            None => self.own.challenges.details(),
        }
    }

    fn change(&mut self, change: impl FnOnce(Answers) -> Answers) {
        self.own = change(mem::take(&mut self.own));
        self.is_own = true;
        self.within = OnceLock::new();
    }

    /// Returns the own settings, with the schemes and the metadata of the authenticating layer: they
    /// belong to the credential, whatever the realm is.
    fn own_within(&self, outer: &Arc<Answers>) -> Arc<Answers> {
        let make = || Within {
            outer: Arc::clone(outer),
            answers: Arc::new(self.own.within(outer)),
        };
        let first = self.within.get_or_init(make);
        match Arc::ptr_eq(&first.outer, outer) {
            true => Arc::clone(&first.answers),
            false => make().answers,
        }
    }
}

impl Refuse for InnerAnswers {
    fn refuse(&self, error: AuthError, head: RequestHead<'_>) -> Response<Bytes> {
        let carried = answers_in(head.extensions());
        let around = carried.as_ref().map(|answers| answers.form);
        let form = around.map_or(self.form, |around| self.form.and(around));
        let carried = match carried {
            Some(outer) if !self.is_own => Some(outer),
            Some(outer) if outer.challenges.say_more_than_a_realm() => {
                Some(self.own_within(&outer))
            }
            _ => None,
        };
        let answers = carried.as_deref().unwrap_or(&self.own);
        answers.refuse_telling(error, head, &self.events, form)
    }
}
