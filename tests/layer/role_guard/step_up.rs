//! Section M: rules on the sign-in, and the challenges to those whose sign-in does not suffice.

use std::time::{Duration, SystemTime};

use http::{Request, StatusCode};
use serde_json::json;
use tower_jwt_auth::{
    JwtAuthLayer, Principal, RoleGuardLayer,
    error::{AuthErrorKind, ErrorCode},
    layer::{
        resource::ProtectedResource,
        role_guard::{RoleHierarchy, Rule},
    },
    time::Timestamp,
};

use crate::support::{
    answer::{Answer, send},
    challenge::Challenge,
    fixture::{Fixture, bearer},
    request::nobody,
};

const MFA: &str = "urn:example:mfa";
const MINUTES: Duration = Duration::from_secs(300);

fn ago(seconds: u64) -> Timestamp {
    Timestamp::from(SystemTime::now()).minus(Duration::from_secs(seconds))
}

/// Sends a request by this caller through a guard with this rule.
async fn ask(rule: &Rule, caller: Principal) -> Answer {
    let mut request = Request::new(String::new());
    request.extensions_mut().insert(caller);
    send(RoleGuardLayer::new(rule.clone()), request).await
}

#[track_caller]
fn step_up(answer: &Answer, case: &str) -> Challenge {
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{case}");
    assert!(!answer.ran(), "{case}");
    let error = answer.error.as_ref().unwrap();
    assert_eq!(error.kind(), AuthErrorKind::InsufficientAuthentication);
    assert_eq!(
        error.code(),
        Some(ErrorCode::InsufficientUserAuthentication)
    );
    assert!(error.missing().is_some(), "{case}");
    let challenge = answer.challenge();
    let code = Some("insufficient_user_authentication");
    assert_eq!(challenge.get("error"), code, "{case}");
    let max_age = error
        .required_max_age()
        .map(|age| age.as_secs().to_string());
    assert_eq!(challenge.get("max_age"), max_age.as_deref(), "{case}");
    assert_eq!(challenge.get("acr_values"), error.required_acr(), "{case}");
    challenge
}

#[track_caller]
fn forbidden(answer: &Answer, case: &str) {
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{case}");
    let challenge = answer.challenge();
    assert_eq!(challenge.get("error"), Some("insufficient_scope"), "{case}");
    for name in ["acr_values", "max_age"] {
        assert_eq!(challenge.get(name), None, "{case}");
    }
}

#[tokio::test]
async fn m1_m5_another_class_is_401_and_the_challenge_has_all_in_order_of_preference() {
    let rule = Rule::acr(["gold", "silver"]);
    for class in ["gold", "silver"] {
        let caller = Principal::builder().acr(class).build();
        ask(&rule, caller).await.passes(class);
    }
    for class in [
        "bronze",
        "Gold",
        "gol",
        "golden",
        "gold silver",
        "",
        " gold",
    ] {
        let answer = ask(&rule, Principal::builder().acr(class).build()).await;
        let challenge = step_up(&answer, class);
        assert_eq!(challenge.get("acr_values"), Some("gold silver"), "{class}");
        assert_eq!(challenge.get("max_age"), None);
        assert_eq!(challenge.get("scope"), None);
        let missing = answer.error.unwrap();
        let text = "a sign-in of the class `gold` or `silver`";
        assert_eq!(missing.missing(), Some(text));
    }
}

#[tokio::test]
async fn m2_m6_an_old_sign_in_is_401_with_max_age() {
    let rule = Rule::max_auth_age(MINUTES);
    for seconds in [0, 100, 300] {
        let caller = Principal::builder().auth_time(ago(seconds)).build();
        ask(&rule, caller).await.passes("recent");
    }
    // A minute for clocks that differ.
    let caller = Principal::builder().auth_time(ago(330)).build();
    ask(&rule, caller).await.passes("within the leeway");
    for at in [ago(400), ago(100_000), Timestamp::from_secs(0)] {
        let answer = ask(&rule, Principal::builder().auth_time(at).build()).await;
        let challenge = step_up(&answer, "old");
        assert_eq!(challenge.get("max_age"), Some("300"));
        assert_eq!(challenge.get("acr_values"), None);
    }
}

#[tokio::test]
async fn m3_a_missing_claim_is_a_sign_in_that_does_not_suffice() {
    let caller = || {
        Principal::builder()
            .subject("alice")
            .roles(["user"])
            .build()
    };
    for (rule, expected) in [
        (Rule::acr([MFA]), (Some(MFA), None)),
        (Rule::max_auth_age(MINUTES), (None, Some("300"))),
        (
            Rule::acr([MFA]).and(Rule::max_auth_age(MINUTES)),
            (Some(MFA), Some("300")),
        ),
    ] {
        let answer = ask(&rule, caller()).await;
        let challenge = step_up(&answer, "missing");
        let found = (challenge.get("acr_values"), challenge.get("max_age"));
        assert_eq!(found, expected);
        // The inverted rule knows as little.
        forbidden(&ask(&!rule, caller()).await, "inverted");
    }
    // A role does not make up for it under `!`.
    let inverted = !Rule::acr([MFA]).and(Rule::any_of(["admin"]));
    forbidden(&ask(&inverted, caller()).await, "inverted with a role");
}

