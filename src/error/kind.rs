//! The causes of refusals. One table holds everything about a cause. A new one is one row.

use std::fmt;

use http::StatusCode;

/// The properties of a cause.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) status: StatusCode,
    pub(crate) code: Option<ErrorCode>,
    name: &'static str,
    text: &'static str,
    pub(crate) reason: Reason,
}

macro_rules! kinds {
    ($(
        $(#[$doc:meta])*
        $kind:ident $(($payload:ty))?: $status:ident, $code:expr, $name:literal, $text:literal, $reason:ident;
    )*) => {
        /// The cause of an [`AuthError`](super::AuthError).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum AuthErrorKind {
            $($(#[$doc])* $kind $(($payload))?,)*
        }

        impl AuthErrorKind {
            pub(crate) const fn row(self) -> Row {
                match self {
                    $(Self::$kind { .. } => Row {
                        status: StatusCode::$status,
                        code: $code,
                        name: $name,
                        text: $text,
                        reason: Reason::$reason,
                    },)*
                }
            }
        }

        /// The status, the code and the reason of each cause, and of the other reasons of
        /// `Forbidden`.
        pub(crate) const ROWS: &[(StatusCode, Option<ErrorCode>, Reason)] = &[
            $((StatusCode::$status, $code, Reason::$reason),)*
            (StatusCode::FORBIDDEN, Some(ErrorCode::InsufficientScope), Reason::Caller),
            (StatusCode::FORBIDDEN, Some(ErrorCode::InsufficientScope), Reason::Rule),
        ];
    };
}

// The cause, the HTTP status, the code of RFC 6750 §3.1, the stable name, the text for operators, and the
// reason for the client. RFC 6750 §3.1: no code if the request lacks any authentication information.
kinds! {
    /// The request contains no credential that this layer reads.
    MissingCredential: UNAUTHORIZED, None, "missing_credential",
        "no credential in the request", Missing;
    /// The credential does not have the form that RFC 6750 §2.1 requires.
    MalformedCredential: BAD_REQUEST, Some(ErrorCode::InvalidRequest), "malformed_credential",
        "the credential is malformed", Malformed;
    /// The request contains more than one credential.
    MultipleCredentials: BAD_REQUEST, Some(ErrorCode::InvalidRequest), "multiple_credentials",
        "more than one credential in the request", Multiple;
    /// The credential is longer than the configured limit.
    OversizedCredential: BAD_REQUEST, Some(ErrorCode::InvalidRequest), "oversized_credential",
        "the credential is longer than the limit", Oversized;
    /// The header field in which a trusted proxy forwards the certificate of its client is malformed, or
    /// occurs twice. The `source` of the error names the problem.
    MalformedCertificate: BAD_REQUEST, Some(ErrorCode::InvalidRequest), "malformed_certificate",
        "the header field with the client certificate is malformed", Certificate;
    /// The token is not a JWS in compact serialization (RFC 7515 §7.1).
    MalformedToken: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "malformed_token",
        "not a JWS in compact serialization", Invalid;
    /// The token's header is not a valid JOSE header.
    MalformedHeader: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "malformed_header",
        "the token's header is malformed", Invalid;
    /// The token's header uses a feature that this crate refuses: `crit`, `b64`, `zip` or a nested
    /// token.
    UnsupportedHeader: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "unsupported_header",
        "the token's header uses an unsupported feature", Invalid;
    /// The token's algorithm is not in the list of allowed algorithms.
    AlgorithmNotAllowed: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "algorithm_not_allowed",
        "the token's algorithm is not allowed", Invalid;
    /// No key in the key set matches the token's `kid` and algorithm.
    UnknownKey: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "unknown_key",
        "no key matches the token", Invalid;
    /// The key set contains the key that the token names, but the key is not for the token's
    /// algorithm (RFC 8725 §3.1).
    KeyAlgorithmMismatch: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "key_algorithm_mismatch",
        "the named key is not for the token's algorithm", Invalid;
    /// Several keys match the token, and the token's header does not select one of them.
    AmbiguousKey: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "ambiguous_key",
        "several keys match the token", Invalid;
    /// The signature does not verify.
    InvalidSignature: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "invalid_signature",
        "the signature does not verify", Invalid;
    /// The claims are not a JSON object, a claim has the wrong type, or the claims do not match the
    /// type that the application expects.
    MalformedClaims: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "malformed_claims",
        "the claims are malformed", Invalid;
    /// A required claim is missing.
    MissingClaim(&'static str): UNAUTHORIZED, Some(ErrorCode::InvalidToken), "missing_claim",
        "a claim is missing", Invalid;
    /// The token expired.
    Expired: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "expired",
        "the token expired", Expired;
    /// The token is not valid yet.
    NotYetValid: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "not_yet_valid",
        "the token is not valid yet", Invalid;
    /// The token was issued longer ago than the configured maximum age.
    TooOld: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "too_old",
        "the token was issued too long ago", Invalid;
    /// The token was issued by another issuer.
    WrongIssuer: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "wrong_issuer",
        "the token was issued by another issuer", Invalid;
    /// The token was issued for another audience.
    WrongAudience: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "wrong_audience",
        "the token is for another audience", Invalid;
    /// The token was issued to a client that is not in the list of expected clients.
    WrongClient: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "wrong_client",
        "the token was issued to another client", Invalid;
    /// The token's `typ` is not accepted by this verifier.
    WrongType: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "wrong_type",
        "the token's typ is not accepted", Invalid;
    /// The token is for another use: it is a refresh, ID, logout or password-reset token.
    WrongUse: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "wrong_use",
        "not an access token", Invalid;
    /// The token is bound to a key or a certificate (`cnf`), and the request does not prove possession of
    /// everything that the token names.
    SenderConstrained: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "sender_constrained",
        "the token is bound to a key or a certificate that the request does not prove", Invalid;
    /// The token is not bound: to the key of the proof in the request, or to a certificate where the layer
    /// requires one.
    NotSenderConstrained: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "not_sender_constrained",
        "the token is not bound to a key or a certificate, as this request needs", Invalid;
    /// The proof is by another key than the one to which the token is bound (RFC 9449 §7.1).
    WrongProofKey: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "wrong_proof_key",
        "the proof is by another key than the token's", Invalid;
    /// The token is bound to another certificate than that of the client (RFC 8705 §3).
    WrongCertificate: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "wrong_certificate",
        "the token is bound to another certificate than the client's", Invalid;
    /// The proof of possession is missing or not valid (RFC 9449 §4.3). The `source` of the error names
    /// the problem.
    InvalidProof: UNAUTHORIZED, Some(ErrorCode::InvalidDpopProof), "invalid_dpop_proof",
        "the proof of possession is not valid", Proof;
    /// The proof of possession has no current nonce (RFC 9449 §9). The response contains the nonce to use.
    ProofNonceRequired: UNAUTHORIZED, Some(ErrorCode::UseDpopNonce), "use_dpop_nonce",
        "the proof of possession has no current nonce", Nonce;
    /// The API key is not valid: its form, its identifier or its secret is wrong.
    InvalidApiKey: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "invalid_api_key",
        "the API key is not valid", Invalid;
    /// The token was revoked before it expired.
    Revoked: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "revoked",
        "the token was revoked", Invalid;
    /// The authorization server does not call the token active (RFC 7662 §2.2).
    Inactive: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "inactive",
        "the authorization server does not call the token active", Invalid;
    /// The application's custom check refused the token.
    Rejected: UNAUTHORIZED, Some(ErrorCode::InvalidToken), "rejected",
        "the application's check refused the token", Invalid;
    /// The sign-in of the caller is too weak or too long ago for this request (RFC 9470).
    InsufficientAuthentication: UNAUTHORIZED, Some(ErrorCode::InsufficientUserAuthentication),
        "insufficient_authentication", "the sign-in of the caller is too weak or too long ago",
        StepUp;
    /// The caller lacks a role, or the guard's condition refused the caller.
    Forbidden: FORBIDDEN, Some(ErrorCode::InsufficientScope), "forbidden",
        "the caller is not allowed to do this", Role;
    /// The caller lacks a required scope.
    MissingScope: FORBIDDEN, Some(ErrorCode::InsufficientScope), "missing_scope",
        "the caller lacks a scope", Scope;
    /// A request from another site carried a cookie credential, which the browser attaches
    /// automatically.
    CrossSite: FORBIDDEN, None, "cross_site",
        "a request from another site carried a cookie credential", CrossSite;
    /// The body is not one JSON-RPC message or a batch of them, or its content is ambiguous. The
    /// `source` of the error names the problem.
    MalformedMessage: BAD_REQUEST, None, "malformed_message",
        "the body is not an acceptable JSON-RPC message", Message;
    /// A header that repeats a part of an MCP message differs from the message, is malformed or occurs
    /// twice.
    HeaderMismatch: BAD_REQUEST, None, "header_mismatch",
        "a header does not match the MCP message", Message;
    /// The body took longer than the configured time.
    SlowMessage: REQUEST_TIMEOUT, None, "slow_message",
        "the body took too long", SlowMessage;
    /// The body is longer than the configured limit.
    OversizedMessage: PAYLOAD_TOO_LARGE, None, "oversized_message",
        "the body is longer than the limit", OversizedMessage;
    /// The body is not plain `application/json`.
    UnsupportedMessage: UNSUPPORTED_MEDIA_TYPE, None, "unsupported_message",
        "the body is not plain JSON", UnsupportedMessage;
    /// The MCP session does not exist, or belongs to another caller.
    UnknownSession: NOT_FOUND, None, "unknown_session",
        "the MCP session is not one of the caller", UnknownSession;
    /// The client exceeded its rate limit.
    TooManyRequests: TOO_MANY_REQUESTS, None, "too_many_requests",
        "the client exceeded its rate limit", Throttled;
    /// The keys that could verify the token are currently unavailable.
    KeysUnavailable: SERVICE_UNAVAILABLE, None, "keys_unavailable",
        "the verification keys are unavailable", Unavailable;
    /// The revocation status of the token is currently unknown.
    RevocationUnavailable: SERVICE_UNAVAILABLE, None, "revocation_unavailable",
        "the revocation status of the token is unknown", Unavailable;
    /// The application's custom check could not decide.
    CheckUnavailable: SERVICE_UNAVAILABLE, None, "check_unavailable",
        "the application's check is unavailable", Unavailable;
    /// The authorization server that introspects the token (RFC 7662) is currently unavailable.
    IntrospectionUnavailable: SERVICE_UNAVAILABLE, None, "introspection_unavailable",
        "the authorization server that introspects the token is unavailable", Unavailable;
    /// The store that holds the credential is currently unavailable.
    StoreUnavailable: SERVICE_UNAVAILABLE, None, "store_unavailable",
        "the store that holds the credential is unavailable", Unavailable;
    /// The policy engine of a guard could not decide.
    PolicyUnavailable: SERVICE_UNAVAILABLE, None, "policy_unavailable",
        "the policy engine is unavailable", Unavailable;
    /// The layers are misconfigured, for example a guard or an extractor runs without an
    /// authenticating layer. The `source` of the error names the problem.
    Misconfigured: INTERNAL_SERVER_ERROR, None, "misconfigured",
        "the layers are misconfigured", Misconfigured;
}

impl AuthErrorKind {
    /// Returns the error code of RFC 6750 §3.1 or RFC 9470 §3 that the response contains, if one
    /// applies.
    #[must_use]
    pub fn code(self) -> Option<ErrorCode> {
        self.row().code
    }

    /// Returns the HTTP status of the response.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().status
    }

    /// Returns a stable code, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().name
    }
}

impl fmt::Display for AuthErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingClaim(name) => write!(f, "the claim `{name}` is missing"),
            kind => f.write_str(kind.row().text),
        }
    }
}

