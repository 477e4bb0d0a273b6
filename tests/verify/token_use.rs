//! Section R: what a token or a key was made for.

use std::error::Error;

use serde_json::json;
use tower_jwt_auth::{
    ConfigError, JwtAuthLayer, Verifier, error::AuthErrorKind, key::Algorithm,
    verify::VerifierBuilder,
};

use crate::support::{
    answer::send,
    fixture::{AUDIENCE, Counting, Fixture, ISSUER, bearer, judge, keys},
};

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

/// The claims by which issuers state the use of a token.
const USE_CLAIMS: [&str; 6] = ["type", "typ", "token_use", "token_type", "tokenType", "use"];

#[tokio::test]
async fn r4_a_token_for_another_use_is_recognised_by_the_words_of_its_value() {
    let fixture = Fixture::new();
    for claim in USE_CLAIMS {
        for value in [
            "refresh",
            "REFRESH_TOKEN",
            "refresh-token",
            "RefreshToken",
            "refreshToken",
            "refreshtoken",
            "logout+jwt",
            "password_reset",
            "PasswordReset",
            "reset-password",
            "email_verification",
            "emailVerification",
            "account-activation",
            "TeamInvitation",
            "magic_link",
            "MFAToken",
            "pre-mfa",
            "otp",
            "OTPCode",
            "ID",
            "id-token",
            "idToken",
            "idtoken",
        ] {
            fixture
                .judge(&fixture.with(claim, json!(value)))
                .await
                .invalid_token(&format!("{claim} {value}"))
                .because(AuthErrorKind::WrongUse);
        }
        for value in [
            "Bearer",
            "bearer",
            "access",
            "access_token",
            "AccessToken",
            "verified_customer",
            "user",
            "user_id",
            "identity",
            "preset",
            "refreshed",
            "sig",
            "",
            "-",
        ] {
            fixture
                .judge(&fixture.with(claim, json!(value)))
                .await
                .passes(&format!("{claim} {value}"));
        }
        for other in [
            json!(7),
            json!(true),
            json!({"refresh": 1}),
            json!(["access"]),
        ] {
            fixture
                .judge(&fixture.with(claim, other.clone()))
                .await
                .passes(&format!("{claim} {other}"));
        }
        // One of several uses is enough.
        fixture
            .judge(&fixture.with(claim, json!(["access", "refresh"])))
            .await
            .invalid_token(claim)
            .because(AuthErrorKind::WrongUse);
    }
}

#[tokio::test]
async fn r5_a_token_with_events_is_a_security_event_token_in_every_mode() {
    let fixture = Fixture::new();
    let events = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    for value in [events, json!({}), json!([]), json!(null), json!("x")] {
        let token = fixture.with("events", value.clone());
        type Mode = fn(VerifierBuilder) -> VerifierBuilder;
        let modes: [Mode; 5] = [
            |builder| builder,
            |builder| builder.rfc9068(),
            |builder| builder.required_typ("at+jwt"),
            |builder| builder.dangerous_any_token_use(),
            |builder| builder.dangerous_accept_id_tokens(),
        ];
        for mode in modes {
            fixture
                .judge_by(mode, &token)
                .await
                .invalid_token(&value.to_string())
                .because(AuthErrorKind::WrongUse);
        }
    }
}

