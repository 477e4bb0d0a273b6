//! The errors of the crate: why a request was refused, why a builder refused its input, and why a
//! store could not do what it was asked for.

mod keys;
mod store;

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use http::StatusCode;

pub use self::{
    keys::KeyProblem,
    store::{StoreError, StoreErrorKind},
};

/// Why a request or a token was refused.
///
/// `Display` and `Debug` are for logs. They never hold token bytes, claim values or key material.
/// What a client is told is decided by the layer's responder, not by this type. A layer that
/// denies a request puts the `AuthError` into the response's extensions, so that an outer layer
/// can log or count it.
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

    /// Keys or a check are unavailable; `retry_after` is what the client is told, in seconds.
    pub(crate) fn unavailable(kind: AuthErrorKind, retry_after: u32) -> Self {
        Self::with_detail(
            kind,
            Detail {
                retry_after: Some(retry_after),
                ..Detail::default()
            },
        )
    }

    /// As [`unavailable`](Self::unavailable), with a cause that is worth a line in the log.
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

    /// The scopes needed, space separated (RFC 6750 §3).
    pub(crate) fn missing_scope(scope: String) -> Self {
        Self::with_detail(
            AuthErrorKind::MissingScope,
            Detail {
                scope: Some(scope.into_boxed_str()),
                ..Detail::default()
            },
        )
    }

    /// A refusal whose cause is worth a line in the log.
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

    /// The cause, for operators.
    #[must_use]
    pub fn kind(&self) -> AuthErrorKind {
        self.kind
    }

    /// The error code of [RFC 6750 §3.1] that a client is told, if one applies.
    ///
    /// [RFC 6750 §3.1]: https://www.rfc-editor.org/rfc/rfc6750#section-3.1
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.kind.code()
    }

    /// The HTTP status that this refusal is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// A stable machine code of the cause, in snake case: a metric label, for example.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.kind.as_str()
    }

    /// The scopes that the request needed, where scopes were what it lacked.
    #[must_use]
    pub fn required_scope(&self) -> Option<&str> {
        self.detail.as_ref()?.scope.as_deref()
    }

    /// Seconds after which a new attempt may succeed, where the refusal is temporary.
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
    /// The request carries no credential that this layer reads.
    MissingCredential,
    /// The credential is not of the form that RFC 6750 §2.1 prescribes.
    MalformedCredential,
    /// The request carries more than one credential.
    MultipleCredentials,
    /// The credential is longer than the configured limit.
    OversizedCredential,
    /// The token is not a JWS in compact serialization (RFC 7515 §7.1).
    MalformedToken,
    /// The token's header is not a valid JOSE header.
    MalformedHeader,
    /// The token's header asks for something this crate refuses: `crit`, `b64`, `zip`, a nested token.
    UnsupportedHeader,
    /// The token's algorithm is not among those allowed.
    AlgorithmNotAllowed,
    /// No key of the key set fits the token's `kid` and algorithm.
    UnknownKey,
    /// The key set holds the key that the token names. The key does not serve the token's algorithm
    /// (RFC 8725 §3.1).
    KeyAlgorithmMismatch,
    /// Several keys fit the token, and the token does not tell them apart.
    AmbiguousKey,
    /// The signature does not verify.
    InvalidSignature,
    /// The claims are not a JSON object, or a claim has the wrong type, or the claims do not fit
    /// the type that the application asked for.
    MalformedClaims,
    /// A required claim is missing.
    MissingClaim(&'static str),
    /// The token expired.
    Expired,
    /// The token is not valid yet.
    NotYetValid,
    /// The token was issued longer ago than the configured maximum age.
    TooOld,
    /// The token comes from another issuer.
    WrongIssuer,
    /// The token was issued for another audience.
    WrongAudience,
    /// The token was issued to a client that is not among the expected ones.
    WrongClient,
    /// The token's `typ` is not one that is accepted here.
    WrongType,
    /// The token states that it is for another use: a refresh, ID, logout or password-reset token.
    WrongUse,
    /// The token is bound to a key (`cnf`) that a plain bearer request does not prove.
    SenderConstrained,
    /// Not an API key that is known here: its form, its identifier or its secret is wrong.
    InvalidApiKey,
    /// The token was revoked before it expired.
    Revoked,
    /// The application's own check said no.
    Rejected,
    /// The caller lacks a role, or the guard's own condition said no.
    Forbidden,
    /// The caller lacks a scope.
    MissingScope,
    /// A credential that the browser attaches by itself came with a request of another site.
    CrossSite,
    /// The client asks too often.
    TooManyRequests,
    /// The keys that could verify the token cannot be had now.
    KeysUnavailable,
    /// Whether the token was revoked cannot be said now.
    RevocationUnavailable,
    /// The application's own check could not decide.
    CheckUnavailable,
    /// The store that knows the credential cannot be asked now.
    StoreUnavailable,
    /// The layers are put together wrongly: a guard or an extractor without an authenticating layer.
    Misconfigured,
}

