//! What a verifier is told: presets, clients, opt-outs, and the mistakes that `build` reports.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use serde_json::{Value, json};
use tower_jwt_auth::{
    ConfigError, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, KeySet},
    test_util::TestKeys,
    verify::{Provider, VerifierBuilder},
};

use crate::support::fixture::{AUDIENCE, Counting, Fixture, ISSUER, bearer, judge, keys};

fn claims(fixture: &Fixture, extra: &Value) -> String {
    fixture
        .es
        .token(|own| own.extend(extra.as_object().unwrap().clone()))
}

#[tokio::test]
async fn l10_presets_know_their_issuer_and_the_place_of_the_roles() {
    let fixture = Fixture::new();
    for (preset, issuer, roles) in [
        (
            Provider::auth0("tenant.eu.auth0.com"),
            "https://tenant.eu.auth0.com/",
            json!({"permissions": ["admin"]}),
        ),
        (
            Provider::keycloak("https://sso.example/realms/shop", "orders"),
            "https://sso.example/realms/shop",
            json!({"realm_access": {"roles": ["admin"]}}),
        ),
        (
            Provider::keycloak("https://sso.example/realms/shop/", "orders"),
            "https://sso.example/realms/shop",
            json!({
                "realm_access": {"roles": []},
                "resource_access": {"orders": {"roles": ["admin"]}, "other": {"roles": ["no"]}},
            }),
        ),
        (
            Provider::keycloak("https://sso.example/realms/shop", "a/b~c"),
            "https://sso.example/realms/shop",
            json!({"resource_access": {"a/b~c": {"roles": ["admin"]}}}),
        ),
        (
            Provider::entra("72f988bf-86f1-41af-91ab-2d7cd011db47"),
            "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
            json!({"roles": ["admin"]}),
        ),
        (
            Provider::cognito("eu-central-1", "eu-central-1_AbCdEf"),
            "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf",
            json!({"cognito:groups": ["admin"]}),
        ),
        (
            Provider::okta("dev-1.okta.com", "default"),
            "https://dev-1.okta.com/oauth2/default",
            json!({"groups": ["admin"]}),
        ),
    ] {
        assert_eq!(preset.issuer(), issuer);
        let clock = fixture.clock.clone();
        let builder = || {
            Verifier::key_set(keys())
                .algorithms([Algorithm::Es256])
                .audience(AUDIENCE)
                .clock(clock.clone())
                .provider(preset.clone())
        };
        let own = |name: &str| {
            let mut claims = roles.clone();
            claims["iss"] = json!(name);
            // Other providers' places hold no roles here.
            claims["role"] = json!("no");
            claims
        };
        let answer = judge(builder, bearer(claims(&fixture, &own(issuer))))
            .await
            .passes(issuer);
        assert_eq!(
            answer.caller().roles().collect::<Vec<_>>(),
            ["admin"],
            "{issuer}"
        );
        let slash = match issuer.strip_suffix('/') {
            Some(bare) => bare.to_owned(),
            None => format!("{issuer}/"),
        };
        for other in [slash.as_str(), ISSUER] {
            judge(builder, bearer(claims(&fixture, &own(other))))
                .await
                .invalid_token(other)
                .because(AuthErrorKind::WrongIssuer);
        }
    }
}

