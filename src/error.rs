//! The error types of the crate.
//!
//! [`AuthError`] is a refused request or token, [`ConfigError`] a refused configuration, and
//! [`StoreError`] a failed operation of a store.

mod keys;
mod store;

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use http::StatusCode;

pub use self::{
    keys::KeyProblem,
    store::{StoreError, StoreErrorKind},
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
}

#[derive(Default)]
struct Detail {
    scope: Option<Box<str>>,
    retry_after: Option<u32>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl AuthError {
    pub(crate) fn new(kind: AuthErrorKind) -> Self {
        Self { kind, detail: None }
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
                scope: Some(scope.into_boxed_str()),
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
        }
    }

    /// Returns the cause, for operators.
    #[must_use]
    pub fn kind(&self) -> AuthErrorKind {
        self.kind
    }

    /// Returns the error code of [RFC 6750 §3.1] that the response contains, if one applies.
    ///
    /// [RFC 6750 §3.1]: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
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

    /// Returns the scopes that the request needed, if the cause is [`AuthErrorKind::MissingScope`].
    #[must_use]
    pub fn required_scope(&self) -> Option<&str> {
        self.detail.as_ref()?.scope.as_deref()
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

/// The cause of an [`AuthError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthErrorKind {
    /// The request contains no credential that this layer reads.
    MissingCredential,
    /// The credential does not have the form that RFC 6750 §2.1 requires.
    MalformedCredential,
    /// The request contains more than one credential.
    MultipleCredentials,
    /// The credential is longer than the configured limit.
    OversizedCredential,
    /// The token is not a JWS in compact serialization (RFC 7515 §7.1).
    MalformedToken,
    /// The token's header is not a valid JOSE header.
    MalformedHeader,
    /// The token's header uses a feature that this crate refuses: `crit`, `b64`, `zip` or a nested
    /// token.
    UnsupportedHeader,
    /// The token's algorithm is not in the list of allowed algorithms.
    AlgorithmNotAllowed,
    /// No key in the key set matches the token's `kid` and algorithm.
    UnknownKey,
    /// The key set contains the key that the token names, but the key is not for the token's
    /// algorithm (RFC 8725 §3.1).
    KeyAlgorithmMismatch,
    /// Several keys match the token, and the token's header does not select one of them.
    AmbiguousKey,
    /// The signature does not verify.
    InvalidSignature,
    /// The claims are not a JSON object, a claim has the wrong type, or the claims do not match the
    /// type that the application expects.
    MalformedClaims,
    /// A required claim is missing.
    MissingClaim(&'static str),
    /// The token expired.
    Expired,
    /// The token is not valid yet.
    NotYetValid,
    /// The token was issued longer ago than the configured maximum age.
    TooOld,
    /// The token was issued by another issuer.
    WrongIssuer,
    /// The token was issued for another audience.
    WrongAudience,
    /// The token was issued to a client that is not in the list of expected clients.
    WrongClient,
    /// The token's `typ` is not accepted by this verifier.
    WrongType,
    /// The token is for another use: it is a refresh, ID, logout or password-reset token.
    WrongUse,
    /// The token is bound to a key (`cnf`), and a plain bearer request does not prove possession of
    /// it.
    SenderConstrained,
    /// The API key is not valid: its form, its identifier or its secret is wrong.
    InvalidApiKey,
    /// The token was revoked before it expired.
    Revoked,
    /// The application's custom check refused the token.
    Rejected,
    /// The caller lacks a role, or the guard's condition refused the caller.
    Forbidden,
    /// The caller lacks a required scope.
    MissingScope,
    /// A request from another site carried a cookie credential, which the browser attaches
    /// automatically.
    CrossSite,
    /// The client exceeded its rate limit.
    TooManyRequests,
    /// The keys that could verify the token are currently unavailable.
    KeysUnavailable,
    /// The revocation status of the token is currently unknown.
    RevocationUnavailable,
    /// The application's custom check could not decide.
    CheckUnavailable,
    /// The store that holds the credential is currently unavailable.
    StoreUnavailable,
    /// The layers are misconfigured, for example a guard or an extractor runs without an
    /// authenticating layer. The `source` of the error names the problem.
    Misconfigured,
}

impl AuthErrorKind {
    /// Returns the error code of RFC 6750 §3.1 that the response contains, if one applies.
    #[must_use]
    pub fn code(self) -> Option<ErrorCode> {
        match self {
            // RFC 6750 §3.1: no error code if the request lacks any authentication information.
            Self::MissingCredential
            | Self::CrossSite
            | Self::TooManyRequests
            | Self::KeysUnavailable
            | Self::RevocationUnavailable
            | Self::CheckUnavailable
            | Self::StoreUnavailable
            | Self::Misconfigured => None,
            Self::MalformedCredential | Self::MultipleCredentials | Self::OversizedCredential => {
                Some(ErrorCode::InvalidRequest)
            }
            Self::Forbidden | Self::MissingScope => Some(ErrorCode::InsufficientScope),
            _ => Some(ErrorCode::InvalidToken),
        }
    }

    /// Returns the HTTP status of the response.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::CrossSite => StatusCode::FORBIDDEN,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::KeysUnavailable
            | Self::RevocationUnavailable
            | Self::CheckUnavailable
            | Self::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
            _ => match self.code() {
                Some(ErrorCode::InvalidRequest) => StatusCode::BAD_REQUEST,
                Some(ErrorCode::InsufficientScope) => StatusCode::FORBIDDEN,
                _ => StatusCode::UNAUTHORIZED,
            },
        }
    }

