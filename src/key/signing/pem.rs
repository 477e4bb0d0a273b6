//! Conversion of PEM private keys (RFC 7468) to PKCS#8, which every library supports.

use zeroize::Zeroizing;

use crate::{error::ConfigError, key::der};

/// Returns the PKCS#8 DER of the single private key in the text.
pub(super) fn pkcs8_der(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let refuse = |why: &'static str| Err(ConfigError::Key(why.into()));
    let Ok(blocks) = pem::parse_many(text) else {
        return refuse("not PEM");
    };
    let mut found = None;
    let mut public = false;
    for block in blocks {
        let encrypted = block.headers().iter().next().is_some();
        let label = block.tag().to_owned();
        let contents = Zeroizing::new(block.into_contents());
        let der = match label.as_str() {
            "ENCRYPTED PRIVATE KEY" => return refuse(ENCRYPTED),
            // RFC 1421 §4.6: encrypted private keys are the only ones with headers.
            "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" if encrypted => {
                return refuse(ENCRYPTED);
            }
            "PRIVATE KEY" => Some(contents),
            "EC PRIVATE KEY" => der::pkcs8_of_sec1(&contents).map(Zeroizing::new),
            "RSA PRIVATE KEY" => der::pkcs8_of_pkcs1(&contents).map(Zeroizing::new),
            "OPENSSH PRIVATE KEY" => {
                return refuse("a key in OpenSSH format; convert it to PKCS#8");
            }
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE" => {
                public = true;
                continue;
            }
            // `EC PARAMETERS`, which openssl writes before the key.
            _ => continue,
        };
        let Some(der) = der else {
            return refuse("the private key in the PEM is malformed, or on an unsupported curve");
        };
        if found.replace(der).is_some() {
            return refuse("more than one private key");
        }
    }
    match found {
        Some(der) => Ok(der),
        None if public => {
            refuse("this is a public key or a certificate; an issuer needs the private key")
        }
        None => refuse("not a PEM of a private key"),
    }
}

const ENCRYPTED: &str = "the private key is encrypted; decrypt it first (openssl pkcs8)";
