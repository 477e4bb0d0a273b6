//! Section F: the profile for access tokens, RFC 9068; and G22, which holds without DPoP too.

use serde_json::json;
use tower_jwt_auth::{
    ConfigError, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeySet, VerifyingKey},
    principal::PrincipalKind,
    test_util::TestKeys,
    verify::VerifierBuilder,
};

use crate::support::fixture::{AUDIENCE, Fixture, ISSUER, bearer, judge};

fn strict(builder: VerifierBuilder) -> VerifierBuilder {
    builder.rfc9068()
}

fn typed(fixture: &Fixture, typ: &str) -> String {
    fixture.es.clone().typ(Some(typ)).token(|_| ())
}

#[tokio::test]
async fn f1_at_jwt_passes_with_and_without_application() {
    let fixture = Fixture::new();
    for typ in ["at+jwt", "application/at+jwt"] {
        let answer = fixture.judge_by(strict, &typed(&fixture, typ)).await;
        answer.passes(typ);
    }
}

#[tokio::test]
async fn f2_media_types_are_compared_without_case() {
    let fixture = Fixture::new();
    for typ in [
        "AT+JWT",
        "At+Jwt",
        "APPLICATION/AT+JWT",
        "Application/at+JWT",
    ] {
        let answer = fixture.judge_by(strict, &typed(&fixture, typ)).await;
        answer.passes(typ);
        fixture.judge(&typed(&fixture, typ)).await.passes(typ);
    }
}

#[tokio::test]
async fn f3_any_other_typ_is_an_invalid_token_in_this_mode() {
    let fixture = Fixture::new();
    let none = fixture.es.clone().typ(None).token(|_| ());
    let answer = fixture
        .judge_by(strict, &none)
        .await
        .invalid_token("absent");
    answer.because(AuthErrorKind::WrongType);
    for typ in [
        "JWT",
        "jwt",
        "application/jwt",
        "id+jwt",
        "at+jwt2",
        "at",
        "at jwt",
        "at+jwt ",
        " at+jwt",
        "text/at+jwt",
        "application/application/at+jwt",
        "application/",
        "",
        "JOSE",
    ] {
        fixture
            .judge_by(strict, &typed(&fixture, typ))
            .await
            .invalid_token(typ)
            .because(AuthErrorKind::WrongType);
    }
}

#[tokio::test]
async fn f4_a_token_for_one_conversation_is_no_access_token_unless_asked_for() {
    let fixture = Fixture::new();
    let token = |claims: &serde_json::Value| {
        let maker = fixture.es.clone().typ(Some("conv+jwt"));
        maker.token(|all| all.extend(claims.as_object().unwrap().clone()))
    };
    let (named, nameless) = (token(&json!({ "conv": "c1" })), token(&json!({})));
    for mode in [strict, |builder| builder] {
        let answer = fixture
            .judge_by(mode, &named)
            .await
            .invalid_token("conv+jwt");
        answer.because(AuthErrorKind::WrongType);
    }

    let chat = fixture
        .builder()
        .allow_conversation_tokens()
        .build()
        .unwrap();
    let conversation = |token: &str| {
        let caller = chat.verify_now(token)?.principal();
        Ok::<_, tower_jwt_auth::error::AuthError>(caller.conversation().map(str::to_owned))
    };
    assert_eq!(conversation(&named).unwrap().as_deref(), Some("c1"));
    let refused = conversation(&nameless).unwrap_err();
    assert_eq!(refused.kind(), AuthErrorKind::MissingClaim("conv"));
    // Another issuer's claim of that name restricts nothing.
    let access = fixture.es.token(|all| {
        all.insert("conv".to_owned(), json!("c1"));
    });
    assert_eq!(conversation(&access).unwrap(), None);
}

#[tokio::test]
async fn f10_a_token_of_a_required_conversation_is_for_that_conversation_alone() {
    let fixture = Fixture::new();
    let maker = fixture.es.clone().typ(Some("conv+jwt"));
    let named = maker.token(|all| all.insert("conv".to_owned(), json!("c1")));
    let nameless = maker.token(|_| ());
    for spelt in ["conv+jwt", "application/Conv+JWT"] {
        let by = |builder: VerifierBuilder| builder.required_typ(spelt);
        let answer = fixture.judge_by(by, &named).await.passes(spelt);
        assert_eq!(answer.caller().conversation(), Some("c1"));
        let refused = fixture.judge_by(by, &nameless).await.invalid_token(spelt);
        refused.because(AuthErrorKind::MissingClaim("conv"));
        let access = fixture.judge_by(by, &fixture.token()).await;
        access
            .invalid_token("access")
            .because(AuthErrorKind::WrongType);
    }
}

