//! Time-based codes of authenticator apps (RFC 6238).

use std::fmt::{self, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use qrcodegen::{QrCode, QrCodeEcc};
use totp_rs::{Builder, Secret as TotpSecret, Totp};

use super::recovery::RecoveryKeys;
use crate::{
    error::StoreError,
    secret::{Secret, SecretKey, random, seal::Seals},
    time::Timestamp,
};

/// The settings and keys of authenticators.
pub(in crate::server::login) struct Authenticators {
    /// The name of the service in authenticator apps.
    name: String,
    seals: Seals,
    pub(super) recovery: RecoveryKeys,
}

/// The secret of an authenticator, to be shown once to its owner.
///
/// The code is `SHA1`, six digits, 30 s, which every authenticator app supports.
pub struct TotpEnrollment {
    secret: Secret<String>,
    url: Secret<String>,
}

impl TotpEnrollment {
    /// Returns the secret in base 32 (RFC 4648 §6), for users who cannot scan a picture.
    #[must_use]
    pub fn secret(&self) -> &Secret<String> {
        &self.secret
    }

    /// Returns the `otpauth:` URL, which opens an authenticator app on the same device.
    #[must_use]
    pub fn url(&self) -> &Secret<String> {
        &self.url
    }

    /// Returns the URL as a QR code: an SVG picture in black on white, with its quiet zone.
    ///
    /// # Security
    ///
    /// The picture contains the secret. Embed it in the page; do not pass it to another service, and do
    /// not give it a URL that can be requested again.
    #[must_use]
    pub fn qr_svg(&self) -> Secret<String> {
        let Ok(code) = QrCode::encode_text(self.url.expose(), QrCodeEcc::Medium) else {
            // The URL has at most about 900 characters, and a QR code holds 2331 bytes.
            return Secret::new(String::new());
        };
        let size = code.size();
        let mut path = String::with_capacity(32 * 1024);
        for y in 0..size {
            for x in (0..size).filter(|x| code.get_module(*x, y)) {
                let (left, top) = (x + QUIET, y + QUIET);
                let _ = write!(path, "M{left},{top}h1v1h-1z");
            }
        }
        let all = size + 2 * QUIET;
        Secret::new(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {all} {all}\" \
             shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0,0h{all}v{all}h-{all}z\"/>\
             <path d=\"{path}\"/></svg>"
        ))
    }
}

impl fmt::Debug for TotpEnrollment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpEnrollment(..)")
    }
}

impl Authenticators {
    pub(in crate::server::login) fn new(name: String, secret: &SecretKey) -> Self {
        Self {
            name,
            seals: Seals::new(secret, "tower-jwt-auth authenticator"),
            recovery: RecoveryKeys::new(secret),
        }
    }

    /// Creates a secret for a subject, and its encrypted form.
    pub(super) fn enroll(
        &self,
        subject: &str,
        account: &str,
    ) -> Result<(TotpEnrollment, String), StoreError> {
        let secret = Secret::new(random::<SECRET>());
        let sealed = self.seal(subject, secret.expose())?;
        let account: String = account
            .chars()
            .filter(|c| !c.is_control())
            .take(100)
            .collect();
        let encoded = Secret::new(TotpSecret::from(secret.expose().to_vec()).to_base32());
        let url = format!(
            "otpauth://totp/{name}:{account}?secret={secret}&issuer={name}&algorithm=SHA1&digits=6&period=30",
            name = escaped(&self.name),
            account = escaped(&account),
            secret = encoded.expose(),
        );
        let enrollment = TotpEnrollment {
            secret: encoded,
            url: Secret::new(url),
        };
        Ok((enrollment, sealed))
    }

    /// Returns the time step of a code, if it is later than `after`. Also returns the secret's new
    /// encrypted form, if an older secret of the server has encrypted it.
    pub(super) fn check(
        &self,
        subject: &str,
        sealed: &str,
        code: &str,
        after: u64,
        now: Timestamp,
    ) -> Result<Option<(u64, Option<String>)>, StoreError> {
        let bytes = STANDARD_NO_PAD.decode(sealed);
        let opened = self
            .seals
            .open(subject.as_bytes(), &bytes.map_err(StoreError::invalid)?);
        let opened = opened.ok_or_else(|| {
            StoreError::invalid("no configured secret opens the authenticator of a subject")
        })?;
        let seconds = u64::try_from(now.as_millis() / 1000).unwrap_or_default();
        let step = totp(&opened.content)?.check(code, seconds);
        let Some(step) = step.filter(|step| *step > after) else {
            return Ok(None);
        };
        let renewed = match opened.secret {
            0 => None,
            _ => Some(self.seal(subject, &opened.content)?),
        };
        Ok(Some((step, renewed)))
    }

