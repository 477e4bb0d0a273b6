//! Challenges, read by a strict parser.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::WWW_AUTHENTICATE};
use proptest::prelude::{any, prop, prop_assert_eq, proptest};

use super::{answer, answer_to, oauth, refusals, request};
use crate::{
    error::{AuthError, AuthErrorKind, Scheme, StepUp},
    layer::response::{Answers, Refusal, challenge::Offer},
};

/// A strict reading of one challenge: RFC 9110 §11.3, §11.2, §5.6.2, §5.6.4; names in lower case.
pub(super) fn parse(text: &str) -> Vec<(String, String)> {
    let (scheme, mut rest) = text.split_once(' ').expect("no parameters");
    assert_eq!(scheme, "Bearer");
    let mut params = Vec::new();
    loop {
        let (name, value) = rest.split_once('=').expect("no `=`");
        assert!(
            !name.is_empty() && name.bytes().all(is_token_byte),
            "{name}"
        );
        let name = name.to_ascii_lowercase();
        let mut bytes = value.bytes().enumerate();
        assert_eq!(bytes.next().map(|(_, byte)| byte), Some(b'"'));
        let mut unquoted = String::new();
        let end = loop {
            match bytes.next().expect("an open quoted-string") {
                (at, b'"') => break at,
                (_, b'\\') => unquoted.push(char::from(bytes.next().expect("a lone `\\`").1)),
                (_, byte @ (b'\t' | b' '..=b'~')) => unquoted.push(char::from(byte)),
                (_, byte) => panic!("byte {byte:#x} in a quoted-string"),
            }
        };
        // B3: each at most once.
        assert!(
            params.iter().all(|(other, _)| *other != name),
            "{name} twice"
        );
        params.push((name, unquoted));
        match &value[end + 1..] {
            "" => return params,
            next => rest = next.strip_prefix(", ").expect("no comma"),
        }
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

pub(super) fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[test]
fn b1_every_401_carries_a_challenge_whatever_the_responder_does() {
    let forgetful = Answers::default().with_responder(Arc::new(|refusal: &Refusal<'_>| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = refusal.status();
        response
    }));
    for answers in [Answers::default(), oauth(), forgetful] {
        for error in refusals() {
            let answer = answer_to(&request("GET", "text/plain"), &answers, error);
            if answer.status == StatusCode::UNAUTHORIZED {
                answer.challenge();
            }
        }
    }
}

#[test]
fn b1_a_responder_that_makes_a_401_of_something_else_still_sends_a_challenge() {
    let strange = Answers::default().with_responder(Arc::new(|_: &Refusal<'_>| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        response
    }));
    let answer = answer_to(&request("GET", ""), &strange, AuthErrorKind::CrossSite);
    assert_eq!(answer.challenge(), pairs([("realm", "api")]));
}

#[test]
fn b1_the_responders_own_challenge_stays_alone() {
    let own = Answers::default().with_responder(Arc::new(|_: &Refusal<'_>| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let basic = HeaderValue::from_static("Basic realm=\"x\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, basic);
        response
    }));
    let answer = answer_to(&request("GET", ""), &own, AuthErrorKind::Expired);
    let all: Vec<_> = answer.headers.get_all(WWW_AUTHENTICATE).iter().collect();
    assert_eq!(all, ["Basic realm=\"x\""]);
}

#[test]
fn b2_b3_b4_b6_every_challenge_parses_strictly_and_names_its_realm_and_code() {
    for error in refusals() {
        let answer = answer(error.clone());
        if answer.headers.get(WWW_AUTHENTICATE).is_none() {
            continue;
        }
        let params = answer.challenge();
        let get = |name| {
            params
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
        };
        assert_eq!(get("realm"), Some("api"));
        assert_eq!(get("error"), error.code().map(|code| code.as_str()));
        assert_eq!(get("error_description").is_some(), error.code().is_some());
        assert_eq!(get("scope"), error.required_scope());
        for (name, value) in &params {
            let allowed = |byte| matches!(byte, 0x20 | 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
            assert!(value.bytes().all(allowed), "{name}={value}");
        }
    }
}

#[test]
fn b5_a_scope_that_is_none_is_left_out_of_the_challenge() {
    for scope in [
        "",
        " ",
        "a  b",
        " a",
        "a ",
        "a\"b",
        "a\\b",
        "a\r\nx: y",
        "é",
        "a\tb",
    ] {
        let answer = answer(AuthError::missing_scope(scope.to_owned()));
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        let params = answer.challenge();
        assert!(params.iter().all(|(name, _)| name != "scope"), "{scope:?}");
    }
}

#[test]
fn b6_a_realm_is_quoted_and_what_is_not_printable_becomes_a_space() {
    let realm = "a \"b\" \\c\\ é\r\nx: y\u{7f}";
    let answers = Answers::default().with_realm(realm.to_owned());
    let answer = answer_to(&request("GET", ""), &answers, AuthErrorKind::Expired);
    assert_eq!(answer.challenge()[0].1, "a \"b\" \\c\\    x: y ");
}

proptest! {
    #[test]
    fn b6_no_realm_and_no_scope_break_the_challenge(
        realm in any::<String>(),
        scope in prop::collection::vec(any::<char>(), 0..9),
    ) {
        let answers = Answers::default().with_realm(realm.clone());
        let error = AuthError::missing_scope(scope.into_iter().collect());
        let answer = answer_to(&request("GET", ""), &answers, error);
        let params = answer.challenge();
        prop_assert_eq!(params[0].1.chars().count(), realm.chars().count());
        prop_assert_eq!(&params[1].1, "insufficient_scope");
    }
}

#[test]
fn b8_lacking_scope_is_403_and_names_all_scopes() {
    let error = || AuthError::missing_scope("orders:read orders:write".to_owned());
    let expected = pairs([
        ("realm", "api"),
        ("error", "insufficient_scope"),
        (
            "error_description",
            "The access token does not grant a scope that is needed here",
        ),
        ("scope", "orders:read orders:write"),
    ]);
    for answers in [Answers::default(), oauth()] {
        let answer = answer_to(&request("GET", ""), &answers, error());
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.challenge(), expected);
    }
    let answer = answer_to(&request("GET", ""), &oauth(), error());
    assert_eq!(answer.json()["scope"], "orders:read orders:write");
}