#[tokio::test]
async fn m3_a_claim_in_another_form_counts_as_missing() {
    let fixture = Fixture::new();
    let rule = Rule::acr(["1"]).and(Rule::max_auth_age(MINUTES));
    let layers = (fixture.layer(), RoleGuardLayer::new(rule));
    for (acr, auth_time) in [
        (json!(1), json!("now")),
        (json!(["1"]), json!([1])),
        (json!(null), json!(null)),
    ] {
        let token = fixture.es.token(|claims| {
            claims.insert("acr".into(), acr);
            claims.insert("auth_time".into(), auth_time);
        });
        let answer = send(layers.clone(), bearer(token)).await;
        let challenge = step_up(&answer, "another form");
        assert_eq!(challenge.get("acr_values"), Some("1"));
        assert_eq!(challenge.get("max_age"), Some("300"));
    }
}

#[tokio::test]
async fn m4_one_challenge_contains_all_that_lacks() {
    let rule = Rule::scope("pay")
        .and(Rule::acr([MFA]))
        .and(Rule::max_auth_age(MINUTES))
        .and(Rule::scope("read"));
    let caller = |class: &str, seconds: u64, scope: &str| {
        let caller = Principal::builder().acr(class).auth_time(ago(seconds));
        caller.scope(scope).build()
    };
    ask(&rule, caller(MFA, 0, "pay read"))
        .await
        .passes("complete");
    let both = Some("pay read");
    for (caller, acr, max_age, scope) in [
        (caller("pwd", 0, "pay read"), Some(MFA), None, None),
        (caller(MFA, 1000, "pay read"), None, Some("300"), None),
        (caller("pwd", 0, "read"), Some(MFA), None, both),
        (caller("pwd", 1000, ""), Some(MFA), Some("300"), both),
    ] {
        let answer = ask(&rule, caller).await;
        let challenge = step_up(&answer, "lacks");
        assert_eq!(challenge.get("acr_values"), acr);
        assert_eq!(challenge.get("max_age"), max_age);
        assert_eq!(challenge.get("scope"), scope);
    }
    // Without a need for another sign-in it is a missing scope.
    let answer = ask(&rule, caller(MFA, 0, "read")).await;
    forbidden(&answer, "scope alone");
    assert_eq!(answer.challenge().get("scope"), Some("pay read"));
}

#[tokio::test]
async fn m4_a_caller_who_lacks_more_than_a_sign_in_is_not_sent_to_sign_in() {
    let caller = || Principal::builder().roles(["user"]).acr("pwd").build();
    for other in [
        Rule::any_of(["admin"]),
        Rule::all_of(["user", "admin"]),
        Rule::none_of(["user"]),
        Rule::check(|_, _| false),
        !Rule::acr(["pwd"]),
        // No class satisfies both.
        Rule::acr(["another"]),
    ] {
        for rule in [
            other.clone().and(Rule::acr([MFA])),
            Rule::acr([MFA]).and(other.clone()),
            Rule::acr([MFA]).and(other).named("pay"),
        ] {
            forbidden(&ask(&rule, caller()).await, "more than a sign-in");
        }
    }
    // A role by a hierarchy is one that the caller has.
    let hierarchy = RoleHierarchy::builder().implies("user", ["reader"]).build();
    let rule = Rule::any_of(["reader"]).and(Rule::acr([MFA]));
    let guard = RoleGuardLayer::new(rule).hierarchy(hierarchy.unwrap());
    let mut request = Request::new(String::new());
    request.extensions_mut().insert(caller());
    step_up(&send(guard, request).await, "hierarchy");
}

#[tokio::test]
async fn m4_of_alternatives_the_first_that_a_sign_in_satisfies_counts() {
    let caller = || Principal::builder().acr("pwd").auth_time(ago(1000)).build();
    let (mfa, recent) = (Rule::acr([MFA]), Rule::max_auth_age(MINUTES));
    let admin = || Rule::any_of(["admin"]);
    for (rule, acr, max_age) in [
        (mfa.clone().or(recent.clone()), Some(MFA), None),
        (recent.clone().or(mfa.clone()), None, Some("300")),
        (admin().or(mfa.clone()), Some(MFA), None),
        (admin().and(recent.clone()).or(mfa.clone()), Some(MFA), None),
        // `!(x and !y)` is `!x or y`.
        (!Rule::authenticated().and(!mfa.clone()), Some(MFA), None),
        (
            mfa.clone().or(admin()).and(recent.clone()),
            Some(MFA),
            Some("300"),
        ),
    ] {
        let challenge = step_up(&ask(&rule, caller()).await, "alternatives");
        assert_eq!(challenge.get("acr_values"), acr, "{rule:?}");
        assert_eq!(challenge.get("max_age"), max_age, "{rule:?}");
    }
    // An alternative that holds is enough.
    let rule = admin().or(mfa.clone()).or(Rule::acr(["pwd"]));
    ask(&rule, caller()).await.passes("the last alternative");
    // A scope comes first: no sign-in is needed for it.
    let answer = ask(&Rule::scope("pay").or(mfa), caller()).await;
    forbidden(&answer, "a scope first");
}