    fn seal(&self, subject: &str, secret: &[u8]) -> Result<String, StoreError> {
        let sealed = self.seals.seal(subject.as_bytes(), secret, 0);
        let sealed = sealed.ok_or_else(|| StoreError::invalid("the encryption failed"))?;
        Ok(STANDARD_NO_PAD.encode(sealed))
    }
}

fn escaped(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, ESCAPED)
}

/// Six digits, 30 s, one step of difference between the clocks (RFC 6238 §5.2).
fn totp(secret: &[u8]) -> Result<Totp, StoreError> {
    let builder = Builder::new().with_secret(secret.to_vec());
    builder.build().map_err(StoreError::invalid)
}

/// Returns `true` if a text has the form of a code.
pub(super) fn is_code(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// 160 bits, as RFC 4226 §4 recommends.
const SECRET: usize = 20;
/// The quiet zone of a QR code.
const QUIET: i32 = 4;
/// RFC 3986 §2.3
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    fn authenticators(bytes: &[u8]) -> Authenticators {
        let mut keys = bytes
            .iter()
            .map(|byte| SecretKey::from_bytes([*byte; 32]).unwrap());
        let first = keys.next().unwrap();
        Authenticators::new(
            "An app: 1".to_owned(),
            &keys.fold(first, SecretKey::or_older),
        )
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// RFC 6238, appendix B, with the last six digits.
    #[test]
    fn u33_codes_are_those_of_the_rfc() {
        let secret = b"12345678901234567890";
        let one = authenticators(&[1]);
        let sealed = one.seal("ada", secret).unwrap();
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
        ] {
            let step = seconds as u64 / 30;
            for (after, accepted) in [(0, true), (step - 1, true), (step, false)] {
                let found = one.check("ada", &sealed, code, after, at(seconds)).unwrap();
                assert_eq!(found, accepted.then_some((step, None)), "{seconds}");
            }
            for late in [-30, 30] {
                let found = one
                    .check("ada", &sealed, code, 0, at(seconds + late))
                    .unwrap();
                assert_eq!(found.map(|found| found.0), Some(step));
            }
            // Not before 1970, where the first time step is the earliest.
            for late in [-61, 61].into_iter().filter(|late| seconds + late >= 0) {
                let found = one
                    .check("ada", &sealed, code, 0, at(seconds + late))
                    .unwrap();
                assert_eq!(found, None);
            }
        }
    }

    #[test]
    fn u33_a_secret_is_bound_to_its_subject_and_renewed_under_a_new_secret() {
        let one = authenticators(&[1]);
        let sealed = one.seal("ada", b"12345678901234567890").unwrap();
        let check = |with: &[u8], subject| {
            authenticators(with).check(subject, &sealed, "287082", 0, at(59))
        };
        assert!(check(&[1], "eve").is_err());
        assert!(check(&[2], "ada").is_err());
        let (_, renewed) = check(&[2, 1], "ada").unwrap().unwrap();
        let renewed = renewed.unwrap();
        let found = authenticators(&[2]).check("ada", &renewed, "287082", 0, at(59));
        assert_eq!(found.unwrap(), Some((1, None)));
        assert!(!sealed.contains("GEZDGNBV"));
    }

    #[test]
    fn u33_the_url_and_the_picture_hold_the_secret() {
        let (enrolled, _) = authenticators(&[1])
            .enroll("usr_1", "ada@example.org\n")
            .unwrap();
        let (secret, url) = (enrolled.secret().expose(), enrolled.url().expose());
        assert_eq!(secret.len(), 32);
        assert_eq!(
            url,
            &format!(
                "otpauth://totp/An%20app%3A%201:ada%40example.org?secret={secret}\
                 &issuer=An%20app%3A%201&algorithm=SHA1&digits=6&period=30"
            )
        );
        let picture = enrolled.qr_svg();
        assert!(picture.expose().starts_with("<svg ") && picture.expose().len() > 5_000);
        assert_eq!(format!("{enrolled:?}"), "TotpEnrollment(..)");
        let (other, _) = authenticators(&[1])
            .enroll("usr_1", &"x".repeat(5_000))
            .unwrap();
        assert_ne!(other.secret().expose(), secret);
        assert!(!other.qr_svg().expose().is_empty());
    }
}