#[tokio::test]
async fn f4_types_of_other_tokens_are_an_invalid_token_in_every_mode() {
    let fixture = Fixture::new();
    let modes: [fn(VerifierBuilder) -> VerifierBuilder; 5] = [
        |builder| builder,
        strict,
        |builder| builder.required_typ("at+jwt"),
        |builder| builder.required_typ("JWT"),
        |builder| builder.required_typ("other+jwt"),
    ];
    for typ in [
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "oauth-authz-req+jwt",
        "oauth-id-jag+jwt",
        "token-introspection+jwt",
        "dbsc+jwt",
        "wpt+jwt",
        "wit+jwt",
        "txntoken+jwt",
        "statuslist+jwt",
        "client-authentication+jwt",
    ] {
        for spelt in [
            typ.to_owned(),
            typ.to_uppercase(),
            format!("application/{typ}"),
            format!("Application/{}", typ.to_uppercase()),
        ] {
            for mode in modes {
                fixture
                    .judge_by(mode, &typed(&fixture, &spelt))
                    .await
                    .invalid_token(&spelt)
                    .because(AuthErrorKind::WrongType);
            }
            // Nor can one be asked for.
            let builder = fixture.builder().required_typ(spelt);
            assert!(matches!(builder.build(), Err(ConfigError::Invalid { .. })));
        }
    }
}

#[tokio::test]
async fn f5_a_required_claim_that_is_missing_is_an_invalid_token() {
    let fixture = Fixture::new();
    for claim in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        fixture
            .judge_by(strict, &fixture.without(claim))
            .await
            .invalid_token(claim)
            .because(AuthErrorKind::MissingClaim(claim));
    }
    // `azp` is no `client_id` here.
    let azp = fixture.es.token(|claims| {
        let client = claims.remove("client_id").unwrap();
        claims.insert("azp".into(), client)
    });
    fixture.judge_by(strict, &azp).await.invalid_token("azp");
    fixture
        .judge_by(strict, &fixture.token())
        .await
        .passes("all of them");
    // Outside this mode four of them may be missing.
    for claim in ["sub", "client_id", "iat", "jti"] {
        fixture.judge(&fixture.without(claim)).await.passes(claim);
    }
}

#[test]
fn f5_the_mode_needs_an_issuer_and_an_audience() {
    let fixture = Fixture::new();
    let key = || {
        let key = TestKeys::new().verifying_key(Algorithm::Es256);
        Verifier::key(key).clock(fixture.clock.clone()).rfc9068()
    };
    for builder in [
        key(),
        key().issuer(ISSUER),
        key().audience(AUDIENCE),
        key().issuer(ISSUER).client_ids(["c"]),
    ] {
        assert!(matches!(builder.build(), Err(ConfigError::Invalid { .. })));
    }
    assert!(key().issuer(ISSUER).audience(AUDIENCE).build().is_ok());
    assert!(
        key()
            .issuer(ISSUER)
            .dangerous_any_audience()
            .build()
            .is_ok()
    );
}

#[tokio::test]
async fn f6_an_id_token_of_the_same_issuer_is_an_invalid_token() {
    let fixture = Fixture::new();
    for typ in [None, Some("JWT"), Some("id+jwt"), Some("at+jwt")] {
        let id_token = fixture.es.clone().typ(typ).token(|claims| {
            claims.remove("client_id");
            claims.remove("jti");
            claims.insert("nonce".into(), json!("n"));
            claims.insert("at_hash".into(), json!("h"));
            claims.insert("azp".into(), json!("client"));
        });
        fixture
            .judge_by(strict, &id_token)
            .await
            .invalid_token("in the mode");
    }
    // In the default mode its audience gives it away: an ID token is for the client.
    let id_token = fixture
        .es
        .clone()
        .audience("client")
        .typ(Some("JWT"))
        .token(|_| ());
    fixture.judge(&id_token).await.invalid_token("by default");
}