#[tokio::test]
async fn e16_client_ids_take_the_place_of_an_audience() {
    let fixture = Fixture::new();
    let builder = || {
        Verifier::key_set(keys())
            .algorithms([Algorithm::Es256])
            .issuer(ISSUER)
            .clock(fixture.clock.clone())
            .client_ids(["web", "app"])
    };
    let with = |client: Value, azp: Value, aud: Value| {
        fixture.es.token(|claims| {
            for (name, value) in [("client_id", client), ("azp", azp), ("aud", aud)] {
                match value {
                    Value::Null => claims.remove(name),
                    value => claims.insert(name.into(), value),
                };
            }
        })
    };
    let none = || Value::Null;
    // Amazon Cognito writes no `aud` into access tokens.
    for token in [
        with(json!("web"), none(), none()),
        with(json!("app"), none(), json!(["web", "whatever"])),
        with(none(), json!("web"), none()),
        with(json!("web"), json!("other"), none()),
    ] {
        judge(builder, bearer(token))
            .await
            .passes("expected client");
    }
    for (token, kind) in [
        (
            with(json!("app"), none(), json!("whatever")),
            AuthErrorKind::WrongAudience,
        ),
        (
            with(json!("other"), none(), none()),
            AuthErrorKind::WrongClient,
        ),
        (
            with(json!("other"), json!("web"), none()),
            AuthErrorKind::WrongClient,
        ),
        (
            with(none(), json!("other"), none()),
            AuthErrorKind::WrongClient,
        ),
        (
            with(json!("WEB"), none(), none()),
            AuthErrorKind::WrongClient,
        ),
        (
            with(json!("web2"), none(), none()),
            AuthErrorKind::WrongClient,
        ),
        (with(json!(""), none(), none()), AuthErrorKind::WrongClient),
        (
            with(none(), none(), none()),
            AuthErrorKind::MissingClaim("client_id"),
        ),
        (
            with(none(), none(), json!("web")),
            AuthErrorKind::MissingClaim("client_id"),
        ),
        (
            with(json!(["web"]), none(), none()),
            AuthErrorKind::MalformedClaims,
        ),
    ] {
        judge(builder, bearer(token))
            .await
            .invalid_token("another client")
            .because(kind);
    }
    // With an audience as well, both count.
    let both = || builder().audience(AUDIENCE);
    judge(both, bearer(with(json!("web"), none(), json!(AUDIENCE))))
        .await
        .passes("both");
    judge(both, bearer(with(json!("web"), none(), none())))
        .await
        .invalid_token("no audience");
    judge(both, bearer(with(json!("x"), none(), json!(AUDIENCE))))
        .await
        .invalid_token("client");
}

/// Checks that a setting changes the verdict on some tokens, to good, and on no others.
async fn changes_only(
    setting: impl Fn(VerifierBuilder) -> VerifierBuilder,
    fixture: &Fixture,
    changed: &[&str],
) {
    let all = [
        ("good", fixture.token()),
        ("exp missing", fixture.without("exp")),
        ("exp past", fixture.with("exp", json!(1))),
        ("exp text", fixture.with("exp", json!("4102444800"))),
        (
            "nbf ahead",
            fixture.with("nbf", json!(fixture.now() + 3_600)),
        ),
        ("nbf text", fixture.with("nbf", json!("0"))),
        (
            "iss other",
            fixture.with("iss", json!("https://evil.example")),
        ),
        ("iss missing", fixture.without("iss")),
        ("aud other", fixture.with("aud", json!("other"))),
        ("aud missing", fixture.without("aud")),
        ("aud number", fixture.with("aud", json!(1))),
        ("sub number", fixture.with("sub", json!(1))),
        ("cnf", fixture.with("cnf", json!({}))),
        ("use", fixture.with("token_use", json!("id"))),
        (
            "typ",
            fixture.es.clone().typ(Some("logout+jwt")).token(|_| ()),
        ),
        ("kid", fixture.es.clone().kid(Some("unknown")).token(|_| ())),
        (
            "signature",
            format!("{}AAAA", &fixture.token()[..fixture.token().len() - 4]),
        ),
        (
            "crit",
            fixture.with_header(&fixture.header(|h| h.insert("crit".into(), json!(["x"])))),
        ),
        ("no JSON", fixture.with_payload("x")),
        (
            "trailing",
            fixture.with_payload(format!("{}x", fixture.payload(|_| ()))),
        ),
    ];
    for (case, token) in all {
        let answer = fixture.judge_by(&setting, &token).await;
        let expected = case == "good" || changed.contains(&case);
        assert_eq!(answer.ran(), expected, "{case}: {:?}", answer.kind());
        if !expected {
            answer.invalid_token(case);
        }
    }
}

#[tokio::test]
async fn e3_optional_expiry_accepts_tokens_without_exp_and_no_others() {
    let fixture = Fixture::new();
    changes_only(|builder| builder, &fixture, &[]).await;
    let setting = |builder: VerifierBuilder| builder.dangerous_optional_expiry();
    changes_only(setting, &fixture, &["exp missing"]).await;
}

