//! The guard, and its decision about one request.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, header::CONTENT_ENCODING};
use http_body::Body;
use tower_layer::Layer;

use super::{
    McpGuardBuilder, McpGuardService,
    headers::Stated,
    message::{self, Message},
    refusal::Refusals,
    rules::{Operation, Rules},
    value::Id,
};
use crate::{
    error::{AuthError, AuthErrorKind, Reason},
    layer::extract::RequestHead,
    principal::Principal,
};

/// A layer that restricts the methods, tools, prompts and resources of an MCP server.
///
/// The guard belongs inside a layer that authenticates. It reads the message of a request, and lets it pass
/// if the caller satisfies the [`Rule`](crate::layer::role_guard::Rule)s of the method and of the tool, prompt
/// or resource. The [module](super) has the rules in full.
///
/// A layer is cheap to clone, and one value may be used for many services.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::layer::{mcp::McpGuardLayer, role_guard::Rule};
///
/// let guard = McpGuardLayer::builder()
///     .tool("whoami", Rule::authenticated())
///     .tool("read_notes", Rule::scope("notes:read"))
///     .build()?;
/// # let _ = guard;
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use = "a layer guards nothing before it is put around a service"]
pub struct McpGuardLayer {
    pub(super) config: Arc<Config>,
}

impl McpGuardLayer {
    /// Creates a builder of a guard.
    pub fn builder() -> McpGuardBuilder {
        McpGuardBuilder::new()
    }
}

impl<S> Layer<S> for McpGuardLayer {
    type Service = McpGuardService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        McpGuardService::new(inner, self.clone())
    }
}

impl fmt::Debug for McpGuardLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpGuardLayer").finish_non_exhaustive()
    }
}

#[derive(Clone)]
pub(super) struct Config {
    pub(super) rules: Rules,
    pub(super) trusts_headers: bool,
    pub(super) requires_headers: bool,
    pub(super) longest: usize,
    pub(super) patience: Duration,
    pub(super) refusals: Refusals,
}

/// The decision about a request before its body is read.
pub(super) enum Glance {
    Pass,
    Refuse(AuthError),
    Read,
}

impl Config {
    /// Decides about a request by its head, if that is enough.
    #[inline]
    pub(super) fn glance<B: Body>(&self, head: RequestHead<'_>, body: &B) -> Glance {
        match self.trusts_headers && self.admits_by_headers(head) {
            true => Glance::Pass,
            false => self.look(head, body).unwrap_or_else(Glance::Refuse),
        }
    }

    /// Returns `true` if the headers of a message alone let it pass, for a guard that trusts them.
    // Apart from the other decisions, which need more room on the stack.
    fn admits_by_headers(&self, head: RequestHead<'_>) -> bool {
        if opens_or_ends_stream(head.method()) {
            return false;
        }
        let Some(caller) = head.extensions().get::<Principal>() else {
            return false;
        };
        let Ok(stated) = Stated::read(head.headers()) else {
            return false;
        };
        let Some((method, target)) = stated.obliging() else {
            return false;
        };
        let operation = Operation {
            method: Some(method),
            target,
        };
        // A method with a target is spelt as it must be.
        let is_spelt = target.is_some() || self.rules.respelt_in_header(method).is_none();
        is_spelt && self.rules.admit(caller, head, operation)
    }

    fn look<B: Body>(&self, head: RequestHead<'_>, body: &B) -> Result<Glance, AuthError> {
        // No byte is read for an anonymous request.
        let caller = Rules::caller(head)?;
        let is_streaming = opens_or_ends_stream(head.method());
        if is_streaming && body.is_end_stream() {
            return self
                .allow(head, [Operation::TRANSPORT].into_iter())
                .map(|()| Glance::Pass);
        }
        let stated = Stated::read(head.headers())
            .map_err(|problem| AuthError::caused_by(AuthErrorKind::HeaderMismatch, problem))?;
        let obliging = stated.obliging();
        if obliging.is_none() && self.requires_headers && !is_streaming {
            return Err(AuthError::forbidden(
                Reason::Rule,
                "MCP 2026-07-28 or later, with its headers",
            ));
        }
        // One that the rules admit has passed before.
        let trusted = obliging.filter(|_| self.trusts_headers && !is_streaming);
        if let Some((method, target)) = trusted {
            if let Some(known) = self.rules.respelt_in_header(method) {
                let malformed = AuthErrorKind::MalformedMessage;
                return Err(AuthError::caused_by(malformed, respelt(known)));
            }
            let operation = Operation {
                method: Some(method),
                target,
            };
            return Err(self.rules.refusal(caller, head, [operation].into_iter()));
        }
        if !is_streaming {
            check_content(head)?;
        }
        let longest = u64::try_from(self.longest).unwrap_or(u64::MAX);
        match body.size_hint().lower() > longest {
            true => Err(AuthErrorKind::OversizedMessage.into()),
            false => Ok(Glance::Read),
        }
    }

