//! The error types of the crate.
//!
//! [`AuthError`] is a refused request or token, [`ConfigError`] a refused configuration, and
//! [`StoreError`] a failed operation of a store.

mod keys;
mod kind;
mod scheme;
mod shown;
mod store;
mod token;

use std::{borrow::Cow, error::Error, fmt, sync::Arc, time::Duration};

use http::StatusCode;

pub use self::{
    keys::KeyProblem,
    kind::{AuthErrorKind, ErrorCode},
    store::{StoreError, StoreErrorKind},
    token::RefusedToken,
};
pub(crate) use self::{
    kind::{ROWS, Reason},
    scheme::Scheme,
    shown::shown,
};

/// The refusal of a request or a token.
///
/// `Display` and `Debug` are for logs. They never contain token bytes, claim values or key
/// material. The response to the client comes from the layer's responder, not from this type. A
/// layer that denies a request puts the `AuthError` into the response's extensions, so that an
/// outer layer can log or count it.
#[derive(Clone)]
pub struct AuthError {
    kind: AuthErrorKind,
    detail: Option<Arc<Detail>>,
    context: Option<Arc<Context>>,
}

/// The known facts about the request, for the log, for events, and for the challenge.
#[derive(Clone, Default)]
struct Context {
    token: Option<RefusedToken>,
    subject: Option<Box<str>>,
    scheme: Option<Scheme>,
    /// The reason of a policy engine.
    decision: Option<Box<str>>,
    nonce: Option<Box<str>>,
}

#[derive(Default)]
struct Detail {
    scope: Option<Box<str>>,
    retry_after: Option<u32>,
    missing: Option<Missing>,
    step_up: Option<StepUp>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The sign-in that a request needs (RFC 9470 §3), and the scopes that the caller lacks too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StepUp {
    /// The acceptable `acr` values in order of preference, separated by spaces.
    pub(crate) acr_values: Option<Box<str>>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) scope: Option<Box<str>>,
}

/// The requirement that a caller does not meet, and its category for the client.
struct Missing {
    reason: Reason,
    requirement: Box<str>,
}

impl AuthError {
    pub(crate) fn new(kind: AuthErrorKind) -> Self {
        Self {
            kind,
            detail: None,
            context: None,
        }
    }

    /// Creates the error for keys or a check that are unavailable. `retry_after` is sent to the
    /// client, in seconds.
    pub(crate) fn unavailable(kind: AuthErrorKind, retry_after: u32) -> Self {
        Self::with_detail(
            kind,
            Detail {
                retry_after: Some(retry_after),
                ..Detail::default()
            },
        )
    }

    /// As [`unavailable`](Self::unavailable), with a cause that is worth logging.
    pub(crate) fn unavailable_by(
        kind: AuthErrorKind,
        retry_after: u32,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::with_detail(
            kind,
            Detail {
                retry_after: Some(retry_after),
                source: Some(source.into()),
                ..Detail::default()
            },
        )
    }

    /// Creates the error for missing scopes. `scope` lists the required scopes, separated by spaces
    /// (RFC 6750 §3).
    pub(crate) fn missing_scope(scope: String) -> Self {
        Self::with_detail(
            AuthErrorKind::MissingScope,
            Detail {
                missing: Some(Missing {
                    reason: Reason::Scope,
                    requirement: format!("the scope `{scope}`").into(),
                }),
                scope: Some(scope.into_boxed_str()),
                ..Detail::default()
            },
        )
    }

    /// Creates the error for a caller who has to sign in again. The requirement is for the log.
    pub(crate) fn step_up(mut step_up: StepUp, requirement: impl Into<Box<str>>) -> Self {
        Self::with_detail(
            AuthErrorKind::InsufficientAuthentication,
            Detail {
                missing: Some(Missing {
                    reason: Reason::StepUp,
                    requirement: requirement.into(),
                }),
                scope: step_up.scope.take(),
                step_up: Some(step_up),
                ..Detail::default()
            },
        )
    }

    /// Creates the error for a caller who does not meet a requirement. The client receives the reason.
    /// The requirement is for the log.
    pub(crate) fn forbidden(reason: Reason, requirement: impl Into<Box<str>>) -> Self {
        Self::with_detail(
            AuthErrorKind::Forbidden,
            Detail {
                missing: Some(Missing {
                    reason,
                    requirement: requirement.into(),
                }),
                ..Detail::default()
            },
        )
    }

