//! The layer that binds MCP sessions to callers.

use std::{convert::Infallible, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tower_layer::Layer;

use super::{headers::is_without_sessions, refusal::Refusals};
use crate::{
    error::{AuthError, AuthErrorKind},
    event::EventSink,
    layer::{
        extract::RequestHead,
        middleware::{Amend, Middleware, Never, Verdict, immediate_service},
        response::ErrorResponder,
    },
    principal::{Anonymous, Principal},
    secret::{SecretKey, mac::MacKey},
};

/// A layer that binds `Mcp-Session-Id` to the caller who started the session.
///
/// MCP up to 2025-11-25 has sessions. The server names one in a response, and the client repeats the name. A
/// server that finds a session by its name alone serves it to every caller who learns the name, whatever
/// token the caller has ([session hijacking]).
///
/// This layer appends a tag to the name in the response: a MAC of the issuer, the subject and the name. In a
/// request, the tag is verified and removed. With a wrong tag the session is unknown: 404, after which a
/// client starts a new session. The server inside sees only its own names.
///
/// | request | decision |
/// |---|---|
/// | no `Mcp-Session-Id` | passes |
/// | one that was tagged for this caller | passes, without the tag |
/// | one that was tagged for another caller or an anonymous one, or has no tag | 404 |
/// | two of them | 400 |
/// | one beside an `MCP-Protocol-Version` of 2026-07-28 or later, which has no sessions | passes without it |
///
/// The caller is known by issuer and subject, and without a subject by issuer and client. A session of
/// anonymous requests can be continued by anonymous requests only. A caller with neither a subject nor a
/// client has no sessions: the header is removed from the response.
///
/// `Last-Event-ID` is not bound. A server that keeps events must not replay those of another session.
///
/// The layer belongs inside a layer that authenticates. All nodes of a service need the same key. To
/// [rotate](SecretKey) it, list the new key first.
///
/// [session hijacking]: https://modelcontextprotocol.io/specification/2025-11-25/basic/security_best_practices#session-hijacking
///
/// # Examples
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_jwt_auth::{layer::mcp::McpSessionLayer, secret::SecretKey};
///
/// let key: SecretKey = "c2VjcmV0LWJ5dGVzLXNlY3JldC1ieXRlcy1zZWNyZXQ".parse()?;
/// let layers = ServiceBuilder::new().layer(McpSessionLayer::new(&key));
/// # let _ = layers.service(());
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use = "a layer binds nothing before it is put around a service"]
pub struct McpSessionLayer {
    config: Arc<Config>,
}

#[derive(Clone)]
struct Config {
    // Never empty. The first key creates the tags.
    keys: Arc<[MacKey]>,
    refusals: Refusals,
}

impl McpSessionLayer {
    /// Creates a layer by a key that is derived from this one.
    pub fn new(key: &SecretKey) -> Self {
        let keys = key.derive("tower-jwt-auth mcp session");
        Self {
            config: Arc::new(Config {
                keys: keys.iter().map(|key| MacKey::new(&key.key)).collect(),
                refusals: Refusals::default(),
            }),
        }
    }

    /// Sets the realm in challenges (RFC 9110 §11.5). The default is that of the authenticating layer.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.config_mut().refusals.realm(realm.into());
        self
    }

    /// Sets the responder for a server error. The refusal of a session is always a JSON-RPC error.
    pub fn responder(mut self, responder: impl ErrorResponder) -> Self {
        self.config_mut().refusals.responder(responder);
        self
    }

    /// Sets the event sink for refusals. The default is the sink of the authenticating layer.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.config_mut().refusals.events(sink);
        self
    }

    fn config_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }
}

impl<S> Layer<S> for McpSessionLayer {
    type Service = McpSessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        McpSessionService::new(inner, self.clone())
    }
}

impl fmt::Debug for McpSessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpSessionLayer").finish_non_exhaustive()
    }
}

immediate_service! {
    /// A service that binds MCP sessions to callers. Created by
    /// [`McpSessionLayer`](super::McpSessionLayer), which documents the decisions.
    McpSessionService, McpSessionLayer, SessionTag
}

/// The change of a request: the name that the server inside receives.
pub(crate) enum Session {
    Keep,
    Rename(HeaderValue),
    Remove,
}

impl Middleware for McpSessionLayer {
    type Wait = Never;
    type Pass = Session;
    type After = SessionTag;
    type Refusals = Refusals;

    const NAME: &'static str = "mcp session";

    fn decide(&self, head: RequestHead<'_>) -> Verdict<Session, Never> {
        let owner = match Owner::of(head) {
            Ok(owner) => owner,
            Err(error) => return Verdict::Refuse(error),
        };
        let mut names = head.headers().get_all(SESSION).iter();
        let Some(name) = names.next() else {
            return Verdict::Pass(Session::Keep);
        };
        if is_without_sessions(head.headers()) {
            return Verdict::Pass(Session::Remove);
        }
        if names.next().is_some() {
            let problem = "Mcp-Session-Id occurs twice";
            let error = AuthError::caused_by(AuthErrorKind::MalformedMessage, problem);
            return Verdict::Refuse(error);
        }
        match self.config.verified(owner, name) {
            Some(name) => Verdict::Pass(Session::Rename(name)),
            None => Verdict::Refuse(AuthErrorKind::UnknownSession.into()),
        }
    }

    fn resume(&self, woke: Infallible, _: RequestHead<'_>) -> Verdict<Session, Never> {
        match woke {}
    }

    fn admit<B>(&self, request: &mut Request<B>, session: Session) -> SessionTag {
        match session {
            Session::Keep => {}
            Session::Rename(name) => drop(request.headers_mut().insert(SESSION, name)),
            Session::Remove => drop(request.headers_mut().remove(SESSION)),
        }
        let caller = request.extensions().get::<Principal>().cloned();
        SessionTag(Some((Arc::clone(&self.config), caller)))
    }

