//! Public keys in PEM (RFC 7468) and DER: bare keys and the keys of certificates.

use pkcs1::{RsaPssParams, RsaPublicKey};
use spki::{
    AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef,
    der::{Decode, Reader, SliceReader, Tagged, asn1::AnyRef},
};

use super::{
    Algorithm, VerifyingKey,
    algorithm::{Curve, Family},
    provider::Material,
    thumbprint::Thumbprints,
    verifying::Kid,
    without_byte_order_mark,
};
use crate::error::ConfigError;

/// Reads all public keys of a PEM.
///
/// Of a certificate chain, only the first certificate's key is used. Any other content is an error,
/// so that no key is skipped silently.
pub(super) fn read(text: &[u8]) -> Result<Vec<VerifyingKey>, ConfigError> {
    let text = without_byte_order_mark(text);
    let count = |part: &[u8]| memchr::memmem::find_iter(text, part).count();
    if count(b"PRIVATE KEY-----") != 0 {
        return Err(refusal(
            "this is a private key; a verifier needs the public key only",
        ));
    }
    let blocks = ::pem::parse_many(text).map_err(|_| refusal(NOT_PEM))?;
    if blocks.len() != count(b"-----BEGIN ") {
        return Err(refusal("a block of the PEM is malformed"));
    }
    let mut keys = Vec::new();
    // Of the previous certificate: whether its key is used and it is self-issued, and its issuer.
    let mut chain: Option<(bool, &[u8])> = None;
    for block in &blocks {
        let der = block.contents();
        match block.tag() {
            "PUBLIC KEY" => keys.push(key_of_info(der)?),
            "RSA PUBLIC KEY" => keys.push(rsa(der, |_| true)?),
            "CERTIFICATE" => {
                let certificate = Certificate::read(der)?;
                match chain {
                    None => keys.push(certificate.key(der)?),
                    Some((_, issuer)) if issuer != certificate.subject => {
                        return Err(refusal(NO_CHAIN));
                    }
                    // A self-issued certificate ends its chain. The next one of that name is another
                    // key, as when a service renews its certificate.
                    Some((true, _)) => keys.push(certificate.key(der)?),
                    Some((false, _)) => {}
                }
                let used = chain.is_none_or(|(self_issued, _)| self_issued);
                let self_issued = used && certificate.issuer == certificate.subject;
                chain = Some((self_issued, certificate.issuer));
                continue;
            }
            // openssl writes this block before a key.
            "EC PARAMETERS" => {}
            _ => return Err(refusal(NOT_PEM)),
        }
        chain = None;
    }
    if keys.is_empty() {
        return Err(refusal(NOT_PEM));
    }
    Ok(keys)
}

/// Reads a `SubjectPublicKeyInfo` (RFC 5280 §4.1) or an `RSAPublicKey` (RFC 8017 appendix A.1.1).
pub(super) fn read_der(der: &[u8]) -> Result<VerifyingKey, ConfigError> {
    match RsaPublicKey::from_der(der) {
        Ok(_) => rsa(der, |_| true),
        Err(_) => key_of_info(der),
    }
}

/// The parts of a certificate that key loading needs. Dates, extensions and the signature are not
/// used.
struct Certificate<'a> {
    issuer: &'a [u8],
    subject: &'a [u8],
    info: SubjectPublicKeyInfoRef<'a>,
}

impl<'a> Certificate<'a> {
    fn read(der: &'a [u8]) -> Result<Self, ConfigError> {
        Self::decode(der).map_err(|_| refusal("a certificate in the PEM is malformed"))
    }

    /// RFC 5280 §4.1.
    fn decode(der: &'a [u8]) -> spki::der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let certificate = reader.sequence(|outer| {
            let certificate = outer.sequence(|inner| {
                // The version is absent in certificates of version 1.
                let version_or_serial: AnyRef<'_> = inner.decode()?;
                if version_or_serial.tag().is_context_specific() {
                    let _serial: AnyRef<'_> = inner.decode()?;
                }
                let _signature_algorithm: AnyRef<'_> = inner.decode()?;
                let issuer: AnyRef<'_> = inner.decode()?;
                let _validity: AnyRef<'_> = inner.decode()?;
                let subject: AnyRef<'_> = inner.decode()?;
                let info = inner.decode()?;
                while !inner.is_finished() {
                    let _extension: AnyRef<'_> = inner.decode()?;
                }
                Ok(Self {
                    issuer: issuer.value(),
                    subject: subject.value(),
                    info,
                })
            })?;
            let _signature_algorithm: AnyRef<'_> = outer.decode()?;
            let _signature: AnyRef<'_> = outer.decode()?;
            Ok(certificate)
        })?;
        reader.finish(certificate)
    }

    fn key(&self, der: &[u8]) -> Result<VerifyingKey, ConfigError> {
        let mut thumbprints = Thumbprints::default();
        thumbprints.add_certificate(der)?;
        Ok(key_of(&self.info)?.with_thumbprints(thumbprints))
    }
}