#[tokio::test]
async fn m4_an_inverted_rule_never_asks_for_a_sign_in() {
    let caller = Principal::builder().acr(MFA).auth_time(ago(0)).build();
    for rule in [Rule::acr([MFA]), Rule::max_auth_age(MINUTES)] {
        forbidden(&ask(&!rule.clone(), caller.clone()).await, "inverted");
        ask(&!!rule, caller.clone()).await.passes("twice inverted");
    }
    let weak = Principal::builder().acr("pwd").auth_time(ago(1000)).build();
    for rule in [Rule::acr([MFA]), Rule::max_auth_age(MINUTES)] {
        ask(&!rule, weak.clone()).await.passes("another sign-in");
    }
}

#[tokio::test]
async fn m4_several_rules_on_the_class_ask_for_one_that_satisfies_all() {
    let rule = Rule::acr(["a", "b", "c"]).and(Rule::acr(["c", "b"]));
    let answer = ask(&rule, Principal::builder().acr("a").build()).await;
    let challenge = step_up(&answer, "both");
    assert_eq!(challenge.get("acr_values"), Some("b c"));
    let rule = Rule::max_auth_age(MINUTES).and(Rule::max_auth_age(Duration::from_secs(90)));
    let answer = ask(&rule, Principal::builder().auth_time(ago(1000)).build()).await;
    assert_eq!(step_up(&answer, "both").get("max_age"), Some("90"));
}

#[tokio::test]
async fn m6_a_sign_in_in_the_future_is_an_invalid_token() {
    let at = Timestamp::from(SystemTime::now()).plus(Duration::from_secs(1000));
    for rule in [
        Rule::max_auth_age(MINUTES),
        Rule::max_auth_age(MINUTES).and(Rule::acr([MFA])),
        Rule::max_auth_age(Duration::from_secs(u64::MAX)),
    ] {
        let answer = ask(&rule, Principal::builder().auth_time(at).build()).await;
        answer.invalid_token("future");
    }
    let caller = Principal::builder().auth_time(at).build();
    forbidden(
        &ask(&!Rule::max_auth_age(MINUTES), caller).await,
        "inverted",
    );
}

#[test]
fn m5_a_class_that_no_challenge_can_contain_is_an_error() {
    for bad in ["", "a b", "a\"b", "a\\b", "é", "a\n"] {
        assert!(Rule::try_acr([bad]).is_err(), "{bad:?}");
        assert!(Rule::try_acr(["good", bad]).is_err(), "{bad:?}");
    }
    assert!(Rule::try_acr(Vec::<String>::new()).is_err());
    assert!(Rule::try_acr([MFA, "0"]).is_ok());
}

#[tokio::test]
async fn m4_the_challenge_names_the_metadata_and_an_anonymous_request_is_asked_for_a_token() {
    let fixture = Fixture::new();
    let resource = ProtectedResource::builder("https://api.example")
        .scope_alias("pay", "api://id/pay")
        .build()
        .unwrap();
    let layer = fixture.layer().resource(&resource);
    let rule = Rule::acr([MFA]).and(Rule::scope("pay"));
    let guarded = |layer: JwtAuthLayer| (layer, RoleGuardLayer::new(rule.clone()));
    let answer = send(guarded(layer.clone()), bearer(fixture.token())).await;
    let challenge = step_up(&answer, "metadata");
    assert_eq!(challenge.get("scope"), Some("api://id/pay"));
    assert!(challenge.get("resource_metadata").is_some());
    let answer = send(guarded(layer.optional()), nobody()).await;
    assert_eq!(answer.kind(), Some(AuthErrorKind::MissingCredential));
    assert_eq!(answer.challenge().get("acr_values"), None);

    // Without a resource, a gRPC call is told too.
    let mut call = bearer(fixture.token());
    *call.method_mut() = http::Method::POST;
    *call.version_mut() = http::Version::HTTP_2;
    let kind = http::HeaderValue::from_static("application/grpc");
    call.headers_mut().insert("content-type", kind);
    let answer = send(guarded(fixture.layer()), call).await;
    assert_eq!(answer.header("grpc-status"), Some("16"));
    assert_eq!(answer.challenge().get("acr_values"), Some(MFA));
}
