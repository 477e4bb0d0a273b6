//! The decision about one request.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderName, Request, Response, Uri, header::AUTHORIZATION};

use super::{
    PresentedApiKey,
    examine::{Examined, Examiner},
    lookup::{Answer, Row, RowWait},
    networks::Networks,
};
use crate::{
    body::ResponseBody,
    deny::{self, Answers, Opening},
    error::{AuthError, AuthErrorKind},
    event::AuthEvent,
    extract::{Bearer, Header, TokenExtractor, is_b64token, is_dpop},
    gate::keep_private,
    head::RequestHead,
    principal::{Anonymous, Origin, Principal},
};

#[derive(Clone)]
pub(super) struct Config {
    pub(super) examiner: Arc<Examiner>,
    pub(super) answers: Arc<Answers>,
    /// `answers`, for the guards inside.
    origin: Origin,
    header: Header,
    bearer: Bearer,
    pub(super) optional: bool,
    pub(super) skips: Vec<Arc<Predicate>>,
    pub(super) strip: bool,
    pub(super) networks: Option<Arc<Networks>>,
}

pub(super) type Predicate = dyn Fn(RequestHead<'_>) -> bool + Send + Sync;

/// What is to be done with a request.
pub(super) enum Decision {
    /// It passes as this caller, or as whom it was before.
    Passes(Option<Caller>),
    Denied(AuthError),
    Ask(RowWait, Asked),
}

/// Whom a key stands for.
pub(super) struct Caller {
    principal: Principal,
    pub(super) place: KeyPlace,
}

/// What is to be known when the store answers.
pub(super) struct Asked {
    presented: PresentedApiKey,
    place: KeyPlace,
    network: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyPlace {
    /// `X-API-Key`, which caches do not know for a credential.
    OwnHeader,
    Authorization,
}

impl Config {
    pub(super) fn new(examiner: Arc<Examiner>) -> Self {
        let answers = Arc::new(Answers::default());
        Self {
            examiner,
            origin: deny::origin(&answers),
            answers,
            header: Header::new(X_API_KEY),
            bearer: Bearer::new(),
            optional: false,
            skips: Vec::new(),
            strip: false,
            networks: None,
        }
    }

    pub(super) fn change_answers(&mut self, change: impl FnOnce(Answers) -> Answers) {
        let answers = Answers::clone(&self.answers);
        self.answers = Arc::new(change(answers));
        self.origin = deny::origin(&self.answers);
    }

    /// The settings that let requests without a key pass.
    pub(super) fn openings(&self) -> [Opening; 2] {
        [
            ("optional", self.optional),
            ("skip", !self.skips.is_empty()),
        ]
    }

    pub(super) fn decide(&self, head: RequestHead<'_>) -> Decision {
        if let Err(error) = self.answers.check_openings(&self.openings()) {
            return Decision::Denied(error);
        }
        if self.skips.iter().any(|names| names(head)) {
            self.answers.events.tell(|| AuthEvent::Skipped);
            return Decision::Passes(None);
        }
        self.look(head).unwrap_or_else(Decision::Denied)
    }

    fn look(&self, head: RequestHead<'_>) -> Result<Decision, AuthError> {
        let found = head.extensions().get::<Principal>();
        let own = self.header.extract(head)?;
        // A token bound to a key is a form of its own, of another layer.
        let bound = is_dpop(head.headers());
        let bearer = match self.bearer.extract(head) {
            Err(error) if bound && error.kind() == AuthErrorKind::MissingCredential => {
                match own.is_some() || self.optional {
                    true => None,
                    false => return Err(error),
                }
            }
            bearer => bearer?,
        };
        let (credential, place) = match (&own, &bearer) {
            // RFC 6750 §2: one method in each request.
            (Some(_), Some(_)) => return Err(AuthErrorKind::MultipleCredentials.into()),
            (Some(_), None) if bound => return Err(AuthErrorKind::MultipleCredentials.into()),
            (Some(own), None) => (own.token(), KeyPlace::OwnHeader),
            (None, Some(bearer)) if self.claims(bearer.token()) => {
                (bearer.token(), KeyPlace::Authorization)
            }
            // A form of its own, and another layer's: it has seen it, or it will.
            (None, _) if self.optional => {
                if found.is_none() {
                    self.answers.events.tell(|| AuthEvent::Anonymous);
                }
                return Ok(Decision::Passes(None));
            }
            (None, Some(bearer)) => return Err(self.no_key(bearer.token())),
            (None, None) => return Err(AuthErrorKind::MissingCredential.into()),
        };
        // A token, and now a key.
        if found.is_some() {
            return Err(AuthErrorKind::MultipleCredentials.into());
        }
        match self.examiner.examine(credential) {
            Examined::Wait(wait, presented) => Ok(Decision::Ask(
                wait,
                Asked {
                    presented,
                    place,
                    network: self.network(head),
                },
            )),
            Examined::Done(Ok(row)) => {
                self.tell_of_network(&row, self.network(head));
                Ok(Decision::Passes(Some(self.caller(&row, place, true))))
            }
            Examined::Done(Err(error)) if error.kind() == AuthErrorKind::InvalidApiKey => {
                Err(self.no_key(credential))
            }
            Examined::Done(Err(error)) => Err(error),
        }
    }

    /// Decides by what the store said.
    pub(super) fn conclude(&self, answer: Answer, asked: &Asked) -> Result<Caller, AuthError> {
        let row = self.examiner.conclude(answer, &asked.presented)?;
        self.tell_of_network(&row, asked.network);
        Ok(self.caller(&row, asked.place, false))
    }

    /// The network of the client, where somebody is told of new ones.
    fn network(&self, head: RequestHead<'_>) -> Option<IpAddr> {
        let networks = self.networks.as_ref();
        let networks = networks.filter(|_| self.answers.events.is_heard());
        networks.and_then(|networks| networks.of(head))
    }

    fn tell_of_network(&self, row: &Row, network: Option<IpAddr>) {
        let id = &row.record.id;
        let (Some(networks), Some(address)) = (&self.networks, network) else {
            return;
        };
        if networks.are_joined_by(id, address) {
            self.answers.events.tell(|| AuthEvent::ApiKey {
                owner: &row.record.owner,
                id: id.as_str(),
                event: "new_network",
                network,
            });
        }
    }

    fn caller(&self, row: &Row, place: KeyPlace, remembered: bool) -> Caller {
        let principal = row.caller.with_origin(Some(self.origin.clone()));
        self.answers.events.tell(|| AuthEvent::Allowed {
            caller: &principal,
            remembered,
        });
        Caller { principal, place }
    }

    fn claims(&self, credential: &[u8]) -> bool {
        str::from_utf8(credential).is_ok_and(|text| self.examiner.format.claims(text))
    }

    /// RFC 6750 §2.1, §3.1: what is no `b64token` is a malformed request.
    fn no_key(&self, credential: &[u8]) -> AuthError {
        if is_b64token(credential) {
            AuthErrorKind::InvalidApiKey.into()
        } else {
            AuthErrorKind::MalformedCredential.into()
        }
    }

    /// The response to a request that is refused.
    pub(super) fn deny<T>(
        &self,
        error: AuthError,
        head: RequestHead<'_>,
    ) -> Response<ResponseBody<T>> {
        let mut response = self.answers.deny(error, head);
        // Whatever the responder said: caches do not know `X-API-Key`.
        keep_private(response.headers_mut());
        response
    }

    /// Prepares a request that passes for the inner service.
    pub(super) fn admit<B>(&self, request: &mut Request<B>, caller: Option<Caller>) {
        if self.strip {
            self.remove_key(request);
        }
        let extensions = request.extensions_mut();
        if let Some(Caller { principal, .. }) = caller {
            extensions.remove::<Anonymous>();
            extensions.insert(principal);
        } else if extensions.get::<Principal>().is_none() {
            extensions.insert(Anonymous::new(Some(self.origin.clone())));
        }
    }

    fn remove_key<B>(&self, request: &mut Request<B>) {
        let ours = match self.bearer.extract(RequestHead::of(request)) {
            Ok(Some(bearer)) => self.claims(bearer.token()),
            Ok(None) => false,
            Err(error) if error.kind() == AuthErrorKind::MissingCredential => false,
            // Several lines, on a request that was skipped: one may be a key.
            Err(_) => true,
        };
        let headers: &mut HeaderMap = request.headers_mut();
        if ours {
            headers.remove(AUTHORIZATION);
        }
        self.header.strip(headers, &mut Uri::default());
    }
}

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