#[tokio::test]
async fn e1_ignored_expiry_accepts_expired_tokens_and_no_others() {
    let fixture = Fixture::new();
    let setting = |builder: VerifierBuilder| builder.dangerous_ignore_expiry();
    changes_only(setting, &fixture, &["exp past"]).await;
}

#[tokio::test]
async fn e7_ignored_not_before_accepts_early_tokens_and_no_others() {
    let fixture = Fixture::new();
    let setting = |builder: VerifierBuilder| builder.dangerous_ignore_not_before();
    changes_only(setting, &fixture, &["nbf ahead"]).await;
    // A maximum age still has its own say about the future.
    let aged = |builder: VerifierBuilder| setting(builder).max_age(Duration::from_secs(600));
    let token = fixture.with("iat", json!(fixture.now() + 3_600));
    fixture
        .judge_by(aged, &token)
        .await
        .invalid_token("iat ahead");
}

#[tokio::test]
async fn e16_any_audience_accepts_every_audience_and_nothing_else() {
    let fixture = Fixture::new();
    let setting = |builder: VerifierBuilder| builder.dangerous_any_audience();
    changes_only(setting, &fixture, &["aud other", "aud missing"]).await;
}

#[tokio::test]
async fn l10_roles_of_all_clients_change_no_verdict() {
    let fixture = Fixture::new();
    let setting = |builder: VerifierBuilder| builder.dangerous_roles_of_all_clients();
    changes_only(setting, &fixture, &[]).await;
    let token = claims(
        &fixture,
        &json!({
            "roles": ["own"],
            "resource_access": {"x": {"roles": ["a"], "other": ["no"]}, "y": {"roles": "b"}, "z": 5},
            "realm_access": {"roles": ["no"]},
        }),
    );
    let answer = fixture
        .judge_by(setting, &token)
        .await
        .passes("all clients");
    let mut roles: Vec<_> = answer.caller().roles().collect();
    roles.sort_unstable();
    assert_eq!(roles, ["a", "b", "own"]);
}

#[tokio::test]
async fn c4_allowed_padding_is_padding_and_nothing_else() {
    let fixture = Fixture::new();
    let setting = |builder: VerifierBuilder| builder.dangerous_allow_padding();
    changes_only(setting, &fixture, &[]).await;

    // As an AWS load balancer writes it: each segment padded, the signature over that.
    let claims = fixture.payload(|claims| claims.insert("x".into(), json!("x")));
    let (h, p) = (
        URL_SAFE.encode(fixture.header(|_| ())),
        URL_SAFE.encode(&claims),
    );
    let token = fixture.es.raw_parts(&h, &p);
    let token = format!("{token}==");
    assert!(h.contains('=') || p.contains('='));
    fixture.judge_by(setting, &token).await.passes("padded");
    assert!(!fixture.judge(&token).await.ran());

    let [h, p, s] = {
        let token = fixture.token();
        let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        <[String; 3]>::try_from(parts).unwrap()
    };
    for (token, case) in [
        (format!("{h}.{p}.=="), "no signature"),
        (format!("=.{p}.{s}"), "no header"),
        (format!("{h}.{p}.{}={}", &s[..4], &s[4..]), "in the middle"),
        (format!("{h}.{p}.{s}+"), "the other alphabet"),
    ] {
        let answer = fixture.judge_by(setting, &token).await;
        assert!(!answer.ran() && answer.status.is_client_error(), "{case}");
    }
    // What is no token in either spelling is a malformed request, as ever.
    for token in [
        format!("{token} "),
        format!("{h}\"=.{p}.{s}"),
        "{}".to_owned(),
        "a b".to_owned(),
    ] {
        fixture
            .judge_by(setting, &token)
            .await
            .invalid_request(&token);
    }
}

