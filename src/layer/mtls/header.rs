//! The header fields in which proxies forward the certificate of their client.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName};

use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{extract::percent_decoded, peer::PeerCertificate},
};

/// The header field in which a proxy forwards the certificate of its client. Each form has one name, and no
/// other field is read.
///
/// The proxy must overwrite or remove a field of this name that a client sends. A client without a
/// certificate has no field, or an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateHeader {
    /// `Client-Cert`: the DER in base64 between colons (RFC 9440 §2.2).
    ClientCert,
    /// `X-Forwarded-Client-Cert` of Envoy: one element, whose `Cert` is the PEM, URL-encoded. Configure
    /// `SANITIZE_SET` and `cert: true`. The fields `Chain` and `Hash` are not read.
    Xfcc,
    /// `X-Client-Cert` with the variable `$ssl_client_escaped_cert` of nginx: the PEM, URL-encoded.
    Nginx,
    /// `X-SSL-Client-DER` with the sample `ssl_c_der,base64` of HAProxy: the DER in base64.
    HaProxy,
}

impl CertificateHeader {
    /// Returns the name of the header field.
    #[must_use]
    pub fn name(self) -> &'static HeaderName {
        match self {
            Self::ClientCert => &CLIENT_CERT,
            Self::Xfcc => &XFCC,
            Self::Nginx => &NGINX,
            Self::HaProxy => &HAPROXY,
        }
    }

    /// Returns the certificate in the header fields of a request from a trusted proxy. `None` if the client
    /// has none.
    pub(super) fn read(self, headers: &HeaderMap) -> Result<Option<PeerCertificate>, AuthError> {
        let mut values = headers.get_all(self.name()).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(None),
            (Some(value), None) => value.as_bytes().trim_ascii(),
            // One of them may be of the client.
            (Some(_), Some(_)) => return Err(malformed("the field occurs twice")),
        };
        if value.is_empty() {
            return Ok(None);
        }
        let der = match self {
            Self::ClientCert => structured(value),
            Self::Xfcc => match cert_of_xfcc(value)? {
                Some(escaped) => escaped_pem(escaped),
                None => return Ok(None),
            },
            Self::Nginx => escaped_pem(value),
            Self::HaProxy => base64(value),
        };
        match der {
            Some(der) if !der.is_empty() => Ok(Some(PeerCertificate::from_der(der))),
            _ => Err(malformed(
                "the field holds no certificate in the configured form",
            )),
        }
    }
}

/// Decodes the byte sequence of a structured field (RFC 8941 §3.3.5).
fn structured(value: &[u8]) -> Option<Vec<u8>> {
    base64(value.strip_prefix(b":")?.strip_suffix(b":")?)
}

/// Decodes a PEM with one certificate, URL-encoded. A `+` is itself.
fn escaped_pem(value: &[u8]) -> Option<Vec<u8>> {
    let pem = percent_decoded(str::from_utf8(value).ok()?)?;
    let body = pem
        .trim_ascii()
        .strip_prefix(b"-----BEGIN CERTIFICATE-----")?
        .strip_suffix(b"-----END CERTIFICATE-----")?;
    // RFC 7468 §3: lines, which parsers need not check. A second certificate has dashes.
    let text = body.iter().filter(|byte| !byte.is_ascii_whitespace());
    base64(&text.copied().collect::<Vec<_>>())
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    LENIENT.decode(text).ok()
}

/// Returns the value of `Cert` in the only element of `X-Forwarded-Client-Cert`, `None` if the element has
/// none.
///
/// A comma outside quotes ends an element. The second one would be of a proxy in front of the trusted one,
/// or of the client.
fn cert_of_xfcc(value: &[u8]) -> Result<Option<&[u8]>, AuthError> {
    let mut rest = value;
    let mut found = None;
    loop {
        let equals = rest.iter().position(|byte| *byte == b'=');
        let (key, after) = equals
            .and_then(|at| rest.split_at_checked(at))
            .ok_or_else(|| malformed(PAIRS))?;
        if key.iter().any(|byte| b",;\"".contains(byte)) {
            return Err(malformed(PAIRS));
        }
        let (value, after) = value_of_pair(after.get(1..).unwrap_or_default())?;
        if key.trim_ascii().eq_ignore_ascii_case(b"cert") && found.replace(value).is_some() {
            return Err(malformed("the element has two certificates"));
        }
        match after {
            [] => return Ok(found),
            [b';', next @ ..] => rest = next,
            [b',', ..] => return Err(malformed("the field has two elements")),
            _ => return Err(malformed(PAIRS)),
        }
    }
}

/// Splits the value of a pair, with or without quotes, from the rest.
fn value_of_pair(text: &[u8]) -> Result<(&[u8], &[u8]), AuthError> {
    let [b'"', quoted @ ..] = text else {
        let end = text.iter().position(|byte| b",;".contains(byte));
        let (value, rest) = text
            .split_at_checked(end.unwrap_or(text.len()))
            .unwrap_or_default();
        return match value.contains(&b'"') {
            true => Err(malformed(PAIRS)),
            false => Ok((value, rest)),
        };
    };
    let mut escaped = false;
    let end = quoted.iter().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => *byte == b'"',
    });
    let parts = end.and_then(|end| quoted.split_at_checked(end));
    let (value, rest) = parts.ok_or_else(|| malformed("a quoted value does not end"))?;
    Ok((value, rest.get(1..).unwrap_or_default()))
}

fn malformed(cause: &'static str) -> AuthError {
    AuthError::caused_by(AuthErrorKind::MalformedCertificate, cause)
}

/// Padding is optional (RFC 8941 §4.2.7).
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const PAIRS: &str = "the element is no list of pairs";

static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
static XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
static NGINX: HeaderName = HeaderName::from_static("x-client-cert");
static HAPROXY: HeaderName = HeaderName::from_static("x-ssl-client-der");
