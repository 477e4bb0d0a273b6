//! The document agrees with the guards, and a document that does not is found.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use integration_openapi::{differences, document, router, routes};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    key::Algorithm,
    layer::openapi::SecuritySchemes,
    test_util::{TestIssuer, TestKeys},
};

fn layer() -> JwtAuthLayer {
    let verifier = Verifier::key(TestKeys::new().verifying_key(Algorithm::Es256));
    let verifier = verifier
        .issuer("https://as.example")
        .audience("https://api.example");
    JwtAuthLayer::new(verifier.build().unwrap())
}

fn schemes() -> SecuritySchemes {
    layer().openapi().unwrap()
}

#[test]
fn the_document_agrees_with_the_guards() {
    let document = document(&schemes());
    assert_eq!(differences(&document, &schemes()), [""; 0]);
    assert_eq!(
        document["paths"]["/orders"]["delete"]["x-authorization"],
        json!({ "anyRole": ["admin"] })
    );
}

#[test]
fn a_document_that_differs_from_the_guards_is_found() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 6] = [
        ("get /orders", |document| {
            document["paths"]["/orders"]["get"]["security"][0]["bearer"] = json!(["orders:list"]);
        }),
        // An alternative less, and one too many.
        ("get /orders", |document| {
            let security = &mut document["paths"]["/orders"]["get"]["security"];
            security.as_array_mut().unwrap().pop();
        }),
        ("delete /orders", |document| {
            let security = &mut document["paths"]["/orders"]["delete"]["security"];
            security.as_array_mut().unwrap().push(json!({}));
        }),
        ("post /orders", |document| {
            let operation = document["paths"]["/orders"]["post"]
                .as_object_mut()
                .unwrap();
            operation.remove("security");
        }),
        ("put /orders", |document| {
            let put = document["paths"]["/orders"]["post"].clone();
            document["paths"]["/orders"]["put"] = put;
        }),
        ("securitySchemes", |document| {
            document["components"]["securitySchemes"]["bearer"]["scheme"] = json!("basic");
        }),
    ];
    for (expected, change) in changes {
        let mut document = document(&schemes());
        change(&mut document);
        assert_eq!(differences(&document, &schemes()), [expected]);
    }
}

#[tokio::test]
async fn every_documented_route_is_guarded() {
    let issuer = TestIssuer::new(Algorithm::Es256);
    let router = router(layer());
    for route in routes() {
        let method: Method = route.method.to_uppercase().parse().unwrap();
        let request = |token: Option<&str>| {
            let mut request = Request::builder().method(method.clone()).uri(route.path);
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            request.body(Body::empty()).unwrap()
        };
        let anonymous = router.clone().oneshot(request(None)).await.unwrap();
        assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);

        let token = issuer.token(|_| ());
        let other = router.clone().oneshot(request(Some(&token))).await.unwrap();
        assert_eq!(other.status(), StatusCode::FORBIDDEN);

        // The scopes of each documented alternative are enough, apart from the role of the last route.
        let security = route.guard.rule().openapi_security(&schemes());
        for alternative in security.as_array().unwrap() {
            let scopes = alternative["bearer"].as_array().unwrap();
            let scopes: Vec<_> = scopes.iter().filter_map(Value::as_str).collect();
            let token = issuer.token(|claims| {
                claims.insert("scope".into(), json!(scopes.join(" ")));
                claims.insert("roles".into(), json!(["admin"]));
            });
            let allowed = router.clone().oneshot(request(Some(&token))).await.unwrap();
            assert_eq!(allowed.status(), StatusCode::OK, "{alternative}");
        }
    }
}