    /// Returns a stable code, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingCredential => "missing_credential",
            Self::MalformedCredential => "malformed_credential",
            Self::MultipleCredentials => "multiple_credentials",
            Self::OversizedCredential => "oversized_credential",
            Self::MalformedToken => "malformed_token",
            Self::MalformedHeader => "malformed_header",
            Self::UnsupportedHeader => "unsupported_header",
            Self::AlgorithmNotAllowed => "algorithm_not_allowed",
            Self::UnknownKey => "unknown_key",
            Self::KeyAlgorithmMismatch => "key_algorithm_mismatch",
            Self::AmbiguousKey => "ambiguous_key",
            Self::InvalidSignature => "invalid_signature",
            Self::MalformedClaims => "malformed_claims",
            Self::MissingClaim(_) => "missing_claim",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::TooOld => "too_old",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::WrongClient => "wrong_client",
            Self::WrongType => "wrong_type",
            Self::WrongUse => "wrong_use",
            Self::SenderConstrained => "sender_constrained",
            Self::InvalidApiKey => "invalid_api_key",
            Self::Revoked => "revoked",
            Self::Rejected => "rejected",
            Self::Forbidden => "forbidden",
            Self::MissingScope => "missing_scope",
            Self::CrossSite => "cross_site",
            Self::TooManyRequests => "too_many_requests",
            Self::KeysUnavailable => "keys_unavailable",
            Self::RevocationUnavailable => "revocation_unavailable",
            Self::CheckUnavailable => "check_unavailable",
            Self::StoreUnavailable => "store_unavailable",
            Self::Misconfigured => "misconfigured",
        }
    }
}

impl fmt::Display for AuthErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MissingCredential => "no credential in the request",
            Self::MalformedCredential => "the credential is malformed",
            Self::MultipleCredentials => "more than one credential in the request",
            Self::OversizedCredential => "the credential is longer than the limit",
            Self::MalformedToken => "not a JWS in compact serialization",
            Self::MalformedHeader => "the token's header is malformed",
            Self::UnsupportedHeader => "the token's header uses an unsupported feature",
            Self::AlgorithmNotAllowed => "the token's algorithm is not allowed",
            Self::UnknownKey => "no key matches the token",
            Self::KeyAlgorithmMismatch => "the named key is not for the token's algorithm",
            Self::AmbiguousKey => "several keys match the token",
            Self::InvalidSignature => "the signature does not verify",
            Self::MalformedClaims => "the claims are malformed",
            Self::MissingClaim(name) => return write!(f, "the claim `{name}` is missing"),
            Self::Expired => "the token expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::TooOld => "the token was issued too long ago",
            Self::WrongIssuer => "the token was issued by another issuer",
            Self::WrongAudience => "the token is for another audience",
            Self::WrongClient => "the token was issued to another client",
            Self::WrongType => "the token's typ is not accepted",
            Self::WrongUse => "not an access token",
            Self::SenderConstrained => {
                "the token is bound to a key, and the request does not prove possession of it"
            }
            Self::InvalidApiKey => "the API key is not valid",
            Self::Revoked => "the token was revoked",
            Self::Rejected => "the application's check refused the token",
            Self::Forbidden => "the caller is not allowed to do this",
            Self::MissingScope => "the caller lacks a scope",
            Self::CrossSite => "a request from another site carried a cookie credential",
            Self::TooManyRequests => "the client exceeded its rate limit",
            Self::KeysUnavailable => "the verification keys are unavailable",
            Self::RevocationUnavailable => "the revocation status of the token is unknown",
            Self::CheckUnavailable => "the application's check is unavailable",
            Self::StoreUnavailable => "the store that holds the credential is unavailable",
            Self::Misconfigured => "the layers are misconfigured",
        })
    }
}

/// An error code of [RFC 6750 §3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `invalid_request`: the request is malformed; 400.
    InvalidRequest,
    /// `invalid_token`: the token is expired, revoked, malformed or invalid; 401.
    InvalidToken,
    /// `insufficient_scope`: the token does not grant the required privileges; 403.
    InsufficientScope,
}

impl ErrorCode {
    /// Returns the code in the form that RFC 6750 defines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
