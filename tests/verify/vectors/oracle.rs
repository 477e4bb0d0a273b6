//! The verifier against `jsonwebtoken::decode`: one verdict wherever their rules coincide, and a
//! list of where they rightly differ.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm as TheirAlgorithm, DecodingKey, Validation, crypto::aws_lc::DEFAULT_PROVIDER, decode,
};
use proptest::{prelude::*, sample::select};
use serde_json::{Map, Value, json};
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    test_util::{TestIssuer, TestKeys},
};

const ISSUER: &str = "https://as.example";
const AUDIENCE: &str = "https://api.example";
const LEEWAY: u64 = 60;

const ALGORITHMS: [(Algorithm, TheirAlgorithm); 12] = [
    (Algorithm::Hs256, TheirAlgorithm::HS256),
    (Algorithm::Hs384, TheirAlgorithm::HS384),
    (Algorithm::Hs512, TheirAlgorithm::HS512),
    (Algorithm::Rs256, TheirAlgorithm::RS256),
    (Algorithm::Rs384, TheirAlgorithm::RS384),
    (Algorithm::Rs512, TheirAlgorithm::RS512),
    (Algorithm::Ps256, TheirAlgorithm::PS256),
    (Algorithm::Ps384, TheirAlgorithm::PS384),
    (Algorithm::Ps512, TheirAlgorithm::PS512),
    (Algorithm::Es256, TheirAlgorithm::ES256),
    (Algorithm::Es384, TheirAlgorithm::ES384),
    (Algorithm::EdDsa, TheirAlgorithm::EdDSA),
];

/// `jsonwebtoken`, as strict as its options go.
fn theirs(algorithm: usize, token: &[u8]) -> Option<Map<String, Value>> {
    // With both of its crypto features on there is no default; a second installation is refused.
    let _ = DEFAULT_PROVIDER.install_default();
    let (ours, theirs) = ALGORITHMS[algorithm];
    let keys = TestKeys::new();
    let key = match theirs {
        _ if ours.is_hmac() => DecodingKey::from_secret(keys.secret(ours)),
        TheirAlgorithm::ES256 | TheirAlgorithm::ES384 => {
            DecodingKey::from_ec_pem(keys.public_pem(ours).as_bytes()).unwrap()
        }
        TheirAlgorithm::EdDSA => {
            DecodingKey::from_ed_pem(keys.public_pem(ours).as_bytes()).unwrap()
        }
        _ => DecodingKey::from_rsa_pem(keys.public_pem(ours).as_bytes()).unwrap(),
    };
    let mut rules = Validation::new(theirs);
    rules.leeway = LEEWAY;
    rules.validate_nbf = true;
    rules.set_issuer(&[ISSUER]);
    rules.set_audience(&[AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "iss", "aud"]);
    let verdict = decode::<Map<String, Value>>(token, &key, &rules);
    verdict.ok().map(|data| data.claims)
}