    /// Creates a refusal whose cause is worth logging.
    pub(crate) fn caused_by(
        kind: AuthErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::with_detail(
            kind,
            Detail {
                source: Some(source.into()),
                ..Detail::default()
            },
        )
    }

    fn with_detail(kind: AuthErrorKind, detail: Detail) -> Self {
        Self {
            kind,
            detail: Some(Arc::new(detail)),
            context: None,
        }
    }

    /// Adds the values of the refused token.
    pub(crate) fn of_token(self, token: RefusedToken) -> Self {
        self.with_context(|context| context.token = Some(token))
    }

    /// Adds the subject of a caller who is known.
    pub(crate) fn of_subject(self, subject: Option<&str>) -> Self {
        match subject {
            Some(subject) => self.with_context(|context| context.subject = Some(subject.into())),
            None => self,
        }
    }

    /// Sets the scheme in which the credential was refused, whose challenge names the error.
    pub(crate) fn of_scheme(self, scheme: Scheme) -> Self {
        self.with_context(|context| context.scheme = Some(scheme))
    }

    /// Returns the scheme in which the credential was refused, if it is known.
    pub(crate) fn scheme(&self) -> Option<Scheme> {
        self.context.as_ref()?.scheme
    }

    /// Adds the reason that a policy engine gave. Event sinks alone receive it.
    pub(crate) fn because(self, reason: Option<Box<str>>) -> Self {
        match reason {
            Some(reason) => self.with_context(|context| context.decision = Some(reason)),
            None => self,
        }
    }

    /// Removes the parts that event sinks alone receive.
    pub(crate) fn after_events(self) -> Self {
        match self.decision_reason() {
            Some(_) => self.with_context(|context| context.decision = None),
            None => self,
        }
    }

    /// Creates the refusal of a proof without a current nonce. The client receives this one.
    pub(crate) fn nonce_required(nonce: String) -> Self {
        Self::new(AuthErrorKind::ProofNonceRequired)
            .with_context(|context| context.nonce = Some(nonce.into()))
    }

    /// Returns the nonce that the client must use.
    pub(crate) fn nonce(&self) -> Option<&str> {
        self.context.as_ref()?.nonce.as_deref()
    }

    fn with_context(mut self, change: impl FnOnce(&mut Context)) -> Self {
        change(Arc::make_mut(self.context.get_or_insert_default()));
        self
    }

    /// Returns the cause, for operators.
    #[must_use]
    pub fn kind(&self) -> AuthErrorKind {
        self.kind
    }

    /// Returns the error code of [RFC 6750 §3.1] or [RFC 9470 §3] that the response contains, if one
    /// applies.
    ///
    /// [RFC 6750 §3.1]: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
    /// [RFC 9470 §3]: https://www.rfc-editor.org/rfc/rfc9470#section-3
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.kind.code()
    }

    /// Returns the HTTP status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// Returns a stable code of the cause, in snake case, for example for a metric label.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.kind.as_str()
    }

    /// Returns the scopes that the request needed, if the caller lacks one of them: the cause is
    /// [`AuthErrorKind::MissingScope`] or [`AuthErrorKind::InsufficientAuthentication`].
    #[must_use]
    pub fn required_scope(&self) -> Option<&str> {
        self.detail.as_ref()?.scope.as_deref()
    }

    /// Returns the acceptable `acr` values in order of preference, separated by spaces, if the cause is
    /// [`AuthErrorKind::InsufficientAuthentication`] and the caller's `acr` is none of them.
    #[must_use]
    pub fn required_acr(&self) -> Option<&str> {
        self.detail
            .as_ref()?
            .step_up
            .as_ref()?
            .acr_values
            .as_deref()
    }

    /// Returns the greatest age of a sign-in, if the cause is
    /// [`AuthErrorKind::InsufficientAuthentication`] and the sign-in is older.
    #[must_use]
    pub fn required_max_age(&self) -> Option<Duration> {
        self.detail.as_ref()?.step_up.as_ref()?.max_age
    }

    /// Returns the requirement that the caller does not meet, for logs: a role, scopes, a kind of
    /// caller, a sign-in, or the [name](crate::layer::role_guard::Rule::named) of a rule. Set if a
    /// guard, an extractor or a `require_…` method refused a caller who is known.
    #[must_use]
    pub fn missing(&self) -> Option<&str> {
        let missing = self.detail.as_ref()?.missing.as_ref()?;
        Some(&missing.requirement)
    }

    /// Returns the reason that the client receives.
    pub(crate) fn reason(&self) -> Reason {
        let missing = self
            .detail
            .as_ref()
            .and_then(|detail| detail.missing.as_ref());
        missing.map_or(self.kind.row().reason, |missing| missing.reason)
    }

    /// Returns the values of the refused token and the expectations of the verifier, for logs. Set for a
    /// token that a layer refused, if the layer has an event sink or the log is at `debug`.
    #[must_use]
    pub fn token(&self) -> Option<&RefusedToken> {
        self.context.as_ref()?.token.as_ref()
    }

    /// Returns the subject of the refused caller, for audit logs, if the caller is known although the
    /// token is refused: the token was revoked.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.context.as_ref()?.subject.as_deref()
    }

    /// Returns the reason that a [policy engine](crate::layer::role_guard::Decide) gave, in an event.
    ///
    /// Event sinks alone receive it. The error in a response's extensions and in a
    /// [`Refusal`](crate::layer::response::Refusal) has no reason, so that no response can contain it.
    #[must_use]
    pub fn decision_reason(&self) -> Option<&str> {
        self.context.as_ref()?.decision.as_deref()
    }

    /// Returns the number of seconds after which a new attempt may succeed, if the refusal is
    /// temporary.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.detail.as_ref()?.retry_after
    }
}

