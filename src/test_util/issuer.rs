//! An issuer of test tokens.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::keys::TestKeys;
use crate::{
    key::{Algorithm, SigningKey},
    time::{Clock, SystemClock},
};

/// An issuer of valid and invalid access tokens (RFC 9068 §2) for tests.
///
/// By default a token has the issuer `https://as.example`, the audience `https://api.example`, the
/// subject `alice`, the client `client` and the `typ` `at+jwt`. It is issued at the current time of the
/// system's clock and valid for ten minutes.
///
/// # Examples
///
/// ```
/// use serde_json::json;
/// use tower_jwt_auth::{
///     Verifier,
///     key::Algorithm,
///     test_util::{TestClock, TestIssuer, TestKeys},
/// };
///
/// let clock = TestClock::new();
/// let issuer = TestIssuer::new(Algorithm::Es256).clock(clock.clone());
/// let verifier = Verifier::key(TestKeys::new().verifying_key(Algorithm::Es256))
///     .issuer("https://as.example")
///     .audience("https://api.example")
///     .clock(clock.clone())
///     .build()?;
///
/// let admin = issuer.token(|claims| claims.insert("roles".into(), json!(["admin"])));
/// let caller = verifier.verify_now(admin)?.principal();
/// assert_eq!(caller.subject(), Some("alice"));
/// assert!(caller.has_role("admin"));
///
/// let expired = issuer.token(|claims| claims["exp"] = json!(clock.timestamp() - 3600));
/// assert!(verifier.verify_now(expired).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TestIssuer {
    key: Arc<SigningKey>,
    clock: Arc<dyn Clock>,
    issuer: String,
    audience: String,
    kid: Option<String>,
    typ: Option<String>,
}

impl TestIssuer {
    /// Creates an issuer that signs with the first set of [`TestKeys`].
    ///
    /// # Panics
    ///
    /// If this build cannot sign with the algorithm. ES512 needs the feature `aws-lc-rs`; the others
    /// need `aws-lc-rs` or `rust-crypto`.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self::with_keys(algorithm, TestKeys::new())
    }

    /// Creates an issuer that signs with these keys.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    #[must_use]
    pub fn with_keys(algorithm: Algorithm, keys: TestKeys) -> Self {
        Self::with_key(keys.signing_key(algorithm).expect(NOT_IN_THIS_BUILD))
    }

    /// Creates an issuer that signs with a custom secret, and sets no `kid`.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new), and if the algorithm is not an HMAC or the secret is shorter than its
    /// hash.
    #[must_use]
    pub fn with_secret(algorithm: Algorithm, secret: &[u8]) -> Self {
        Self::with_key(SigningKey::hmac(algorithm, secret).expect("the secret fits the algorithm"))
    }

    fn with_key(key: SigningKey) -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            issuer: "https://as.example".into(),
            audience: "https://api.example".into(),
            kid: key.kid().map(str::to_owned),
            typ: Some("at+jwt".into()),
            key: Arc::new(key),
        }
    }

    /// Sets the claim `iss`.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// Sets the claim `aud`.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// Sets the clock from which `iat` and `exp` are computed.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the header's `kid`, independently of the signing key.
    #[must_use]
    pub fn kid(mut self, kid: Option<&str>) -> Self {
        self.kid = kid.map(str::to_owned);
        self
    }

    /// Sets the header's `typ`.
    #[must_use]
    pub fn typ(mut self, typ: Option<&str>) -> Self {
        self.typ = typ.map(str::to_owned);
        self
    }

    /// Returns a signed token, after the closure has edited its claims. The closure's return value is
    /// dropped.
    ///
    /// Without an edit the claims are `iss`, `aud`, `sub`, `client_id`, `iat`, `exp` and a `jti` that
    /// is unique in this process.
    pub fn token<R>(&self, edit: impl FnOnce(&mut Map<String, Value>) -> R) -> String {
        let mut header = Map::new();
        header.insert("alg".into(), self.key.algorithm().as_str().into());
        if let Some(typ) = &self.typ {
            header.insert("typ".into(), typ.as_str().into());
        }
        if let Some(kid) = &self.kid {
            header.insert("kid".into(), kid.as_str().into());
        }
        let mut claims = self.claims();
        edit(&mut claims);
        self.raw(
            &Value::Object(header).to_string(),
            Value::Object(claims).to_string().as_bytes(),
        )
    }

    /// Returns a signed token with exactly this header and these claims, which need not be JSON.
    #[must_use]
    pub fn raw(&self, header_json: &str, claims_json: &[u8]) -> String {
        self.raw_parts(
            &URL_SAFE_NO_PAD.encode(header_json),
            &URL_SAFE_NO_PAD.encode(claims_json),
        )
    }

    /// Returns a signed token with exactly these two segments, which need not be base64url. The
    /// signature over them is valid.
    ///
    /// # Panics
    ///
    /// If the cryptographic library fails, which no input causes.
    #[must_use]
    pub fn raw_parts(&self, header_segment: &str, payload_segment: &str) -> String {
        let message = format!("{header_segment}.{payload_segment}");
        let signature = self.key.sign(message.as_bytes()).expect("signing works");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn claims(&self) -> Map<String, Value> {
        static NEXT: AtomicU64 = AtomicU64::new(1);

        let now = self.clock.now().as_secs();
        let claims = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": "alice",
            "client_id": "client",
            "iat": now,
            "exp": now + LIFETIME,
            "jti": format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        });
        match claims {
            Value::Object(claims) => claims,
            _ => Map::new(),
        }
    }
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestIssuer")
            .field("algorithm", &self.key.algorithm())
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("kid", &self.kid)
            .field("typ", &self.typ)
            .finish_non_exhaustive()
    }
}

