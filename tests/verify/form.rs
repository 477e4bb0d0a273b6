//! Section C, C1 to C7: segments and base64url.

use serde_json::json;
use tower_jwt_auth::error::AuthErrorKind;

use crate::support::text::{encode, segments};
use crate::support::{
    answer::send,
    fixture::{Fixture, authorization},
};

#[tokio::test]
async fn c1_other_than_three_filled_segments_are_an_invalid_token() {
    let fixture = Fixture::new();
    let [h, p, s] = segments(&fixture.token());
    for token in [
        h.clone(),
        format!("{h}."),
        format!(".{h}"),
        format!("{h}.{p}"),
        format!("{h}.{p}.{s}.{s}"),
        format!("{h}.{p}.{s}."),
        format!(".{h}.{p}.{s}"),
        format!("{h}..{s}"),
        format!(".{p}.{s}"),
        format!("{h}..{p}.{s}"),
        "a..b".into(),
        "..".into(),
    ] {
        fixture.judge(&token).await.invalid_token(&token);
    }
    // An empty payload can be signed (RFC 7515 §5.1); it holds no claims.
    let empty = fixture.es.raw_parts(&h, "");
    fixture.judge(&empty).await.invalid_token("empty payload");
    fixture.judge(&format!("{h}.{p}.{s}")).await.passes("three");
}

#[tokio::test]
async fn c2_five_segments_are_an_invalid_token() {
    let fixture = Fixture::new();
    let jwe = [
        encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#),
        encode("key"),
        encode("iv"),
        encode("ciphertext"),
        encode("tag"),
    ];
    fixture.judge(&jwe.join(".")).await.invalid_token("JWE");
    let [h, p, s] = segments(&fixture.token());
    let token = format!("{h}.{p}.{s}.{p}.{s}");
    fixture.judge(&token).await.invalid_token("JWS and more");
}

#[tokio::test]
async fn c3_an_empty_signature_is_an_invalid_token() {
    let fixture = Fixture::new();
    for token in [fixture.es.token(|_| ()), fixture.rs.token(|_| ())] {
        let [h, p, _] = segments(&token);
        fixture
            .judge(&format!("{h}.{p}."))
            .await
            .invalid_token("empty");
    }
}

#[tokio::test]
async fn c4_padding_in_any_segment_is_refused() {
    let fixture = Fixture::new();
    let [h, p, s] = segments(&fixture.token());
    for pad in ["=", "==", "==="] {
        // `b64token` has its padding at the end, so that only there the value is one.
        for token in [format!("{h}{pad}.{p}.{s}"), format!("{h}.{p}{pad}.{s}")] {
            fixture.judge(&token).await.invalid_request(&token);
        }
        let token = format!("{h}.{p}.{s}{pad}");
        fixture.judge(&token).await.invalid_token(&token);
        // Signed over the padding, it is no better.
        let token = fixture.es.raw_parts(&format!("{h}{pad}"), &p);
        fixture.judge(&token).await.invalid_request("signed header");
        let token = fixture.es.raw_parts(&h, &format!("{p}{pad}"));
        fixture
            .judge(&token)
            .await
            .invalid_request("signed payload");
    }
    let verifier = fixture.builder().build().unwrap();
    let refused = verifier.verify_now(format!("{h}=.{p}.{s}")).unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::MalformedHeader);
    let refused = verifier.verify_now(format!("{h}.{p}.{s}==")).unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::MalformedToken);
}

#[tokio::test]
async fn c5_the_other_base64_alphabet_is_an_invalid_token() {
    let fixture = Fixture::new();
    // Claims whose encoding needs the two characters that the alphabets write differently.
    let claims = fixture.payload(|claims| claims.insert("x".into(), json!("~~~???>>>~~~???")));
    let (h, p) = (encode(fixture.header(|_| ())), encode(&claims));
    let (plus, slash) = (p.replace('-', "+"), p.replace('_', "/"));
    assert!(plus != p || slash != p);
    for segment in [plus, slash].into_iter().filter(|one| *one != p) {
        let token = fixture.es.raw_parts(&h, &segment);
        fixture.judge(&token).await.invalid_token("payload");
    }
    for segment in [format!("{h}+"), format!("{h}/")] {
        let token = fixture.es.raw_parts(&segment, &p);
        fixture.judge(&token).await.invalid_token("header");
    }
    let good = fixture.es.raw_parts(&h, &p);
    fixture.judge(&good).await.passes("base64url");
    let [_, _, s] = segments(&good);
    for replaced in [format!("+{}", &s[1..]), format!("/{}", &s[1..])] {
        let token = format!("{h}.{p}.{replaced}");
        fixture.judge(&token).await.invalid_token("signature");
    }
}