/// Settings that accept two schemes, for a caller of this one.
fn two_schemes(used: Scheme) -> Answers {
    let dpop = Offer {
        scheme: Scheme::Dpop,
        parameters: vec![("algs", "ES256 EdDSA".into())],
    };
    Answers::default().with_schemes(vec![Offer::bearer(), dpop], used)
}

/// The scheme of each challenge, and `true` if it names an error.
fn schemes_of(answers: &Answers, error: AuthError) -> Vec<(&'static str, bool)> {
    let answer = answer_to(&request("GET", ""), answers, error);
    let values = answer.headers.get_all(WWW_AUTHENTICATE).iter();
    let values = values.map(|value| value.to_str().unwrap());
    values
        .map(|value| match value.strip_prefix("DPoP ") {
            Some(rest) => {
                assert!(rest.contains("algs=\"ES256 EdDSA\""), "{value}");
                ("DPoP", rest.contains("error=\""))
            }
            None => ("Bearer", value.contains("error=\"")),
        })
        .collect()
}

#[test]
fn a_second_scheme_has_its_own_challenge_and_only_the_refused_one_an_error() {
    let both = two_schemes(Scheme::Bearer);
    let of = |kind: AuthErrorKind| schemes_of(&both, kind.into());
    let bare = [("Bearer", false), ("DPoP", false)];
    assert_eq!(of(AuthErrorKind::MissingCredential), bare);
    assert_eq!(
        of(AuthErrorKind::Expired),
        [("Bearer", true), ("DPoP", false)]
    );
    assert_eq!(
        of(AuthErrorKind::MultipleCredentials),
        [("Bearer", true), ("DPoP", true)]
    );
    assert_eq!(of(AuthErrorKind::MalformedCredential), [("Bearer", true)]);
    assert_eq!(of(AuthErrorKind::MissingScope), [("Bearer", true)]);
    assert_eq!(of(AuthErrorKind::KeysUnavailable), []);

    let by_dpop = |kind: AuthErrorKind| AuthError::from(kind).of_scheme(Scheme::Dpop);
    let of = |kind: AuthErrorKind| schemes_of(&both, by_dpop(kind));
    assert_eq!(
        of(AuthErrorKind::Expired),
        [("DPoP", true), ("Bearer", false)]
    );
    assert_eq!(of(AuthErrorKind::MissingScope), [("DPoP", true)]);

    // A guard inside, for a caller with a proof.
    let inside = two_schemes(Scheme::Dpop);
    let missing = AuthError::missing_scope("a".to_owned());
    assert_eq!(schemes_of(&inside, missing), [("DPoP", true)]);
    let step_up = AuthError::step_up(StepUp::default(), "a sign-in");
    assert_eq!(schemes_of(&inside, step_up), [("DPoP", true)]);
}

#[test]
fn only_the_accepted_scheme_has_a_challenge() {
    let dpop = Offer {
        scheme: Scheme::Dpop,
        parameters: vec![("algs", "ES256 EdDSA".into())],
    };
    let answers = Answers::default().with_schemes(vec![dpop], Scheme::Bearer);
    let of = |kind: AuthErrorKind| schemes_of(&answers, kind.into());
    assert_eq!(of(AuthErrorKind::Expired), [("DPoP", false)]);
    assert_eq!(of(AuthErrorKind::MissingScope), [("DPoP", true)]);
}

#[test]
fn a_responder_that_sets_one_challenge_loses_no_other() {
    let one = two_schemes(Scheme::Bearer).with_responder(Arc::new(|refusal: &Refusal<'_>| {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = refusal.status();
        let challenge = refusal.challenge().unwrap();
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        response
    }));
    let found = schemes_of(&one, AuthErrorKind::Expired.into());
    assert_eq!(found, [("Bearer", true), ("DPoP", false)]);
}

#[test]
fn m1_m2_m4_the_challenge_of_a_step_up_has_all_its_parameters() {
    let step_up = StepUp {
        acr_values: Some("gold silver".into()),
        max_age: Some(std::time::Duration::from_secs(300)),
        scope: Some("a b".into()),
    };
    let answer = answer(AuthError::step_up(step_up, "a sign-in"));
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let expected = pairs([
        ("realm", "api"),
        ("error", "insufficient_user_authentication"),
        (
            "error_description",
            "A stronger or more recent sign-in is needed here",
        ),
        ("acr_values", "gold silver"),
        ("max_age", "300"),
        ("scope", "a b"),
    ]);
    assert_eq!(answer.challenge(), expected);
}