/// An error code of [RFC 6750 §3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1), of [RFC 9449
/// §12.2](https://www.rfc-editor.org/rfc/rfc9449#section-12.2) or of [RFC 9470
/// §3](https://www.rfc-editor.org/rfc/rfc9470#section-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `invalid_request`: the request is malformed; 400.
    InvalidRequest,
    /// `invalid_token`: the token is expired, revoked, malformed or invalid; 401.
    InvalidToken,
    /// `insufficient_scope`: the token does not grant the required privileges; 403.
    InsufficientScope,
    /// `insufficient_user_authentication`: the sign-in is too weak or too long ago; 401.
    InsufficientUserAuthentication,
    /// `invalid_dpop_proof`: the proof of possession is missing or not valid; 401.
    InvalidDpopProof,
    /// `use_dpop_nonce`: the proof of possession needs the nonce of the response; 401.
    UseDpopNonce,
}

impl ErrorCode {
    /// Returns the code in the form that the RFC defines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reason that a client receives for a refusal. It is coarser than the cause and contains nothing
/// of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Missing,
    Malformed,
    Multiple,
    Oversized,
    Certificate,
    Expired,
    Invalid,
    StepUp,
    Proof,
    Nonce,
    Role,
    Scope,
    Caller,
    Rule,
    CrossSite,
    Message,
    SlowMessage,
    OversizedMessage,
    UnsupportedMessage,
    UnknownSession,
    Throttled,
    Unavailable,
    Misconfigured,
}

