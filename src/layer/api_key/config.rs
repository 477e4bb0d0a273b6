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
    error::{AuthError, AuthErrorKind},
    event::AuthEvent,
    layer::{
        extract::{Bearer, Header, RequestHead, TokenExtractor, is_b64token, is_dpop},
        response::{self, Answers, Opening, ResponseBody, forget_derived},
    },
    principal::{Anonymous, Origin, Principal},
};

#[derive(Clone)]
pub(super) struct Config {
    pub(super) examiner: Arc<Examiner>,
    pub(super) answers: Arc<Answers>,
    /// A reference to `answers`, for the guards inside.
    origin: Origin,
    header: Header,
    bearer: Bearer,
    pub(super) optional: bool,
    pub(super) skips: Vec<Arc<Predicate>>,
    pub(super) strip: bool,
    pub(super) networks: Option<Arc<Networks>>,
}

pub(super) type Predicate = dyn Fn(RequestHead<'_>) -> bool + Send + Sync;

/// The decision about a request.
pub(super) enum Decision {
    /// The request passes as this caller, or with its extensions unchanged.
    Passes(Option<Caller>),
    Denied(AuthError),
    Ask(RowWait, Asked),
}

/// The principal of a key, and the header it came in.
pub(super) struct Caller {
    principal: Principal,
    pub(super) place: KeyPlace,
}

/// The state kept until the store answers.
pub(super) struct Asked {
    presented: PresentedApiKey,
    place: KeyPlace,
    network: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyPlace {
    /// `X-API-Key`, which HTTP caches do not treat as a credential.
    OwnHeader,
    Authorization,
}

impl Config {
    pub(super) fn new(examiner: Arc<Examiner>) -> Self {
        let answers = Arc::new(Answers::default());
        Self {
            examiner,
            origin: response::origin(&answers),
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
        self.origin = response::origin(&self.answers);
    }

    /// Returns the settings that let requests without a key pass.
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
            self.answers.events.emit(|| AuthEvent::Skipped);
            return Decision::Passes(None);
        }
        self.look(head).unwrap_or_else(Decision::Denied)
    }

    fn look(&self, head: RequestHead<'_>) -> Result<Decision, AuthError> {
        let found = head.extensions().get::<Principal>();
        let own = self.header.extract(head)?;
        // A DPoP-bound token (RFC 9449) is a different scheme, for another layer.
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
            // A credential without the keys' prefix belongs to another layer.
            (None, _) if self.optional => {
                if found.is_none() {
                    self.answers.events.emit(|| AuthEvent::Anonymous);
                }
                return Ok(Decision::Passes(None));
            }
            (None, Some(bearer)) => return Err(self.no_key(bearer.token())),
            (None, None) => return Err(AuthErrorKind::MissingCredential.into()),
        };
        // The outer layer found a token. A key that it found is this one.
        if found.is_some_and(|found| !found.is_by_key()) {
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
                self.emit_network(&row, self.network(head));
                Ok(Decision::Passes(Some(self.caller(&row, place, true))))
            }
            Examined::Done(Err(error)) if error.kind() == AuthErrorKind::InvalidApiKey => {
                Err(self.no_key(credential))
            }
            Examined::Done(Err(error)) => Err(error),
        }
    }

    /// Decides with the row from the store.
    pub(super) fn conclude(&self, answer: Answer, asked: &Asked) -> Result<Caller, AuthError> {
        let row = self.examiner.conclude(answer, &asked.presented)?;
        self.emit_network(&row, asked.network);
        Ok(self.caller(&row, asked.place, false))
    }

    /// Returns the client's network, if an event sink is set.
    fn network(&self, head: RequestHead<'_>) -> Option<IpAddr> {
        let networks = self.networks.as_ref();
        let networks = networks.filter(|_| self.answers.events.is_enabled());
        networks.and_then(|networks| networks.of(head))
    }

    fn emit_network(&self, row: &Row, network: Option<IpAddr>) {
        let id = &row.record.id;
        let (Some(networks), Some(address)) = (&self.networks, network) else {
            return;
        };
        if networks.are_joined_by(id, address) {
            self.answers.events.emit(|| AuthEvent::ApiKey {
                owner: &row.record.owner,
                id: id.as_str(),
                event: "new_network",
                network,
            });
        }
    }

    fn caller(&self, row: &Row, place: KeyPlace, remembered: bool) -> Caller {
        let principal = row.caller.with_origin(Some(self.origin.clone()));
        self.answers.events.emit(|| AuthEvent::Allowed {
            caller: &principal,
            remembered,
        });
        Caller { principal, place }
    }

    fn claims(&self, credential: &[u8]) -> bool {
        str::from_utf8(credential).is_ok_and(|text| self.examiner.format.claims(text))
    }

    /// Returns the error for a credential that is not a valid key. A text that is not a `b64token`
    /// is a malformed request (RFC 6750 §2.1, §3.1).
    fn no_key(&self, credential: &[u8]) -> AuthError {
        if is_b64token(credential) {
            AuthErrorKind::InvalidApiKey.into()
        } else {
            AuthErrorKind::MalformedCredential.into()
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

    /// Prepares an accepted request for the inner service.
    pub(super) fn admit<B>(&self, request: &mut Request<B>, caller: Option<Caller>) {
        if self.strip {
            self.remove_key(request);
        }
        let extensions = request.extensions_mut();
        if let Some(Caller { principal, .. }) = caller {
            extensions.remove::<Anonymous>();
            forget_derived(extensions);
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
            // Several `Authorization` lines on a skipped request: one of them may be a key.
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