#[tokio::test]
async fn c6_whitespace_inside_a_segment_is_refused() {
    let fixture = Fixture::new();
    let [h, p, s] = segments(&fixture.token());
    let verifier = fixture.builder().build().unwrap();
    for space in [" ", "\t", "\r", "\n", "\r\n", "\u{b}", "\u{c}"] {
        let broken = |segment: &str| format!("{}{space}{}", &segment[..5], &segment[5..]);
        for token in [
            format!("{}.{p}.{s}", broken(&h)),
            format!("{h}.{}.{s}", broken(&p)),
            format!("{h}.{p}.{}", broken(&s)),
            format!("{h}.{p}.{s}{space}"),
            format!("{h}{space}.{p}.{s}"),
            fixture.es.raw_parts(&broken(&h), &p),
            fixture.es.raw_parts(&h, &broken(&p)),
        ] {
            let kind = verifier.verify_now(&token).unwrap_err().kind();
            assert!(
                matches!(
                    kind,
                    AuthErrorKind::MalformedToken
                        | AuthErrorKind::MalformedHeader
                        | AuthErrorKind::InvalidSignature
                ),
                "{kind:?}"
            );
            // A field value holds no control characters; those never get here.
            if matches!(space, " " | "\t") {
                fixture.judge(&token).await.invalid_request(&token);
            }
        }
    }
}

#[tokio::test]
async fn c7_stray_bits_in_the_last_character_are_an_invalid_token() {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    // The same bytes, spelt otherwise.
    fn stray(segment: &str) -> Option<String> {
        let free = match segment.len() % 4 {
            2 | 3 => 1,
            _ => return None,
        };
        let last = ALPHABET.find(segment.chars().last()?)?;
        let other = ALPHABET.chars().nth(last ^ free)?;
        Some(format!("{}{other}", &segment[..segment.len() - 1]))
    }

    let fixture = Fixture::new();
    let mut tried = [0; 3];
    for length in 0..6 {
        let claims = fixture.payload(|claims| claims.insert("x".into(), json!("x".repeat(length))));
        let header = fixture.header(|header| header.insert("x".into(), json!("x".repeat(length))));
        let (h, p) = (encode(header), encode(claims));
        let [_, _, s] = segments(&fixture.es.raw_parts(&h, &p));
        fixture
            .judge(&format!("{h}.{p}.{s}"))
            .await
            .passes("canonical");
        if let Some(segment) = stray(&h) {
            tried[0] += 1;
            let token = fixture.es.raw_parts(&segment, &p);
            fixture.judge(&token).await.invalid_token("header");
        }
        if let Some(segment) = stray(&p) {
            tried[1] += 1;
            let token = fixture.es.raw_parts(&h, &segment);
            fixture.judge(&token).await.invalid_token("payload");
        }
        if let Some(segment) = stray(&s) {
            tried[2] += 1;
            let token = format!("{h}.{p}.{segment}");
            fixture.judge(&token).await.invalid_token("signature");
        }
    }
    assert!(tried.iter().all(|times| *times > 2), "{tried:?}");
}

#[tokio::test]
async fn c1_no_prefix_of_a_token_and_no_changed_byte_passes() {
    let fixture = Fixture::new();
    let verifier = fixture.builder().build().unwrap();
    let token = fixture.token();
    assert!(verifier.verify_now(&token).is_ok());
    for end in 0..token.len() {
        assert!(verifier.verify_now(&token[..end]).is_err(), "{end}");
        let mut changed = token.clone().into_bytes();
        for byte in [b'A', b'B', b'.', b'=', b' ', 0, 0xFF] {
            let own = std::mem::replace(&mut changed[end], byte);
            if own != byte {
                assert!(verifier.verify_now(&changed).is_err(), "{end} {byte}");
            }
            changed[end] = own;
        }
    }
    let upper = authorization(format!("Bearer {}", token.to_ascii_uppercase()));
    send(fixture.layer(), upper)
        .await
        .invalid_token("upper case");
}