#[tokio::test]
async fn f7_rs256_works_out_of_the_box() {
    let fixture = Fixture::new();
    let jwk = TestKeys::new().jwk(Algorithm::Rs256);
    let bare = jwk.replace(r#""alg":"RS256","#, "");
    assert_ne!(jwk, bare);
    for keys in [
        KeySet::from_jwks(format!(r#"{{"keys":[{jwk}]}}"#)).unwrap(),
        KeySet::from_jwks(format!(r#"{{"keys":[{bare}]}}"#)).unwrap(),
        KeySet::new([
            VerifyingKey::from_pem(TestKeys::new().public_pem(Algorithm::Rs256)).unwrap(),
        ])
        .unwrap(),
    ] {
        let builder = || fixture.any_algorithm(Verifier::key_set(keys.clone()));
        let token = fixture.rs.token(|_| ());
        judge(builder, bearer(&token)).await.passes("default");
        judge(|| strict(builder()), bearer(&token))
            .await
            .passes("RFC 9068");
    }
}

#[tokio::test]
async fn f8_scope_is_split_at_spaces_and_role_claims_are_arrays() {
    let fixture = Fixture::new();
    for (claim, value, expected) in [
        ("scope", json!("read write"), vec!["read", "write"]),
        ("scope", json!(" read  write "), vec!["read", "write"]),
        ("scope", json!(""), vec![]),
        ("scp", json!("read write"), vec!["read", "write"]),
        ("scp", json!(["read", "write"]), vec!["read", "write"]),
        ("scope", json!(["read", 1, "write"]), vec!["read", "write"]),
        ("scope", json!(null), vec![]),
        ("scope", json!(5), vec![]),
    ] {
        let answer = fixture
            .judge(&fixture.with(claim, value))
            .await
            .passes(claim);
        assert_eq!(answer.caller().scope().collect::<Vec<_>>(), expected);
        assert_eq!(answer.caller().roles().count(), 0);
    }
    for claim in ["roles", "groups", "entitlements"] {
        let token = fixture.with(claim, json!(["b", "a"]));
        let by = |builder: VerifierBuilder| builder.roles_at(claim);
        let answer = fixture.judge_by(by, &token).await.passes(claim);
        assert_eq!(answer.caller().roles().collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(answer.caller().scope().count(), 0);
    }
}

#[tokio::test]
async fn f9_a_client_that_acts_for_itself_can_be_told_from_a_user() {
    let fixture = Fixture::new();
    for (token, expected) in [
        (fixture.token(), PrincipalKind::User),
        (fixture.with("sub", json!("client")), PrincipalKind::Service),
        (fixture.without("client_id"), PrincipalKind::User),
        (fixture.without("sub"), PrincipalKind::Service),
        (fixture.with("idtyp", json!("app")), PrincipalKind::Service),
        (fixture.with("idtyp", json!("user")), PrincipalKind::User),
        (
            fixture.with("gty", json!("client-credentials")),
            PrincipalKind::Service,
        ),
        (
            fixture.es.token(|claims| {
                claims.remove("client_id");
                claims.insert("azp".into(), json!("alice"))
            }),
            PrincipalKind::Service,
        ),
    ] {
        let answer = fixture.judge(&token).await.passes("client");
        assert_eq!(answer.caller().kind(), expected);
    }
}

#[tokio::test]
async fn f10_the_default_mode_accepts_three_types_and_no_other() {
    let fixture = Fixture::new();
    let none = fixture.es.clone().typ(None).token(|_| ());
    fixture.judge(&none).await.passes("absent");
    for typ in [
        "at+jwt",
        "JWT",
        "jwt",
        "application/jwt",
        "application/at+jwt",
    ] {
        fixture.judge(&typed(&fixture, typ)).await.passes(typ);
    }
    for typ in [
        "",
        "id+jwt",
        "refresh+jwt",
        "JOSE",
        "JWE",
        "at",
        "+jwt",
        "x+jwt",
        "JWT ",
        "application/",
        "entity-statement+jwt",
        "token-introspection+jwt",
        "kb+jwt",
        "wit+jwt",
    ] {
        fixture
            .judge(&typed(&fixture, typ))
            .await
            .invalid_token(typ)
            .because(AuthErrorKind::WrongType);
    }
}

#[tokio::test]
async fn f10_a_required_typ_is_the_only_one() {
    let fixture = Fixture::new();
    for required in ["app+jwt", "APP+JWT", "application/app+jwt"] {
        let by = |builder: VerifierBuilder| builder.required_typ(required);
        for typ in ["app+jwt", "App+Jwt", "application/app+jwt"] {
            let answer = fixture.judge_by(by, &typed(&fixture, typ)).await;
            answer.passes(typ);
        }
        for typ in ["at+jwt", "JWT", "app"] {
            let answer = fixture.judge_by(by, &typed(&fixture, typ)).await;
            answer.invalid_token(typ);
        }
        let none = fixture.es.clone().typ(None).token(|_| ());
        fixture.judge_by(by, &none).await.invalid_token("absent");
    }
}

#[tokio::test]
async fn g22_a_bound_token_under_bearer_is_an_invalid_token() {
    let fixture = Fixture::new();
    for cnf in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
        json!({"jwk": {}}),
        json!({"kid": "k"}),
        json!({}),
        json!(null),
        json!("text"),
        json!([]),
    ] {
        for mode in [strict, |builder| builder] {
            fixture
                .judge_by(mode, &fixture.with("cnf", cnf.clone()))
                .await
                .invalid_token(&cnf.to_string())
                .because(AuthErrorKind::SenderConstrained);
        }
    }
    fixture
        .judge(&fixture.with("cnf2", json!({})))
        .await
        .passes("another claim");
}
