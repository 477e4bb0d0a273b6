//! The decision about one request.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderName, Request, Uri, header::AUTHORIZATION};

use super::{
    PresentedApiKey,
    examine::{Examined, Examiner},
    lookup::{Answer, Row, unavailable},
    networks::Networks,
    service::StoreWait,
};
use crate::{
    error::{AuthError, AuthErrorKind},
    event::AuthEvent,
    layer::{
        extract::{Bearer, Header, Place, RequestHead, TokenExtractor, is_b64token, is_dpop},
        middleware::{After, Verdict},
        response::{Answers, Opening, Origins, forget_derived, origins},
    },
    principal::{Anonymous, Origin, Principal},
};

#[derive(Clone)]
pub(super) struct Config {
    pub(super) examiner: Arc<Examiner>,
    pub(super) answers: Arc<Answers>,
    /// References to `answers`, for the guards inside.
    origins: Origins,
    pub(super) header: Header,
    bearer: Bearer,
    pub(super) optional: bool,
    pub(super) skips: Vec<Arc<Predicate>>,
    pub(super) strip: bool,
    pub(super) networks: Option<Arc<Networks>>,
}

pub(super) type Predicate = dyn Fn(RequestHead<'_>) -> bool + Send + Sync;

/// The decision about a request. It passes as the caller, or with its extensions unchanged.
type Decision = Verdict<Option<Caller>, StoreWait>;

/// The principal of a key, and the header it came in.
pub(crate) struct Caller {
    principal: Principal,
    place: Place,
}

/// The state kept until the store answers.
pub(crate) struct Pending {
    presented: PresentedApiKey,
    place: Place,
    network: Option<IpAddr>,
}

impl Config {
    pub(super) fn new(examiner: Arc<Examiner>) -> Self {
        let answers = Arc::new(Answers::default());
        Self {
            examiner,
            origins: origins(&answers),
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
        self.origins = origins(&self.answers);
    }

    /// Returns the origin of the principals that this layer inserts.
    fn origin(&self) -> Origin {
        self.origins.of_thread().clone()
    }

    /// Returns the settings that let requests without a key pass.
    pub(super) fn openings(&self) -> [Opening; 2] {
        [
            ("optional", self.optional),
            ("skip", !self.skips.is_empty()),
        ]
    }

    pub(super) fn decide(&self, head: RequestHead<'_>) -> Decision {
        if let Err(error) = self.answers.check_openings(|| self.openings()) {
            return Verdict::Refuse(error);
        }
        if self.skips.iter().any(|names| names(head)) {
            self.answers.events.emit(|| AuthEvent::Skipped);
            return Verdict::Pass(None);
        }
        self.look(head).unwrap_or_else(Verdict::Refuse)
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
            (Some(own), None) => (own.token(), Place::Header),
            (None, Some(bearer)) if self.claims(bearer.token()) => {
                (bearer.token(), Place::Authorization)
            }
            // A credential without the keys' prefix belongs to another layer.
            (None, _) if self.optional => {
                if found.is_none() {
                    self.answers.events.emit(|| AuthEvent::Anonymous);
                }
                return Ok(Verdict::Pass(None));
            }
            (None, Some(bearer)) => return Err(self.no_key(bearer.token())),
            (None, None) => return Err(AuthErrorKind::MissingCredential.into()),
        };
        // The outer layer found a token. A key that it found is this one.
        if found.is_some_and(|found| !found.is_by_key()) {
            return Err(AuthErrorKind::MultipleCredentials.into());
        }
        match self.examiner.examine(credential) {
            Examined::Wait(row, presented) => {
                let pending = Some(Pending {
                    presented,
                    place,
                    network: self.network(head),
                });
                Ok(Verdict::Wait(StoreWait { row, pending }, unavailable()))
            }
            Examined::Done(Ok(row)) => {
                self.emit_network(&row, self.network(head));
                Ok(Verdict::Pass(Some(self.caller(&row, place, true))))
            }
            Examined::Done(Err(error)) if error.kind() == AuthErrorKind::InvalidApiKey => {
                Err(self.no_key(credential))
            }
            Examined::Done(Err(error)) => Err(error),
        }
    }

    /// Decides with the row from the store.
    pub(super) fn conclude(&self, answer: Answer, pending: &Pending) -> Decision {
        match self.examiner.conclude(answer, &pending.presented) {
            Ok(row) => {
                self.emit_network(&row, pending.network);
                Verdict::Pass(Some(self.caller(&row, pending.place, false)))
            }
            Err(error) => Verdict::Refuse(error),
        }
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
            self.answers.events.emit(|| AuthEvent::ApiKeyNetwork {
                owner: &row.record.owner,
                id: id.as_str(),
                network: address,
            });
        }
    }

    fn caller(&self, row: &Row, place: Place, remembered: bool) -> Caller {
        let principal = row.caller.with_origin(Some(self.origin()));
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

    /// Prepares an accepted request for the inner service.
    pub(super) fn admit<B>(&self, request: &mut Request<B>, caller: Option<Caller>) -> After {
        if self.strip {
            self.remove_key(request);
        }
        let extensions = request.extensions_mut();
        if let Some(Caller { principal, place }) = caller {
            extensions.remove::<Anonymous>();
            forget_derived(extensions);
            extensions.insert(principal);
            return After::of_place(place);
        }
        if extensions.get::<Principal>().is_none() {
            extensions.insert(Anonymous::new(Some(self.origin())));
        }
        After::NOTHING
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
