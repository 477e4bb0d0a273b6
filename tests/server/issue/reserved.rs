//! S6: claims of the application's own cannot take the place of others.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tower_jwt_auth::{
    principal::SessionId,
    server::issue::{AccessTokenClaims, IssueError},
    test_util::TestClock,
};

use crate::support::issuing::{claims, plain, read};

/// Everything that the crate writes or a verifier reads.
const SPOKEN_FOR: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "azp",
    "cid",
    "scope",
    "scp",
    "role",
    "roles",
    "permissions",
    "sid",
    "ep",
    "rtg",
    "auth_time",
    "amr",
    "acr",
    "guest",
    "cnf",
    "act",
    "may_act",
    "typ",
    "type",
    "token_use",
    "token_type",
    "tokenType",
    "use",
    "idtyp",
    "gty",
    "clientHost",
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    "events",
    "conv",
];

fn full() -> AccessTokenClaims {
    AccessTokenClaims::for_guest("alice")
        .session(SessionId::from_bytes([0x5E; 16]))
        .roles(["user"])
        .scope("read")
        .permissions(["p"])
        .epoch(1)
        .refresh_generation(1)
        .auth_time(std::time::SystemTime::now())
        .amr(["pwd"])
        .acr("1")
}

#[test]
fn s6_no_claim_that_has_a_meaning_can_be_set_by_hand() {
    let issuer = plain(&TestClock::new());
    for name in SPOKEN_FOR {
        // Go reads claims without case, and takes `ſ` for `s` and the Kelvin sign for `k`.
        for spelling in [
            (*name).to_owned(),
            name.to_uppercase(),
            name.replace('s', "\u{17F}"),
            name.replace('k', "\u{212A}"),
        ] {
            let map = BTreeMap::from([("tenant", "x"), (spelling.as_str(), "admin")]);
            for token in [
                AccessTokenClaims::for_subject("alice").claim(spelling.as_str(), json!("admin")),
                AccessTokenClaims::for_subject("alice").claims(&map),
                full().claim(spelling.as_str(), json!(["admin"])),
            ] {
                match issuer.issue_access_token(token) {
                    Err(IssueError::ReservedClaim(found)) => assert_eq!(found, spelling),
                    other => panic!("{spelling}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn s6_every_claim_that_an_issuer_writes_is_reserved() {
    let issuer = plain(&TestClock::new());
    let Value::Object(written) = claims(&issuer.issue_access_token(full()).unwrap()) else {
        panic!("claims are an object");
    };
    assert_eq!(written.len(), 17, "{written:?}");
    for name in written.keys() {
        assert!(SPOKEN_FOR.contains(&name.as_str()), "{name}");
    }
}

proptest! {
    #[test]
    fn s6_whatever_is_added_the_rest_stays_as_it_was(
        added in prop::collection::btree_map(
            prop_oneof![
                prop::sample::select(SPOKEN_FOR).prop_map(str::to_owned),
                "[a-zA-Z_\u{17F}\u{212A}]{1,8}",
                "\\PC{0,6}",
            ],
            prop_oneof![
                any::<i64>().prop_map(|number| json!(number)),
                "\\PC{0,8}".prop_map(|text| json!(text)),
                Just(json!(["admin"])),
                Just(json!({"sub": "root"})),
                Just(Value::Null),
            ],
            0..4,
        )
    ) {
        let clock = TestClock::new();
        let issuer = plain(&clock);
        let minted = issuer.issue_access_token(full().claims(&added));
        let spoken_for = |name: &String| SPOKEN_FOR.contains(&name.as_str());
        match minted {
            Err(IssueError::ReservedClaim(name)) => prop_assert!(added.contains_key(&name)),
            Err(other) => panic!("{other:?}"),
            Ok(minted) => {
                prop_assert!(!added.keys().any(spoken_for));
                let text = minted.token().expose();
                let (_, mut claims) = read(text);
                prop_assert_eq!(&claims["sub"], &json!("alice"));
                prop_assert_eq!(&claims["roles"], &json!(["user"]));
                prop_assert_eq!(&claims["iat"], &json!(clock.timestamp()));
                let own = claims.as_object_mut().unwrap();
                for (name, value) in &added {
                    prop_assert_eq!(own.remove(name), Some(value.clone()));
                }
                prop_assert_eq!(own.len(), 17);
                // It is still a token that its own verifier reads as before.
                let verified = issuer.verifier().build().unwrap().verify_now(text).unwrap();
                prop_assert_eq!(verified.subject(), Some("alice"));
                prop_assert!(verified.principal().roles().eq(["user"]));
            }
        }
    }
}