/// The seconds from `iat` to `exp`.
const LIFETIME: i64 = 600;

const NOT_IN_THIS_BUILD: &str = "this build signs with the algorithm";

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;
    use crate::{
        error::AuthErrorKind,
        key::KeySet,
        test_util::TestClock,
        verify::{Verifier, VerifierBuilder},
    };

    fn expecting(builder: VerifierBuilder, clock: &TestClock) -> Verifier {
        builder
            .issuer("https://as.example")
            .audience("https://api.example")
            .clock(clock.clone())
            .build()
            .unwrap()
    }

    fn supported() -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| cfg!(feature = "aws-lc-rs") || *algorithm != Algorithm::Es512)
    }

    #[test]
    fn a_default_token_passes_the_strictest_mode_of_every_algorithm() {
        let clock = TestClock::new();
        for algorithm in supported() {
            let key = TestKeys::new().verifying_key(algorithm);
            let verifier = expecting(Verifier::key(key).rfc9068(), &clock);
            let issuer = TestIssuer::new(algorithm).clock(clock.clone());
            let verdict = verifier.verify_now(issuer.token(|_| ()));
            assert_eq!(verdict.unwrap().subject(), Some("alice"), "{algorithm}");
        }
    }

    #[test]
    fn the_published_set_finds_the_key_of_every_algorithm_by_kid() {
        let clock = TestClock::new();
        let set = || KeySet::from_jwks(TestKeys::new().jwks()).unwrap();
        let verifier = expecting(Verifier::key_set(set()), &clock);
        for algorithm in supported().filter(|algorithm| !algorithm.is_hmac()) {
            let issuer = TestIssuer::new(algorithm).clock(clock.clone());
            assert!(
                verifier.verify_now(issuer.token(|_| ())).is_ok(),
                "{algorithm}"
            );

            let other = TestIssuer::with_keys(algorithm, TestKeys::other()).clock(clock.clone());
            let refused = verifier.verify_now(other.token(|_| ())).unwrap_err();
            assert_eq!(refused.kind(), AuthErrorKind::UnknownKey, "{algorithm}");

            let kid = TestKeys::new().kid(algorithm);
            let forged = other.kid(Some(&kid)).token(|_| ());
            let refused = verifier.verify_now(forged).unwrap_err();
            assert_eq!(
                refused.kind(),
                AuthErrorKind::InvalidSignature,
                "{algorithm}"
            );
        }
    }

    #[test]
    fn s5_the_published_set_holds_no_secret_and_no_private_member() {
        for keys in [TestKeys::new(), TestKeys::other()] {
            let set: Value = serde_json::from_str(&keys.jwks()).unwrap();
            let keys = set["keys"].as_array().unwrap();
            assert_eq!(keys.len(), 10);
            for key in keys {
                assert_ne!(key["kty"], "oct");
                for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
                    assert!(key.get(private).is_none(), "{private}");
                }
            }
        }
    }

    #[test]
    #[cfg(feature = "pem")]
    fn every_form_of_a_public_key_is_the_same_key() {
        let clock = TestClock::new();
        for algorithm in supported().filter(|algorithm| !algorithm.is_hmac()) {
            let keys = TestKeys::new();
            let key = crate::key::VerifyingKey::from_pem(keys.public_pem(algorithm)).unwrap();
            let verifier = expecting(Verifier::key(key).algorithms([algorithm]), &clock);
            let issuer = TestIssuer::new(algorithm).clock(clock.clone());
            assert!(
                verifier.verify_now(issuer.token(|_| ())).is_ok(),
                "{algorithm}"
            );
        }
    }

    #[test]
    fn a_raw_token_is_signed_as_it_stands() {
        let clock = TestClock::new();
        let issuer = TestIssuer::new(Algorithm::Hs256).clock(clock.clone());
        let key = TestKeys::new().verifying_key(Algorithm::Hs256);
        let verifier = expecting(Verifier::key(key), &clock);

        let not_json = issuer.raw(r#"{"alg":"HS256"}"#, b"\xFF");
        let refused = verifier.verify_now(not_json).unwrap_err();
        assert_eq!(refused.kind(), AuthErrorKind::MalformedClaims);

        let parts = issuer.raw_parts("eyJhbGciOiJIUzI1NiJ9", "not base64url!");
        assert!(parts.starts_with("eyJhbGciOiJIUzI1NiJ9.not base64url!."));
        assert!(verifier.verify_now(parts).is_err());
    }

    #[test]
    fn a_secret_of_ones_own_signs_without_a_kid() {
        let clock = TestClock::new();
        let secret = [b's'; 32];
        let issuer = TestIssuer::with_secret(Algorithm::Hs256, &secret).clock(clock.clone());
        let verifier = expecting(Verifier::hs256(secret), &clock);
        let token = issuer.token(|_| ());
        assert!(verifier.verify_now(&token).is_ok());
        clock.advance(Duration::from_secs(3600));
        let refused = verifier.verify_now(token).unwrap_err();
        assert_eq!(refused.kind(), AuthErrorKind::Expired);
    }

    #[test]
    fn no_two_tokens_have_one_jti() {
        let issuer = TestIssuer::new(Algorithm::Hs256);
        let mut seen = HashSet::new();
        for _ in 0..100 {
            issuer.token(|claims| assert!(seen.insert(claims["jti"].clone())));
        }
    }

    #[test]
    fn q3_debug_prints_no_key_and_no_token() {
        let text = format!(
            "{:?}",
            TestIssuer::with_secret(Algorithm::Hs256, &[b'k'; 32])
        );
        assert!(
            !text.contains("kkkk") && !text.contains("107, 107"),
            "{text}"
        );
    }
}
