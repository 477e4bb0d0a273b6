//! The service, and its decision about one request.

use std::convert::Infallible;

use http::{HeaderName, Request, header::STRICT_TRANSPORT_SECURITY};

use super::RequireHttpsLayer;
use crate::layer::{
    extract::RequestHead,
    middleware::{Middleware, Never, SetField, Verdict, immediate_service},
    response::InnerAnswers,
};

immediate_service! {
    /// A service that is reachable only over https; created by
    /// [`RequireHttpsLayer`](super::RequireHttpsLayer).
    RequireHttpsService, RequireHttpsLayer, SetField
}

impl Middleware for RequireHttpsLayer {
    type Wait = Never;
    type Pass = ();
    type After = SetField;
    type Refusals = InnerAnswers;

    const NAME: &'static str = "https layer";

    fn decide(&self, head: RequestHead<'_>) -> Verdict<(), Never> {
        match self.config.refuse(head) {
            Some(response) => Verdict::Answer(Box::new(response)),
            None => Verdict::Pass(()),
        }
    }

    fn resume(&self, woke: Infallible, _: RequestHead<'_>) -> Verdict<(), Never> {
        match woke {}
    }

    /// RFC 6797 §7.2: the header must not be sent over plain http.
    fn admit<B>(&self, _: &mut Request<B>, (): ()) -> SetField {
        static NAME: HeaderName = STRICT_TRANSPORT_SECURITY;

        SetField::new(self.config.hsts.clone().map(|value| (&NAME, value)))
    }

    fn refusals(&self) -> &InnerAnswers {
        &self.config.refusals
    }
}
