//! The reasons for which verification keys cannot be had.

use std::fmt;

/// The reason why no verification keys are available.
///
/// [`as_str`](Self::as_str) is a fixed code for logs, metrics and a readiness endpoint. It holds
/// no name, URL or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyProblem {
    /// The first fetch has not ended yet.
    Pending,
    /// The task that fetches has ended, or the runtime it was started on does not run it.
    Stopped,
    /// The host's name could not be resolved.
    NameNotResolved,
    /// The host refused the connection.
    ConnectionRefused,
    /// The connection could not be made or broke, for another reason than those listed here.
    ConnectionFailed,
    /// The proxy of the environment could not be used.
    Proxy,
    /// The server's certificate is not trusted, has expired, or is for another name.
    Certificate,
    /// The server's certificate is a certificate authority's (RFC 5280 §4.2.1.9, `CA:TRUE`), as
    /// `openssl req -x509` makes them. It can sign certificates for servers and is none itself.
    CaCertificate,
    /// The TLS handshake failed for another reason than the certificate.
    Tls,
    /// The answer did not come in time.
    Timeout,
    /// The answer is longer than the limit.
    TooLarge,
    /// The answer has another status than 200.
    Status,
    /// The answer is a redirect that is not followed: to another origin, to an invalid place, or
    /// one too many.
    Redirect,
    /// The answer is compressed, although the request accepts `identity` only (RFC 9110 §12.5.3).
    ContentCoding,
    /// The issuer's metadata are not a metadata document (RFC 8414 §3.2).
    Metadata,
    /// The metadata name another issuer than the configured one (RFC 8414 §3.3).
    IssuerMismatch,
    /// The `jwks_uri` of the metadata is not an https URL (RFC 8414 §2).
    JwksUri,
    /// The answer is not a key set (RFC 7517 §5).
    NotAKeySet,
    /// The key set holds no usable key.
    NoUsableKey,
    /// A custom client failed or panicked.
    Client,
}

impl KeyProblem {
    /// Returns the fixed code, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "not_fetched_yet",
            Self::Stopped => "fetching_stopped",
            Self::NameNotResolved => "name_not_resolved",
            Self::ConnectionRefused => "connection_refused",
            Self::ConnectionFailed => "connection_failed",
            Self::Proxy => "proxy_failed",
            Self::Certificate => "certificate_refused",
            Self::CaCertificate => "ca_certificate_as_server_certificate",
            Self::Tls => "tls_failed",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Status => "unexpected_status",
            Self::Redirect => "redirect_refused",
            Self::ContentCoding => "content_coding",
            Self::Metadata => "invalid_metadata",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::JwksUri => "invalid_jwks_uri",
            Self::NotAKeySet => "not_a_key_set",
            Self::NoUsableKey => "no_usable_key",
            Self::Client => "client_failed",
        }
    }
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
