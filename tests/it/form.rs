//! Section C: the form of a JWS and of its JSON.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_jwt_auth::{JwtAuthLayer, error::AuthErrorKind};

use crate::support::{Fixture, authorization, bearer, send};

fn parts(token: &str) -> [String; 3] {
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn c1_other_than_three_filled_segments_are_an_invalid_token() {
    let fixture = Fixture::new();
    let [h, p, s] = parts(&fixture.token());
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
        fixture.judge(&token).await.is_it(&token);
    }
    // An empty payload can be signed (RFC 7515 §5.1); it holds no claims.
    let empty = fixture.es.raw_parts(&h, "");
    fixture.judge(&empty).await.is_it("empty payload");
    fixture.judge(&format!("{h}.{p}.{s}")).await.is_ok("three");
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
    fixture.judge(&jwe.join(".")).await.is_it("JWE");
    let [h, p, s] = parts(&fixture.token());
    let token = format!("{h}.{p}.{s}.{p}.{s}");
    fixture.judge(&token).await.is_it("JWS and more");
}

#[tokio::test]
async fn c3_an_empty_signature_is_an_invalid_token() {
    let fixture = Fixture::new();
    for token in [fixture.es.token(|_| ()), fixture.rs.token(|_| ())] {
        let [h, p, _] = parts(&token);
        fixture.judge(&format!("{h}.{p}.")).await.is_it("empty");
    }
}

#[tokio::test]
async fn c4_padding_in_any_segment_is_refused() {
    let fixture = Fixture::new();
    let [h, p, s] = parts(&fixture.token());
    for pad in ["=", "==", "==="] {
        // `b64token` has its padding at the end, so that only there the value is one.
        for token in [format!("{h}{pad}.{p}.{s}"), format!("{h}.{p}{pad}.{s}")] {
            fixture.judge(&token).await.is_ir(&token);
        }
        let token = format!("{h}.{p}.{s}{pad}");
        fixture.judge(&token).await.is_it(&token);
        // Signed over the padding, it is no better.
        let token = fixture.es.raw_parts(&format!("{h}{pad}"), &p);
        fixture.judge(&token).await.is_ir("signed header");
        let token = fixture.es.raw_parts(&h, &format!("{p}{pad}"));
        fixture.judge(&token).await.is_ir("signed payload");
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
        fixture.judge(&token).await.is_it("payload");
    }
    for segment in [format!("{h}+"), format!("{h}/")] {
        let token = fixture.es.raw_parts(&segment, &p);
        fixture.judge(&token).await.is_it("header");
    }
    let good = fixture.es.raw_parts(&h, &p);
    fixture.judge(&good).await.is_ok("base64url");
    let [_, _, s] = parts(&good);
    for replaced in [format!("+{}", &s[1..]), format!("/{}", &s[1..])] {
        let token = format!("{h}.{p}.{replaced}");
        fixture.judge(&token).await.is_it("signature");
    }
}

#[tokio::test]
async fn c6_whitespace_inside_a_segment_is_refused() {
    let fixture = Fixture::new();
    let [h, p, s] = parts(&fixture.token());
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
                fixture.judge(&token).await.is_ir(&token);
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
        let [_, _, s] = parts(&fixture.es.raw_parts(&h, &p));
        fixture
            .judge(&format!("{h}.{p}.{s}"))
            .await
            .is_ok("canonical");
        if let Some(segment) = stray(&h) {
            tried[0] += 1;
            let token = fixture.es.raw_parts(&segment, &p);
            fixture.judge(&token).await.is_it("header");
        }
        if let Some(segment) = stray(&p) {
            tried[1] += 1;
            let token = fixture.es.raw_parts(&h, &segment);
            fixture.judge(&token).await.is_it("payload");
        }
        if let Some(segment) = stray(&s) {
            tried[2] += 1;
            let token = format!("{h}.{p}.{segment}");
            fixture.judge(&token).await.is_it("signature");
        }
    }
    assert!(tried.iter().all(|times| *times > 2), "{tried:?}");
}

