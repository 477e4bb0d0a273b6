//! Nothing that somebody else may have written makes this crate panic, nor confuses what it is.

use std::{convert::Infallible, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION};
use proptest::prelude::*;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeySet, VerifyingKey},
    layer::extract::{Bearer, RequestHead, TokenExtractor},
    test_util::{TestClock, TestIssuer, TestKeys, verify_signature},
};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    Verifier::secret(Algorithm::Hs256, TestKeys::new().secret(Algorithm::Hs256))
        .issuer("https://as.example")
        .audience("https://api.example")
        .clock(TestClock::new())
        .build()
        .unwrap()
});

/// Bytes that get further than noise does: pieces of real things, put together at random.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let keys = TestKeys::new();
    let der = STANDARD.decode(keys.public_pem(Algorithm::Es256).lines().nth(1).unwrap());
    let pieces = [
        b"{\"".to_vec(),
        b"\":".to_vec(),
        b"\"}".to_vec(),
        b"[{".to_vec(),
        b"}]".to_vec(),
        b",".to_vec(),
        b".".to_vec(),
        b"eyJhbGciOiJIUzI1NiJ9".to_vec(),
        b"{\"keys\":[".to_vec(),
        b"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"".to_vec(),
        b"\"kty\":\"oct\",\"k\":\"".to_vec(),
        b"-----BEGIN PUBLIC KEY-----\n".to_vec(),
        b"\n-----END PUBLIC KEY-----\n".to_vec(),
        b"Bearer ".to_vec(),
        b"AAAA".to_vec(),
        der.unwrap(),
        keys.jwk(Algorithm::Rs256).into_bytes(),
        keys.jwks().into_bytes(),
    ];
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24),
        prop::sample::select(pieces.to_vec()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_a_verifier_panic_or_waver(token in bytes()) {
        let refused = VERIFIER.verify_now(&token).unwrap_err();
        prop_assert!(refused.status().is_client_error());
        prop_assert_eq!(VERIFIER.verify_now(&token).unwrap_err().kind(), refused.kind());
    }

    #[test]
    fn no_signed_bytes_make_a_verifier_panic_or_waver(header in bytes(), claims in bytes()) {
        let issuer = TestIssuer::new(Algorithm::Hs256);
        let header = String::from_utf8_lossy(&header);
        let anything = issuer.raw(&header, &claims);
        let refused = VERIFIER.verify_now(anything).unwrap_err();
        prop_assert!(refused.status().is_client_error());

        let good_header = issuer.raw(r#"{"alg":"HS256"}"#, &claims);
        let refused = VERIFIER.verify_now(&good_header).unwrap_err();
        prop_assert!(refused.status().is_client_error());
        prop_assert_eq!(VERIFIER.verify_now(good_header).unwrap_err().kind(), refused.kind());
    }

    #[test]
    fn no_bytes_make_key_loading_panic(document in bytes()) {
        let _ = KeySet::from_jwks(&document);
        let _ = VerifyingKey::from_pem(&document);
        let _ = VerifyingKey::from_der(&document);
        let _ = VerifyingKey::from_jwk(&document);
        let _ = VerifyingKey::from_secret(Algorithm::Hs256, &document);
    }

    #[test]
    fn no_header_makes_the_layer_panic_or_answer_5xx(
        lines in prop::collection::vec(bytes(), 1..3),
        good in any::<bool>(),
    ) {
        let mut request = Request::new(());
        let values = lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok());
        for value in values {
            request.headers_mut().append(AUTHORIZATION, value);
        }
        if good {
            let token = TestIssuer::new(Algorithm::Hs256).clock(TestClock::new()).token(|_| ());
            let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
            request.headers_mut().append(AUTHORIZATION, value);
        }
        let alone = request.headers().get_all(AUTHORIZATION).iter().count() == 1;
        let _ = Bearer::new().extract(RequestHead::of(&request));
        let inner = service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(String::new()))
        });
        let service = JwtAuthLayer::new(VERIFIER.clone()).layer(inner);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(service.oneshot(request)).unwrap();
        if good && alone {
            prop_assert_eq!(answer.status(), StatusCode::OK);
        } else {
            prop_assert!(answer.status().is_client_error());
        }
    }
}

#[test]
fn c1_an_empty_payload_is_signed_well_and_holds_no_claims() {
    let token = TestIssuer::new(Algorithm::Hs256).raw(r#"{"alg":"HS256"}"#, b"");
    assert_eq!(verify_signature(&*VERIFIER, &token).unwrap(), b"");
    let refused = VERIFIER.verify_now(token).unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::MalformedClaims);
}

/// Found by the fuzz target `single_key`: such a file is a public key to one function and was a
/// secret to the other.
#[test]
fn d4_bytes_after_a_der_key_are_refused() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let pem = TestKeys::new().public_pem(algorithm);
        let body: String = pem.lines().filter(|line| !line.contains('-')).collect();
        let mut der = STANDARD.decode(body).unwrap();
        assert!(VerifyingKey::from_der(&der).is_ok(), "{algorithm}");
        der.extend_from_slice(&[5, 0]);
        assert!(VerifyingKey::from_der(&der).is_err(), "{algorithm}");
    }
}

/// serde reads a struct from an array too.
#[test]
fn a_jwk_is_an_object_and_no_array() {
    let secret = "A".repeat(43);
    let array = json!([
        "oct", null, null, "HS256", "one", null, null, null, null, null, secret
    ]);
    assert!(VerifyingKey::from_jwk(array.to_string()).is_err());
    assert!(KeySet::from_jwks(json!({ "keys": [array] }).to_string()).is_err());
}

/// Found by the fuzz target `single_key`: serde skips what nobody reads without looking into it, so
/// such a document was a key to one function and a secret to the other.
#[test]
fn d4_a_jwk_is_json_also_where_nobody_reads_it() {
    for member in [
        &b"\"more\":\"\xB5\""[..],
        br#""more":"\udc00""#,
        b"\"more\":1e999",
    ] {
        let secret = "A".repeat(43);
        let jwk = format!(r#"{{"kty":"oct","alg":"HS256","k":"{secret}",MORE}}"#);
        let (start, end) = jwk.split_once("MORE").unwrap();
        let jwk = [start.as_bytes(), member, end.as_bytes()].concat();
        let shown = String::from_utf8_lossy(&jwk);
        assert!(VerifyingKey::from_jwk(&jwk).is_err(), "{shown}");
        let set = [b"{\"keys\":[", &jwk[..], b"]}"].concat();
        assert!(KeySet::from_jwks(set).is_err(), "{shown}");
    }
}
