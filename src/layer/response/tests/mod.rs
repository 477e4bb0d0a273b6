//! What a refused request is answered with.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};
use serde_json::{Value, json};

mod challenge;
mod grpc;
#[cfg(feature = "tracing")]
mod log;

use self::challenge::{pairs, parse};
use super::*;
use crate::{
    error::{AuthErrorKind, ROWS},
    principal::Origin,
};

/// What comes with a hostile request: none of it may come back.
const POISON: &str = "p0isoned-token";

/// A response whose body was read.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    error: Option<AuthErrorKind>,
}

impl Answer {
    fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn challenge(&self) -> Vec<(String, String)> {
        parse(self.header(WWW_AUTHENTICATE).expect("no challenge"))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn request(method: &str, content_type: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .version(http::Version::HTTP_2)
        .uri(format!(
            "https://api.example/{POISON}?access_token={POISON}"
        ))
        .header("authorization", format!("Bearer {POISON}"))
        .header(CONTENT_TYPE, content_type)
        .body(())
        .unwrap()
}

fn answer_to(request: &Request<()>, answers: &Answers, error: impl Into<AuthError>) -> Answer {
    let response = answers.refuse(error.into(), RequestHead::of(request));
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
        error: parts.extensions.get::<AuthError>().map(AuthError::kind),
    }
}

fn answer(error: impl Into<AuthError>) -> Answer {
    answer_to(
        &request("GET", "application/json"),
        &Answers::default(),
        error,
    )
}

fn oauth() -> Answers {
    Answers::default().with_responder(Arc::new(OAuthJson::new()))
}

/// Every kind of refusal, one that names scopes included.
fn refusals() -> Vec<AuthError> {
    use AuthErrorKind::{
        AlgorithmNotAllowed, AmbiguousKey, CheckUnavailable, CrossSite, Expired, Forbidden,
        InsufficientAuthentication, InvalidSignature, KeyAlgorithmMismatch, KeysUnavailable,
        MalformedClaims, MalformedCredential, MalformedHeader, MalformedToken, Misconfigured,
        MissingClaim, MissingCredential, MissingScope, MultipleCredentials, NotYetValid,
        OversizedCredential, PolicyUnavailable, Rejected, RevocationUnavailable, Revoked,
        SenderConstrained, TooManyRequests, TooOld, UnknownKey, UnsupportedHeader, WrongAudience,
        WrongClient, WrongIssuer, WrongType, WrongUse,
    };

    let kinds = [
        MissingCredential,
        MalformedCredential,
        MultipleCredentials,
        OversizedCredential,
        MalformedToken,
        MalformedHeader,
        UnsupportedHeader,
        AlgorithmNotAllowed,
        UnknownKey,
        KeyAlgorithmMismatch,
        AmbiguousKey,
        InvalidSignature,
        MalformedClaims,
        MissingClaim("sub"),
        Expired,
        NotYetValid,
        TooOld,
        WrongIssuer,
        WrongAudience,
        WrongClient,
        WrongType,
        WrongUse,
        SenderConstrained,
        Revoked,
        Rejected,
        InsufficientAuthentication,
        Forbidden,
        MissingScope,
        CrossSite,
        TooManyRequests,
        KeysUnavailable,
        RevocationUnavailable,
        CheckUnavailable,
        PolicyUnavailable,
        Misconfigured,
    ];
    let mut refusals: Vec<AuthError> = kinds.into_iter().map(AuthError::from).collect();
    refusals.push(AuthError::missing_scope("a:read a:write".to_owned()));
    refusals.push(AuthError::unavailable(KeysUnavailable, 7));
    refusals.push(AuthError::caused_by(MalformedClaims, POISON));
    refusals
}

#[test]
fn a1_a_missing_credential_is_401_with_a_challenge_and_no_error() {
    let answer = answer(AuthErrorKind::MissingCredential);
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        answer.header(WWW_AUTHENTICATE),
        Some("Bearer realm=\"api\"")
    );
    assert_eq!(answer.json().get("error"), None);
}

#[test]
fn b9_a_malformed_request_is_400_with_a_challenge() {
    for kind in [
        AuthErrorKind::MalformedCredential,
        AuthErrorKind::MultipleCredentials,
        AuthErrorKind::OversizedCredential,
    ] {
        let answer = answer(kind);
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let (name, value) = &answer.challenge()[1];
        assert_eq!(
            (name.as_str(), value.as_str()),
            ("error", "invalid_request")
        );
    }
}

