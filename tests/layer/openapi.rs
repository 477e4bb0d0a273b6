//! L23: the OpenAPI descriptions of layers and rules.

use http::HeaderName;
use serde_json::{Value, json};
use tower_jwt_auth::{
    ConfigError, JwtAuthLayer, RoleGuardLayer, Verifier,
    layer::{
        api_key::{ApiKeyFormat, ApiKeyLayer, ApiKeys},
        dpop::{Dpop, DpopBuilder},
        extract::{Bearer, Cookie, Header, Query, RequestHead, WebSocketProtocol},
        role_guard::{RoleHierarchy, Rule, ScopeHierarchy},
    },
    store::MemoryStore,
};

use crate::support::fixture::Fixture;

fn layer() -> JwtAuthLayer {
    Fixture::new().layer()
}

fn bearer() -> Value {
    json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" })
}

#[test]
fn l23_the_schemes_are_the_places_of_the_layer() {
    let everywhere = layer().extractor((
        Bearer::new(),
        Cookie::new("__Host-at").unwrap(),
        (
            Header::new(HeaderName::from_static("cf-access-jwt-assertion")),
            Header::new(HeaderName::from_static("x-token")),
        ),
        (Query::new("access_token"), WebSocketProtocol::new("bearer")),
    ));
    for (layer, expected) in [
        (layer(), json!({ "bearer": bearer() })),
        (
            everywhere,
            json!({
                "bearer": bearer(),
                "cookie": { "type": "apiKey", "in": "cookie", "name": "__Host-at" },
                "header": { "type": "apiKey", "in": "header", "name": "cf-access-jwt-assertion" },
                "header_2": { "type": "apiKey", "in": "header", "name": "x-token" },
                "query": { "type": "apiKey", "in": "query", "name": "access_token" },
            }),
        ),
    ] {
        assert_eq!(layer.openapi().unwrap().to_value(), expected);
    }
}

#[test]
fn l23_tokens_with_a_proof_are_a_scheme_of_their_own() {
    let rules = || Dpop::at("https://api.example");
    let bound = |rules: DpopBuilder| layer().dpop(rules.build().unwrap());
    let allowed = bound(rules()).openapi().unwrap();
    let dpop = &allowed.to_value()["dpop"];
    assert_eq!(
        (&dpop["type"], &dpop["scheme"]),
        (&json!("http"), &json!("dpop"))
    );
    let text = dpop["description"].as_str().unwrap();
    assert!(
        text.contains("`DPoP` (RFC 9449)") && !text.contains("  "),
        "{text}"
    );
    assert_eq!(
        allowed.requirement(),
        json!([{ "bearer": [] }, { "dpop": [] }])
    );
    let guard = RoleGuardLayer::scope("orders:write");
    assert_eq!(
        guard.rule().openapi_security(&allowed),
        json!([{ "bearer": ["orders:write"] }, { "dpop": ["orders:write"] }])
    );
    // No token of another scheme or place is accepted.
    let required = bound(rules().required()).extractor((Bearer::new(), Cookie::new("at").unwrap()));
    let schemes = required.openapi().unwrap();
    assert_eq!(schemes.names().collect::<Vec<_>>(), ["dpop"]);
    let optional = required.optional().openapi().unwrap();
    assert_eq!(optional.requirement(), json!([{ "dpop": [] }, {}]));
}

#[test]
fn l23_a_layer_whose_places_are_unknown_is_not_described_as_open() {
    #[derive(Clone)]
    struct Custom;

    impl tower_jwt_auth::layer::extract::TokenExtractor for Custom {
        fn extract<'a>(
            &'a self,
            _: RequestHead<'a>,
        ) -> Result<Option<tower_jwt_auth::layer::extract::Credential<'a>>, tower_jwt_auth::AuthError>
        {
            Ok(None)
        }

        fn strip(&self, _: &mut http::HeaderMap, _: &mut http::Uri) {}
    }

    for layer in [
        layer().extractor(Custom),
        layer().extractor(WebSocketProtocol::new("bearer")),
    ] {
        let refused = layer.openapi();
        assert!(matches!(refused, Err(ConfigError::Invalid { .. })));
    }
    let one = layer().extractor((Custom, Bearer::new()));
    assert_eq!(
        one.openapi().unwrap().to_value(),
        json!({ "bearer": bearer() })
    );
}

