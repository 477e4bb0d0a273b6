//! Section R: what a token or a key was made for.

use serde_json::json;
use tower_jwt_auth::{JwtAuthLayer, Verifier, error::AuthErrorKind, verify::VerifierBuilder};

use crate::support::{Counting, Fixture, bearer, judge, send};

#[tokio::test]
async fn r1_a_token_that_says_it_is_another_is_an_invalid_token() {
    let fixture = Fixture::new();
    for claim in ["type", "token_use", "typ"] {
        for value in [
            "refresh",
            "Refresh",
            "REFRESH",
            "refresh_token",
            "id",
            "ID",
            "Id",
            "id_token",
            "logout",
            "Logout",
            "LOGOUT",
            "logout_token",
            "Offline",
            "refresh+jwt",
        ] {
            let case = format!("{claim} {value}");
            for strict in [false, true] {
                let by = |builder: VerifierBuilder| match strict {
                    true => builder.rfc9068(),
                    false => builder,
                };
                fixture
                    .judge_by(by, &fixture.with(claim, json!(value)))
                    .await
                    .invalid_token(&case)
                    .because(AuthErrorKind::WrongUse);
            }
        }
        for value in ["access", "Bearer", "access_token", "user", "", "identity"] {
            fixture
                .judge(&fixture.with(claim, json!(value)))
                .await
                .passes(value);
        }
    }
}

#[tokio::test]
async fn r3_an_api_key_where_jwts_are_accepted_is_an_invalid_token_and_asks_for_no_key() {
    let fixture = Fixture::new();
    let keys = Counting::new();
    let builder = || fixture.expecting(Verifier::key_source(keys.clone()));
    for key in [
        "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "01234567-89ab-cdef-0123-456789abcdef",
        "prefix.secret",
        "a.b.c",
        "key",
    ] {
        judge(builder, bearer(key)).await.invalid_token(key);
        // Nor does an optional route take it for nobody.
        let layer = JwtAuthLayer::new(builder().build().unwrap()).optional();
        send(layer, bearer(key)).await.invalid_token(key);
    }
    assert!(keys.asked().is_empty());
    judge(builder, bearer(fixture.token()))
        .await
        .passes("control");
}