#[test]
fn a_refusal_that_no_credential_would_change_has_no_challenge() {
    for (kind, status) in [
        (AuthErrorKind::CrossSite, StatusCode::FORBIDDEN),
        (
            AuthErrorKind::TooManyRequests,
            StatusCode::TOO_MANY_REQUESTS,
        ),
        (
            AuthErrorKind::RevocationUnavailable,
            StatusCode::SERVICE_UNAVAILABLE,
        ),
        (
            AuthErrorKind::KeysUnavailable,
            StatusCode::SERVICE_UNAVAILABLE,
        ),
        (
            AuthErrorKind::CheckUnavailable,
            StatusCode::SERVICE_UNAVAILABLE,
        ),
        (
            AuthErrorKind::PolicyUnavailable,
            StatusCode::SERVICE_UNAVAILABLE,
        ),
        (
            AuthErrorKind::Misconfigured,
            StatusCode::INTERNAL_SERVER_ERROR,
        ),
    ] {
        let answer = answer(kind);
        assert_eq!(answer.status, status);
        assert_eq!(answer.header(WWW_AUTHENTICATE), None);
    }
}

#[test]
fn b10_head_gets_the_same_status_and_headers_and_no_content() {
    for answers in [Answers::default(), oauth()] {
        for error in refusals() {
            let get = answer_to(&request("GET", ""), &answers, error.clone());
            let head = answer_to(&request("HEAD", ""), &answers, error);
            assert_eq!(head.status, get.status);
            assert_eq!(head.headers, get.headers);
            assert_eq!(
                head.header(CONTENT_LENGTH),
                Some(&*get.body.len().to_string())
            );
            assert!(!get.body.is_empty());
            assert!(head.body.is_empty());
        }
    }
}

#[test]
fn b14_nothing_of_the_request_and_no_cause_comes_back() {
    for content_type in [
        "application/json",
        "application/grpc",
        "application/grpc-web",
    ] {
        for answers in [Answers::default(), oauth()] {
            for error in refusals() {
                let answer = answer_to(&request("POST", content_type), &answers, error);
                let body = String::from_utf8(answer.body.to_vec()).unwrap_or_default();
                assert!(!body.contains(POISON));
                assert!(!format!("{:?}", answer.headers).contains(POISON));
            }
        }
    }
}

#[test]
fn b15_without_details_the_texts_go_and_the_code_stays() {
    let terse = Answers::default().without_details();
    let answer = answer_to(&request("GET", ""), &terse, AuthErrorKind::Expired);
    let expected = pairs([("realm", "api"), ("error", "invalid_token")]);
    assert_eq!(answer.challenge(), expected);
    assert_eq!(
        answer.json(),
        json!({"type": "about:blank", "title": "Unauthorized", "status": 401, "error": "invalid_token"})
    );

    let terse = oauth().without_details();
    let answer = answer_to(&request("GET", ""), &terse, AuthErrorKind::Expired);
    assert_eq!(answer.json(), json!({"error": "invalid_token"}));

    let answer = answer_to(
        &request("POST", "application/grpc"),
        &terse,
        AuthErrorKind::Expired,
    );
    assert_eq!(answer.header("grpc-status"), Some("16"));
    assert_eq!(answer.header("grpc-message"), None);
}

#[test]
fn b15_a_realm_set_later_does_not_bring_the_texts_back() {
    let terse = Answers::default()
        .without_details()
        .with_realm("x".to_owned());
    let answer = answer_to(&request("GET", ""), &terse, AuthErrorKind::Expired);
    assert_eq!(
        answer.challenge(),
        pairs([("realm", "x"), ("error", "invalid_token")])
    );
}

#[test]
fn o1_o2_o3_o4_o5_a_refusal_is_a_problem_with_a_challenge() {
    let answer = answer(AuthErrorKind::Expired);
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        answer.header(CONTENT_TYPE),
        Some("application/problem+json")
    );
    assert_eq!(
        answer.json(),
        json!({
            "type": "about:blank",
            "title": "Unauthorized",
            "status": 401,
            "detail": "The access token expired",
            "error": "invalid_token",
        })
    );
    assert_eq!(answer.challenge().len(), 3);
}

#[test]
fn o2_the_member_status_is_the_status_of_every_refusal() {
    for error in refusals() {
        let answer = answer(error.clone());
        assert_eq!(answer.status, error.status());
        let problem = answer.json();
        assert_eq!(problem["status"], answer.status.as_u16());
        assert_eq!(problem["title"], answer.status.canonical_reason().unwrap());
        assert_eq!(
            problem.get("error").and_then(Value::as_str),
            error.code().map(|code| code.as_str())
        );
    }
}

