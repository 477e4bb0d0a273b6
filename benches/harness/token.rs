//! The token that everything reads: a header of 57 bytes, ten claims in 351 bytes.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    hmac,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
        RSA_PSS_2048_8192_SHA256, RsaParameters, VerificationAlgorithm,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, Validation, jwk::Jwk};
use serde::Deserialize;
use serde_json::Value;
use tower_jwt_auth::{
    Verifier,
    key::{Algorithm, KeySet},
    test_util::{TestIssuer, TestKeys},
    verify::VerifierBuilder,
};

/// What an application would define for these claims. All of it is owned.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct User {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    pub(crate) exp: u64,
    pub(crate) iat: u64,
    pub(crate) nbf: u64,
    pub(crate) jti: String,
    pub(crate) email: String,
    pub(crate) roles: Vec<String>,
    pub(crate) scope: String,
}

/// A token, cut up.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) algorithm: Algorithm,
    /// Where the first and the second dot are.
    pub(crate) dots: (usize, usize),
}

impl Token {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        Self::expiring(algorithm, now() + 3600)
    }

    pub(crate) fn expiring(algorithm: Algorithm, exp: u64) -> Self {
        Self::of(algorithm, &claims(exp, 1))
    }

    /// Tokens that differ in their `jti` and so in everything that is signed.
    pub(crate) fn many(algorithm: Algorithm, count: u64) -> Vec<Self> {
        let issuer = TestIssuer::new(algorithm);
        let claims = |number| claims(now() + 3600, number);
        (0..count)
            .map(|number| Self::signed(&issuer, algorithm, &claims(number)))
            .collect()
    }

    /// A token of this many bytes, most of which are groups.
    pub(crate) fn long(algorithm: Algorithm, bytes: usize) -> Self {
        let short = claims(now() + 3600, 1);
        let open = short.strip_suffix('}').expect("claims are an object");
        let mut groups = Vec::new();
        loop {
            let list = groups.join(",");
            let token = Self::of(algorithm, &format!(r#"{open},"groups":[{list}]}}"#));
            if token.text.len() >= bytes {
                return token;
            }
            groups.push(format!(r#""6b1f9a52-7c1e-4d0c-8f7e-{:012}""#, groups.len()));
        }
    }

    pub(crate) fn of(algorithm: Algorithm, claims: &str) -> Self {
        Self::signed(&TestIssuer::new(algorithm), algorithm, claims)
    }

    fn signed(issuer: &TestIssuer, algorithm: Algorithm, claims: &str) -> Self {
        let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT","kid":"{KID}"}}"#);
        assert_eq!(header.len(), 57);
        let text = issuer.raw(&header, claims.as_bytes());
        let first = text.find('.').expect("a token has dots");
        let second = text.rfind('.').expect("a token has dots");
        Self {
            text,
            algorithm,
            dots: (first, second),
        }
    }

    pub(crate) fn message(&self) -> &[u8] {
        &self.text.as_bytes()[..self.dots.1]
    }

    pub(crate) fn signature(&self) -> Vec<u8> {
        let segment = &self.text[self.dots.1 + 1..];
        URL_SAFE_NO_PAD.decode(segment).expect("base64url")
    }

    /// The same token with another signature of the same form.
    pub(crate) fn forged(mut self) -> Self {
        let start = self.dots.1 + 1;
        let other = if self.text[start..].starts_with('A') {
            "B"
        } else {
            "A"
        };
        self.text.replace_range(start..=start, other);
        self
    }

    pub(crate) fn claims(&self) -> String {
        let segment = &self.text[self.dots.0 + 1..self.dots.1];
        let json = URL_SAFE_NO_PAD.decode(segment).expect("base64url");
        String::from_utf8(json).expect("claims are text")
    }

    /// A verifier that expects what the token says.
    pub(crate) fn verifier(&self) -> Verifier<User> {
        self.verifier_of(1)
    }

    /// The same with more keys in the set, of which one verifies the token.
    pub(crate) fn verifier_of(&self, keys: usize) -> Verifier<User> {
        self.rules(keys)
            .without_cache()
            .build()
            .expect("the settings fit together")
    }

    /// A verifier that remembers.
    pub(crate) fn remembering(&self) -> Verifier<User> {
        self.rules(1).build().expect("the settings fit together")
    }

    /// The rules, for a verifier whose cache is another.
    pub(crate) fn rules(&self, keys: usize) -> VerifierBuilder<User> {
        self.rules_of(ISSUER, keys)
    }

    /// The rules for tokens of another issuer.
    pub(crate) fn rules_of(&self, issuer: &str, keys: usize) -> VerifierBuilder<User> {
        let key = TestKeys::new().verifying_key(self.algorithm);
        let others =
            (1..keys).map(|number| key.clone().with_kid(format!("2026-10-signing-{number}")));
        let all = others.chain([key.clone().with_kid(KID)]);
        Verifier::key_set(KeySet::new(all).expect("the keys fit together"))
            .issuer(issuer)
            .audience(AUDIENCE)
            .claims()
    }
}

pub(crate) fn claims(exp: u64, number: u64) -> String {
    let iat = now() - 60;
    format!(
        r#"{{"iss":"{ISSUER}","sub":"b51c7d8a-2c6e-4f3d-9a40-77e0c1d2e3f4","aud":"{AUDIENCE}","exp":{exp},"iat":{iat},"nbf":{iat},"jti":"0b7e6d5c-4a39-4821-9f10-{number:012}","email":"alice.miller@example.com","roles":["orders-admin","editor","viewer"],"scope":"openid profile orders:read orders:write invoices:read"}}"#
    )
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is past 1970").as_secs()
}

pub(crate) const ISSUER: &str = "https://login.example.com/";
pub(crate) const AUDIENCE: &str = "https://api.example.com";
pub(crate) const KID: &str = "2026-11-signing-key-1";

/// A key as whoever calls aws-lc-rs by hand prepares it once: the least that a check can cost.
#[allow(clippy::large_enum_variant, reason = "there is one of them")]
pub(crate) enum Prepared {
    Mac(hmac::Key),
    Public(ParsedPublicKey),
}

impl Prepared {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let keys = TestKeys::new();
        if algorithm.is_hmac() {
            let hash = match algorithm {
                Algorithm::Hs384 => hmac::HMAC_SHA384,
                Algorithm::Hs512 => hmac::HMAC_SHA512,
                _ => hmac::HMAC_SHA256,
            };
            return Self::Mac(hmac::Key::new(hash, keys.secret(algorithm)));
        }
        let jwk: Value = serde_json::from_str(&keys.jwk(algorithm)).expect("a JWK is JSON");
        Self::of(algorithm, &jwk)
    }

    /// A public key.
    pub(crate) fn of(algorithm: Algorithm, jwk: &Value) -> Self {
        let member = |name: &str| {
            let text = jwk[name].as_str().expect("the member is there");
            URL_SAFE_NO_PAD.decode(text).expect("base64url")
        };
        let rsa = |parameters: &'static RsaParameters| {
            let (n, e) = (member("n"), member("e"));
            let key = PublicKeyComponents { n, e }.to_parsed_public_key(parameters);
            key.expect("a public key")
        };
        let ec = |parameters: &'static dyn VerificationAlgorithm| {
            let point = [vec![4], member("x"), member("y")].concat();
            ParsedPublicKey::new(parameters, point).expect("a public key")
        };
        Self::Public(match algorithm {
            Algorithm::Rs256 => rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs512 => rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::Es256 => ec(&ECDSA_P256_SHA256_FIXED),
            Algorithm::Es384 => ec(&ECDSA_P384_SHA384_FIXED),
            Algorithm::Es512 => ec(&ECDSA_P521_SHA512_FIXED),
            _ => ParsedPublicKey::new(&ED25519, member("x")).expect("a public key"),
        })
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Mac(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// What whoever uses jsonwebtoken by hand prepares once; none for ES512.
pub(crate) fn decoding(algorithm: Algorithm) -> Option<(DecodingKey, Validation)> {
    let keys = TestKeys::new();
    let key = if algorithm.is_hmac() {
        DecodingKey::from_secret(keys.secret(algorithm))
    } else {
        let jwk: Jwk = serde_json::from_str(&keys.jwk(algorithm)).ok()?;
        DecodingKey::from_jwk(&jwk).ok()?
    };
    let mut validation = Validation::new(algorithm.as_str().parse().ok()?);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.validate_nbf = true;
    validation.leeway = 60;
    Some((key, validation))
}
