//! Section J: the metadata of a protected resource, and the challenges that name it.

use http::{Method, Request, Response, StatusCode, header::WWW_AUTHENTICATE};
use serde_json::{Value, json};
use tower::{ServiceBuilder, ServiceExt};
use tower_jwt_auth::{
    ConfigError, JwtAuthLayer, Principal, RoleGuardLayer, Verifier,
    error::AuthErrorKind,
    layer::{
        extract::{Bearer, Cookie, Query},
        resource::{ProtectedResource, ProtectedResourceBuilder, ResourceMetadata},
        response::{OAuthJson, Refusal, json_body},
        role_guard::Rule,
    },
};

use crate::support::{
    answer::{Answer, send},
    fixture::{AUDIENCE, Fixture, bearer},
    request::{nobody, target, with},
};

const URL: &str = "https://api.example/.well-known/oauth-protected-resource";
const PATH: &str = "/.well-known/oauth-protected-resource";

fn builder() -> ProtectedResourceBuilder {
    ProtectedResource::builder(AUDIENCE).authorization_server("https://as.example")
}

fn resource() -> ProtectedResource {
    builder().build().unwrap()
}

/// The document as a layer serves it.
async fn served(layer: &JwtAuthLayer, path: &str) -> Value {
    let answer = send(layer.clone(), target(path)).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    assert!(!answer.ran());
    answer.json()
}

async fn by_service(metadata: ResourceMetadata, request: Request<String>) -> Response<()> {
    let response = metadata.oneshot(request).await.unwrap();
    response.map(drop)
}

#[track_caller]
fn refusal(builder: ProtectedResourceBuilder) -> String {
    builder.build().unwrap_err().to_string()
}

#[tokio::test]
async fn j1_the_document_is_json_and_names_the_identifier_as_configured() {
    for (identifier, path) in [
        ("https://api.example", PATH.to_owned()),
        ("https://api.example/", PATH.to_owned()),
        ("https://api.example/MCP", format!("{PATH}/MCP")),
        ("http://127.0.0.1:3000/mcp", format!("{PATH}/mcp")),
    ] {
        let resource = ProtectedResource::builder(identifier).build().unwrap();
        let layer = Fixture::new().layer().resource(&resource);
        let answer = send(layer.clone(), target(&path)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json()["resource"], identifier);
        assert_eq!(layer.metadata().unwrap().to_json(), answer.json());
        assert_eq!(layer.metadata().unwrap().path(), path);
    }
}

#[tokio::test]
async fn j2_a_path_is_part_of_the_documents_path_and_nothing_is_at_the_root() {
    let resource = ProtectedResource::builder("https://api.example/a/b?tenant=1");
    let layer = Fixture::new().layer().resource(&resource.build().unwrap());
    let metadata = layer.metadata().unwrap();
    assert_eq!(metadata.path(), format!("{PATH}/a/b"));
    for (path, found) in [
        (format!("{PATH}/a/b?tenant=1"), true),
        (format!("{PATH}/a/b?tenant=2"), false),
        (format!("{PATH}/a/b"), false),
        (format!("{PATH}/a/b/?tenant=1"), false),
        (format!("{PATH}//a/b?tenant=1"), false),
        (format!("{PATH}/a?tenant=1"), false),
        (PATH.to_owned(), false),
        (format!("{PATH}/"), false),
    ] {
        let expected = match found {
            true => (StatusCode::OK, StatusCode::OK),
            false => (StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND),
        };
        let by_layer = send(layer.clone(), target(&path)).await.status;
        let alone = by_service(metadata.clone(), target(&path)).await.status();
        assert_eq!((by_layer, alone), expected, "{path}");
    }
}

#[test]
fn j3_a_resource_that_is_not_an_https_url_is_refused() {
    for identifier in [
        "",
        "api.example",
        "/mcp",
        "http://api.example",
        "http://10.0.0.1",
        "http://localhost.example",
        "ftp://api.example",
        "urn:example:api",
        "https://",
        "https:///mcp",
        "https://user:secret@api.example",
        "https://api.example#",
        "https://api.example/mcp#part",
        "https://api.example/a b",
        "https://api.example/a\"b",
        "https://api.example/a\\b",
        "https://api.example/é",
        "https://api.example\r\nx: y",
    ] {
        let refused = refusal(ProtectedResource::builder(identifier));
        assert!(refused.starts_with("resource: "), "{identifier}: {refused}");
        if !identifier.contains('?') {
            let server = resource().to_builder().authorization_server(identifier);
            let refused = refusal(server);
            assert!(refused.starts_with("authorization_server: "), "{refused}");
        }
    }
    let server = resource().to_builder();
    let with_query = server.authorization_server("https://as.example?tenant=1");
    assert!(refusal(with_query).contains("has a query"));
    for local in [
        "http://localhost:3000",
        "http://127.0.0.1/mcp",
        "http://[::1]:3000/mcp",
    ] {
        assert!(ProtectedResource::builder(local).build().is_ok(), "{local}");
    }
}