fn ours(algorithm: usize, token: &[u8]) -> Result<Map<String, Value>, AuthErrorKind> {
    let (algorithm, _) = ALGORITHMS[algorithm];
    let verifier = Verifier::key(TestKeys::new().verifying_key(algorithm))
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .claims::<Map<String, Value>>()
        .build()
        .unwrap();
    let verdict = verifier.verify_now(token);
    verdict
        .map(|token| token.claims().clone())
        .map_err(|refusal| refusal.kind())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn issuer(algorithm: usize, keys: TestKeys) -> TestIssuer {
    TestIssuer::with_keys(ALGORITHMS[algorithm].0, keys)
}

/// Claims that are good or bad by rules that both know. No time is near an edge, because the two
/// look at the clock one after the other.
fn claims() -> impl Strategy<Value = Value> {
    let offset = |choices: &'static [i64]| select(choices);
    let time = |offset: i64| {
        prop_oneof![
            Just(json!(now() + offset)),
            Just(json!((now() + offset) as f64 + 0.25)),
        ]
    };
    let expires = prop_oneof![
        9 => offset(&[3600, 3600, 3600, 30, -20, -100, -3600]).prop_flat_map(time).prop_map(Some),
        1 => select(vec![json!("2030"), json!(null), json!([]), json!(-5), json!(true)])
            .prop_map(Some),
        1 => Just(None),
    ];
    let begins = prop_oneof![
        3 => Just(None),
        3 => offset(&[-3600, -1, 20, 100, 3600]).prop_flat_map(time).prop_map(Some),
        1 => select(vec![json!("2020"), json!([]), json!({})]).prop_map(Some),
    ];
    let audience = prop_oneof![
        6 => Just(Some(json!(AUDIENCE))),
        6 => Just(Some(json!(["other", AUDIENCE]))),
        3 => select(vec![
            None,
            Some(json!("other")),
            Some(json!("https://api.example/")),
            Some(json!(["https://api", "x"])),
            Some(json!([])),
            Some(json!(7)),
            Some(json!(["x", 7])),
        ]),
    ];
    let from = prop_oneof![
        9 => Just(Some(json!(ISSUER))),
        2 => select(vec![None, Some(json!("https://as.example/")), Some(json!("")), Some(json!(1))]),
    ];
    let others = prop::collection::btree_map("[a-z]{1,2}", json_value(), 0..4);
    (expires, begins, audience, from, others).prop_map(|(exp, nbf, aud, iss, others)| {
        let mut claims: Map<String, Value> = others.into_iter().collect();
        for (name, value) in [("exp", exp), ("nbf", nbf), ("aud", aud), ("iss", iss)] {
            if let Some(value) = value {
                claims.insert(name.to_owned(), value);
            }
        }
        Value::Object(claims)
    })
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What is done to a token on its way.
#[derive(Clone, Debug)]
enum Tampering {
    Nothing,
    Byte(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Cut(prop::sample::Index),
    OtherKey,
    OtherName(usize),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => Just(Tampering::Nothing),
        1 => (index(), any::<u8>()).prop_map(|(at, byte)| Tampering::Byte(at, byte)),
        1 => (index(), any::<u8>()).prop_map(|(at, byte)| Tampering::Insert(at, byte)),
        1 => index().prop_map(Tampering::Remove),
        1 => index().prop_map(Tampering::Cut),
        1 => Just(Tampering::OtherKey),
        1 => (0..ALGORITHMS.len()).prop_map(Tampering::OtherName),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_verdict_is_jsonwebtokens_wherever_the_rules_coincide(
        algorithm in 0..ALGORITHMS.len(),
        claims in claims(),
        typ in select(vec![None, Some("JWT"), Some("at+jwt")]),
        extra in select(vec![None, Some("x5t"), Some("https://example/unknown")]),
        tampering in tampering(),
    ) {
        let keys = match tampering {
            Tampering::OtherKey => TestKeys::other(),
            _ => TestKeys::new(),
        };
        let named = match tampering {
            Tampering::OtherName(other) => other,
            _ => algorithm,
        };
        // `jsonwebtoken` leaves the choice of the key to its caller, so this is always the right one.
        let kid = TestKeys::new().kid(ALGORITHMS[algorithm].0);
        let mut header = json!({"alg": ALGORITHMS[named].0.as_str(), "kid": kid});
        if let Some(typ) = typ {
            header["typ"] = typ.into();
        }
        if let Some(extra) = extra {
            header[extra] = "value".into();
        }
        let token = issuer(algorithm, keys)
            .raw(&header.to_string(), claims.to_string().as_bytes());
        let mut token = token.into_bytes();
        match tampering {
            Tampering::Byte(at, byte) => {
                let at = at.index(token.len());
                token[at] = byte;
            }
            Tampering::Insert(at, byte) => token.insert(at.index(token.len()), byte),
            Tampering::Remove(at) => {
                token.remove(at.index(token.len()));
            }
            Tampering::Cut(at) => token.truncate(at.index(token.len())),
            Tampering::Nothing | Tampering::OtherKey | Tampering::OtherName(_) => {}
        }
        let (ours, theirs) = (ours(algorithm, &token), theirs(algorithm, &token));
        prop_assert_eq!(ours.ok(), theirs, "{}", claims);
    }
}

/// Where the two differ, and why we are right to: each of these must stay a difference, or the
/// property above could be made to cover it.
#[test]
fn the_differences_from_jsonwebtoken_are_these() {
    let good =
        || json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now() + 3600}).to_string();
    let with = |name: &str, value: Value| {
        let mut claims: Value = serde_json::from_str(&good()).unwrap();
        claims[name] = value;
        claims.to_string()
    };
    let twice = |name: &str, value: Value| {
        let good = good();
        format!("{{\"{name}\":{value},{}", &good[1..])
    };
    let plain = r#"{"alg":"HS256"}"#;
    let refused_by_us = [
        // RFC 7515 §4.1.11: what is critical and not understood.
        (r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, good()),
        (r#"{"alg":"HS256","b64":false}"#, good()),
        // RFC 7519 §5.2: a nested token would have to be verified too.
        (r#"{"alg":"HS256","cty":"JWT"}"#, good()),
        // RFC 8725 §3.11, §3.12: tokens of other kinds.
        (r#"{"alg":"HS256","typ":"logout+jwt"}"#, good()),
        (plain, with("token_use", json!("refresh"))),
        // RFC 9449 §7.2: bound to a key, and no proof.
        (plain, with("cnf", json!({"jkt": "x"}))),
        // RFC 7519 §4.1.1, §4.1.2, §4.1.7: strings.
        (plain, with("iss", json!([ISSUER]))),
        (plain, with("sub", json!(7))),
        (plain, with("jti", json!(null))),
        (plain, with("iat", json!("yesterday"))),
        // RFC 7515 §4, RFC 7519 §4: unique names.
        (r#"{"alg":"HS256","x":1,"x":2}"#, good()),
        (
            plain,
            twice("roles", json!(["admin"])).replace("alice\"", "alice\",\"roles\":[]"),
        ),
    ];
    for (header, claims) in refused_by_us {
        let token = issuer(0, TestKeys::new()).raw(header, claims.as_bytes());
        assert!(theirs(0, token.as_bytes()).is_some(), "{header} {claims}");
        assert!(ours(0, token.as_bytes()).is_err(), "{header} {claims}");
    }

    // RFC 7519 §2: any number of seconds is a date, before 1970 and far in the future.
    let accepted_by_us = [
        with("nbf", json!(-1)),
        with("exp", json!(1e300)),
        with("exp", json!(u64::MAX as f64)),
    ];
    for claims in accepted_by_us {
        let token = issuer(0, TestKeys::new()).raw(plain, claims.as_bytes());
        assert_eq!(theirs(0, token.as_bytes()), None, "{claims}");
        assert!(ours(0, token.as_bytes()).is_ok(), "{claims}");
    }

    // Parameters that nothing reads need not have the form that their RFC gives them.
    let odd =
        issuer(0, TestKeys::new()).raw(r#"{"alg":"HS256","x5c":"no list"}"#, good().as_bytes());
    assert_eq!(theirs(0, odd.as_bytes()), None);
    assert!(ours(0, odd.as_bytes()).is_ok());

    // The edge of the leeway (E2) differs too: a token is refused from `exp + leeway` on here,
    // one second later there. Both read the system's clock, so no test can stand on the edge.
    let padded = format!("{}.e30=.AAAA", URL_SAFE_NO_PAD.encode(plain));
    assert_eq!(theirs(0, padded.as_bytes()), None);
    assert!(ours(0, padded.as_bytes()).is_err());
}