impl Reason {
    /// Returns a fixed text in the characters that RFC 6750 §3 allows for `error_description`.
    pub(crate) fn text(self) -> Option<&'static str> {
        Some(match self {
            Self::Missing => "The request carries no credential",
            Self::Malformed => "The credential is malformed",
            Self::Multiple => "The request carries more than one credential",
            Self::Oversized => "The credential is too long",
            Self::Certificate => "The client certificate of the request is malformed",
            Self::Expired => "The access token expired",
            Self::Invalid => "The access token is invalid",
            Self::StepUp => "A stronger or more recent sign-in is needed here",
            Self::Proof => "The DPoP proof is invalid",
            Self::Nonce => "The DPoP proof needs the nonce of this response",
            Self::Role => "The access token does not grant a role that is needed here",
            Self::Scope => "The access token does not grant a scope that is needed here",
            Self::Caller => "This kind of caller is not allowed here",
            Self::Rule => "The caller is not allowed to do this",
            Self::CrossSite => "The request comes from another site",
            Self::Message => "The message is not accepted",
            Self::SlowMessage => "The message took too long",
            Self::OversizedMessage => "The message is too long",
            Self::UnsupportedMessage => "The content is not plain JSON",
            Self::UnknownSession => "The session is not known",
            Self::Throttled => "Too many requests",
            Self::Unavailable => "The credential cannot be checked now",
            // The client cannot correct the mistake, and a text would only describe the server.
            Self::Misconfigured => return None,
        })
    }
}