#[tokio::test]
async fn r4_any_token_use_lifts_the_words_and_nothing_else() {
    let fixture = Fixture::new();
    let any = |builder: VerifierBuilder| builder.dangerous_any_token_use();
    for claim in USE_CLAIMS {
        for value in ["refresh", "password_reset", "id", "access"] {
            fixture
                .judge_by(any, &fixture.with(claim, json!(value)))
                .await
                .passes(value);
        }
    }
    for token in [
        fixture.with("at_hash", json!("h")),
        fixture.es.token(|claims| {
            claims.insert("token_type".into(), json!("refresh"));
            claims.insert("aud".into(), json!("other"));
        }),
        fixture.with_text("type", r#""refresh","type":"access""#),
    ] {
        fixture.judge_by(any, &token).await.invalid_token("others");
    }
}

#[tokio::test]
async fn r4_the_cause_names_the_claim_and_the_value() {
    let fixture = Fixture::new();
    let cause = |claim: &str, value: serde_json::Value| {
        let verifier = fixture.builder().build().unwrap();
        let error = verifier.verify_now(fixture.with(claim, value)).unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::WrongUse);
        error.source().map(ToString::to_string).unwrap()
    };
    assert_eq!(
        cause("token_type", json!("refresh")),
        "the claim `token_type` is `refresh`"
    );
    let long = format!("reset-\n\"{}", "x".repeat(400));
    let text = cause("use", json!(long));
    assert!(
        text.starts_with(r#"the claim `use` is `reset-\n"#),
        "{text}"
    );
    assert!(text.len() < 200 && !text.contains('\n'), "{text}");
    let text = cause("events", json!({}));
    assert!(text.contains("`events`"), "{text}");
    let text = cause("c_hash", json!("h"));
    assert!(text.contains("`c_hash`"), "{text}");
}

#[tokio::test]
async fn e26_a_token_with_a_hash_of_another_is_an_id_token() {
    let fixture = Fixture::new();
    let accepting = |builder: VerifierBuilder| builder.dangerous_accept_id_tokens();
    let any = |builder: VerifierBuilder| builder.dangerous_any_audience();
    for (claim, value) in [
        ("at_hash", json!("HK6E_P6Dh8Y93mRNtsDB1Q")),
        ("c_hash", json!("HK6E_P6Dh8Y93mRNtsDB1Q")),
        ("s_hash", json!("HK6E_P6Dh8Y93mRNtsDB1Q")),
        ("at_hash", json!(null)),
    ] {
        let token = fixture.with(claim, value);
        for answer in [
            fixture.judge(&token).await,
            fixture.judge_by(any, &token).await,
            fixture.judge_by(|builder| builder.rfc9068(), &token).await,
        ] {
            answer.invalid_token(claim).because(AuthErrorKind::WrongUse);
        }
        fixture.judge_by(accepting, &token).await.passes(claim);
    }
    // Older Keycloak writes it into access tokens.
    fixture
        .judge(&fixture.with("nonce", json!("n")))
        .await
        .passes("nonce");
}

#[tokio::test]
async fn e26_accepting_id_tokens_lifts_no_other_use_and_needs_an_audience() {
    let fixture = Fixture::new();
    let accepting = |builder: VerifierBuilder| builder.dangerous_accept_id_tokens();
    for value in ["id", "ID", "id_token", "IdToken"] {
        fixture
            .judge_by(accepting, &fixture.with("token_use", json!(value)))
            .await
            .passes(value);
    }
    for value in ["refresh", "logout", "mfa"] {
        // Whichever of the claims names it.
        let token = fixture.es.token(|claims| {
            claims.insert("typ".into(), json!("ID"));
            claims.insert("token_use".into(), json!(value));
        });
        fixture
            .judge_by(accepting, &token)
            .await
            .invalid_token(value)
            .because(AuthErrorKind::WrongUse);
    }
    fixture
        .judge_by(accepting, &fixture.with("aud", json!("other")))
        .await
        .invalid_token("aud")
        .because(AuthErrorKind::WrongAudience);
    let unnamed = || {
        Verifier::key_set(keys())
            .issuer(ISSUER)
            .dangerous_accept_id_tokens()
    };
    for builder in [
        unnamed().client_ids(["web"]),
        unnamed().dangerous_any_audience(),
        unnamed().dangerous_any_audience().client_ids(["web"]),
        Verifier::hs256([b's'; 32]).dangerous_accept_id_tokens(),
    ] {
        match builder.build() {
            Err(ConfigError::Invalid { name, .. }) => {
                assert_eq!(name, "dangerous_accept_id_tokens");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(
        unnamed()
            .audience("web")
            .client_ids(["web"])
            .build()
            .is_ok()
    );
}

#[tokio::test]
async fn e23_a_client_alone_checks_an_audience_that_is_there_and_refuses_id_tokens() {
    let fixture = Fixture::new();
    let builder = || {
        Verifier::key_set(keys())
            .algorithms([Algorithm::Es256])
            .issuer(ISSUER)
            .clock(fixture.clock.clone())
            .client_ids(["web", "app"])
    };
    let token = |extra: serde_json::Value| {
        fixture.es.token(|claims| {
            claims.insert("client_id".into(), json!("web"));
            claims.remove("aud");
            claims.extend(extra.as_object().unwrap().clone());
        })
    };
    for extra in [
        json!({}),
        json!({"aud": "web"}),
        json!({"aud": "app"}),
        json!({"aud": ["https://api.example", "web"]}),
        json!({"nonce": "n"}),
    ] {
        judge(builder, bearer(token(extra.clone())))
            .await
            .passes(&extra.to_string());
    }
    for (extra, kind) in [
        (json!({"aud": AUDIENCE}), AuthErrorKind::WrongAudience),
        (
            json!({"aud": [AUDIENCE, "other"]}),
            AuthErrorKind::WrongAudience,
        ),
        (json!({"aud": []}), AuthErrorKind::WrongAudience),
        (json!({"aud": null}), AuthErrorKind::MalformedClaims),
        (
            json!({"at_hash": "h", "aud": "web"}),
            AuthErrorKind::WrongUse,
        ),
        (json!({"c_hash": "h"}), AuthErrorKind::WrongUse),
        (json!({"s_hash": "h"}), AuthErrorKind::WrongUse),
        (
            json!({"token_use": "id", "aud": "web"}),
            AuthErrorKind::WrongUse,
        ),
        (json!({"typ": "ID"}), AuthErrorKind::WrongUse),
    ] {
        judge(builder, bearer(token(extra.clone())))
            .await
            .invalid_token(&extra.to_string())
            .because(kind);
    }
    // The type of an ID token is refused here even where every use is accepted.
    let any_use = || builder().dangerous_any_token_use();
    judge(any_use, bearer(token(json!({"token_use": "id"}))))
        .await
        .invalid_token("id")
        .because(AuthErrorKind::WrongUse);
    let none: [&str; 0] = [];
    for builder in [
        Verifier::key_set(keys()).client_ids(none),
        Verifier::key_set(keys())
            .audience(AUDIENCE)
            .client_ids(none),
        Verifier::hs256([b's'; 32])
            .client_ids(["web"])
            .client_ids(none),
    ] {
        match builder.build() {
            Err(ConfigError::Invalid { name, .. }) => assert_eq!(name, "client_ids"),
            other => panic!("{other:?}"),
        }
    }
}
