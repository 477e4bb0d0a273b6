//! The error of a fetch.

use std::{error::Error, fmt, io, sync::Arc};

#[cfg(feature = "tracing")]
use http::Uri;
use rustls::CertificateError;

use super::proxy::ProxyError;
use crate::error::KeyProblem;

/// The reason for which keys could not be fetched.
///
/// The text is for logs. It names the kind of failure, and contains nothing from the response
/// except the issuer that the metadata name. The chain of [`source`](Error::source)s contains the
/// cause.
#[derive(Clone, Debug)]
pub struct FetchError {
    problem: KeyProblem,
    what: &'static str,
    status: Option<u16>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl FetchError {
    /// Creates an error for a custom [`Fetcher`](super::Fetcher).
    #[must_use]
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::because(KeyProblem::Client, "the request failed", source)
    }

    /// Returns the kind of failure, which has a fixed code.
    #[must_use]
    pub fn problem(&self) -> KeyProblem {
        self.problem
    }

    pub(crate) fn plain(problem: KeyProblem, what: &'static str) -> Self {
        Self {
            problem,
            what,
            status: None,
            source: None,
        }
    }

    pub(crate) fn because(
        problem: KeyProblem,
        what: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            source: Some(Arc::from(source.into())),
            ..Self::plain(problem, what)
        }
    }

    pub(crate) fn of_status(status: u16) -> Self {
        Self {
            status: Some(status),
            ..Self::plain(KeyProblem::Status, "the server responded with status")
        }
    }

    /// Creates an error for a failed connection, or for a failure during the exchange.
    pub(super) fn of_connection(error: hyper_util::client::legacy::Error) -> Self {
        Self::because(problem_of(&error), "the connection failed", error)
    }

    pub(crate) fn panicked() -> Self {
        Self::plain(KeyProblem::Client, "the client panicked")
    }

    pub(crate) fn late() -> Self {
        Self::plain(KeyProblem::Timeout, "no response in time")
    }

    /// Returns `true` if a request to any other URL of the server would fail for the same reason.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(
            self.problem,
            KeyProblem::NameNotResolved
                | KeyProblem::ConnectionRefused
                | KeyProblem::Proxy
                | KeyProblem::Certificate
                | KeyProblem::CaCertificate
                | KeyProblem::Tls
        )
    }

    /// Returns the chain of causes, outermost first. A TLS or system error is three levels deep in
    /// the client's error.
    ///
    /// The client's error may contain the complete URL. The query of `url` may be secret and is
    /// removed.
    #[cfg(feature = "tracing")]
    pub(crate) fn causes(&self, url: &Uri) -> Option<String> {
        let first = self.source()?;
        let causes = std::iter::successors(Some(first), |&cause| cause.source());
        let mut texts: Vec<_> = causes.map(ToString::to_string).collect();
        texts.dedup();
        let text = texts.join(": ");
        Some(match url.query() {
            Some(query) if !query.is_empty() => text.replace(query, "…"),
            _ => text,
        })
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} {status}", self.what),
            None => f.write_str(self.what),
        }
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

/// Returns the problem of the first specific cause.
fn problem_of(error: &(dyn Error + 'static)) -> KeyProblem {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<ProxyError>() {
            return KeyProblem::Proxy;
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return problem_of_tls(error);
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => return KeyProblem::ConnectionRefused,
                io::ErrorKind::TimedOut => return KeyProblem::Timeout,
                _ => {}
            }
            // `source` of an `io::Error` skips the error inside it.
            if let Some(inner) = error.get_ref() {
                return problem_of(inner);
            }
        }
        // The error type is private to hyper-util.
        if error.to_string() == "dns error" {
            return KeyProblem::NameNotResolved;
        }
        next = error.source();
    }
    KeyProblem::ConnectionFailed
}

fn problem_of_tls(error: &rustls::Error) -> KeyProblem {
    match error {
        // The inner type is that of webpki, which is not a dependency.
        rustls::Error::InvalidCertificate(CertificateError::Other(other))
            if other.0.to_string() == "CaUsedAsEndEntity" =>
        {
            KeyProblem::CaCertificate
        }
        rustls::Error::InvalidCertificate(_) => KeyProblem::Certificate,
        _ => KeyProblem::Tls,
    }
}
