//! Section C, C8 to C23: the JSON of header and claims.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use tower_jwt_auth::{JwtAuthLayer, error::AuthErrorKind};

use crate::support::text::{encode, segments};
use crate::support::{
    answer::send,
    fixture::{Fixture, bearer},
};

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
            .invalid_token(header);
    }
    let spaced = " { \"alg\" : \"ES256\" } \n";
    fixture
        .judge(&fixture.with_header(spaced))
        .await
        .passes("white space");
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
            .invalid_token(&format!("header {bytes:x?}"));
    }
    for bytes in variants(&claims) {
        let token = fixture.with_payload(&bytes);
        fixture
            .judge(&token)
            .await
            .invalid_token(&format!("claims {bytes:x?}"));
    }
    let token = fixture.with("x", json!("é😀"));
    fixture.judge(&token).await.passes("UTF-8");
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
                .invalid_token(&header);
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
        .passes("control");
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
                    .invalid_token(&claims)
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
        fixture.judge(&token).await.invalid_token(rest);
        let token = fixture.with_header(&format!("{header}{rest}"));
        fixture.judge(&token).await.invalid_token(rest);
    }
    let token = fixture.with_payload(format!("{claims} \r\n\t"));
    fixture.judge(&token).await.passes("white space");
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
        fixture.judge(&token).await.invalid_token(payload);
    }
}

#[tokio::test]
async fn c14_the_json_serialization_is_refused() {
    let fixture = Fixture::new();
    let [h, p, s] = segments(&fixture.token());
    let general = json!({"payload": p, "signatures": [{"protected": h, "signature": s}]});
    let flattened = json!({"payload": p, "protected": h, "signature": s});
    for json in [general.to_string(), flattened.to_string()] {
        fixture.judge(&json).await.invalid_request(&json);
        fixture.judge(&encode(&json)).await.invalid_token("encoded");
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
            .invalid_token(name)
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
            .invalid_token(&header);
    }
    // Its name escaped, it is still itself.
    let header = fixture
        .header(|_| ())
        .replacen('{', r#"{"cr\u0069t":["x"],"x":1,"#, 1);
    fixture
        .judge(&fixture.with_header(&header))
        .await
        .invalid_token(&header);
}

#[tokio::test]
async fn c17_an_unencoded_payload_is_an_invalid_token() {
    let fixture = Fixture::new();
    for value in [json!(false), json!(true), json!("false"), json!(null)] {
        let token = fixture.with_header(&fixture.header(|h| h.insert("b64".into(), value)));
        fixture.judge(&token).await.invalid_token("b64");
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
    fixture.judge(&token).await.invalid_token("zip");
}

#[tokio::test]
async fn c18_unknown_header_parameters_are_ignored() {
    let fixture = Fixture::new();
    for value in [json!(1), json!(null), json!({"a": [1]}), json!("text")] {
        let token = fixture.with_header(&fixture.header(|header| {
            header.insert("x".into(), value.clone());
            header.insert("http://example.com/x".into(), value);
        }));
        fixture.judge(&token).await.passes("unknown");
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
        fixture.judge(&token).await.passes("unknown");
    }
}

#[tokio::test]
async fn c20_a_nested_token_is_refused() {
    let fixture = Fixture::new();
    let inner = fixture.token();
    for cty in ["JWT", "jwt", "application/jwt", "APPLICATION/JWT"] {
        let header = fixture.header(|header| header.insert("cty".into(), json!(cty)));
        let nested = fixture.es.raw(&header, inner.as_bytes());
        fixture.judge(&nested).await.invalid_token(cty);
        fixture
            .judge(&fixture.with_header(&header))
            .await
            .invalid_token(cty);
    }
    let nested = fixture.with_payload(&inner);
    fixture.judge(&nested).await.invalid_token("without cty");
    let header = fixture.header(|header| header.insert("cty".into(), json!("json")));
    fixture
        .judge(&fixture.with_header(&header))
        .await
        .passes("json");
}

#[tokio::test]
async fn c21_alg_missing_or_no_string_is_an_invalid_token() {
    let fixture = Fixture::new();
    let missing = fixture.header(|header| header.remove("alg"));
    fixture
        .judge(&fixture.with_header(&missing))
        .await
        .invalid_token("missing");
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
            .invalid_token(&header);
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
                .invalid_token(&header);
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
        .invalid_request("10 000 deep")
        .because(AuthErrorKind::OversizedCredential);
    let answer = fixture
        .judge(&with("x", &json!("x".repeat(1 << 20)).to_string()))
        .await;
    answer
        .invalid_request("1 MiB")
        .because(AuthErrorKind::OversizedCredential);
    // What fits in: never closed, or a claim that a rule reads.
    fixture
        .judge(&with("x", &"[".repeat(10_000)))
        .await
        .invalid_token("open");
    let opened = fixture
        .header(|_| ())
        .replacen('{', &format!("{{\"x\":{}", "[".repeat(8_000)), 1);
    fixture
        .judge(&fixture.with_header(&opened))
        .await
        .invalid_token("header");
    for claim in ["roles", "scope", "aud", "cnf", "exp", "sub"] {
        fixture
            .judge(&with(claim, &deep(2_000)))
            .await
            .invalid_token(claim);
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
    .invalid_token("Claims");
    send(
        JwtAuthLayer::new(builder().build().unwrap()),
        bearer(&large),
    )
    .await
    .passes("large");
    // Nobody reads the claim, so nothing nests.
    let layer = JwtAuthLayer::new(builder().claims::<Own>().build().unwrap());
    send(layer, bearer(&nested)).await.passes("struct");
    let header = fixture
        .header(|_| ())
        .replacen('{', &format!("{{\"x\":{},", deep(100_000)), 1);
    let layer = JwtAuthLayer::new(builder().build().unwrap());
    send(layer, bearer(fixture.with_header(&header)))
        .await
        .passes("unread header member");

    let many: String = (0..1_000).map(|n| format!("\"{n}\":0,")).collect();
    let header = fixture
        .header(|_| ())
        .replacen('{', &format!("{{{many}"), 1);
    fixture
        .judge(&fixture.with_header(&header))
        .await
        .invalid_token("many members");
}