#[cfg(feature = "jwks")]
#[tokio::test]
async fn l23_a_discovered_issuer_is_described_by_its_metadata() {
    let oidc = |issuer: &str| Verifier::oidc(issuer).audience("api").build().unwrap();
    let scheme = |url: &str| json!({ "type": "openIdConnect", "openIdConnectUrl": url });
    let of = |verifier: Verifier| JwtAuthLayer::new(verifier).openapi().unwrap().to_value();

    let one = "https://one.example/.well-known/openid-configuration";
    let two = "https://two.example/realms/a/.well-known/openid-configuration";
    assert_eq!(
        of(oidc("https://one.example/")),
        json!({ "openIdConnect": scheme(one) })
    );
    let both = [
        oidc("https://two.example/realms/a"),
        oidc("https://one.example"),
    ];
    assert_eq!(
        of(Verifier::by_issuer(both).unwrap()),
        json!({ "openIdConnect": scheme(one), "openIdConnect_2": scheme(two) })
    );
    // Another source of keys beside it.
    let own = Fixture::new().builder().build().unwrap();
    let mixed = Verifier::by_issuer([oidc("https://one.example"), own]).unwrap();
    assert_eq!(
        of(mixed),
        json!({ "openIdConnect": scheme(one), "bearer": bearer() })
    );
    // A URL of keys names no metadata.
    let keys = Verifier::jwks("https://one.example/keys").issuer("https://one.example");
    let keys = keys.audience("api").build().unwrap();
    assert_eq!(of(keys), json!({ "bearer": bearer() }));
}

#[test]
fn l23_the_requirement_of_a_route_without_a_guard() {
    let places = || (Bearer::new(), Cookie::new("at").unwrap());
    let required = layer().extractor(places()).openapi().unwrap();
    assert_eq!(
        required.requirement(),
        json!([{ "bearer": [] }, { "cookie": [] }])
    );
    let optional = layer().extractor(places()).optional().openapi().unwrap();
    assert_eq!(
        optional.requirement(),
        json!([{ "bearer": [] }, { "cookie": [] }, {}])
    );
    // A guard refuses anonymous requests, also inside an optional layer.
    let guard = RoleGuardLayer::authenticated();
    assert_eq!(
        guard.rule().openapi_security(&optional),
        json!([{ "bearer": [] }, { "cookie": [] }])
    );
}

#[test]
fn l23_the_requirement_of_a_guard_names_its_scopes() {
    let schemes = layer().openapi().unwrap();
    let scopes = ScopeHierarchy::builder().implies("orders", ["orders:read"]);
    let roles = RoleHierarchy::builder().implies("admin", ["staff"]);
    let rule = Rule::scope("orders:read").and(Rule::any_of(["staff"]));
    let guard = RoleGuardLayer::new(rule)
        .scope_hierarchy(scopes.build().unwrap())
        .hierarchy(roles.build().unwrap());
    // The names of the rule, as in a challenge.
    assert_eq!(
        guard.rule().openapi_security(&schemes),
        json!([{ "bearer": ["orders:read"] }])
    );
    assert_eq!(
        guard.rule().openapi_extension(),
        json!({ "allOf": [{ "scopes": ["orders:read"] }, { "anyRole": ["staff"] }] })
    );
    let never = RoleGuardLayer::new(!Rule::authenticated());
    assert_eq!(
        never.rule().openapi_security(&schemes),
        json!([{ "bearer": [] }])
    );
}

#[tokio::test]
async fn l23_api_keys_beside_tokens_are_an_alternative() {
    let format = ApiKeyFormat::new("acme_live").unwrap();
    let keys = ApiKeys::builder(format, MemoryStore::new())
        .build()
        .unwrap();
    let keys = ApiKeyLayer::new(&keys);
    let tokens = layer().optional();
    let both = tokens
        .openapi()
        .unwrap()
        .or(keys.clone().optional().openapi());
    assert_eq!(
        both.to_value(),
        json!({
            "bearer": bearer(),
            "apiKey": { "type": "apiKey", "in": "header", "name": "x-api-key" },
        })
    );
    assert_eq!(
        both.requirement(),
        json!([{ "bearer": [] }, { "apiKey": [] }, {}])
    );
    let required = tokens.openapi().unwrap().or(keys.openapi());
    assert_eq!(
        required.requirement(),
        json!([{ "bearer": [] }, { "apiKey": [] }])
    );
}
