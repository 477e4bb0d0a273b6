//! Any bytes as header and claims, the first line and the rest, well signed.

#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tower_jwt_auth::{Verifier, test_util::TestIssuer};
use tower_jwt_auth_fuzz::{claims_are_good, header_is_good, issuer, json::Json, verifier};

static ISSUER: LazyLock<TestIssuer> = LazyLock::new(issuer);
static ALL: LazyLock<Verifier<Map<String, Value>>> = LazyLock::new(shaped);
static OPTION: LazyLock<Verifier<Option<Typed>>> = LazyLock::new(shaped);
static NEWTYPE: LazyLock<Verifier<Newtype>> = LazyLock::new(shaped);
static UNTAGGED: LazyLock<Verifier<Untagged>> = LazyLock::new(shaped);
static NOTHING: LazyLock<Verifier<Nothing>> = LazyLock::new(shaped);

fn shaped<C: DeserializeOwned + Send + Sync + 'static>() -> Verifier<C> {
    verifier().claims().build().unwrap()
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Typed {
    sub: Option<String>,
    exp: Option<f64>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Newtype(Typed);

#[derive(Deserialize)]
#[serde(untagged)]
#[allow(dead_code)]
enum Untagged {
    Subject { sub: String },
    Other(Value),
}

#[derive(Deserialize)]
struct Nothing {}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return Corpus::Reject;
    };
    let (header, claims) = (&bytes[..end], &bytes[end + 1..]);
    let token = ISSUER.raw_parts(
        &URL_SAFE_NO_PAD.encode(header),
        &URL_SAFE_NO_PAD.encode(claims),
    );
    let verdict = ALL.verify_now(&token);
    let kind = verdict.as_ref().err().map(tower_jwt_auth::AuthError::kind);
    let again = ALL.verify_now(&token).err().map(|refusal| refusal.kind());
    assert_eq!(kind, again, "another verdict the second time");
    let others = [
        OPTION.verify_now(&token).is_ok(),
        NEWTYPE.verify_now(&token).is_ok(),
        UNTAGGED.verify_now(&token).is_ok(),
        NOTHING.verify_now(&token).is_ok(),
    ];
    match verdict {
        Err(refusal) => {
            assert!(refusal.status().is_client_error());
            // `Nothing` reads no claim, so it takes numbers that no type can hold.
            let [typed @ .., nothing] = others;
            assert_eq!(typed, [false; 3], "another type, and the token is accepted");
            assert!(
                !nothing || claims_are_good(claims),
                "no type, and the token is accepted"
            );
        }
        Ok(token) => {
            assert!(header_is_good(header), "the header is not good");
            assert!(claims_are_good(claims), "the claims are not good");
            let plain: Map<String, Value> = serde_json::from_slice(claims).unwrap();
            assert_eq!(*token.claims(), plain, "the application sees other claims");
            assert_eq!(token.subject(), plain.get("sub").and_then(Value::as_str));
            let roles: Vec<_> = token.principal().roles().map(str::to_owned).collect();
            assert!(
                roles.iter().all(|role| has_role(claims, role)),
                "a role out of nothing"
            );
        }
    }
    Corpus::Keep
});

/// Whether `roles` or `role` of the claims holds the role.
fn has_role(claims: &[u8], role: &str) -> bool {
    let claims = Json::parse(claims).unwrap();
    claims
        .members()
        .unwrap()
        .iter()
        .any(|(name, value)| match value {
            _ if name != "roles" && name != "role" => false,
            Json::Text(one) => one == role,
            Json::List(many) => many.iter().any(|one| one.text() == Some(role)),
            _ => false,
        })
}
