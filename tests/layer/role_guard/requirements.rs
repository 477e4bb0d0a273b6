//! Requirements of handlers, rules by gRPC method, and what a refusal names.

use http::{Method, Request, StatusCode, Version};
use serde_json::json;
use tower::ServiceBuilder;
use tower_jwt_auth::{
    AuthError, Principal, RoleGuardLayer,
    error::AuthErrorKind,
    layer::{
        response::AccessDenied,
        role_guard::{RoleHierarchy, Rule},
    },
    principal::{GuestPrincipal, PrincipalKind, UserPrincipal},
    test_util::signed_in,
};

use crate::support::{
    answer::send,
    fixture::{Fixture, bearer},
};

fn challenge(denied: &AccessDenied) -> String {
    let response = denied.to_response();
    let value = response.headers().get("www-authenticate").unwrap();
    value.to_str().unwrap().to_owned()
}

#[test]
fn l22_a_handler_requires_scopes_roles_and_kinds() {
    let caller = Principal::builder().roles(["editor"]).scope("a b").build();
    assert!(caller.require_scope("a").is_ok());
    assert!(caller.require_scope("b a").is_ok());
    assert!(caller.require_role("editor").is_ok());
    assert!(caller.require_kind(PrincipalKind::User).is_ok());

    for (denied, kind, missing, text) in [
        (
            caller.require_scope("c  b"),
            AuthErrorKind::MissingScope,
            "the scope `b c`",
            r#"error_description="The access token does not grant a scope that is needed here", scope="b c""#,
        ),
        (
            caller.require_role("admin"),
            AuthErrorKind::Forbidden,
            "the role `admin`",
            r#"error_description="The access token does not grant a role that is needed here""#,
        ),
        (
            caller.require_kind(PrincipalKind::Service),
            AuthErrorKind::Forbidden,
            "a caller of the kind `service`",
            r#"error_description="This kind of caller is not allowed here""#,
        ),
    ] {
        let denied = denied.unwrap_err();
        assert_eq!(denied.error().kind(), kind);
        assert_eq!(denied.error().missing(), Some(missing));
        assert_eq!(denied.to_response().status(), StatusCode::FORBIDDEN);
        let expected = format!(r#"Bearer realm="api", error="insufficient_scope", {text}"#);
        assert_eq!(challenge(&denied), expected);
        assert_eq!(AuthError::from(denied).kind(), kind);
    }
    // A scope is not a role, and a role is not a scope.
    assert!(caller.require_role("a").is_err());
    assert!(caller.require_scope("editor").is_err());
}

#[test]
fn l6_a_requirement_that_no_caller_can_meet_is_500() {
    let caller = Principal::builder().roles([""]).build();
    for denied in [
        caller.require_scope(""),
        caller.require_scope("  "),
        caller.require_scope("a\"b"),
        caller.require_role(""),
    ] {
        let denied = denied.unwrap_err();
        assert_eq!(denied.error().kind(), AuthErrorKind::Misconfigured);
        let status = denied.to_response().status();
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[test]
fn r6_only_a_person_is_a_user_or_a_guest() {
    for kind in [PrincipalKind::User, PrincipalKind::Guest] {
        let person = Principal::builder().kind(kind).build();
        let limited = Principal::builder().kind(kind).conversation("c").build();
        assert!(person.require_kind(kind).is_ok());
        assert!(limited.require_kind(kind).is_err());
        assert!(person.require_kind(PrincipalKind::Service).is_err());
    }
    let service = Principal::builder().kind(PrincipalKind::Service).build();
    assert!(service.require_kind(PrincipalKind::Service).is_ok());
    assert!(service.require_kind(PrincipalKind::User).is_err());
}

#[tokio::test]
async fn r6_an_api_key_is_never_the_user_of_the_same_name() {
    use tower_jwt_auth::{
        layer::api_key::{ApiKeyFormat, ApiKeyLayer, ApiKeys, NewApiKey},
        store::MemoryStore,
    };

    let format = ApiKeyFormat::new("acme_live").unwrap();
    let keys = ApiKeys::builder(format, MemoryStore::new()).kind(PrincipalKind::User);
    let keys = keys.build().unwrap();
    let key = keys.issue(NewApiKey::new("alice")).await.unwrap();
    let answer = send(ApiKeyLayer::new(&keys), bearer(key.expose())).await;
    let caller = answer.caller();
    assert_eq!(caller.kind(), PrincipalKind::User);
    let denied = caller.require_kind(PrincipalKind::User).unwrap_err();
    assert_eq!(
        denied.error().missing(),
        Some("a caller of the kind `user`")
    );
}

#[tokio::test]
async fn q22_a_denied_handler_answers_as_the_layer_around_it() {
    let fixture = Fixture::new();
    let layer = fixture.layer().realm("shop");
    let answer = send(layer.terse(), bearer(fixture.token())).await;
    let denied = answer.caller().require_role("admin").unwrap_err();
    assert_eq!(
        challenge(&denied),
        r#"Bearer realm="shop", error="insufficient_scope""#
    );
}

#[tokio::test]
async fn q22_a_refusal_names_what_is_missing() {
    let caller = || {
        Principal::builder()
            .subject("alice")
            .roles(["user", "banned"])
            .scope("read")
            .build()
    };
    let kind = || Rule::kind(PrincipalKind::Service);
    let own = || Rule::check(|_, _| false);
    const ROLE: &str = "The access token does not grant a role that is needed here";
    const KIND: &str = "This kind of caller is not allowed here";
    const RULE: &str = "The caller is not allowed to do this";
    const SCOPE: &str = "The access token does not grant a scope that is needed here";
    for (rule, missing, detail) in [
        (Rule::any_of(["admin"]), "the role `admin`", ROLE),
        (
            Rule::any_of(["admin", "ops"]),
            "one of the roles `admin`, `ops`",
            ROLE,
        ),
        (
            Rule::all_of(["user", "ops"]),
            "all of the roles `user`, `ops`",
            ROLE,
        ),
        (
            Rule::none_of(["banned"]),
            "a caller without the role `banned`",
            RULE,
        ),
        (Rule::scope("write"), "the scope `write`", SCOPE),
        (kind(), "a caller of the kind `service`", KIND),
        (
            !Rule::kind(PrincipalKind::User),
            "a caller of another kind than `user`",
            KIND,
        ),
        (own(), "a custom condition", RULE),
        (own().named("own order"), "the rule `own order`", RULE),
        (
            Rule::any_of(["admin"]).named("staff"),
            "the rule `staff`",
            RULE,
        ),
        // A part that holds is not named, and neither is the alternative of one that holds.
        (
            Rule::any_of(["user"]).and(Rule::any_of(["admin"])),
            "the role `admin`",
            ROLE,
        ),
        (
            Rule::any_of(["admin"]).or(kind()),
            "the role `admin`; a caller of the kind `service`",
            ROLE,
        ),
        (
            Rule::any_of(["admin"]).and(Rule::scope("write")),
            "the scope `write`",
            SCOPE,
        ),
        (Rule::any_of(["a\nb"]), "the role `a\\nb`", ROLE),
    ] {
        let guarded = ServiceBuilder::new()
            .layer(signed_in(caller()))
            .layer(RoleGuardLayer::new(rule));
        let answer = send(guarded.into_inner(), Request::new(String::new())).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{missing}");
        let error = answer.error.as_ref().unwrap();
        assert_eq!(error.missing(), Some(missing));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["detail"], detail, "{missing}");
        assert_eq!(body["error"], "insufficient_scope", "{missing}");
    }
}

#[test]
fn q22_a_handler_for_users_names_the_kind_that_it_needs() {
    let service = || Principal::builder().kind(PrincipalKind::Service).build();
    let error = UserPrincipal::try_from(service()).unwrap_err();
    assert_eq!(error.missing(), Some("a user who has signed in"));
    let error = GuestPrincipal::try_from(service()).unwrap_err();
    assert_eq!(error.missing(), Some("a guest"));
}

fn call(path: &str) -> Request<String> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .body(String::new())
        .unwrap()
}

#[tokio::test]
async fn l21_a_grpc_method_without_a_rule_is_refused() {
    let hierarchy = RoleHierarchy::builder().implies("root", ["admin"]);
    let rule = Rule::grpc([
        ("/shop.v1.Orders/List", Rule::scope("orders:read")),
        ("/shop.v1.Orders/Cancel", Rule::any_of(["admin"])),
        ("/shop.v1.Orders/Ping", Rule::authenticated()),
    ]);
    let guard = RoleGuardLayer::new(rule.unwrap()).hierarchy(hierarchy.build().unwrap());
    let reader = Principal::builder().scope("orders:read").build();
    let root = Principal::builder().roles(["root"]).build();
    for (caller, path, passes, missing) in [
        (&reader, "/shop.v1.Orders/List", true, ""),
        (&reader, "/shop.v1.Orders/Ping", true, ""),
        (&reader, "/shop.v1.Orders/Cancel", false, "the role `admin`"),
        (&root, "/shop.v1.Orders/Cancel", true, ""),
        (
            &root,
            "/shop.v1.Orders/List",
            false,
            "the scope `orders:read`",
        ),
        // Every other path and every other spelling.
        (
            &root,
            "/shop.v1.Orders/Delete",
            false,
            "a rule for the path",
        ),
        (
            &root,
            "/shop.v1.Orders/cancel",
            false,
            "a rule for the path",
        ),
        (
            &root,
            "/shop.v1.Orders/Cancel/",
            false,
            "a rule for the path",
        ),
        (
            &root,
            "/shop.v1.Orders/%43ancel",
            false,
            "a rule for the path",
        ),
        (
            &root,
            "//shop.v1.Orders/Cancel",
            false,
            "a rule for the path",
        ),
        (&root, "/", false, "a rule for the path"),
    ] {
        let guarded = ServiceBuilder::new()
            .layer(signed_in(caller.clone()))
            .layer(guard.clone());
        let answer = send(guarded.into_inner(), call(path)).await;
        assert_eq!(answer.ran(), passes, "{path}");
        if !passes {
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            assert_eq!(answer.headers["grpc-status"], "7", "{path}");
            assert_eq!(answer.error.unwrap().missing(), Some(missing), "{path}");
        }
    }
}

#[test]
fn l21_rules_by_method_are_validated() {
    let any = Rule::authenticated;
    let none: [(&str, Rule); 0] = [];
    assert!(Rule::grpc(none).is_err());
    for path in [
        "",
        "/",
        "List",
        "shop.Orders/List",
        "/shop.Orders",
        "/shop.Orders/",
        "//List",
        "/a/b/c",
        "/a/*",
        "/a b/c",
    ] {
        assert!(Rule::grpc([(path, any())]).is_err(), "{path}");
    }
    assert!(Rule::grpc([("/a/B", any()), ("/a/B", any())]).is_err());
    assert!(Rule::grpc([("/grpc.health.v1.Health/Check", any())]).is_ok());
}

#[tokio::test]
async fn l6_a_faulty_rule_of_one_method_answers_every_call_with_an_error() {
    let rule = Rule::grpc([
        ("/a/B", Rule::authenticated()),
        ("/a/C", Rule::any_of([""])),
    ]);
    let guarded = ServiceBuilder::new()
        .layer(signed_in(Principal::builder().build()))
        .layer(RoleGuardLayer::new(rule.unwrap()));
    let answer = send(guarded.into_inner(), call("/a/B")).await;
    assert_eq!(answer.headers["grpc-status"], "13");
}

#[tokio::test]
async fn s7_amr_acr_and_auth_time_are_read_from_the_token() {
    let fixture = Fixture::new();
    let token = fixture.es.token(|claims| {
        claims.insert("amr".into(), json!(["pwd", 7, "otp"]));
        claims.insert("acr".into(), json!("gold"));
        claims.insert("auth_time".into(), json!(1_767_225_600));
    });
    let answer = fixture.judge(&token).await;
    let caller = answer.caller();
    assert_eq!(caller.amr().collect::<Vec<_>>(), ["pwd", "otp"]);
    assert_eq!(caller.acr(), Some("gold"));
    assert_eq!(caller.auth_time().unwrap().as_secs(), 1_767_225_600);

    // Another form counts as absent, and the token is still accepted.
    let token = fixture.es.token(|claims| {
        claims.insert("amr".into(), json!("pwd"));
        claims.insert("acr".into(), json!(1));
        claims.insert("auth_time".into(), json!("yesterday"));
    });
    let answer = fixture.judge(&token).await;
    let caller = answer.caller();
    assert_eq!(caller.amr().count(), 0);
    assert_eq!((caller.acr(), caller.auth_time()), (None, None));
    let answer = fixture.judge(&fixture.token()).await;
    let caller = answer.caller();
    assert_eq!((caller.acr(), caller.auth_time()), (None, None));

    // RFC 7519 §4: names are unique.
    let twice = fixture.with_text("acr", r#""gold","acr":"silver""#);
    let kind = fixture.judge(&twice).await.kind();
    assert_eq!(kind, Some(AuthErrorKind::MalformedClaims));

    let by_hand = Principal::builder().amr(["hwk"]).acr("x").build();
    assert_eq!(by_hand.amr().collect::<Vec<_>>(), ["hwk"]);
    assert_eq!(by_hand.acr(), Some("x"));
}