impl From<AuthErrorKind> for AuthError {
    fn from(kind: AuthErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl fmt::Debug for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthError").field(&self.kind).finish()
    }
}

impl Error for AuthError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.detail.as_ref()?.source.as_deref()?;
        Some(source)
    }
}

/// The refusal of a builder, a key or a setting.
///
/// The message names the problem and a remedy. It never contains a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A secret is shorter than its algorithm's hash (RFC 7518 §3.2).
    #[error("the secret for {algorithm} has {actual} bytes; at least {required} are needed")]
    SecretTooShort {
        /// The algorithm's name, as in a token's header.
        algorithm: &'static str,
        /// The minimum number of bytes.
        required: usize,
        /// The number of bytes that the secret has.
        actual: usize,
    },
    /// The value given as a secret is a public or private key.
    #[error("the secret is a {0}: keys of public-key algorithms are not secrets")]
    SecretIsAKey(&'static str),
    /// A key cannot be used.
    #[error("unusable key: {0}")]
    Key(Cow<'static, str>),
    /// A key set cannot be used.
    #[error("unusable key set: {0}")]
    KeySet(Cow<'static, str>),
    /// An algorithm's name is unknown, or this build does not support the algorithm.
    #[error("unsupported algorithm: {0}")]
    Algorithm(Cow<'static, str>),
    /// HMAC and public-key algorithms are configured in one verifier (RFC 8725 §3.1).
    #[error("HMAC secrets and public keys cannot be used together in one verifier")]
    MixedFamilies,
    /// No audience is configured, although the keys sign for many audiences (RFC 8725 §3.9).
    #[error(
        "a key set serves many audiences: set yours with `audience` or `client_ids`, or call `dangerous_any_audience`"
    )]
    AudienceRequired,
    /// No issuer is configured, although the keys come from a URL and may sign for many issuers
    /// (RFC 8725 §3.8).
    #[error(
        "published keys may sign for many issuers: set yours with `issuer`, or call `dangerous_any_issuer`"
    )]
    IssuerRequired,
    /// A value is out of range or has the wrong form.
    #[error("{name}: {problem}")]
    Invalid {
        /// The name of the option, method or variable.
        name: Cow<'static, str>,
        /// The problem with the value.
        problem: Cow<'static, str>,
    },
    /// A store cannot be opened.
    #[error("the store cannot be opened: {}", .0.causes())]
    Store(#[source] StoreError),
    /// Roles of a hierarchy imply each other in a cycle.
    #[error("the role hierarchy has a cycle: {0}")]
    RoleCycle(String),
    /// Scope tokens of a hierarchy imply each other in a cycle.
    #[error("the scope hierarchy has a cycle: {0}")]
    ScopeCycle(String),
    /// The crate was built without a cryptography feature.
    #[error("built without cryptography: enable the feature `aws-lc-rs` or `rust-crypto`")]
    NoCrypto,
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The path, as configured.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
}

impl ConfigError {
    pub(crate) fn invalid(
        name: impl Into<Cow<'static, str>>,
        problem: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Invalid {
            name: name.into(),
            problem: problem.into(),
        }
    }
}
