//! Names of issuers, and claims that the application chose to have read: E23 to E27, D50.

use serde_json::{Value, json};
use tower_jwt_auth::{
    Claims, ConfigError, Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    principal::PrincipalKind,
    verify::{Provider, VerifierBuilder},
};

use crate::support::{
    answer::Answer,
    fixture::{AUDIENCE, Fixture, ISSUER, bearer, judge, keys},
};

fn with(fixture: &Fixture, without: &[&str], claims: &Value) -> String {
    fixture.es.token(|own| {
        for name in without {
            own.remove(*name);
        }
        own.extend(claims.as_object().unwrap().clone());
    })
}

fn invalid(builder: VerifierBuilder) -> String {
    match builder.build() {
        Err(ConfigError::Invalid { name, .. }) => name.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn e23_the_client_is_read_from_the_first_chosen_claim_that_is_present() {
    let fixture = Fixture::new();
    let chosen = |builder: VerifierBuilder| {
        builder
            .client_id_claim("appid")
            .client_id_claim("azp")
            .client_ids(["app-1"])
    };
    let token = |claims: Value| with(&fixture, &["client_id"], &claims);
    for claims in [
        json!({"appid": "app-1"}),
        json!({"azp": "app-1"}),
        json!({"azp": "other", "appid": "app-1"}),
        json!({"appid": "app-1", "azp": "other", "client_id": "other"}),
    ] {
        let answer = fixture.judge_by(chosen, &token(claims.clone())).await;
        let answer = answer.passes(&claims.to_string());
        assert_eq!(answer.caller().client_id(), Some("app-1"), "{claims}");
    }
    for (claims, kind) in [
        (json!({"appid": "app-2"}), AuthErrorKind::WrongClient),
        (
            json!({"appid": "app-2", "azp": "app-1"}),
            AuthErrorKind::WrongClient,
        ),
        (
            json!({"client_id": "app-1"}),
            AuthErrorKind::MissingClaim("client_id"),
        ),
        (
            json!({"cid": "app-1"}),
            AuthErrorKind::MissingClaim("client_id"),
        ),
        (
            json!({"appid": 1, "azp": "app-1"}),
            AuthErrorKind::MalformedClaims,
        ),
        (json!({"appid": null}), AuthErrorKind::MalformedClaims),
    ] {
        fixture
            .judge_by(chosen, &token(claims.clone()))
            .await
            .invalid_token(&claims.to_string())
            .because(kind);
    }
    let twice = fixture.with_text("appid", r#""app-1","appid":"app-1""#);
    fixture
        .judge_by(chosen, &twice)
        .await
        .invalid_token("twice");
    // By default neither of the two is read.
    for name in ["appid", "cid"] {
        let default = |builder: VerifierBuilder| builder.client_ids(["app-1"]);
        fixture
            .judge_by(default, &token(json!({ name: "app-1" })))
            .await
            .invalid_token(name)
            .because(AuthErrorKind::MissingClaim("client_id"));
        let token = token(json!({ name: 7 }));
        let answer = fixture.judge(&token).await.passes(name);
        assert_eq!(answer.caller().client_id(), None);
    }
}

#[tokio::test]
async fn e23_the_chosen_client_decides_whether_a_client_acts_for_itself() {
    let fixture = Fixture::new();
    let token = with(
        &fixture,
        &["client_id"],
        &json!({"sub": "app-1", "appid": "app-1"}),
    );
    let answer = fixture.judge(&token).await.passes("default");
    assert_eq!(answer.caller().kind(), PrincipalKind::User);
    let chosen = |builder: VerifierBuilder| builder.client_id_claim("appid");
    let answer = fixture.judge_by(chosen, &token).await.passes("chosen");
    assert_eq!(answer.caller().kind(), PrincipalKind::Service);
}

#[tokio::test]
async fn e23_entra_tokens_of_both_versions_name_their_client() {
    const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    let older = format!("https://sts.windows.net/{TENANT}/");
    let preset = Provider::entra(TENANT);
    let newer = preset.issuer().to_owned();
    let fixture = Fixture::new();
    let builder = || {
        Verifier::key_set(keys())
            .algorithms([Algorithm::Es256])
            .audience(AUDIENCE)
            .clock(fixture.clock.clone())
            .provider(preset.clone())
            .issuer(&newer)
            .issuer(&older)
    };
    for (issuer, claim, version) in [(&older, "appid", "1.0"), (&newer, "azp", "2.0")] {
        let claims = json!({"iss": issuer, claim: "app-1", "ver": version, "scp": "read"});
        let answer = judge(builder, bearer(with(&fixture, &["client_id"], &claims))).await;
        let answer = answer.passes(claim);
        assert_eq!(answer.caller().client_id(), Some("app-1"));
        assert_eq!(answer.caller().kind(), PrincipalKind::User);
        // An ID token has neither.
        let claims = json!({"iss": issuer, "ver": version});
        judge(builder, bearer(with(&fixture, &["client_id"], &claims)))
            .await
            .invalid_token(claim)
            .because(AuthErrorKind::MissingClaim("azp"));
    }
}

fn scope(answer: &Answer) -> Vec<&str> {
    answer.caller().scope().collect()
}

#[tokio::test]
async fn e24_scopes_are_read_from_chosen_claims_too() {
    let fixture = Fixture::new();
    let chosen = |builder: VerifierBuilder| builder.scope_at("scopes").scope_at("/ext/scope");
    for (claims, expected) in [
        (json!({"scopes": ["read", "write"]}), &["read", "write"][..]),
        (json!({"scopes": "read write"}), &["read", "write"]),
        (json!({"scopes": ["one token"]}), &["one token"]),
        (json!({"ext": {"scope": "a  b"}}), &["a", "b"]),
        (json!({"scopes": 5}), &[]),
        (json!({}), &[]),
    ] {
        let token = with(&fixture, &["scope"], &claims);
        let answer = fixture.judge_by(chosen, &token).await.passes("chosen");
        assert_eq!(scope(&answer), expected, "{claims}");
        assert_eq!(
            answer.caller().has_unreadable_scope(),
            claims["scopes"] == 5
        );
        assert_eq!(answer.caller().roles().count(), 0);
    }
    let all = json!({"scope": "a", "scp": ["b"], "scopes": ["c"]});
    let token = with(&fixture, &[], &all);
    let answer = fixture.judge_by(chosen, &token).await.passes("merged");
    let mut merged = scope(&answer);
    merged.sort_unstable();
    assert_eq!(merged, ["a", "b", "c"]);
    // Named besides, they do not count twice.
    let twice = |builder: VerifierBuilder| builder.scope_at("scope").scope_at("scp");
    let answer = fixture.judge_by(twice, &token).await.passes("twice");
    assert_eq!(scope(&answer).len(), 2);
    assert!(scope(&fixture.judge(&token).await.passes("default")).len() == 2);
    for path in ["", "/"] {
        assert_eq!(invalid(fixture.builder().scope_at(path)), "scope_at");
    }
}

#[tokio::test]
async fn e25_one_provider_of_two_names() {
    let fixture = Fixture::new();
    let both = |builder: VerifierBuilder| builder.issuer("as.example");
    for (issuer, passes) in [
        (ISSUER, true),
        ("as.example", true),
        ("https://as.example/", false),
        ("https://as.example,as.example", false),
        ("other.example", false),
    ] {
        let answer = fixture
            .judge_by(both, &fixture.with("iss", json!(issuer)))
            .await;
        match passes {
            true => drop(answer.passes(issuer)),
            false => drop(
                answer
                    .invalid_token(issuer)
                    .because(AuthErrorKind::WrongIssuer),
            ),
        }
    }
    fixture
        .judge_by(both, &fixture.without("iss"))
        .await
        .invalid_token("none")
        .because(AuthErrorKind::MissingClaim("iss"));
}

#[tokio::test]
async fn e27_the_subject_is_read_from_the_chosen_claim() {
    let fixture = Fixture::new();
    let chosen = |builder: VerifierBuilder| builder.subject_claim("user_id");
    for (value, expected) in [
        (json!("bob"), "bob"),
        (json!(7), "7"),
        (json!(-7), "-7"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!(i64::MIN), "-9223372036854775808"),
    ] {
        let token = fixture.with("user_id", value.clone());
        let answer = fixture.judge_by(chosen, &token).await.passes(expected);
        assert_eq!(answer.caller().subject(), Some(expected));
        // `sub` is of no account then, whatever it is.
        let token = with(&fixture, &[], &json!({"user_id": value, "sub": 5}));
        let answer = fixture.judge_by(chosen, &token).await.passes(expected);
        assert_eq!(answer.caller().subject(), Some(expected));
    }
    for value in [
        json!(1.5),
        json!(1e300),
        json!(true),
        json!(null),
        json!(["a"]),
        json!({}),
    ] {
        fixture
            .judge_by(chosen, &fixture.with("user_id", value.clone()))
            .await
            .invalid_token(&value.to_string())
            .because(AuthErrorKind::MalformedClaims);
    }
    let twice = fixture.with_text("user_id", r#"1,"user_id":2"#);
    fixture
        .judge_by(chosen, &twice)
        .await
        .invalid_token("twice");
    let answer = fixture.judge_by(chosen, &fixture.token()).await;
    assert_eq!(answer.passes("absent").caller().subject(), None);

    let number = |builder: VerifierBuilder| builder.subject_claim("sub");
    let answer = fixture
        .judge_by(number, &fixture.with("sub", json!(7)))
        .await;
    assert_eq!(answer.passes("sub").caller().subject(), Some("7"));
    fixture
        .judge(&fixture.with("sub", json!(7)))
        .await
        .invalid_token("default");

    // RFC 9068 §2.2: `sub` and `client_id` are still required.
    let strict = |builder: VerifierBuilder| {
        let builder = builder.subject_claim("user_id").client_id_claim("appid");
        builder.rfc9068()
    };
    let good = json!({"user_id": 7, "appid": "a"});
    let answer = fixture.judge_by(strict, &with(&fixture, &[], &good)).await;
    assert_eq!(answer.passes("profile").caller().subject(), Some("7"));
    for name in ["sub", "client_id"] {
        fixture
            .judge_by(strict, &with(&fixture, &[name], &good))
            .await
            .invalid_token(name)
            .because(AuthErrorKind::MissingClaim(name));
    }
    for sub in [json!(null), json!({}), json!(1.5)] {
        let claims = json!({"user_id": 7, "appid": "a", "sub": sub});
        fixture
            .judge_by(strict, &with(&fixture, &[], &claims))
            .await
            .invalid_token("profile")
            .because(AuthErrorKind::MissingClaim("sub"));
    }
    for claim in ["", "/user/id"] {
        assert_eq!(
            invalid(fixture.builder().subject_claim(claim)),
            "subject_claim"
        );
        assert_eq!(
            invalid(fixture.builder().client_id_claim(claim)),
            "client_id_claim"
        );
    }
}

#[tokio::test]
async fn e27_a_client_that_acts_for_itself_is_no_user_whatever_claim_names_the_subject() {
    let fixture = Fixture::new();
    let chosen = |builder: VerifierBuilder| builder.subject_claim("name");
    // RFC 9068 §2.2: `sub` is the client's identifier if no resource owner is involved.
    for (claims, kind) in [
        (
            json!({"sub": "app", "client_id": "app"}),
            PrincipalKind::Service,
        ),
        (
            json!({"sub": "bob", "client_id": "app"}),
            PrincipalKind::User,
        ),
        (json!({"sub": 5, "client_id": "app"}), PrincipalKind::User),
    ] {
        let token = with(&fixture, &[], &json!({"name": "alice"}));
        let answer = fixture.judge_by(chosen, &token).await.passes("user");
        assert_eq!(answer.caller().kind(), PrincipalKind::User);
        let mut claims = claims;
        claims["name"] = json!("alice");
        let token = with(&fixture, &[], &claims);
        let answer = fixture.judge_by(chosen, &token).await.passes("chosen");
        assert_eq!(answer.caller().kind(), kind, "{claims}");
        assert_eq!(answer.caller().subject(), Some("alice"));
    }
    // Auth0 says so in `sub` too.
    let own = with(
        &fixture,
        &["client_id"],
        &json!({"sub": "app@clients", "azp": "app", "name": "alice", "iss": "https://t.auth0.com/"}),
    );
    let auth0 = Verifier::key_set(keys())
        .provider(Provider::auth0("t.auth0.com"))
        .audience(AUDIENCE)
        .subject_claim("name")
        .clock(fixture.clock.clone())
        .build()
        .unwrap();
    let caller = auth0.verify(own).await.unwrap().principal();
    assert_eq!(caller.kind(), PrincipalKind::Service);
}

/// Builds, and returns how many warnings that logged.
#[cfg(feature = "tracing")]
fn warnings(builder: VerifierBuilder) -> usize {
    let (log, _guard) = crate::support::log::Log::start();
    assert!(builder.build().is_ok());
    log.lines_with("no issuer is expected")
}

#[cfg(feature = "tracing")]
#[test]
fn d50_a_set_from_a_file_or_from_code_may_go_without_an_issuer_with_one_warning() {
    use tower_jwt_auth::{key::KeySource, test_util::TestKeys};

    use crate::support::fixture::Counting;

    let set = || Verifier::key_set(keys()).audience(AUDIENCE);
    let source = || Verifier::key_source(Counting::new()).audience(AUDIENCE);
    assert!(!Counting::new().is_remote());
    assert_eq!(warnings(set()), 1);
    assert_eq!(warnings(source()), 1);
    for quiet in [
        set().issuer(ISSUER),
        source().issuer(ISSUER),
        set().dangerous_any_issuer(),
        source().dangerous_any_issuer(),
        // One key is one issuer's.
        Verifier::key(TestKeys::new().verifying_key(Algorithm::Es256)),
        Verifier::hs256([b's'; 32]),
    ] {
        assert_eq!(warnings(quiet), 0);
    }
    let both = set().issuer(ISSUER).dangerous_any_issuer();
    assert_eq!(invalid(both), "dangerous_any_issuer");
}

#[tokio::test]
async fn d50_any_issuer_accepts_every_issuer_and_none() {
    let fixture = Fixture::new();
    let builder = || {
        Verifier::key_set(keys())
            .algorithms([Algorithm::Es256])
            .audience(AUDIENCE)
            .clock(fixture.clock.clone())
            .dangerous_any_issuer()
    };
    for token in [
        fixture.token(),
        fixture.with("iss", json!("https://other.example")),
        fixture.without("iss"),
    ] {
        judge(builder, bearer(token)).await.passes("any issuer");
    }
    let other = fixture.with("aud", json!("other"));
    judge(builder, bearer(other)).await.invalid_token("aud");
    // Among several, it would take the tokens of all the others.
    let any = builder().claims::<Claims>().build().unwrap();
    let refused = Verifier::by_issuer([any]);
    assert!(matches!(refused, Err(ConfigError::Invalid { .. })));
}