#[tokio::test]
async fn c8_a_header_that_is_no_object_is_an_invalid_token() {
    let fixture = Fixture::new();
    for header in [
        "",
        " ",
        "null",
        "true",
        "1",
        r#""ES256""#,
        "[]",
        r#"["alg","ES256"]"#,
        r#"[{"alg":"ES256"}]"#,
        "{",
        r#"{"alg":"ES256""#,
        r#"{"alg":"ES256",}"#,
        r#"{alg:"ES256"}"#,
        r#"{'alg':'ES256'}"#,
        r#"{"alg":"ES256"}{}"#,
        "not json",
    ] {
        fixture
            .judge(&fixture.with_header(header))
            .await
            .is_it(header);
    }
    let spaced = " { \"alg\" : \"ES256\" } \n";
    fixture
        .judge(&fixture.with_header(spaced))
        .await
        .is_ok("white space");
}

#[tokio::test]
async fn c9_only_utf_8_without_bom_is_accepted() {
    let fixture = Fixture::new();
    let utf16 = |text: &str, little: bool| -> Vec<u8> {
        let bytes = |unit: u16| {
            if little {
                unit.to_le_bytes()
            } else {
                unit.to_be_bytes()
            }
        };
        text.encode_utf16().flat_map(bytes).collect()
    };
    let spoilt = |text: &str| {
        let inside = text.replacen('{', "{\"x\":\"?\",", 1).into_bytes();
        let position = inside.iter().position(|byte| *byte == b'?').unwrap();
        [0xFF, 0xC0, 0xED].map(|byte| {
            let mut bytes = inside.clone();
            bytes[position] = byte;
            bytes
        })
    };
    let variants = |text: &str| {
        let mut variants = vec![
            [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
            utf16(text, true),
            utf16(text, false),
            [b"\xFF\xFE".to_vec(), utf16(text, true)].concat(),
            [b"\xFE\xFF".to_vec(), utf16(text, false)].concat(),
        ];
        variants.extend(spoilt(text));
        variants
    };
    let (header, claims) = (fixture.header(|_| ()), fixture.payload(|_| ()));
    for bytes in variants(&header) {
        let token = fixture.es.raw_parts(&encode(&bytes), &encode(&claims));
        fixture
            .judge(&token)
            .await
            .is_it(&format!("header {bytes:x?}"));
    }
    for bytes in variants(&claims) {
        let token = fixture.with_payload(&bytes);
        fixture
            .judge(&token)
            .await
            .is_it(&format!("claims {bytes:x?}"));
    }
    let token = fixture.with("x", json!("é😀"));
    fixture.judge(&token).await.is_ok("UTF-8");
}

#[tokio::test]
async fn c10_duplicate_header_members_are_refused() {
    let fixture = Fixture::new();
    let header = fixture.header(|_| ());
    for first in [
        r#""alg":"none""#,
        r#""alg":"ES256""#,
        r#""\u0061lg":"ES256""#,
        r#""typ":"at+jwt""#,
        r#""kid":"x""#,
        r#""ki\u0064":"x""#,
        r#""x":1,"x":1"#,
        r#""x":1,"\u0078":2"#,
        r#""jwk":{},"jwk":{}"#,
    ] {
        let front = header.replacen('{', &format!("{{{first},"), 1);
        let back = header.replacen('}', &format!(",{first}}}"), 1);
        for header in [front, back] {
            fixture
                .judge(&fixture.with_header(&header))
                .await
                .is_it(&header);
        }
    }
}

#[tokio::test]
async fn c11_duplicate_registered_claims_are_refused() {
    let fixture = Fixture::new();
    let claims = fixture.payload(|claims| {
        claims.insert("nbf".into(), json!(0));
        claims.insert("scope".into(), json!("a"));
        claims.insert("roles".into(), json!(["a"]));
        claims.insert("azp".into(), json!("client"));
        claims.insert("sid".into(), json!("s"));
    });
    fixture
        .judge(&fixture.with_payload(&claims))
        .await
        .is_ok("control");
    let members: HashMap<String, Value> = serde_json::from_str(&claims).unwrap();
    for name in [
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
        "scope",
        "roles",
    ] {
        let value = &members[name];
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        for written in [name, &escaped] {
            let front = claims.replacen('{', &format!("{{\"{written}\":{value},"), 1);
            let back = format!("{},\"{written}\":{value}}}", &claims[..claims.len() - 1]);
            for claims in [front, back] {
                fixture
                    .judge(&fixture.with_payload(&claims))
                    .await
                    .is_it(&claims)
                    .because(AuthErrorKind::MalformedClaims);
            }
        }
    }
}

#[tokio::test]
async fn c11_of_any_other_duplicate_claim_the_first_never_wins() {
    #[derive(Deserialize)]
    struct Own {
        tenant: String,
    }

    let fixture = Fixture::new();
    let claims = fixture.payload(|_| ());
    for name in ["tenant", "t\\u0065nant"] {
        let twice = format!(r#"{{"{name}":"first","tenant":"last","#);
        let token = fixture.with_payload(claims.replacen('{', &twice, 1));
        let verifier = fixture.builder().build().unwrap();
        let accepted = verifier.verify_now(&token).unwrap();
        assert_eq!(accepted.get("tenant"), Some(&json!("last")));

        let verifier = fixture.builder().claims::<Own>().build().unwrap();
        let refused = verifier.verify_now(&token).unwrap_err();
        assert_eq!(refused.kind(), AuthErrorKind::MalformedClaims);
        let once = verifier.verify_now(fixture.with("tenant", json!("one")));
        assert_eq!(once.unwrap().tenant, "one");
    }
}

#[tokio::test]
async fn c12_bytes_after_the_closing_brace_are_an_invalid_token() {
    let fixture = Fixture::new();
    let (header, claims) = (fixture.header(|_| ()), fixture.payload(|_| ()));
    for rest in ["x", "{}", ",", "}", "\0", "null", " 1", &claims] {
        let token = fixture.with_payload(format!("{claims}{rest}"));
        fixture.judge(&token).await.is_it(rest);
        let token = fixture.with_header(&format!("{header}{rest}"));
        fixture.judge(&token).await.is_it(rest);
    }
    let token = fixture.with_payload(format!("{claims} \r\n\t"));
    fixture.judge(&token).await.is_ok("white space");
}

#[tokio::test]
async fn c13_claims_that_are_no_object_are_an_invalid_token() {
    let fixture = Fixture::new();
    let claims = fixture.payload(|_| ());
    let array = format!("[{claims}]");
    let text = json!(claims).to_string();
    for payload in [
        "null",
        "true",
        "1",
        "[]",
        "[1,2]",
        r#"["tenant"]"#,
        r#""text""#,
        " ",
        "{",
        "not json",
        &array,
        &text,
    ] {
        let token = fixture.with_payload(payload);
        fixture.judge(&token).await.is_it(payload);
    }
}

#[tokio::test]
async fn c14_the_json_serialization_is_refused() {
    let fixture = Fixture::new();
    let [h, p, s] = parts(&fixture.token());
    let general = json!({"payload": p, "signatures": [{"protected": h, "signature": s}]});
    let flattened = json!({"payload": p, "protected": h, "signature": s});
    for json in [general.to_string(), flattened.to_string()] {
        fixture.judge(&json).await.is_ir(&json);
        fixture.judge(&encode(&json)).await.is_it("encoded");
    }
}

#[tokio::test]
async fn c15_crit_with_an_unknown_extension_is_an_invalid_token() {
    let fixture = Fixture::new();
    for name in ["http://example.com/x", "exp", "b64", "x"] {
        let token = fixture.with_header(&fixture.header(|header| {
            header.insert("crit".into(), json!([name]));
            header.insert(name.into(), json!(1));
        }));
        fixture
            .judge(&token)
            .await
            .is_it(name)
            .because(AuthErrorKind::UnsupportedHeader);
    }
}

#[tokio::test]
async fn c16_crit_in_any_wrong_form_is_an_invalid_token() {
    let fixture = Fixture::new();
    for crit in [
        json!([]),
        json!("exp"),
        json!({}),
        json!(null),
        json!(1),
        json!(true),
        json!([1]),
        json!([null]),
        json!(["x", "x"]),
        json!(["alg"]),
        json!(["typ", "kid"]),
        json!(["absent"]),
        json!([[]]),
        json!([""]),
    ] {
        let header = fixture.header(|header| {
            header.insert("crit".into(), crit.clone());
            header.insert("x".into(), json!(1));
        });
        fixture
            .judge(&fixture.with_header(&header))
            .await
            .is_it(&header);
    }
    // Its name escaped, it is still itself.
    let header = fixture
        .header(|_| ())
        .replacen('{', r#"{"cr\u0069t":["x"],"x":1,"#, 1);
    fixture
        .judge(&fixture.with_header(&header))
        .await
        .is_it(&header);
}

#[tokio::test]
async fn c17_an_unencoded_payload_is_an_invalid_token() {
    let fixture = Fixture::new();
    for value in [json!(false), json!(true), json!("false"), json!(null)] {
        let token = fixture.with_header(&fixture.header(|h| h.insert("b64".into(), value)));
        fixture.judge(&token).await.is_it("b64");
    }
    let header = fixture.header(|header| {
        header.insert("b64".into(), json!(false));
        header.insert("crit".into(), json!(["b64"]))
    });
    let claims = fixture.payload(|_| ());
    for payload in [encode(&claims), claims] {
        let token = fixture.es.raw_parts(&encode(&header), &payload);
        let answer = fixture.judge(&token).await;
        assert!(!answer.ran() && matches!(answer.status.as_u16(), 400 | 401));
    }
    let token = fixture.with_header(&fixture.header(|h| h.insert("zip".into(), json!("DEF"))));
    fixture.judge(&token).await.is_it("zip");
}

#[tokio::test]
async fn c18_unknown_header_parameters_are_ignored() {
    let fixture = Fixture::new();
    for value in [json!(1), json!(null), json!({"a": [1]}), json!("text")] {
        let token = fixture.with_header(&fixture.header(|header| {
            header.insert("x".into(), value.clone());
            header.insert("http://example.com/x".into(), value);
        }));
        fixture.judge(&token).await.is_ok("unknown");
    }
}

#[tokio::test]
async fn c19_unknown_claims_are_ignored() {
    let fixture = Fixture::new();
    for value in [
        json!(1),
        json!(null),
        json!({"a": [1]}),
        json!("text"),
        json!([]),
    ] {
        let token = fixture.with("http://example.com/x", value);
        fixture.judge(&token).await.is_ok("unknown");
    }
}

#[tokio::test]
async fn c20_a_nested_token_is_refused() {
    let fixture = Fixture::new();
    let inner = fixture.token();
    for cty in ["JWT", "jwt", "application/jwt", "APPLICATION/JWT"] {
        let header = fixture.header(|header| header.insert("cty".into(), json!(cty)));
        let nested = fixture.es.raw(&header, inner.as_bytes());
        fixture.judge(&nested).await.is_it(cty);
        fixture
            .judge(&fixture.with_header(&header))
            .await
            .is_it(cty);
    }
    let nested = fixture.with_payload(&inner);
    fixture.judge(&nested).await.is_it("without cty");
    let header = fixture.header(|header| header.insert("cty".into(), json!("json")));
    fixture
        .judge(&fixture.with_header(&header))
        .await
        .is_ok("json");
}

#[tokio::test]
async fn c21_alg_missing_or_no_string_is_an_invalid_token() {
    let fixture = Fixture::new();
    let missing = fixture.header(|header| header.remove("alg"));
    fixture
        .judge(&fixture.with_header(&missing))
        .await
        .is_it("missing");
    for alg in [
        json!(null),
        json!(1),
        json!(true),
        json!(["ES256"]),
        json!({}),
        json!(""),
    ] {
        let header = fixture.header(|header| header.insert("alg".into(), alg.clone()));
        fixture
            .judge(&fixture.with_header(&header))
            .await
            .is_it(&header);
    }
}

#[tokio::test]
async fn c22_a_kid_that_is_no_string_is_an_invalid_token() {
    let fixture = Fixture::new();
    for kid in [
        json!(null),
        json!(1),
        json!(true),
        json!(["first-es256"]),
        json!({}),
    ] {
        for name in ["kid", "typ"] {
            let header = fixture.header(|header| header.insert(name.into(), kid.clone()));
            fixture
                .judge(&fixture.with_header(&header))
                .await
                .is_it(&header);
        }
    }
}

#[tokio::test]
async fn c23_what_is_nested_deeply_or_is_large_costs_little() {
    #[derive(Deserialize)]
    struct Own {}

    let fixture = Fixture::new();
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let with = |name: &str, value: &str| {
        let claims = fixture.payload(|_| ());
        fixture.with_payload(claims.replacen('{', &format!("{{\"{name}\":{value},"), 1))
    };
    // By default the limit on the token decides.
    let answer = fixture.judge(&with("x", &deep(10_000))).await;
    answer
        .is_ir("10 000 deep")
        .because(AuthErrorKind::OversizedCredential);
    let answer = fixture
        .judge(&with("x", &json!("x".repeat(1 << 20)).to_string()))
        .await;
    answer
        .is_ir("1 MiB")
        .because(AuthErrorKind::OversizedCredential);
    // What fits in: never closed, or a claim that a rule reads.
    fixture
        .judge(&with("x", &"[".repeat(10_000)))
        .await
        .is_it("open");
    let opened = fixture
        .header(|_| ())
        .replacen('{', &format!("{{\"x\":{}", "[".repeat(8_000)), 1);
    fixture
        .judge(&fixture.with_header(&opened))
        .await
        .is_it("header");
    for claim in ["roles", "scope", "aud", "cnf", "exp", "sub"] {
        fixture.judge(&with(claim, &deep(2_000))).await.is_it(claim);
    }

    // Without the limit there is no stack to exhaust either, whatever the type.
    let (nested, large) = (
        with("x", &deep(100_000)),
        with("x", &json!("x".repeat(1 << 20)).to_string()),
    );
    let builder = || fixture.builder().max_token_bytes(usize::MAX);
    send(
        JwtAuthLayer::new(builder().build().unwrap()),
        bearer(&nested),
    )
    .await
    .is_it("Claims");
    send(
        JwtAuthLayer::new(builder().build().unwrap()),
        bearer(&large),
    )
    .await
    .is_ok("large");
    // Nobody reads the claim, so nothing nests.
    let layer = JwtAuthLayer::new(builder().claims::<Own>().build().unwrap());
    send(layer, bearer(&nested)).await.is_ok("struct");
    let header = fixture
        .header(|_| ())
        .replacen('{', &format!("{{\"x\":{},", deep(100_000)), 1);
    let layer = JwtAuthLayer::new(builder().build().unwrap());
    send(layer, bearer(fixture.with_header(&header)))
        .await
        .is_ok("unread header member");

    let many: String = (0..1_000).map(|n| format!("\"{n}\":0,")).collect();
    let header = fixture
        .header(|_| ())
        .replacen('{', &format!("{{{many}"), 1);
    fixture
        .judge(&fixture.with_header(&header))
        .await
        .is_it("many members");
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
    send(fixture.layer(), upper).await.is_it("upper case");
}
