//! The reasons why verification keys are unavailable.

use std::fmt;

/// The reason why no verification keys are available.
///
/// [`as_str`](Self::as_str) returns a fixed code for logs, metrics and a readiness endpoint. The
/// code contains no name, URL or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyProblem {
    /// The first fetch has not finished yet.
    Pending,
    /// The fetch task has ended, or the runtime on which it was started is not running it.
    Stopped,
    /// The host name could not be resolved.
    NameNotResolved,
    /// The host refused the connection.
    ConnectionRefused,
    /// The connection could not be established, or it broke, for a reason not listed here.
    ConnectionFailed,
    /// The proxy from the environment variables could not be used.
    Proxy,
    /// The server's certificate is not trusted, has expired, or is for another name.
    Certificate,
    /// The server's certificate is a certificate authority's (RFC 5280 §4.2.1.9, `CA:TRUE`), as
    /// `openssl req -x509` creates them. Such a certificate can sign server certificates, but
    /// cannot be used as one.
    CaCertificate,
    /// The TLS handshake failed for a reason other than the certificate.
    Tls,
    /// The response did not arrive in time.
    Timeout,
    /// The response is longer than the limit.
    TooLarge,
    /// The status of the response is not 200.
    Status,
    /// The response is a redirect that is not followed: it leads to another origin or an invalid
    /// URL, or exceeds the number of redirects.
    Redirect,
    /// The response is compressed, although the request accepts only `identity` (RFC 9110 §12.5.3).
    ContentCoding,
    /// The issuer's metadata are not a metadata document (RFC 8414 §3.2).
    Metadata,
    /// The metadata name an issuer other than the configured one (RFC 8414 §3.3).
    IssuerMismatch,
    /// The `jwks_uri` of the metadata is not an https URL (RFC 8414 §2).
    JwksUri,
    /// The response is not a key set (RFC 7517 §5).
    NotAKeySet,
    /// The key set contains no usable key.
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