#[tokio::test]
async fn j4_empty_lists_are_left_out() {
    let empty = ProtectedResource::builder(AUDIENCE)
        .scopes(Vec::<String>::new())
        .member("resource_policy_uri", "https://api.example/policy")
        .member("x_list", json!([]));
    let layer = Fixture::new().layer().resource(&empty.build().unwrap());
    let expected = json!({
        "resource": AUDIENCE,
        "bearer_methods_supported": ["header"],
        "resource_policy_uri": "https://api.example/policy",
    });
    assert_eq!(served(&layer, PATH).await, expected);
    let only_cookies = layer.extractor(Cookie::new("__Host-at").unwrap());
    let document = served(&only_cookies, PATH).await;
    assert_eq!(document.get("bearer_methods_supported"), None);

    let full = builder()
        .scopes(["orders:read", "orders:write"])
        .name("Orders")
        .documentation("https://api.example/docs");
    let layer = Fixture::new().layer().resource(&full.build().unwrap());
    let expected = json!({
        "resource": AUDIENCE,
        "authorization_servers": ["https://as.example"],
        "scopes_supported": ["orders:read", "orders:write"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Orders",
        "resource_documentation": "https://api.example/docs",
    });
    assert_eq!(served(&layer, PATH).await, expected);
}

/// A layer with guards of every kind inside, and one that refuses everybody.
fn stack(layer: JwtAuthLayer, guard: RoleGuardLayer) -> impl Fn() -> Stack {
    move || {
        ServiceBuilder::new()
            .layer(layer.clone())
            .layer(guard.clone())
    }
}

type Stack = ServiceBuilder<
    tower::layer::util::Stack<
        RoleGuardLayer,
        tower::layer::util::Stack<JwtAuthLayer, tower::layer::util::Identity>,
    >,
>;

#[track_caller]
fn names_the_metadata(answer: &Answer, case: &str) {
    let challenge = answer.challenge();
    assert_eq!(challenge.get("resource_metadata"), Some(URL), "{case}");
}

#[tokio::test]
async fn j5_every_401_and_403_names_the_metadata() {
    let fixture = Fixture::new();
    let layer = fixture.layer().resource(&resource());
    let terse = |layer: JwtAuthLayer| layer.terse().realm("orders");
    let guards = [
        ("role", RoleGuardLayer::any_of(["admin"])),
        ("scope", RoleGuardLayer::scope("orders:write")),
        (
            "its own realm",
            RoleGuardLayer::scope("orders:write").realm("own"),
        ),
        (
            "its own body",
            RoleGuardLayer::any_of(["admin"]).responder(OAuthJson::new()),
        ),
        (
            "json",
            RoleGuardLayer::any_of(["admin"])
                .responder(json_body(|refusal| (refusal.status(), json!({})))),
        ),
        ("terse", RoleGuardLayer::any_of(["admin"]).terse()),
    ];
    for layer in [
        layer.clone(),
        terse(layer.clone()),
        layer.clone().optional(),
    ] {
        for (name, guard) in &guards {
            let stack = stack(layer.clone(), guard.clone());
            for (request, status) in [
                (nobody(), 401),
                (bearer("a.b.c"), 401),
                (bearer(fixture.with("exp", json!(0))), 401),
                (
                    bearer(fixture.with("aud", json!("https://other.example"))),
                    401,
                ),
                (bearer(fixture.token()), 403),
            ] {
                let answer = send(stack(), request).await;
                assert_eq!(answer.status, status, "{name}");
                names_the_metadata(&answer, name);
            }
        }
    }
    // Of two layers with their own metadata, that of the inner one counts, also for a guard's own realm.
    let other = ProtectedResource::builder("https://other.example");
    let other = fixture.layer().resource(&other.build().unwrap());
    let guard = RoleGuardLayer::any_of(["admin"]).realm("own");
    for outer in [other.clone(), fixture.layer()] {
        for _ in 0..2 {
            let layers = (outer.clone(), layer.clone(), guard.clone());
            let answer = send(layers, bearer(fixture.token())).await;
            names_the_metadata(&answer, "nested");
        }
        // The same guard under another layer.
        let answer = send((other.clone(), guard.clone()), bearer(fixture.token())).await;
        let url = "https://other.example/.well-known/oauth-protected-resource";
        assert_eq!(answer.challenge().get("resource_metadata"), Some(url));
        assert_eq!(answer.challenge().get("realm"), Some("own"));
    }
}

#[tokio::test]
async fn j5_a_refusal_by_a_handler_names_the_metadata() {
    let fixture = Fixture::new();
    let layer = fixture.layer().resource(&resource());
    let passed = send(layer, bearer(fixture.token())).await;
    let caller = passed.seen().extensions.get::<Principal>().unwrap();
    let denied = caller.require_scope("orders:write").unwrap_err();
    let response = denied.to_response();
    let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
    let expected = format!("resource_metadata=\"{URL}\", scope=\"orders:write\"");
    assert!(challenge.ends_with(&expected), "{challenge}");
}

#[tokio::test]
async fn j5_a_grpc_refusal_names_the_metadata_too() {
    let fixture = Fixture::new();
    let layer = fixture.layer().resource(&resource());
    let stack = stack(layer, RoleGuardLayer::scope("orders:write"));
    for (kind, native) in [
        ("application/grpc", true),
        ("application/grpc-web+proto", false),
    ] {
        for (mut request, status) in [(nobody(), "16"), (bearer(fixture.token()), "7")] {
            *request.method_mut() = Method::POST;
            *request.version_mut() = http::Version::HTTP_2;
            let answer = send(stack(), with(request, "content-type", kind)).await;
            assert_eq!(answer.status, StatusCode::OK);
            names_the_metadata(&answer, kind);
            let expected = native.then_some(status);
            assert_eq!(answer.header("grpc-status"), expected, "{kind}");
        }
    }
}

#[tokio::test]
async fn j6_the_document_needs_no_token_under_a_layer_that_refuses_everybody() {
    let fixture = Fixture::new();
    let nobody_passes = RoleGuardLayer::new(Rule::check(|_, _| false));
    let layer = fixture.layer().resource(&resource());
    let limits = [
        ("required", layer.clone()),
        ("optional", layer.clone().optional()),
        ("preflight", layer.clone().allow_preflight()),
        (
            "skip",
            layer.clone().skip_if(|head| head.uri().path() == "/health"),
        ),
    ];
    for (name, layer) in limits {
        let stack = stack(layer, nobody_passes.clone());
        for request in [
            target(PATH),
            with(target(PATH), "authorization", "Bearer a.b.c"),
            with(target(PATH), "authorization", "Bearer"),
            with(
                target(PATH),
                "authorization",
                &format!("Bearer {}", fixture.token()),
            ),
        ] {
            let answer = send(stack(), request).await;
            assert_eq!(answer.status, StatusCode::OK, "{name}");
            assert!(!answer.ran(), "{name}");
            assert_eq!(answer.json()["resource"], AUDIENCE, "{name}");
        }
        let answer = send(stack(), bearer(fixture.token())).await;
        assert!(!answer.ran() && answer.status.is_client_error(), "{name}");
    }
    // For a gateway, every 200 is a permission.
    let answer = send(layer.gateway().build().unwrap(), target(PATH)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn j7_no_header_of_the_request_changes_the_document_or_the_challenge() {
    let layer = Fixture::new().layer().resource(&resource());
    let plain = served(&layer, PATH).await;
    for (name, value) in [
        ("host", "evil.example"),
        ("forwarded", "host=evil.example;proto=http"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-prefix", "/evil"),
        ("origin", "https://evil.example"),
    ] {
        let answer = send(layer.clone(), with(target(PATH), name, value)).await;
        assert_eq!(answer.json(), plain, "{name}");
        let answer = send(layer.clone(), with(nobody(), name, value)).await;
        names_the_metadata(&answer, name);
    }
    let absolute = target(&format!("https://evil.example{PATH}"));
    assert_eq!(send(layer, absolute).await.json(), plain);
}

#[tokio::test]
async fn j8_the_document_states_the_places_of_the_layer() {
    let resource = resource();
    let methods = async |layer: JwtAuthLayer| {
        let document = served(&layer, PATH).await;
        document.get("bearer_methods_supported").cloned()
    };
    let layer = || Fixture::new().layer();
    let both = (Bearer::new(), Query::new("access_token"));
    let with_cookie = (Bearer::new(), Cookie::new("__Host-at").unwrap());
    for layer in [
        // In either order of the settings.
        layer().resource(&resource).extractor(both.clone()),
        layer().extractor(both).resource(&resource),
    ] {
        assert_eq!(methods(layer).await, Some(json!(["header", "query"])));
    }
    let layer = layer().resource(&resource);
    assert_eq!(methods(layer.clone()).await, Some(json!(["header"])));
    let cookie = layer.clone().extractor(with_cookie);
    assert_eq!(methods(cookie).await, Some(json!(["header"])));
    let query = layer.extractor(std::sync::Arc::new(Query::new("access_token")));
    assert_eq!(methods(query).await, Some(json!(["query"])));

    for name in [
        "resource",
        "authorization_servers",
        "scopes_supported",
        "bearer_methods_supported",
        "dpop_signing_alg_values_supported",
        "dpop_bound_access_tokens_required",
        "tls_client_certificate_bound_access_tokens",
    ] {
        let refused = refusal(builder().member(name, json!(["query"])));
        assert!(
            refused.starts_with(&format!("member: `{name}` ")),
            "{refused}"
        );
    }
}

#[test]
fn j9_the_algorithms_of_signed_responses_never_contain_none() {
    let name = "resource_signing_alg_values_supported";
    assert!(builder().member(name, json!(["ES256"])).build().is_ok());
    let refused = refusal(builder().member(name, json!(["ES256", "none"])));
    assert_eq!(
        refused,
        "member: `resource_signing_alg_values_supported` must not contain `none` (RFC 9728 §2)"
    );
}

#[test]
fn j10_an_mcp_server_has_an_authorization_server() {
    let refused = refusal(ProtectedResource::builder(AUDIENCE).mcp());
    assert!(refused.starts_with("authorization_server: "), "{refused}");
    assert!(builder().mcp().build().unwrap().is_mcp());
}

#[tokio::test]
async fn j11_an_mcp_server_refuses_a_token_for_another_audience() {
    let fixture = Fixture::new();
    let mcp = builder().mcp().build().unwrap();
    let layer = fixture.layer().resource(&mcp).build().unwrap();
    send(layer.clone(), bearer(fixture.token()))
        .await
        .passes("its own");
    for token in [
        fixture.with("aud", json!("https://other.example")),
        fixture.with("aud", json!("https://API.example")),
        fixture.without("aud"),
    ] {
        let answer = send(layer.clone(), bearer(token)).await;
        answer.invalid_token("another audience");
    }
    // A verifier that accepts any audience does not make an MCP server.
    let any = || {
        let keys = Verifier::key_set(crate::support::fixture::keys());
        let keys = keys
            .issuer("https://as.example")
            .clock(fixture.clock.clone());
        JwtAuthLayer::new(keys.dangerous_any_audience().build().unwrap())
    };
    send(any().resource(&resource()), bearer(fixture.token()))
        .await
        .passes("not MCP");
    let layer = any().resource(&mcp);
    assert!(
        matches!(layer.clone().build(), Err(ConfigError::Invalid { name, .. }) if name == "resource")
    );
    let answer = send(layer.clone(), bearer(fixture.token())).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.kind(), Some(AuthErrorKind::Misconfigured));
    // The mistake is gone with the resource.
    let repaired = layer.resource(&resource()).build().unwrap();
    send(repaired, bearer(fixture.token())).await;
}

#[tokio::test]
async fn j12_a_401_names_the_configured_scope_and_none_without_one() {
    let fixture = Fixture::new();
    let plain = fixture.layer().resource(&resource());
    let layer = plain.clone().challenge_scope("orders:read orders:list");
    let expired = fixture.with("exp", json!(0));
    for request in [nobody(), bearer("a.b.c"), bearer(expired)] {
        let answer = send(layer.clone(), request.clone()).await;
        let scope = "orders:read orders:list";
        assert_eq!(answer.challenge().get("scope"), Some(scope));
        let answer = send(plain.clone(), request).await;
        assert_eq!(answer.challenge().get("scope"), None);
    }
    // A guard inside an optional layer, and one with its own realm.
    let guard = RoleGuardLayer::any_of(["admin"]);
    for guard in [guard.clone(), guard.realm("own")] {
        let layers = (layer.clone().optional(), guard);
        let answer = send(layers, nobody()).await;
        assert_eq!(
            answer.challenge().get("scope"),
            Some("orders:read orders:list")
        );
    }
    // A malformed request needs no other token, and the scopes of a rule are its own.
    let answer = send(layer.clone(), bearer("a b")).await;
    assert_eq!(answer.challenge().get("scope"), None);
    let layers = (layer, RoleGuardLayer::scope("orders:write"));
    let answer = send(layers, bearer(fixture.token())).await;
    assert_eq!(answer.challenge().get("scope"), Some("orders:write"));
}

#[tokio::test]
async fn j12_a_scope_that_is_not_one_is_an_error() {
    let fixture = Fixture::new();
    for scope in ["", " ", "a  b", "a\"b", "a\\b", "é"] {
        let layer = fixture.layer().challenge_scope(scope);
        let error = layer.clone().build().err().map(|error| error.to_string());
        assert!(error.unwrap().starts_with("challenge_scope: "), "{scope:?}");
        let answer = send(layer.clone(), bearer(fixture.token())).await;
        assert_eq!(
            answer.status,
            StatusCode::INTERNAL_SERVER_ERROR,
            "{scope:?}"
        );
        let repaired = layer.challenge_scope("a").build().unwrap();
        send(repaired, bearer(fixture.token())).await.passes(scope);
    }
}

#[tokio::test]
async fn j13_a_403_names_its_error_all_scopes_and_the_metadata() {
    let fixture = Fixture::new();
    let rule = Rule::scope("notes:read").and(Rule::scope("notes:write"));
    let layers = (
        fixture.layer().resource(&resource()),
        RoleGuardLayer::new(rule),
    );
    let answer = send(layers, bearer(fixture.with("scope", json!("notes:read")))).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let challenge = answer.challenge();
    assert_eq!(challenge.get("error"), Some("insufficient_scope"));
    assert_eq!(challenge.get("scope"), Some("notes:read notes:write"));
    assert_eq!(challenge.get("resource_metadata"), Some(URL));
}

#[tokio::test]
async fn j15_offline_access_is_in_no_document_and_no_challenge() {
    for refused in [
        builder().scopes(["orders:read", "offline_access"]),
        builder().scope_alias("orders:read", "offline_access"),
        builder().scope_alias("offline_access", "orders:read"),
    ] {
        assert!(refusal(refused).starts_with("scopes: `offline_access` "));
    }
    let fixture = Fixture::new();
    let layer = fixture
        .layer()
        .challenge_scope("orders:read offline_access");
    assert!(layer.build().is_err());
    // A rule may require it. The challenge does not tell a client to request it.
    for (rule, expected) in [
        ("orders:read offline_access", Some("orders:read")),
        ("offline_access", None),
    ] {
        let guard = RoleGuardLayer::scope(rule).responder(OAuthJson::new());
        let answer = send((fixture.layer(), guard), bearer(fixture.token())).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.challenge().get("scope"), expected);
        let body = answer.json();
        assert_eq!(body.get("scope").and_then(Value::as_str), expected);
    }
}

#[tokio::test]
async fn j16_j23_the_document_may_be_cached_and_read_from_any_origin() {
    let layer = Fixture::new().layer().resource(&resource());
    let metadata = layer.metadata().unwrap();
    let as_method = |method: &Method| {
        let mut request = target(PATH);
        *request.method_mut() = method.clone();
        with(request, "origin", "https://client.example")
    };
    for (method, status) in [
        (Method::GET, 200),
        (Method::HEAD, 200),
        (Method::OPTIONS, 204),
        (Method::POST, 405),
        (Method::PUT, 405),
        (Method::DELETE, 405),
        (Method::TRACE, 405),
    ] {
        let answer = send(layer.clone(), as_method(&method)).await;
        let alone = by_service(metadata.clone(), as_method(&method)).await;
        assert_eq!(answer.status, status, "{method}");
        assert!(!answer.ran());
        assert_eq!(alone.status(), status, "{method}");
        assert_eq!(alone.headers(), &answer.headers, "{method}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let cached = answer.header("cache-control");
        assert_eq!(
            cached.is_some_and(|value| value.contains("max-age=3600")),
            status == 200
        );
        assert_eq!(answer.body.is_empty(), method != Method::GET, "{method}");
        if status == 405 {
            assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
        }
    }
    let preflight = with(
        as_method(&Method::OPTIONS),
        "access-control-request-method",
        "GET",
    );
    let preflight = with(
        preflight,
        "access-control-request-headers",
        "mcp-protocol-version",
    );
    for layer in [layer.clone(), layer.clone().allow_preflight()] {
        let answer = send(layer, preflight.clone()).await;
        assert!(!answer.ran());
        assert_eq!(answer.header("access-control-allow-headers"), Some("*"));
        assert_eq!(
            answer.header("access-control-allow-methods"),
            Some("GET, HEAD, OPTIONS")
        );
    }
    // A HEAD has the length of the document.
    let head = send(layer.clone(), as_method(&Method::HEAD)).await;
    let get = send(layer, as_method(&Method::GET)).await;
    assert_eq!(head.headers, get.headers);
    assert_eq!(
        get.header("content-length"),
        Some(&*get.body.len().to_string())
    );
}

#[tokio::test]
async fn j22_document_and_challenge_use_the_name_that_clients_request() {
    let fixture = Fixture::new();
    let resource = builder()
        .scopes(["orders.read", "orders.write"])
        .scope_alias("orders.read", "api://id/orders.read")
        .build()
        .unwrap();
    let layer = fixture
        .layer()
        .resource(&resource)
        .challenge_scope("orders.read");
    let document = served(&layer, PATH).await;
    let names = json!(["api://id/orders.read", "orders.write"]);
    assert_eq!(document["scopes_supported"], names);

    let answer = send(layer.clone(), nobody()).await;
    assert_eq!(
        answer.challenge().get("scope"),
        Some("api://id/orders.read")
    );

    // The rule has the name in the token, and its challenge that of a request.
    for guard in [
        RoleGuardLayer::scope("orders.read orders.write"),
        RoleGuardLayer::scope("orders.read orders.write").realm("own"),
    ] {
        let guard = guard.responder(OAuthJson::new());
        let layers = || (layer.clone(), guard.clone());
        let answer = send(
            layers(),
            bearer(fixture.with("scope", json!("orders.read"))),
        )
        .await;
        let requested = "api://id/orders.read orders.write";
        assert_eq!(answer.challenge().get("scope"), Some(requested));
        assert_eq!(answer.json()["scope"], requested);
        let enough = fixture.with("scope", json!("orders.write orders.read"));
        send(layers(), bearer(enough)).await.passes("both");
    }
    for bad in ["", "a b", "a\"b"] {
        assert!(builder().scope_alias("orders.read", bad).build().is_err());
    }
}

#[tokio::test]
async fn j24_the_token_never_reaches_the_service_of_an_mcp_server() {
    let fixture = Fixture::new();
    let mcp = builder().mcp().build().unwrap();
    let query = (Bearer::new(), Query::new("access_token"));
    let layer = fixture.layer().extractor(query).resource(&mcp);
    let token = fixture.token();
    for request in [
        bearer(&token),
        target(&format!("/?a=1&access_token={token}")),
    ] {
        let answer = send(layer.clone(), request).await.passes("a good token");
        let seen = answer.seen();
        let text = format!("{:?} {:?}", seen.headers, seen.uri);
        assert!(!text.contains(&token), "{text}");
        assert_eq!(answer.caller().subject(), Some("alice"));
    }
    let other = fixture.layer().resource(&resource());
    let answer = send(other, bearer(&token)).await;
    assert!(answer.seen().headers.contains_key("authorization"));
}

#[test]
fn j25_scheme_and_host_of_the_configuration_are_lowered() {
    let resource = ProtectedResource::builder("HTTPS://Api.Example:8443/Orders/");
    let resource = resource.build().unwrap();
    assert_eq!(resource.identifier(), "https://api.example:8443/Orders/");
    assert_eq!(resource.origin(), "https://api.example:8443");
    assert_eq!(
        resource.metadata_url(),
        "https://api.example:8443/.well-known/oauth-protected-resource/Orders/"
    );
    let again = resource
        .to_builder()
        .mcp()
        .authorization_server("https://as.example");
    assert_eq!(again.build().unwrap().identifier(), resource.identifier());
}

#[tokio::test]
async fn a_responder_with_a_closure_gets_the_same_challenge() {
    let layer = Fixture::new().layer().resource(&resource());
    let layer = layer.responder(|refusal: &Refusal<'_>| {
        let mut response = Response::new(bytes::Bytes::new());
        *response.status_mut() = refusal.status();
        response
    });
    names_the_metadata(&send(layer, nobody()).await, "closure");
}