fn key_of_info(der: &[u8]) -> Result<VerifyingKey, ConfigError> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| refusal(NOT_A_KEY))?;
    key_of(&info)
}

fn key_of(info: &SubjectPublicKeyInfoRef<'_>) -> Result<VerifyingKey, ConfigError> {
    let bytes = info.subject_public_key.as_bytes();
    let bytes = bytes.ok_or_else(|| refusal(NOT_A_KEY))?;
    match info.algorithm.oid {
        RSA_ENCRYPTION => rsa(bytes, |_| true),
        RSASSA_PSS => match pss(info.algorithm)? {
            None => rsa(bytes, |algorithm| PSS.contains(&algorithm)),
            Some(only) => rsa(bytes, |algorithm| algorithm == only),
        },
        EC_PUBLIC_KEY => {
            let curve = match info.algorithm.parameters_oid() {
                Ok(P_256) => Curve::P256,
                Ok(P_384) => Curve::P384,
                Ok(P_521) => Curve::P521,
                _ => return Err(refusal("the EC key is not on P-256, P-384 or P-521")),
            };
            VerifyingKey::prepare(Kid::Any, None, &Material::Ec(bytes))
                .and_then(|key| key.of_family(Family::Ec(curve)))
        }
        ED25519 => VerifyingKey::prepare(Kid::Any, None, &Material::Ed25519(bytes)),
        _ => Err(refusal(NOT_A_KEY)),
    }
}

fn rsa(der: &[u8], fits: impl Fn(Algorithm) -> bool) -> Result<VerifyingKey, ConfigError> {
    let key = RsaPublicKey::from_der(der).map_err(|_| refusal("not an RSA public key"))?;
    let material = Material::Rsa {
        n: key.modulus.as_bytes(),
        e: key.public_exponent.as_bytes(),
    };
    VerifyingKey::prepare_for(Kid::Any, None, &material, fits)
}

/// Returns the algorithm to which an RSASSA-PSS key is limited, or `None` for no such limit.
///
/// RFC 4055 §3.1: absent parameters mean no further limit. RFC 7518 §3.5: the mask uses the same
/// hash, and the salt has the hash's length. The key states the minimum length of the salt.
fn pss(algorithm: AlgorithmIdentifierRef<'_>) -> Result<Option<Algorithm>, ConfigError> {
    let Some(parameters) = algorithm.parameters else {
        return Ok(None);
    };
    let broken =
        || refusal("the RSASSA-PSS parameters of the key match none of PS256, PS384, PS512");
    let parameters: RsaPssParams<'_> = parameters.decode_as().map_err(|_| broken())?;
    let (only, length) = match parameters.hash.oid {
        SHA_256 => (Algorithm::Ps256, 32),
        SHA_384 => (Algorithm::Ps384, 48),
        SHA_512 => (Algorithm::Ps512, 64),
        _ => return Err(broken()),
    };
    let mask = parameters.mask_gen;
    let mask_hash = mask.parameters.map(|hash| hash.oid);
    let fits = mask.oid == MGF_1
        && mask_hash == Some(parameters.hash.oid)
        && parameters.salt_len <= length;
    fits.then_some(Some(only)).ok_or_else(broken)
}

fn refusal(why: &'static str) -> ConfigError {
    ConfigError::Key(why.into())
}

const NOT_PEM: &str = "not a PEM of public keys or certificates";
const NOT_A_KEY: &str = "not an RSA, EC or Ed25519 public key";
const NO_CHAIN: &str = "a second certificate in the PEM did not issue the first; name one \
                        certificate, with the chain of its issuers or without";

const PSS: [Algorithm; 3] = [Algorithm::Ps256, Algorithm::Ps384, Algorithm::Ps512];

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

// RFC 8017 appendix A.2
const RSA_ENCRYPTION: ObjectIdentifier = oid("1.2.840.113549.1.1.1");
const MGF_1: ObjectIdentifier = oid("1.2.840.113549.1.1.8");
const RSASSA_PSS: ObjectIdentifier = oid("1.2.840.113549.1.1.10");
// RFC 8017 appendix B.1
const SHA_256: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.1");
const SHA_384: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.2");
const SHA_512: ObjectIdentifier = oid("2.16.840.1.101.3.4.2.3");
// RFC 5480 §2.1.1
const EC_PUBLIC_KEY: ObjectIdentifier = oid("1.2.840.10045.2.1");
const P_256: ObjectIdentifier = oid("1.2.840.10045.3.1.7");
const P_384: ObjectIdentifier = oid("1.3.132.0.34");
const P_521: ObjectIdentifier = oid("1.3.132.0.35");
// RFC 8410 §3
const ED25519: ObjectIdentifier = oid("1.3.101.112");
