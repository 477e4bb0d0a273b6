//! gRPC and gRPC-Web calls.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};

use super::{answer_to, refusals, request};
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::response::Answers,
};

#[test]
fn p1_a_grpc_call_is_answered_200_trailers_only() {
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc;charset=utf-8",
        "application/grpc ; x=y",
        "Application/gRPC+json",
    ] {
        for kind in [AuthErrorKind::MissingCredential, AuthErrorKind::Expired] {
            let request = request("POST", content_type);
            let answer = answer_to(&request, &Answers::default(), kind);
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.header(CONTENT_TYPE), Some("application/grpc"));
            assert_eq!(answer.header("grpc-status"), Some("16"));
            assert!(answer.header("grpc-message").is_some());
            assert_eq!(answer.header(CONTENT_LENGTH), None);
            assert!(answer.body.is_empty());
        }
    }
    for content_type in [
        "",
        "application/grpcx",
        "application/grp",
        "text/plain",
        "application/grpc-x",
    ] {
        let answer = answer_to(
            &request("POST", content_type),
            &Answers::default(),
            AuthErrorKind::Expired,
        );
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{content_type}");
        assert_eq!(answer.header("grpc-status"), None);
    }
}

#[test]
fn p2_p3_p4_the_grpc_status_of_each_refusal() {
    let status = |error: AuthError| {
        let request = request("POST", "application/grpc");
        let answer = answer_to(&request, &Answers::default(), error);
        answer.header("grpc-status").unwrap().to_owned()
    };
    for error in refusals() {
        let expected = match (error.kind(), error.status().as_u16()) {
            // P3: a caller who was not identified never gets 7.
            (AuthErrorKind::CrossSite, _) => "16",
            (_, 400) => "3",
            (_, 401) => "16",
            (_, 403) => "7",
            (_, 429) => "8",
            (_, 503) => "14",
            _ => "13",
        };
        assert_eq!(status(error.clone()), expected, "{error}");
    }
    assert_eq!(status(AuthErrorKind::Forbidden.into()), "7");
    assert_eq!(status(AuthErrorKind::KeysUnavailable.into()), "14");
}

#[test]
fn p5_every_grpc_message_is_its_own_percent_encoding() {
    for error in refusals() {
        let request = request("POST", "application/grpc");
        let answer = answer_to(&request, &Answers::default(), error);
        let message = answer.header("grpc-message").unwrap_or_default();
        assert!(
            message
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~') && byte != b'%')
        );
    }
}

#[test]
fn p6_a_grpc_web_call_is_answered_with_a_frame_of_trailers() {
    let binary = [
        ("application/grpc-web", "application/grpc-web"),
        ("application/grpc-web+proto", "application/grpc-web"),
    ];
    let text = [
        ("application/grpc-web-text", "application/grpc-web-text"),
        (
            "application/grpc-web-text+proto",
            "application/grpc-web-text",
        ),
    ];
    let block = b"grpc-status:16\r\ngrpc-message:The access token expired\r\n";
    let mut frame = vec![0x80, 0, 0, 0, block.len() as u8];
    frame.extend(block);

    for (sent, expected) in binary.into_iter().chain(text) {
        let answer = answer_to(
            &request("POST", sent),
            &Answers::default(),
            AuthErrorKind::Expired,
        );
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header(CONTENT_TYPE), Some(expected));
        assert_eq!(answer.header("grpc-status"), None);
        assert_eq!(
            answer.header(CONTENT_LENGTH),
            Some(&*answer.body.len().to_string())
        );
        if expected.ends_with("text") {
            assert_eq!(STANDARD.decode(&answer.body).unwrap(), frame);
        } else {
            assert_eq!(answer.body, frame);
        }
    }
}
