//! Whatever Rust type the application chooses for its claims: it sees the claims as plain serde_json
//! would show them, and it cannot make a check miss its claim.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
};

use proptest::{prelude::*, sample::select};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value, json};
use tower_jwt_auth::{
    Claims, Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    test_util::{TestClock, TestIssuer, TestKeys},
};

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Plain {
    sub: String,
    exp: u64,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    aud: OneOrMany,
    tenant: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
    #[default]
    None,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Newtype(Plain);

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Twice(Newtype);

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
struct Transparent {
    inner: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Flat {
    iss: String,
    #[serde(flatten)]
    plain: Plain,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Tenant { tenant: u32, sub: String },
    Anybody { sub: String },
    Other(Map<String, Value>),
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Tagged {
    User {
        sub: String,
        roles: Vec<Role>,
    },
    Service {
        client_id: String,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", content = "sub", rename_all = "lowercase")]
enum Adjacent {
    User(String),
    Service(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Admin,
    User,
    #[serde(untagged)]
    Other(Value),
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct WithRoles {
    roles: Option<Vec<Role>>,
    role: Option<Role>,
    scope: Option<Value>,
    #[serde(default, deserialize_with = "seconds")]
    exp: u64,
}

fn seconds<'de, D: Deserializer<'de>>(json: D) -> Result<u64, D::Error> {
    Option::<u64>::deserialize(json).map(Option::unwrap_or_default)
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Value")]
struct From(Value);

impl std::convert::From<Value> for From {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
struct Defaulted {
    missing: u8,
    sub: String,
}

impl Default for Defaulted {
    fn default() -> Self {
        Self {
            missing: 7,
            sub: String::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Nothing {}

/// Says `$check!` of every shape.
macro_rules! all_shapes {
    ($check:ident) => {
        $check!(Plain);
        $check!(Option<Plain>);
        $check!(Option<Option<Plain>>);
        $check!(Box<Plain>);
        $check!(Newtype);
        $check!(Option<Newtype>);
        $check!(Twice);
        $check!(Transparent);
        $check!(Flat);
        $check!(Option<Flat>);
        $check!(Untagged);
        $check!(Tagged);
        $check!(Adjacent);
        $check!(WithRoles);
        $check!(From);
        $check!(Defaulted);
        $check!(Nothing);
        $check!(Value);
        $check!(Map<String, Value>);
        $check!(HashMap<String, Value>);
        $check!(BTreeMap<String, Value>);
        $check!(Option<HashMap<String, Value>>);
        $check!(HashMap<Box<str>, Value>);
        $check!(Claims);
    };
}

fn verifier<C: DeserializeOwned + Send + Sync + 'static>() -> Verifier<C> {
    Verifier::key(TestKeys::new().verifying_key(Algorithm::Hs256))
        .issuer("https://as.example")
        .audience("https://api.example")
        .clock(TestClock::new())
        .claims::<C>()
        .build()
        .unwrap()
}

fn token(claims: &str) -> String {
    TestIssuer::new(Algorithm::Hs256).raw(r#"{"alg":"HS256"}"#, claims.as_bytes())
}

/// Claims that every shape takes.
fn good() -> Map<String, Value> {
    let claims = json!({
        "iss": "https://as.example",
        "aud": "https://api.example",
        "sub": "alice",
        "exp": TestClock::new().timestamp() + 600,
        "kind": "user",
        "roles": ["admin", "poet"],
        "role": "user",
    });
    match claims {
        Value::Object(claims) => claims,
        _ => unreachable!(),
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        select(vec![
            "admin".into(),
            "user".into(),
            "a b".into(),
            String::new()
        ]),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Good claims with more of them, and some of another type, of which no rule demands anything.
fn open_claims() -> impl Strategy<Value = Map<String, Value>> {
    let names = select(vec![
        "roles", "role", "scope", "scp", "gty", "idtyp", "kind", "tenant", "name", "missing",
        "é\"\\",
    ]);
    let name = prop_oneof![3 => names.prop_map(str::to_owned), 1 => "[ -~]{0,6}"];
    prop::collection::vec((name, json_value()), 0..6).prop_map(|more| {
        let mut claims = good();
        for (name, value) in more {
            if !RULED.contains(&name.as_str()) {
                claims.insert(name, value);
            }
        }
        claims
    })
}

/// Claims whose type or value a rule refuses.
const RULED: [&str; 21] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "azp",
    "sid",
    "cnf",
    "typ",
    "type",
    "token_use",
    "token_type",
    "tokenType",
    "use",
    "events",
    "at_hash",
    "c_hash",
    "s_hash",
];

/// Claims of which a rule may refuse any.
fn any_claims() -> impl Strategy<Value = Map<String, Value>> {
    let now = TestClock::new().timestamp();
    let value = prop_oneof![
        json_value(),
        select(vec![
            json!(now - 3600),
            json!(now + 3600),
            json!(1e300),
            json!("https://as.example"),
            json!("https://api.example"),
            json!(["https://api.example"]),
            json!("refresh"),
        ]),
    ];
    (
        open_claims(),
        prop::collection::vec((select(RULED.to_vec()), value), 0..3),
    )
        .prop_map(|(mut claims, ruled)| {
            for (name, value) in ruled {
                claims.insert(name.to_owned(), value);
            }
            claims
        })
}

fn reaches<C>(json: &str) -> Result<(), TestCaseError>
where
    C: DeserializeOwned + Debug + PartialEq + Send + Sync + 'static,
{
    let plain = serde_json::from_str::<C>(json);
    let shape = std::any::type_name::<C>();
    match (verifier::<C>().verify_now(token(json)), plain) {
        (Ok(token), Ok(plain)) => prop_assert_eq!(token.claims(), &plain, "{}", shape),
        (Err(refused), Err(_)) => {
            prop_assert_eq!(refused.kind(), AuthErrorKind::MalformedClaims, "{}", shape);
        }
        (ours, plain) => prop_assert!(false, "{shape}: {ours:?}, but plainly {plain:?}\n{json}"),
    }
    Ok(())
}

/// No shape lets a token pass that the default one refuses.
fn is_no_way_around<C>(json: &str) -> Result<(), TestCaseError>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    let token = token(json);
    let shaped = verifier::<C>().verify_now(&token);
    let default = verifier::<Claims>().verify_now(&token);
    let shape = std::any::type_name::<C>();
    if let (Ok(_), Err(refusal)) = (shaped, default) {
        prop_assert!(false, "{shape} takes what is {refusal}\n{json}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn claims_reach_every_shape_as_plain_serde_json_reads_them(claims in open_claims()) {
        let json = Value::Object(claims).to_string();
        macro_rules! check { ($c:ty) => { reaches::<$c>(&json)? }; }
        all_shapes!(check);
    }

    #[test]
    fn no_shape_is_a_way_around_a_check(claims in any_claims()) {
        let json = Value::Object(claims).to_string();
        macro_rules! check { ($c:ty) => { is_no_way_around::<$c>(&json)? }; }
        all_shapes!(check);
    }
}

#[test]
fn every_shape_takes_the_good_token_and_refuses_the_bad_ones_for_their_reason() {
    use AuthErrorKind::{
        Expired, MalformedClaims, MissingClaim, NotYetValid, SenderConstrained, WrongAudience,
        WrongIssuer, WrongUse,
    };

    let now = TestClock::new().timestamp();
    let good = Value::Object(good()).to_string();
    let with = |name: &str, value: Value| {
        let mut claims = self::good();
        claims.insert(name.to_owned(), value);
        Value::Object(claims).to_string()
    };
    let without = |name: &str| {
        let mut claims = self::good();
        claims.remove(name);
        Value::Object(claims).to_string()
    };
    let twice = |name: &str, value: Value| format!("{{\"{name}\":{value},{}", &good[1..]);
    let bad = [
        (with("exp", json!(now - 60)), Expired),
        (with("exp", json!(0)), Expired),
        (with("nbf", json!(now + 61)), NotYetValid),
        (with("nbf", json!("soon")), MalformedClaims),
        (with("iss", json!("https://as.example/")), WrongIssuer),
        (with("iss", json!(["https://as.example"])), MalformedClaims),
        (with("aud", json!("https://api.example/")), WrongAudience),
        (with("aud", json!([])), WrongAudience),
        (with("jti", json!(7)), MalformedClaims),
        (with("cnf", json!({"jkt": "x"})), SenderConstrained),
        (with("token_use", json!("refresh")), WrongUse),
        (with("type", json!("id")), WrongUse),
        (twice("exp", json!(now + 3600)), MalformedClaims),
        (twice("iss", json!("https://as.example")), MalformedClaims),
        (twice("\\u0065xp", json!(now + 3600)), MalformedClaims),
        (format!("[{good}]"), MalformedClaims),
        (format!("{good}{good}"), MalformedClaims),
        (format!("{good} x"), MalformedClaims),
    ];
    let mut shapes = 0;
    macro_rules! check {
        ($c:ty) => {
            let verifier = verifier::<$c>();
            let shape = std::any::type_name::<$c>();
            assert!(verifier.verify_now(token(&good)).is_ok(), "{shape}");
            for (claims, expected) in &bad {
                let verdict = verifier.verify_now(token(claims));
                let refused = verdict.map(|_| ()).expect_err(shape);
                assert_eq!(refused.kind(), *expected, "{shape}: {claims}");
            }
            // Some shapes want the expiry themselves.
            let verdict = verifier.verify_now(token(&without("exp")));
            let refused = verdict.map(|_| ()).expect_err(shape).kind();
            assert!(
                [MissingClaim("exp"), MalformedClaims].contains(&refused),
                "{shape}"
            );
            shapes += 1;
        };
    }
    all_shapes!(check);
    println!("{shapes} shapes, {} bad tokens each", bad.len() + 3);
}

/// Types that do not look at the claims, or not as one object, cannot prove that they were checked.
#[test]
fn a_type_that_never_sees_the_claims_makes_no_verifier_lenient() {
    #[derive(Debug)]
    struct Blind;
    impl<'de> Deserialize<'de> for Blind {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }

    #[derive(Debug)]
    struct Shy;
    impl<'de> Deserialize<'de> for Shy {
        fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
            struct First;
            impl<'de> Visitor<'de> for First {
                type Value = Shy;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("claims")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shy, A::Error> {
                    map.next_entry::<String, IgnoredAny>()?;
                    Ok(Shy)
                }
            }
            json.deserialize_map(First)
        }
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only the form matters")]
    enum External {
        #[serde(rename = "exp")]
        Exp(u64),
        #[serde(rename = "iss")]
        Iss(String),
    }

    fn expired<C: DeserializeOwned + Debug + Send + Sync + 'static>() {
        let shape = std::any::type_name::<C>();
        let lenient = Verifier::key(TestKeys::new().verifying_key(Algorithm::Hs256))
            .clock(TestClock::new())
            .claims::<C>()
            .build()
            .unwrap();
        for claims in [
            r#"{"exp":1}"#,
            r#"{"exp":1,"a":2}"#,
            r#"{"a":2,"exp":1}"#,
            "[]",
            "1",
            "null",
        ] {
            assert!(
                lenient.verify_now(token(claims)).is_err(),
                "{shape}: {claims}"
            );
        }
    }

    expired::<Blind>();
    expired::<Shy>();
    expired::<External>();
    expired::<Option<External>>();
    expired::<IgnoredAny>();
    expired::<()>();
    expired::<Option<()>>();
    expired::<bool>();
    expired::<u64>();
    expired::<String>();
    expired::<Vec<Value>>();
    expired::<(u64, u64)>();
    expired::<Option<Nothing>>();
}