#[test]
fn the_oauth_form_has_a_code_except_for_a_missing_credential() {
    let code = |kind: AuthErrorKind| {
        let answer = answer_to(&request("GET", ""), &oauth(), kind);
        assert_eq!(answer.header(CONTENT_TYPE), Some("application/json"));
        answer
            .json()
            .get("error")
            .map(|code| code.as_str().unwrap().to_owned())
    };
    assert_eq!(code(AuthErrorKind::MissingCredential), None);
    for (kind, expected) in [
        (AuthErrorKind::Expired, "invalid_token"),
        (AuthErrorKind::MultipleCredentials, "invalid_request"),
        (AuthErrorKind::Forbidden, "insufficient_scope"),
        (AuthErrorKind::CrossSite, "access_denied"),
        (AuthErrorKind::TooManyRequests, "slow_down"),
        (AuthErrorKind::KeysUnavailable, "temporarily_unavailable"),
        (AuthErrorKind::Misconfigured, "server_error"),
    ] {
        assert_eq!(code(kind).as_deref(), Some(expected));
    }
}

#[test]
fn d31_unavailable_is_503_with_the_errors_retry_after_or_a_second() {
    let answer_a = answer(AuthError::unavailable(AuthErrorKind::KeysUnavailable, 7));
    assert_eq!(answer_a.header(RETRY_AFTER), Some("7"));
    let answer_b = answer(AuthErrorKind::CheckUnavailable);
    assert_eq!(answer_b.header(RETRY_AFTER), Some("1"));
    assert_eq!(answer(AuthErrorKind::Expired).header(RETRY_AFTER), None);
}

#[test]
fn every_answer_forbids_caching_unless_the_responder_decided() {
    for content_type in ["", "application/grpc", "application/grpc-web-text"] {
        let answer = answer_to(
            &request("POST", content_type),
            &Answers::default(),
            AuthErrorKind::Expired,
        );
        assert_eq!(answer.header(CACHE_CONTROL), Some("no-store"));
    }
    let own = Answers::default().with_responder(Arc::new(|_: &Refusal<'_>| {
        let mut response = Response::new(Bytes::new());
        let private = HeaderValue::from_static("private");
        response.headers_mut().insert(CACHE_CONTROL, private);
        response
    }));
    let answer = answer_to(&request("GET", ""), &own, AuthErrorKind::Expired);
    assert_eq!(answer.header(CACHE_CONTROL), Some("private"));
}

#[test]
fn the_content_length_is_true_whatever_the_responder_declared() {
    let lying = Answers::default().with_responder(Arc::new(|_: &Refusal<'_>| {
        let mut response = Response::new(Bytes::from_static(b"four"));
        response.headers_mut().insert(CONTENT_LENGTH, 4.into());
        response.headers_mut().append(CONTENT_LENGTH, 400.into());
        response
    }));
    let answer = answer_to(&request("GET", ""), &lying, AuthErrorKind::Expired);
    let lengths: Vec<_> = answer.headers.get_all(CONTENT_LENGTH).iter().collect();
    assert_eq!(lengths, ["4"]);
}

#[test]
fn a_closure_answers_in_its_own_way_and_sees_the_denial() {
    let redirect = Answers::default().with_responder(Arc::new(|refusal: &Refusal<'_>| {
        assert_eq!(refusal.realm(), "api");
        assert_eq!(refusal.code(), Some(ErrorCode::InvalidToken));
        assert_eq!(refusal.detail(), Some("The access token expired"));
        assert_eq!(refusal.head().method(), Method::GET);
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::SEE_OTHER;
        let login = HeaderValue::from_static("/login");
        response.headers_mut().insert(LOCATION, login);
        response
    }));
    let answer = answer_to(&request("GET", ""), &redirect, AuthErrorKind::Expired);
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.header(LOCATION), Some("/login"));
    assert_eq!(answer.header(WWW_AUTHENTICATE), None);
}

#[test]
fn the_error_is_in_the_extensions_of_every_answer() {
    for content_type in ["text/html", "application/grpc", "application/grpc-web"] {
        let answer = answer_to(
            &request("POST", content_type),
            &Answers::default(),
            AuthErrorKind::WrongAudience,
        );
        assert_eq!(answer.error, Some(AuthErrorKind::WrongAudience));
    }
}

#[test]
fn q3_debug_of_a_denial_shows_nothing_of_the_request() {
    let answers = Answers::default().with_responder(Arc::new(|refusal: &Refusal<'_>| {
        Response::new(format!("{refusal:?}").into())
    }));
    let answer = answer_to(&request("GET", ""), &answers, AuthErrorKind::Expired);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.contains("Expired"));
    assert!(!text.contains(POISON));
}

#[test]
fn answers_travel_with_a_principal() {
    let answers = Arc::new(Answers::default().with_realm("outer".to_owned()));
    let found = answers::answers_of(&origin(&answers)).unwrap();
    assert!(Arc::ptr_eq(&found, &answers));
    assert!(answers::answers_of(&Origin(Arc::new("something else"))).is_none());
}

#[test]
fn causes_with_one_reason_have_one_status_and_one_code() {
    for (status, code, reason) in ROWS {
        for other in ROWS.iter().filter(|other| other.2 == *reason) {
            assert_eq!((other.0, other.1), (*status, *code), "{reason:?}");
        }
    }
}
