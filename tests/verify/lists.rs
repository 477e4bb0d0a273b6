//! Claims that are lists: whatever the application's type reads of a list, the rules see every item.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, SeqAccess, Visitor},
};
use serde_json::{Value, json};
use tower_jwt_auth::{
    Verified, Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    test_util::{TestClock, TestIssuer, TestKeys},
};

/// The strings of a list. Other items are skipped, with the error that they cause.
#[derive(Debug, Default, PartialEq)]
struct Strings(Vec<String>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_seq(Self::default())
    }
}

impl<'de> Visitor<'de> for Strings {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self, A::Error> {
        // Bounded, since an error of the parser could come again and again.
        for _ in 0..1_000 {
            match items.next_element() {
                Ok(Some(item)) => self.0.push(item),
                Ok(None) => break,
                Err(_) => {}
            }
        }
        Ok(self)
    }
}

/// A value at which the type does not look.
#[derive(Debug, PartialEq)]
struct Unseen;

impl<'de> Deserialize<'de> for Unseen {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

/// The first item of a list.
#[derive(Debug)]
#[allow(dead_code, reason = "only the form matters")]
struct First(Option<String>);

impl<'de> Deserialize<'de> for First {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = First;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<First, A::Error> {
                items.next_element().map(First)
            }
        }
        json.deserialize_seq(One)
    }
}

/// Claims of which only the lists matter, each of the type `L`.
#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only the form matters")]
struct Lists<L> {
    roles: L,
    aud: L,
}

#[derive(Debug, Deserialize)]
struct NoLists {}

fn verify<C>(json: &str) -> Result<Verified<C>, AuthErrorKind>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    let verifier = Verifier::key(TestKeys::new().verifying_key(Algorithm::Hs256))
        .audience("api")
        .clock(TestClock::new())
        .claims::<C>()
        .build()
        .unwrap();
    let token = TestIssuer::new(Algorithm::Hs256).raw(r#"{"alg":"HS256"}"#, json.as_bytes());
    verifier.verify_now(token).map_err(|error| error.kind())
}

fn claims(roles: &str, audience: &str) -> String {
    let exp = TestClock::new().timestamp() + 600;
    format!(r#"{{"exp":{exp},"aud":{audience},"sub":"alice","roles":{roles},"scope":"a b"}}"#)
}

fn roles<C: Send + Sync + 'static>(token: &Verified<C>) -> Vec<String> {
    token.principal().roles().map(str::to_owned).collect()
}

#[test]
fn every_type_of_a_list_leaves_the_same_roles_to_the_rules() {
    fn check<C: DeserializeOwned + Send + Sync + 'static>() {
        let list = r#"["editor","vi\u0065wer","","editor"]"#;
        let token = verify::<C>(&claims(list, r#"["other","api"]"#)).unwrap();
        let expected = ["editor", "viewer", "", "editor"];
        assert_eq!(roles(&token), expected, "{}", std::any::type_name::<C>());
        assert!(!token.principal().has_unreadable_roles());
        // The claims after a list are read.
        let scope: Vec<_> = token.principal().scope().map(str::to_owned).collect();
        assert_eq!(scope, ["a", "b"]);

        let odd = r#"["editor",7,["viewer"],null,{"a":[1]},"viewer"]"#;
        let Ok(token) = verify::<C>(&claims(odd, r#""api""#)) else {
            return;
        };
        assert_eq!(roles(&token), ["editor", "viewer"]);
        assert!(token.principal().has_unreadable_roles());
    }

    check::<Lists<Value>>();
    check::<Lists<Vec<String>>>();
    check::<Lists<Strings>>();
    check::<Lists<Unseen>>();
    check::<NoLists>();
    check::<Value>();
    // Among those are types that accept the odd list.
    let odd = claims(r#"["editor",7,"viewer"]"#, r#"["api"]"#);
    assert_eq!(
        verify::<Lists<Strings>>(&odd).unwrap().roles.0,
        ["editor", "viewer"]
    );
    assert!(verify::<Lists<Unseen>>(&odd).is_ok());
    assert!(verify::<Lists<Vec<String>>>(&odd).is_err());
}

#[test]
fn no_type_of_a_list_hides_an_audience() {
    fn check<C: DeserializeOwned + Send + Sync + 'static>() {
        let shape = std::any::type_name::<C>();
        let kind = |audience: &str| verify::<C>(&claims("[]", audience)).map(drop);
        assert_eq!(kind(r#"["api"]"#), Ok(()), "{shape}");
        let wrong = Err(AuthErrorKind::WrongAudience);
        assert_eq!(kind("[]"), wrong, "{shape}");
        assert_eq!(kind(r#"["other","apis"]"#), wrong, "{shape}");
        // RFC 7519 §4.1.3: strings only.
        for odd in [r#"["api",7]"#, r#"[7,"api"]"#, r#"["api",["api"]]"#] {
            assert_eq!(kind(odd), Err(AuthErrorKind::MalformedClaims), "{shape}");
        }
    }

    check::<Lists<Value>>();
    check::<Lists<Strings>>();
    check::<Lists<Unseen>>();
    check::<NoLists>();
}

#[test]
fn a_broken_list_is_refused_whatever_type_ignores_the_error() {
    fn check<C: DeserializeOwned + Send + Sync + 'static>() {
        let shape = std::any::type_name::<C>();
        for broken in [
            r#"["a" "b"]"#,
            r#"["a",]"#,
            r#"["a",,"b"]"#,
            r#"["a",tru]"#,
            r#"["a","b\q"]"#,
            r#"["a",["b"}]"#,
            r#"["a""#,
            r#"["a"}"#,
            "[",
        ] {
            for json in [claims(broken, r#"["api"]"#), claims("[]", broken)] {
                let refused = verify::<C>(&json).map(drop);
                assert_eq!(
                    refused,
                    Err(AuthErrorKind::MalformedClaims),
                    "{shape}: {json}"
                );
            }
        }
    }

    check::<Lists<Value>>();
    check::<Lists<Vec<String>>>();
    check::<Lists<Strings>>();
    check::<Lists<Unseen>>();
    check::<NoLists>();
}

#[test]
fn a_type_that_takes_fewer_items_is_refused() {
    let json = |roles: Value| claims(&roles.to_string(), r#"["api"]"#);
    for (list, accepted) in [
        (json!(["a"]), true),
        (json!(["a", "b"]), false),
        (json!([]), true),
    ] {
        let verdict = verify::<Lists<First>>(&json(list.clone())).map(drop);
        let expected = accepted.then_some(()).ok_or(AuthErrorKind::MalformedClaims);
        assert_eq!(verdict, expected, "{list}");
    }
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only the form matters")]
    struct Pair {
        roles: (String, String),
    }
    for (list, accepted) in [
        (json!(["a"]), false),
        (json!(["a", "b"]), true),
        (json!(["a", "b", "c"]), false),
    ] {
        let verdict = verify::<Pair>(&json(list.clone())).map(drop);
        let expected = accepted.then_some(()).ok_or(AuthErrorKind::MalformedClaims);
        assert_eq!(verdict, expected, "{list}");
    }
}

#[test]
fn a_list_of_a_hundred_roles_is_read_in_its_order() {
    let hundred: Vec<_> = (0..100)
        .map(|number| format!("editor-{number:03}"))
        .collect();
    let json = claims(&json!(hundred).to_string(), r#""api""#);
    let token = verify::<Value>(&json).unwrap();
    assert_eq!(roles(&token), hundred);
    assert_eq!(token.claims()["roles"], json!(hundred));
}