#[test]
fn a_builder_reports_every_mistake() {
    fn refused(builder: VerifierBuilder) -> ConfigError {
        builder.build().unwrap_err()
    }

    let fixture = Fixture::new();
    let key = || Verifier::key(TestKeys::new().verifying_key(Algorithm::Es256));
    assert!(fixture.builder().build().is_ok() && key().build().is_ok());

    let short = Verifier::hs256("short");
    assert!(matches!(
        refused(short),
        ConfigError::SecretTooShort {
            required: 32,
            actual: 5,
            ..
        }
    ));
    let pem = TestKeys::new().public_pem(Algorithm::Es256);
    assert!(matches!(
        refused(Verifier::hs256(pem)),
        ConfigError::SecretIsAKey("PEM")
    ));
    assert!(matches!(refused(Verifier::pem("x")), ConfigError::Key(_)));
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(matches!(
        refused(Verifier::pem(private)),
        ConfigError::Key(_)
    ));

    for unsaid in [
        Verifier::key_set(keys()),
        Verifier::key_set(keys()).issuer(ISSUER),
        Verifier::key_source(Counting::new()).issuer(ISSUER),
    ] {
        assert!(matches!(refused(unsaid), ConfigError::AudienceRequired));
    }
    for said in [
        Verifier::key_set(keys()).audience("a"),
        Verifier::key_set(keys()).client_ids(["a"]),
        Verifier::key_set(keys()).dangerous_any_audience(),
        Verifier::key_source(Counting::new()).audience("a"),
    ] {
        assert!(said.build().is_ok());
    }

    let mixed = fixture
        .builder()
        .algorithms([Algorithm::Es256, Algorithm::Hs256]);
    assert!(matches!(refused(mixed), ConfigError::MixedFamilies));
    let secret_only = fixture.builder().algorithms([Algorithm::Hs256]);
    assert!(matches!(refused(secret_only), ConfigError::MixedFamilies));
    let public_only = Verifier::hs256([b's'; 32]).algorithms([Algorithm::Es256]);
    assert!(matches!(refused(public_only), ConfigError::MixedFamilies));
    let source = Verifier::key_source(Counting::new()).audience("a");
    let mixed = source.algorithms([Algorithm::Es256, Algorithm::Hs256]);
    assert!(matches!(refused(mixed), ConfigError::MixedFamilies));

    for algorithms in [vec![], vec![Algorithm::Es384, Algorithm::Rs256]] {
        let unfit = key().algorithms(algorithms);
        assert!(matches!(refused(unfit), ConfigError::Algorithm(_)));
    }
    let empty = Verifier::key_source(Counting::new())
        .audience("a")
        .algorithms([]);
    assert!(matches!(refused(empty), ConfigError::Algorithm(_)));

    for (builder, option) in [
        (key().leeway(Duration::from_secs(301)), "leeway"),
        (key().max_age(Duration::ZERO), "max_age"),
        (key().issuer(""), "issuer"),
        (key().audience(""), "audience"),
        (key().client_ids(["a", ""]), "client_ids"),
        (key().client_ids(Vec::<String>::new()), "client_ids"),
        (key().required_typ(""), "required_typ"),
        (key().required_typ("logout+jwt"), "required_typ"),
        (key().required_typ("application/DPOP+jwt"), "required_typ"),
        (key().required_typ("id+jwt"), "required_typ"),
        (
            key()
                .issuer("i")
                .audience("a")
                .rfc9068()
                .required_typ("at+jwt"),
            "required_typ",
        ),
        (key().rfc9068(), "rfc9068"),
        (key().rfc9068().audience("a"), "rfc9068"),
        (key().rfc9068().issuer("i"), "rfc9068"),
        (key().roles_at(""), "roles_at"),
        (key().roles_at("/"), "roles_at"),
        (key().validate_with(|_| Ok(())).claims(), "check"),
    ] {
        match refused(builder) {
            ConfigError::Invalid { name, problem } => {
                assert_eq!(name, option);
                assert!(!problem.is_empty());
            }
            other => panic!("{option}: {other}"),
        }
    }
    let order = key().claims::<Value>().validate_with(|_| Ok(()));
    assert!(order.build().is_ok());
    let document = KeySet::from_jwks(TestKeys::new().jwks()).unwrap();
    assert_eq!((document.len(), document.is_empty()), (10, false));
}
