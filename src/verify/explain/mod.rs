//! The result of every check of a token, for developers.

mod report;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

use self::report::Checks;
pub use self::report::{Explanation, TokenCheck};
use super::{
    CheckError, Kind, Verified, Verifier,
    compact::{Compact, decode},
    describe::{audience, names},
    examine::Rules,
    header::Header,
    parse,
    policy::{Sender, Typ, Use},
    registered::Registered,
};
use crate::{
    error::{AuthError, AuthErrorKind, shown},
    key::{KeyLookup, KeyMatch},
    time::{Timestamp, date::Date},
};

impl<C: DeserializeOwned + Send + Sync + 'static> Verifier<C> {
    /// Verifies a token, and returns the result of every check, with the expected and the found value.
    ///
    /// For development: a command line, a test, a page that only developers reach. It shows claims of a
    /// token whose signature may be invalid. It never contains the signature, a secret, or the claims
    /// that no rule reads. Values from the token are escaped and cut at 128 bytes.
    ///
    /// [`refusal`](Explanation::refusal) is the result of [`verify`](Self::verify). Checks that come
    /// after the first failure, and that `verify` does not reach, are listed too. A [custom
    /// check](super::VerifierBuilder::validate_with) is called a second time.
    ///
    /// # Cancel safety
    ///
    /// As [`verify`](Self::verify).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(not(all(feature = "aws-lc-rs", feature = "test-util")))]
    /// # fn main() {}
    /// # #[cfg(all(feature = "aws-lc-rs", feature = "test-util"))]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_jwt_auth::{Verifier, key::Algorithm, test_util::TestIssuer};
    ///
    /// let secret = "a secret of at least thirty-two bytes";
    /// let verifier = Verifier::hs256(secret).audience("orders").build()?;
    /// let issuer = TestIssuer::with_secret(Algorithm::Hs256, secret.as_bytes());
    ///
    /// let explanation = verifier.explain(issuer.audience("invoices").token(|_| ())).await;
    /// println!("{explanation}");
    /// let failed = explanation.checks().find(|check| check.passed() == Some(false)).unwrap();
    /// assert_eq!(failed.name(), "aud");
    /// assert_eq!(failed.expected(), "one of: orders");
    /// assert_eq!(failed.found(), "invoices");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn explain(&self, token: impl AsRef<[u8]>) -> Explanation {
        let token = token.as_ref();
        let refusal = self.verify(token).await.err();
        let mut checks = Checks::default();
        match self.introspects(token) {
            true => checks.add(
                "introspection",
                refusal.is_none(),
                "an active token",
                "opaque",
            ),
            false => self.check_each(token, &mut checks),
        }
        Explanation {
            checks: checks.0,
            refusal,
        }
    }

    fn check_each(&self, token: &[u8], checks: &mut Checks) {
        match &self.kind {
            Kind::One(rules) => rules.check_each(token, checks),
            Kind::Group(group) => match group.member_of(token) {
                Ok(Some(verifier)) => {
                    checks.add("verifier", true, "one for the token", "selected");
                    verifier.check_each(token, checks);
                }
                Ok(None) => checks.skip("verifier", "one for the token", "being looked up"),
                Err(error) => {
                    let issuers = group.issuers().join(", ");
                    let algorithms = names(&group.algorithms());
                    let expected = match (issuers.is_empty(), algorithms.is_empty()) {
                        (_, false) => format!("one for the token: {algorithms}"),
                        (false, true) => format!("one for the token: {issuers}"),
                        (true, true) => "one for the token".to_owned(),
                    };
                    checks.add("verifier", false, expected, error.as_str());
                }
            },
        }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Rules<C> {
    fn check_each(&self, token: &[u8], checks: &mut Checks) {
        let small = token.len() <= self.max_bytes;
        let expected = format!("at most {} bytes", self.max_bytes);
        checks.add("size", small, expected, format!("{} bytes", token.len()));
        if !small {
            return;
        }
        let dots = token.split(|byte| *byte == b'.').count();
        let parts = Compact::parse(token).filter(|parts| parts.has_a_signature(self.padded));
        checks.add(
            "form",
            parts.is_some(),
            "header.claims.signature in base64url (RFC 7515 §7.1)",
            format!("{dots} parts"),
        );
        let Some(parts) = parts else {
            return;
        };
        let used = self.check_header(&parts, checks);
        self.check_claims(parts.payload, used.unwrap_or(Use::Access), checks);
    }

    /// Adds the checks of the header, of the key and of the signature.
    fn check_header(&self, parts: &Compact<'_>, checks: &mut Checks) -> Option<Use> {
        let json = decode(parts.header, self.padded).unwrap_or_default();
        let values: Map<String, Value> = serde_json::from_slice(&json).unwrap_or_default();
        let algorithm = text(&values, "alg");
        let header = match Header::parse(&json) {
            Ok(header) => header,
            Err(AuthErrorKind::AlgorithmNotAllowed) => {
                checks.add("alg", false, one_of(&names(&self.allowed)), algorithm);
                return None;
            }
            Err(kind) => {
                let expected = "a JOSE header without `crit`, `zip`, `b64` and a nested token";
                checks.add("header", false, expected, kind.as_str());
                return None;
            }
        };
        checks.add("header", true, "a JOSE header", "a JOSE header");
        let allowed = self.allowed.contains(&header.algorithm.canonical());
        checks.add("alg", allowed, one_of(&names(&self.allowed)), algorithm);
        let used = self.policy.check_typ(&header).ok();
        let typ = match &self.policy.typ {
            Typ::Usual => "`at+jwt`, `JWT` or none".to_owned(),
            Typ::Exactly(typ) => format!("`{typ}`"),
            Typ::Rfc9068 => "`at+jwt` (RFC 9068 §2.1)".to_owned(),
        };
        checks.add("typ", used.is_some(), typ, text(&values, "typ"));
        let key = format!("a key for {}", header.algorithm);
        let named = format!("kid {}", text(&values, "kid"));
        if !allowed {
            checks.skip("key", key, named);
            return used;
        }
        // The lookup of `verify` may have caused a fetch. This one causes none.
        let query = self.query(&header, &|| false);
        let keys = match self.keys.lookup(&query) {
            KeyLookup::Found(keys) => keys,
            KeyLookup::Absent => {
                checks.add("key", false, key, format!("none for {named}"));
                return used;
            }
            KeyLookup::AlgorithmMismatch => {
                checks.add(
                    "key",
                    false,
                    key,
                    format!("a key for another algorithm, {named}"),
                );
                return used;
            }
            KeyLookup::Ambiguous => {
                checks.add("key", false, key, format!("several, {named}"));
                return used;
            }
            KeyLookup::Wait(_) | KeyLookup::Unavailable { .. } => {
                checks.add("key", false, key, "the keys are unavailable");
                return used;
            }
        };
        checks.add("key", true, key, named);
        let valid = self.signature_is_valid(&header, parts, keys);
        let found = if valid {
            "valid"
        } else {
            "made by another key, or the token was changed"
        };
        checks.add("signature", valid, "made by that key", found);
        used
    }

    fn signature_is_valid(&self, header: &Header<'_>, parts: &Compact<'_>, keys: KeyMatch) -> bool {
        let signature = decode(parts.signature, self.padded).unwrap_or_default();
        let signed_by = (header.algorithm, self.listed);
        let signer = keys.signer(signed_by, parts.message, &signature);
        signer.is_some()
    }

    /// Adds the checks of the claims, whether or not the signature is valid.
    fn check_claims(&self, payload: &[u8], used: Use, checks: &mut Checks) {
        let before = checks.passed();
        let json = decode(payload, self.padded).and_then(|json| String::from_utf8(json).ok());
        let json = json.unwrap_or_default();
        let mut registered = Registered::new(&json, self.policy.audience_names(), &self.policy.map);
        let read = parse::parse::<IgnoredAny>(&json, &mut registered);
        let expected = "a JSON object with the types of RFC 7519 §4.1";
        match read {
            Ok(_) => checks.add("claims", true, expected, "such an object"),
            Err(_) => {
                checks.add("claims", false, expected, "no such object");
                return;
            }
        }
        let values: Map<String, Value> = serde_json::from_str(&json).unwrap_or_default();
        registered.facts.adopt(json.clone());
        self.check_names(&registered, &values, checks);
        self.check_times(&registered, checks);
        self.check_use(registered, used, checks);

        let mut again = Registered::new(&json, self.policy.audience_names(), &self.policy.map);
        let claims = parse::parse::<C>(&json, &mut again);
        let of_type = format!("claims of the type {}", std::any::type_name::<C>());
        checks.add(
            "claims type",
            claims.is_ok(),
            of_type,
            match claims {
                Ok(_) => "they match",
                Err(_) => "they do not match",
            },
        );
        let Some(check) = &self.check else {
            return;
        };
        let expected = "the application's check passes";
        match claims {
            // The check expects claims that passed every other check.
            Ok(claims) if before && checks.passed() => {
                let now = Date::of(self.clock.now());
                let _ = self.policy.check(&mut again, used, Sender::Bearer, now);
                again.facts.adopt(json);
                let verdict = check(&Verified::new(claims, again.facts));
                let verdict = verdict.map_err(CheckError::into_error);
                let found = verdict
                    .as_ref()
                    .map_or_else(AuthError::as_str, |()| "it passes");
                checks.add("check", verdict.is_ok(), expected, found);
            }
            _ => checks.skip("check", expected, "not called"),
        }
    }

    fn check_names(
        &self,
        registered: &Registered<'_>,
        values: &Map<String, Value>,
        checks: &mut Checks,
    ) {
        let policy = &self.policy;
        let issuers = policy.issuers.join(", ");
        let issuer = policy.check_issuer(registered).is_ok();
        checks.add("iss", issuer, one_of(&issuers), text(values, "iss"));
        let ours = match policy.any_audience {
            true => String::new(),
            false => policy.audience_names().join(", "),
        };
        let expected = match (policy.any_audience, ours.is_empty()) {
            (true, _) => "any".to_owned(),
            (false, true) => "none, because no audience is configured".to_owned(),
            (false, false) => one_of(&ours),
        };
        let found = values.get("aud").and_then(audience);
        let passed = policy.check_audience(registered).is_ok();
        checks.add(
            "aud",
            passed,
            expected,
            found.unwrap_or_else(|| NONE.to_owned()),
        );
        let clients = policy.clients.join(", ");
        let client = registered.facts.text(crate::principal::Field::ClientId);
        let client = client.map_or_else(|| NONE.to_owned(), shown);
        checks.add(
            "client",
            policy.check_client(registered).is_ok(),
            one_of(&clients),
            client,
        );
    }

    fn check_times(&self, registered: &Registered<'_>, checks: &mut Checks) {
        let policy = &self.policy;
        let now = self.clock.now();
        let date = Date::of(now);
        let leeway = policy.leeway.as_secs();
        let found =
            |time: Option<Date>| time.map_or_else(|| NONE.to_owned(), |time| ago(time, now));
        let passed = policy.check_expires(registered, date).is_ok();
        let expected = match (policy.check_expiry, policy.require_expiry) {
            (true, true) => format!("a time in the future, with {leeway} s of leeway"),
            (true, false) => format!("a time in the future, with {leeway} s of leeway, or none"),
            (false, true) => "any time".to_owned(),
            (false, false) => "any time, or none".to_owned(),
        };
        checks.add("exp", passed, expected, found(registered.expires));
        let passed = policy.check_starts(registered, date).is_ok();
        let expected = match policy.check_not_before {
            true => format!("a time in the past, with {leeway} s of leeway, or none"),
            false => "any time, or none".to_owned(),
        };
        checks.add("nbf", passed, expected, found(registered.not_before));
        let passed = policy.check_age(registered, date).is_ok();
        let expected = match policy.max_age {
            Some(age) => format!("at most {} s ago", age.as_secs()),
            None => "any time, or none".to_owned(),
        };
        checks.add("iat", passed, expected, found(registered.issued));
    }

    fn check_use(&self, mut registered: Registered<'_>, used: Use, checks: &mut Checks) {
        let policy = &self.policy;
        let verdict = policy.check_profile(&registered);
        if policy.has_profile() {
            let expected = "every claim that the profile requires";
            let found = match &verdict {
                Ok(()) => "they are present".to_owned(),
                Err(kind) => kind.to_string(),
            };
            checks.add("profile", verdict.is_ok(), expected, found);
        }
        let bound = registered.bound;
        let verdict = policy.check_use(&mut registered);
        let cause = verdict
            .as_ref()
            .err()
            .map(|error| match std::error::Error::source(error) {
                Some(cause) => cause.to_string(),
                None => error.to_string(),
            });
        let found = cause.unwrap_or_else(|| "no other use".to_owned());
        checks.add("use", verdict.is_ok(), "an access token", found);
        let found = if bound { "present" } else { NONE };
        checks.add(
            "cnf",
            !bound,
            "none: the token is not bound to a key or a certificate",
            found,
        );
        if used == Use::Conversation {
            let conversation = registered.conversation.is_some();
            let found = if conversation { "present" } else { NONE };
            checks.add("conv", conversation, "a conversation", found);
        }
    }
}

/// Returns a text of the token, or a word for its absence.
fn text(values: &Map<String, Value>, name: &str) -> String {
    match values.get(name) {
        None => NONE.to_owned(),
        Some(Value::String(text)) => shown(text),
        Some(_) => "not a string".to_owned(),
    }
}

fn one_of(names: &str) -> String {
    match names {
        "" => "any".to_owned(),
        names => format!("one of: {names}"),
    }
}

/// Returns a time in seconds, and its distance from now.
fn ago(time: Date, now: Timestamp) -> String {
    let (time, now) = (time.to_timestamp().as_secs(), now.as_secs());
    let distance = time.abs_diff(now);
    match time > now {
        true => format!("{time}, in {distance} s"),
        false => format!("{time}, {distance} s ago"),
    }
}

const NONE: &str = "none";