    /// Decides about a request whose body was read.
    pub(super) fn judge(
        &self,
        head: RequestHead<'_>,
        body: &[u8],
    ) -> Result<(), Box<Response<Bytes>>> {
        let refuse = |kind, problem: Box<dyn Error + Send + Sync>, id: Option<&Id<'_>>| {
            let error = AuthError::caused_by(kind, problem);
            Err(Box::new(self.refusals.answer(error, id, head)))
        };
        let malformed = AuthErrorKind::MalformedMessage;
        if opens_or_ends_stream(head.method()) {
            if !body.is_empty() {
                return refuse(
                    malformed,
                    "the method of the request has no content".into(),
                    None,
                );
            }
            return self
                .allow(head, [Operation::TRANSPORT].into_iter())
                .map_err(|error| Box::new(self.refusals.answer(error, None, head)));
        }
        let messages = match message::read(body) {
            Ok(messages) => messages,
            Err(problem) => return refuse(malformed, problem.into(), None),
        };
        let stated = match Stated::read(head.headers()) {
            Ok(stated) => stated,
            Err(problem) => return refuse(AuthErrorKind::HeaderMismatch, problem.into(), None),
        };
        // An error to a batch is one without an identifier.
        let single = match messages.as_slice() {
            [message] => message.id.as_ref(),
            _ => None,
        };
        for message in &messages {
            let method = message.method.as_deref();
            if let Some(known) = method.and_then(|method| self.rules.respelt(method)) {
                return refuse(malformed, respelt(known).into(), single);
            }
            if let Err(problem) = stated.compare(message) {
                return refuse(AuthErrorKind::HeaderMismatch, problem.into(), single);
            }
        }
        self.allow(head, messages.iter().map(operation))
            .map_err(|error| Box::new(self.refusals.answer(error, single, head)))
    }

    fn allow<'a>(
        &'a self,
        head: RequestHead<'_>,
        operations: impl Iterator<Item = Operation<'a>> + Clone,
    ) -> Result<(), AuthError> {
        let caller = Rules::caller(head)?;
        let mut all = operations.clone();
        match all.all(|operation| self.rules.admit(caller, head, operation)) {
            true => Ok(()),
            false => Err(self.rules.refusal(caller, head, operations)),
        }
    }
}

fn operation<'a>(message: &'a Message<'_>) -> Operation<'a> {
    Operation {
        method: message.method.as_deref().map(str::as_bytes),
        target: message.target.as_deref().map(str::as_bytes),
    }
}

fn respelt(known: &str) -> String {
    format!("the method is `{known}` in another spelling")
}

/// Returns `true` for the methods by which a client opens a stream, ends a session or asks for the
/// options. Every other method may carry a message.
fn opens_or_ends_stream(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS
    )
}

/// Refuses content that the inner service could read differently.
fn check_content(head: RequestHead<'_>) -> Result<(), AuthError> {
    let unsupported = |problem: &str| {
        Err(AuthError::caused_by(
            AuthErrorKind::UnsupportedMessage,
            problem,
        ))
    };
    if !is_json(head) {
        return unsupported("the content type is not application/json in UTF-8");
    }
    match is_encoded(head.headers()) {
        true => unsupported("the content has a content coding"),
        false => Ok(()),
    }
}

fn is_json(head: RequestHead<'_>) -> bool {
    let Some(value) = head.content_type() else {
        return false;
    };
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_json = parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case(b"application/json"));
    is_json
        && parts.all(|parameter| {
            let mut halves = parameter.splitn(2, |byte| *byte == b'=');
            let name = halves.next().unwrap_or_default();
            let charset = halves.next().unwrap_or_default();
            let is_utf_8 = [&b"utf-8"[..], b"\"utf-8\"", b"utf8"]
                .iter()
                .any(|name| charset.eq_ignore_ascii_case(name));
            !name.eq_ignore_ascii_case(b"charset") || is_utf_8
        })
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    codings.any(|coding| {
        !coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"identity")
    })
}
