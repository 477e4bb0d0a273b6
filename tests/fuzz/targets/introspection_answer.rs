//! Any text as an authorization server's answer about an opaque token.

#![no_main]

use std::{collections::BTreeMap, sync::LazyLock};

use libfuzzer_sys::{Corpus, fuzz_target};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tower_jwt_auth::{AuthError, Verifier, test_util::read_answer};
use tower_jwt_auth_fuzz::{answer_is_good, verifier};

static ALL: LazyLock<Verifier<Map<String, Value>>> = LazyLock::new(shaped);
static TYPED: LazyLock<Verifier<Typed>> = LazyLock::new(shaped);
static NOTHING: LazyLock<Verifier<Nothing>> = LazyLock::new(shaped);

fn shaped<C: DeserializeOwned + Send + Sync + 'static>() -> Verifier<C> {
    verifier().claims().build().unwrap()
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Typed {
    sub: Option<String>,
    active: bool,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Nothing {}

const TOKEN: &[u8] = b"opaque";

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(json) = std::str::from_utf8(bytes) else {
        return Corpus::Reject;
    };
    let verdict = read_answer(&ALL, TOKEN, json);
    let kind = verdict.as_ref().err().map(AuthError::kind);
    let again = read_answer(&ALL, TOKEN, json).err().map(|error| error.kind());
    assert_eq!(kind, again, "another verdict the second time");
    let typed = read_answer(&TYPED, TOKEN, json).is_ok();
    let nothing = read_answer(&NOTHING, TOKEN, json).is_ok();
    match verdict {
        Err(refusal) => {
            assert!(refusal.status().is_client_error());
            assert!(!typed, "another type, and the token is accepted");
            // `Nothing` reads no member, so it takes numbers that no type can hold.
            assert!(!nothing || answer_is_good(bytes), "no type, and the token is accepted");
        }
        Ok(token) => {
            assert!(answer_is_good(bytes), "the answer is not good");
            let plain: Map<String, Value> = serde_json::from_str(json).unwrap();
            assert_eq!(*token.claims(), plain, "the application sees other members");
            assert_eq!(token.subject(), plain.get("sub").and_then(Value::as_str));
        }
    }
    Corpus::Keep
});