impl AuthErrorKind {
    /// The error code of RFC 6750 §3.1 that a client is told, if one applies.
    #[must_use]
    pub fn code(self) -> Option<ErrorCode> {
        match self {
            // RFC 6750 §3.1: no error code where the request lacks any authentication information.
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

    /// The HTTP status that this cause is answered with.
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

    /// A stable machine code, in snake case.
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
            Self::UnsupportedHeader => "the token's header asks for an unsupported feature",
            Self::AlgorithmNotAllowed => "the token's algorithm is not allowed",
            Self::UnknownKey => "no key fits the token",
            Self::KeyAlgorithmMismatch => "the named key does not serve the token's algorithm",
            Self::AmbiguousKey => "several keys fit the token",
            Self::InvalidSignature => "the signature does not verify",
            Self::MalformedClaims => "the claims are malformed",
            Self::MissingClaim(name) => return write!(f, "the claim `{name}` is missing"),
            Self::Expired => "the token expired",
            Self::NotYetValid => "the token is not valid yet",
            Self::TooOld => "the token was issued too long ago",
            Self::WrongIssuer => "the token comes from another issuer",
            Self::WrongAudience => "the token is for another audience",
            Self::WrongClient => "the token was issued to another client",
            Self::WrongType => "the token's typ is not accepted",
            Self::WrongUse => "not an access token",
            Self::SenderConstrained => "the token is bound to a key and came without proof",
            Self::InvalidApiKey => "not an API key that is known here",
            Self::Revoked => "the token was revoked",
            Self::Rejected => "the application's check refused the token",
            Self::Forbidden => "the caller is not allowed to do this",
            Self::MissingScope => "the caller lacks a scope",
            Self::CrossSite => "a cookie credential came with a request of another site",
            Self::TooManyRequests => "the client asks too often",
            Self::KeysUnavailable => "the verification keys are unavailable",
            Self::RevocationUnavailable => "it is unknown whether the token was revoked",
            Self::CheckUnavailable => "the application's check is unavailable",
            Self::StoreUnavailable => "the store that knows the credential is unavailable",
            Self::Misconfigured => "the layers are put together wrongly",
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
    /// `insufficient_scope`: the token does not carry the privileges needed; 403.
    InsufficientScope,
}

impl ErrorCode {
    /// The code as it stands on the wire.
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

/// Why a builder, a key or a setting was refused.
///
/// The message names what is wrong and what to do; it never holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A secret is shorter than its algorithm's hash (RFC 7518 §3.2).
    #[error("the secret for {algorithm} has {actual} bytes; at least {required} are needed")]
    SecretTooShort {
        /// The algorithm, as it stands in a token's header.
        algorithm: &'static str,
        /// Bytes needed.
        required: usize,
        /// Bytes given.
        actual: usize,
    },
    /// What was given as a secret is a public or private key.
    #[error("the secret is a {0}: keys of public-key algorithms are not secrets")]
    SecretIsAKey(&'static str),
    /// A key could not be used.
    #[error("unusable key: {0}")]
    Key(Cow<'static, str>),
    /// A key set could not be used.
    #[error("unusable key set: {0}")]
    KeySet(Cow<'static, str>),
    /// An algorithm's name is unknown, or it cannot be used in this build.
    #[error("unsupported algorithm: {0}")]
    Algorithm(Cow<'static, str>),
    /// HMAC and public-key algorithms were configured side by side (RFC 8725 §3.1).
    #[error("HMAC secrets and public keys cannot be used side by side in one verifier")]
    MixedFamilies,
    /// Nothing was said about the audience, though the keys serve many audiences (RFC 8725 §3.9).
    #[error(
        "a key set serves many audiences: name yours with `audience` or `client_ids`, or write `dangerous_any_audience`"
    )]
    AudienceRequired,
    /// No issuer was named, though the keys come from a URL and may sign for many (RFC 8725 §3.8).
    #[error(
        "published keys may sign for many issuers: name yours with `issuer`, or write `dangerous_any_issuer`"
    )]
    IssuerRequired,
    /// A value is out of its range or has the wrong form.
    #[error("{name}: {problem}")]
    Invalid {
        /// The option, method or variable.
        name: Cow<'static, str>,
        /// What is wrong with it.
        problem: Cow<'static, str>,
    },
    /// A store could not be opened.
    #[error("the store could not be opened")]
    Store(#[source] StoreError),
    /// Roles of a hierarchy imply each other in a circle.
    #[error("the role hierarchy has a cycle: {0}")]
    RoleCycle(String),
    /// The crate was built without a cryptography feature.
    #[error("built without cryptography: turn on the feature `aws-lc-rs` or `rust-crypto`")]
    NoCrypto,
    /// A file could not be read.
    #[error("cannot read {path}")]
    File {
        /// The path as it was given.
        path: String,
        /// What the operating system said.
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
