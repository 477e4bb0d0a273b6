//! Several issuers behind the layer: what a client is told.

use std::convert::Infallible;

use http::{Request, Response, StatusCode, header};
use serde_json::json;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Principal, RoleGuardLayer, Verifier,
    key::Algorithm,
    test_util::{TestClock, TestKeys},
    verify::Tenants,
};

use super::{
    A, B, rules, signer,
    tenants::{Mode, Register},
};

struct Answer {
    status: StatusCode,
    challenge: Option<String>,
    retry_after: Option<String>,
    /// Who the inner service was called for.
    caller: Option<String>,
}

async fn ask(verifier: &Verifier, token: &str) -> Answer {
    let service = ServiceBuilder::new()
        .layer(JwtAuthLayer::new(verifier.clone()))
        .layer(RoleGuardLayer::any_of(["reader"]))
        .service(service_fn(async |request: Request<String>| {
            let caller = request.extensions().get::<Principal>().unwrap();
            let name = caller.issuer().unwrap().to_owned();
            let response = Response::builder().header("x-caller", name);
            Ok::<_, Infallible>(response.body(String::new()).unwrap())
        }));
    let request = Request::builder()
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(String::new())
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    let text = |name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    Answer {
        status: response.status(),
        challenge: text("www-authenticate"),
        retry_after: text("retry-after"),
        caller: text("x-caller"),
    }
}

#[tokio::test]
async fn e13_an_issuer_is_answered_by_its_own_rules() {
    let clock = TestClock::new();
    let verifier = Verifier::by_issuer([
        rules(A, TestKeys::new(), Algorithm::Rs256, &clock)
            .build()
            .unwrap(),
        rules(B, TestKeys::other(), Algorithm::Rs256, &clock)
            .roles_at("groups")
            .build()
            .unwrap(),
    ])
    .unwrap();
    let token = |issuer, keys, claim: &str| {
        signer(issuer, keys, Algorithm::Rs256, &clock)
            .token(|claims| claims.insert(claim.into(), json!(["reader"])))
    };

    for (issuer, keys, claim) in [
        (A, TestKeys::new(), "roles"),
        (B, TestKeys::other(), "groups"),
    ] {
        let answer = ask(&verifier, &token(issuer, keys, claim)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.caller.as_deref(), Some(issuer));
    }
    // Authenticated, but the role stands where this issuer's roles are not read from.
    let answer = ask(&verifier, &token(B, TestKeys::other(), "roles")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(
        answer
            .challenge
            .unwrap()
            .contains(r#"error="insufficient_scope""#)
    );
    assert_eq!(answer.caller, None);

    for refused in [
        token(A, TestKeys::other(), "roles"),
        token(B, TestKeys::new(), "groups"),
        token("https://c.example", TestKeys::new(), "roles"),
    ] {
        let answer = ask(&verifier, &refused).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(
            answer
                .challenge
                .unwrap()
                .contains(r#"error="invalid_token""#)
        );
        assert_eq!((answer.retry_after, answer.caller), (None, None));
    }
}

#[tokio::test]
async fn a_tenant_is_asked_for_and_answered_on_the_same_request() {
    let clock = TestClock::new();
    let register = Register::default();
    register.add(
        A,
        rules(A, TestKeys::new(), Algorithm::Rs256, &clock)
            .build()
            .unwrap(),
    );
    let verifier = Verifier::tenants(Tenants::new(register.clone()).clock(clock.clone()));
    let token = |issuer| {
        signer(issuer, TestKeys::new(), Algorithm::Rs256, &clock)
            .token(|claims| claims.insert("roles".into(), json!(["reader"])))
    };

    for (issuer, status) in [(A, StatusCode::OK), (B, StatusCode::UNAUTHORIZED)] {
        register.mode(Mode::Asks);
        let token = token(issuer);
        let (answer, ()) = tokio::join!(ask(&verifier, &token), async {
            register.mode(Mode::Knows);
            assert_eq!(register.answer(), 1);
        });
        assert_eq!(answer.status, status);
    }

    // Asked exactly once more: who still does not know then has had its time.
    let fresh = Verifier::tenants(Tenants::new(register.clone()).clock(clock.clone()));
    register.mode(Mode::Asks);
    let asked = register.asked();
    let token = token(A);
    let (answer, ()) = tokio::join!(ask(&fresh, &token), async {
        assert_eq!(register.answer(), 1);
    });
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.retry_after.as_deref(), Some("1"));
    assert_eq!(register.asked(), asked + 2);
}

#[tokio::test]
async fn d31_a_register_that_is_down_is_service_unavailable() {
    let clock = TestClock::new();
    let register = Register::default();
    register.mode(Mode::Down);
    let verifier = Verifier::tenants(Tenants::new(register).clock(clock.clone()));
    let token = signer(A, TestKeys::new(), Algorithm::Rs256, &clock).token(|_| ());
    let answer = ask(&verifier, &token).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.retry_after.as_deref(), Some("7"));
    assert_eq!((answer.challenge, answer.caller), (None, None));

    // What is no token of anybody is refused without asking.
    let answer = ask(&verifier, "a.b.c").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}