    fn refusals(&self) -> &Refusals {
        &self.config.refusals
    }
}

/// The change of a response: the tag of the session that it names.
#[doc(hidden)]
#[derive(Default)]
pub struct SessionTag(Option<(Arc<Config>, Option<Principal>)>);

impl Amend for SessionTag {
    fn changes_headers(&self) -> bool {
        self.0.is_some()
    }

    fn amend(&mut self, headers: &mut HeaderMap) {
        let Some((config, caller)) = self.0.take() else {
            return;
        };
        if !headers.contains_key(SESSION) {
            return;
        }
        let owner = caller.as_ref().map_or(Some(Owner::Anonymous), Owner::known);
        let mut names = headers.get_all(SESSION).iter();
        let name = names.next().filter(|_| names.next().is_none());
        let tagged = name
            .zip(owner)
            .and_then(|(name, owner)| config.tagged(owner, name));
        match tagged {
            Some(tagged) => drop(headers.insert(SESSION, tagged)),
            None => {
                headers.remove(SESSION);
                #[cfg(feature = "tracing")]
                tracing::warn!(
                    "a session was not started: its name is too long, malformed or not alone, or the caller \
                     has no subject"
                );
            }
        }
    }
}

impl fmt::Debug for SessionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionTag(..)")
    }
}

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// The longest name that a server may give a session, in bytes.
const LONGEST_NAME: usize = 1024;

/// The length of a tag in base64url, with the dot in front.
const TAG_IN_TEXT: usize = 44;

impl Config {
    /// Returns the name without its tag, if the tag is the one for this owner.
    fn verified(&self, owner: Owner<'_>, tagged: &HeaderValue) -> Option<HeaderValue> {
        let bytes = tagged.as_bytes();
        let end = bytes.len().checked_sub(TAG_IN_TEXT)?;
        let (name, tag) = bytes.split_at_checked(end)?;
        let [b'.', tag @ ..] = tag else { return None };
        if !is_name(name) {
            return None;
        }
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let owner = owner.parts();
        let verifies = |key: &MacKey| key.verifies(&message(&owner, name), &tag);
        let mut keys = self.keys.iter();
        keys.any(verifies)
            .then(|| HeaderValue::from_bytes(name).ok())?
    }

    /// Returns the name with the tag for this owner.
    fn tagged(&self, owner: Owner<'_>, name: &HeaderValue) -> Option<HeaderValue> {
        let name = name.as_bytes();
        let key = self.keys.first().filter(|_| is_name(name))?;
        let tag = key.tag(&message(&owner.parts(), name));
        let mut text = Vec::with_capacity(name.len() + TAG_IN_TEXT);
        text.extend_from_slice(name);
        text.push(b'.');
        text.extend_from_slice(URL_SAFE_NO_PAD.encode(tag).as_bytes());
        HeaderValue::try_from(text).ok()
    }
}

/// Returns `true` for the characters that the name of a session may have: visible ASCII.
fn is_name(name: &[u8]) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic)
}

/// The owner of a session.
#[derive(Clone, Copy)]
enum Owner<'a> {
    Anonymous,
    /// The first byte tells the kinds of names apart.
    Known {
        kind: u8,
        issuer: Option<&'a str>,
        name: &'a str,
    },
}

/// The owner in the message of a MAC. The lengths keep two owners from having the same bytes.
struct OwnerParts<'a> {
    kind: [u8; 2],
    lengths: [[u8; 8]; 2],
    issuer: &'a [u8],
    name: &'a [u8],
}

impl<'a> Owner<'a> {
    /// Returns the owner of the sessions that a request may use.
    fn of(head: RequestHead<'a>) -> Result<Self, AuthError> {
        if let Some(caller) = head.extensions().get::<Principal>() {
            return Ok(Self::known(caller).unwrap_or(Self::NAMELESS));
        }
        match head.extensions().get::<Anonymous>() {
            Some(_) => Ok(Self::Anonymous),
            None => Err(AuthError::caused_by(
                AuthErrorKind::Misconfigured,
                "the layer for MCP sessions needs an authenticating layer around it",
            )),
        }
    }

    /// An owner for whom no tag is created.
    const NAMELESS: Self = Self::Known {
        kind: b'-',
        issuer: None,
        name: "",
    };

    fn known(caller: &'a Principal) -> Option<Self> {
        let (kind, name) = match (caller.subject(), caller.client_id()) {
            (Some(subject), _) if caller.is_by_key() => (b'k', subject),
            (Some(subject), _) => (b's', subject),
            (None, Some(client)) => (b'c', client),
            (None, None) => return None,
        };
        Some(Self::Known {
            kind,
            issuer: caller.issuer(),
            name,
        })
    }

    fn parts(self) -> OwnerParts<'a> {
        let (kind, issuer, name) = match self {
            Self::Anonymous => (b'a', None, ""),
            Self::Known { kind, issuer, name } => (kind, issuer, name),
        };
        let issuer_kind = match issuer {
            Some(_) => b'i',
            None => b'-',
        };
        let issuer = issuer.unwrap_or_default();
        OwnerParts {
            kind: [kind, issuer_kind],
            lengths: [issuer, name].map(|text| (text.len() as u64).to_be_bytes()),
            issuer: issuer.as_bytes(),
            name: name.as_bytes(),
        }
    }
}

fn message<'a>(owner: &'a OwnerParts<'a>, session: &'a [u8]) -> [&'a [u8]; 6] {
    let [issuer_length, name_length] = &owner.lengths;
    [
        &owner.kind,
        issuer_length,
        owner.issuer,
        name_length,
        owner.name,
        session,
    ]
}
