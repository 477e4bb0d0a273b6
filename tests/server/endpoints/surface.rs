//! What clients, proxies and verifiers see of the endpoints: U15, U20, and the proof of N8.

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_jwt_auth::{
    key::{Algorithm, SigningKey},
    secret::SecretKey,
    server::{
        endpoints::{AuthEndpoints, WellKnown},
        issue::{KeyRing, TokenIssuer},
        login::{Argon2Cost, Login, MemoryThrottle, PasswordHasher},
        session::Sessions,
    },
    store::MemoryStore,
};

use crate::support::endpoints::{
    Answer, ORIGIN, PASSWORD, Server, ada, bearer, form, json as post, request,
};

/// The endpoints of this issuer, over new stores.
fn endpoints(issuer: &str, origin: Option<&str>, nested: bool) -> AuthEndpoints {
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let issuer = TokenIssuer::builder(KeyRing::new(key).unwrap())
        .issuer(issuer)
        .audience("api")
        .build()
        .unwrap();
    let (store, secret) = (MemoryStore::new(), SecretKey::generate());
    let sessions = Sessions::builder(issuer, store.clone())
        .secret(secret.clone())
        .build()
        .unwrap();
    let cheap = Argon2Cost::dangerous_custom(16, 1, 1).unwrap();
    let hasher = PasswordHasher::builder().cost(cheap).build().unwrap();
    let login = Login::builder(store, MemoryThrottle::new(), secret.clone());
    let login = login.hasher(hasher).build();
    let mut builder = AuthEndpoints::builder(sessions, login, secret).registration(true);
    if let Some(origin) = origin {
        builder = builder.public_origin(origin);
    }
    let endpoints = builder.build().unwrap();
    match nested {
        true => endpoints.nested(),
        false => endpoints,
    }
}

async fn get(service: WellKnown, method: Method, path: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(())
        .unwrap();
    let Ok(response) = service.oneshot(request).await;
    Answer::of(response).await
}

#[tokio::test]
async fn u15_a_form_that_is_not_utf8_is_refused_and_two_passwords_stay_two() {
    let server = Server::start().await;
    for body in [
        "email=eve%40example.org&password=p%E4ssw%F6rd1",
        "email=eve%E4%40example.org&password=password-1",
        "email=eve%40example.org&password=password-1&device=%FF",
        "email=eve%40example.org&password=password-1&other=%C3%28",
        "email=eve%40example.org&password=password-1&%C3=x",
    ] {
        let refused = server.send(form("register", body)).await;
        refused.is(400, "invalid_request");
    }
    let kind = "application/x-www-form-urlencoded; charset=iso-8859-1";
    let raw = [
        &b"email=eve%40example.org&password=p"[..],
        b"\xE4ssw\xF6rd1",
    ]
    .concat();
    let latin = request("POST", "register").header("content-type", kind);
    let refused = server.send(latin.body(Full::from(raw)).unwrap()).await;
    refused.is(400, "invalid_request");
    let unpaired = br#"{"email":"eve@example.org","password":"p\ud800ssword"}"#;
    let builder = request("POST", "register").header("content-type", "application/json");
    let refused = server.send(builder.body(Full::from(&unpaired[..])).unwrap());
    refused.await.is(400, "invalid_request");
    assert_eq!(server.users.subject("eve@example.org"), None);

    // U+FFFD is a character like any other.
    let body = "email=eve%40example.org&password=p%EF%BF%BDssword";
    let created = server.send(form("register", body)).await;
    assert_eq!(created.status, 201, "{created:?}");
    for (password, status) in [("p%C3%A4ssword", 401), ("p%EF%BF%BDssword", 200)] {
        let body = format!("email=eve%40example.org&password={password}");
        assert_eq!(server.send(form("login", &body)).await.status, status);
    }
}

#[tokio::test]
async fn u20_a_host_that_takes_the_base_path_off_gives_an_endpoint_one_path_too() {
    let login = |path: &str| {
        let mut request = post("login", &ada());
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    for (nested, right, wrong) in [
        (true, "/login", ["/api/auth/login", "//login", "login"]),
        (
            false,
            "/api/auth/login",
            ["/login", "/api/auth//login", "/api/authlogin"],
        ),
    ] {
        let service = endpoints(ORIGIN, Some(ORIGIN), nested);
        for (path, status) in [(right, 401)]
            .into_iter()
            .chain(wrong.map(|path| (path, 404)))
        {
            let path = if path == "login" { "/login/" } else { path };
            let Ok(response) = service.clone().oneshot(login(path)).await;
            assert_eq!(response.status(), status, "{path}");
        }
    }
}

/// axum removes the slash after the base path as well, if there are two.
#[cfg(feature = "axum")]
#[tokio::test]
async fn u20_an_endpoint_has_one_path_below_a_router_of_axum() {
    let endpoints = endpoints(ORIGIN, Some(ORIGIN), true);
    let inner = axum::Router::new().nest_service("/auth", endpoints.clone());
    for router in [
        axum::Router::new().nest_service("/api/auth", endpoints),
        axum::Router::new().nest("/api", inner),
    ] {
        for (path, status) in [
            ("/api/auth/login", 401),
            ("/api/auth/login?x=//login", 401),
            ("/api/auth//login", 404),
            ("/api/auth///login", 404),
            ("/api//auth/login", 404),
            ("//api/auth/login", 404),
            ("/api/auth/login/", 404),
            ("/api/auth/./login", 404),
            ("/api/auth/%6cogin", 404),
        ] {
            let (mut parts, body) = post("login", &ada()).into_parts();
            parts.uri = path.parse().unwrap();
            let request = Request::from_parts(parts, axum::body::Body::new(body));
            let Ok(response) = router.clone().oneshot(request).await;
            assert_eq!(response.status(), status, "{path}");
        }
    }
}

#[tokio::test]
async fn u20_challenges_have_an_attribute_and_name_the_error() {
    let server = Server::start().await;
    let challenge = |answer: &Answer| {
        let value = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(value.starts_with("Bearer realm=\""), "{value}");
        let error = value.split_once(", error=\"").map(|(_, rest)| rest);
        error.map(|rest| rest.split('"').next().unwrap().to_owned())
    };
    let bare = |method: &str, path: &str| request(method, path).body(Full::default()).unwrap();
    let password = json!({ "current_password": PASSWORD, "new_password": "another password" });
    let all = json!({ "scope": "all" });
    let session = "sessions/1f0953f2e859f2e1f589274be44a2338";
    let asks: [&dyn Fn() -> Request<Full<Bytes>>; 4] = [
        &|| bare("GET", "sessions"),
        &|| bare("DELETE", session),
        &|| post("password", &password),
        &|| post("logout", &all),
    ];
    let ended = server.sign_in().await;
    server
        .send(bearer(post("logout", &json!({})), &ended.access()))
        .await;
    for ask in asks {
        // RFC 6750 §3.1: no error where the request has no credential.
        let answer = server.send(ask()).await.is(401, "invalid_token");
        assert_eq!(challenge(&answer), None);
        for token in ["garbage", &ended.access()] {
            let answer = server.send(bearer(ask(), token)).await;
            let answer = answer.is(401, "invalid_token");
            assert_eq!(challenge(&answer).as_deref(), Some("invalid_token"));
        }
        let mut malformed = ask();
        let value = HeaderValue::from_static("Bearer ");
        malformed.headers_mut().insert("authorization", value);
        let answer = server.send(malformed).await.is(400, "invalid_request");
        assert_eq!(challenge(&answer).as_deref(), Some("invalid_request"));
    }
    let wrong = json!({ "email": "ada@example.org", "password": "a wrong password" });
    let answer = server.post("login", &wrong).await.is(401, "invalid_grant");
    assert_eq!(challenge(&answer), None);
}

#[tokio::test]
async fn u20_a_mistyped_current_password_is_not_invalid_grant() {
    let server = Server::start().await;
    let tokens = server.sign_in().await;
    let body = json!({ "current_password": "mistyped", "new_password": "another password" });
    let answer = server.send(bearer(post("password", &body), &tokens.access()));
    answer.await.is(400, "invalid_password");
    assert!(server.is_alive(&tokens.access()).await);
}

#[tokio::test]
async fn u20_unknown_members_and_fields_are_ignored() {
    let server = Server::start().await;
    // A client that keeps the whole answer sends it back.
    let mut kept = server.sign_in().await.json();
    kept["expires_in"] = 600.into();
    kept["link"] = json!({ "outcome": "linked" });
    kept["user"] = json!({ "name": "ada", "tags": [1, null, "x"] });
    let answer = server.post("refresh", &kept).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for others in [1, 33, 500] {
        let mut fields = ada();
        let mut pairs = format!(
            "email=ada%40example.org&password={}",
            PASSWORD.replace(' ', "+")
        );
        for n in 0..others {
            fields[format!("f{n}")] = n.into();
            pairs.push_str(&format!("&f{n}=x&twice=1"));
        }
        for request in [post("login", &fields), form("login", &pairs)] {
            let answer = server.send(request).await;
            assert_eq!(answer.status, 200, "{others} {answer:?}");
        }
    }
    // What the endpoint reads is still of its form.
    let odd = json!({ "email": ["ada@example.org"], "password": PASSWORD });
    server.post("login", &odd).await.is(400, "invalid_request");
}

#[tokio::test]
async fn u20_the_outcome_of_a_guest_link_is_in_the_response() {
    let server = Server::start().await;
    let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
    assert_eq!(server.post("register", &eve).await.status, 201);
    let link = |mut body: Value| {
        body["link"] = true.into();
        body
    };
    let login = async |body: Value, token: &str| {
        let answer = server.send(bearer(post("login", &body), token)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["link"]["outcome"].clone()
    };
    let guest = async || server.post("guest", &json!({})).await.access();
    let one = guest().await;
    assert_eq!(login(ada(), &one).await, Value::Null, "nobody asked for it");
    assert_eq!(login(link(ada()), &one).await, "linked");
    assert_eq!(login(link(eve.clone()), &one).await, "already_claimed");
    assert_eq!(login(link(ada()), &one).await, "linked", "by the same user");

    let gone = guest().await;
    server.send(bearer(post("logout", &json!({})), &gone)).await;
    assert_eq!(login(link(ada()), &gone).await, "expired");
    let user = server.sign_in().await.access();
    assert_eq!(login(link(ada()), &user).await, "not_found");
    assert_eq!(login(link(ada()), "garbage").await, "not_found");
    let answer = server.post("login", &link(ada())).await;
    assert_eq!(answer.json().get("link"), None, "no token, no link");

    let fay = json!({ "email": "fay@example.org", "password": PASSWORD });
    let created = server.send(bearer(post("register", &link(fay)), &guest().await));
    assert_eq!(created.await.json()["link"]["outcome"], "linked");
    let gil = json!({ "email": "gil@example.org", "password": PASSWORD });
    let created = server.send(bearer(post("register", &link(gil)), &gone));
    assert_eq!(created.await.json()["link"]["outcome"], "expired");

    let stale = guest().await;
    server.advance(std::time::Duration::from_secs(11 * 60));
    assert_eq!(login(link(ada()), &stale).await, "expired");

    // By cookie as well.
    let answer = server
        .send(post("guest?transport=cookie", &json!({})))
        .await;
    let mut browser = crate::support::endpoints::Browser::default();
    browser.keep(&answer);
    let login = browser.dress(post("login?transport=cookie", &link(ada())));
    let answer = server.send(login).await;
    assert_eq!(answer.json()["link"]["outcome"], "linked", "{answer:?}");
}

#[tokio::test]
async fn u20_the_metadata_lists_only_urls_that_exist() {
    let metadata = "/.well-known/oauth-authorization-server";
    for (issuer, origin, place) in [
        ("https://auth.example", None, metadata.to_owned()),
        ("https://auth.example/", None, metadata.to_owned()),
        (
            "https://auth.example/tenant",
            Some(ORIGIN),
            format!("{metadata}/tenant"),
        ),
        ("https://auth.example/a/b/", None, format!("{metadata}/a/b")),
        (
            "https://elsewhere.example",
            Some(ORIGIN),
            metadata.to_owned(),
        ),
    ] {
        let service = endpoints(issuer, origin, false);
        let found = get(service.well_known(), Method::GET, &place).await;
        assert_eq!(found.status, 200, "{issuer}");
        let document = found.json();
        assert_eq!(document["issuer"], issuer);
        let base = origin.unwrap_or("https://auth.example");
        let url = |name: &str| {
            let url = document[name].as_str().unwrap();
            url.strip_prefix(base)
                .unwrap_or_else(|| panic!("{url}"))
                .to_owned()
        };
        let keys = get(service.well_known(), Method::GET, &url("jwks_uri")).await;
        assert_eq!(keys.status, 200, "{issuer}");
        for name in ["token_endpoint", "revocation_endpoint"] {
            let mut request = form("token", "grant_type=none");
            *request.uri_mut() = url(name).parse().unwrap();
            let Ok(response) = service.clone().oneshot(request).await;
            assert_eq!(response.status(), 400, "{name}");
        }
        // One place each.
        for wrong in [
            "/jwks.json",
            "/.well-known//jwks.json",
            "/.well-known/jwks.json/",
            "/oauth-authorization-server",
            "/.well-known/oauth-authorization-server/",
            "/.well-known/oauth-authorization-server/other",
        ] {
            let answer = get(service.well_known(), Method::GET, wrong).await;
            assert_eq!(answer.status, 404, "{wrong}");
        }
    }
    for issuer in [
        "auth",
        "urn:example:auth",
        "mailto:a@b.example",
        "https://a.example/?x=1",
    ] {
        let service = endpoints(issuer, Some(ORIGIN), false);
        let answer = get(service.well_known(), Method::GET, metadata).await;
        assert_eq!(answer.status, 404, "{issuer}");
    }
}

#[tokio::test]
async fn u20_head_is_get_without_content() {
    let server = Server::start().await;
    let token = server.sign_in().await.access();
    let ask = async |method: &str, token: &str| {
        let request = request(method, "sessions").body(Full::default()).unwrap();
        server.send(bearer(request, token)).await
    };
    for (token, status) in [(&*token, 200), ("garbage", 401)] {
        let (get, head) = (ask("GET", token).await, ask("HEAD", token).await);
        assert_eq!(
            (get.status.as_u16(), head.status.as_u16()),
            (status, status)
        );
        assert!(head.body.is_empty() && !get.body.is_empty());
        let length = head.headers["content-length"].to_str().unwrap();
        assert_eq!(length, get.body.len().to_string());
        let mut headers = head.headers.clone();
        headers.remove("content-length");
        assert_eq!(headers, get.headers);
    }
    for path in [
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/.well-known/security.txt",
    ] {
        let service = server.endpoints.well_known();
        let asked = get(service.clone(), Method::GET, path).await;
        let head = get(service, Method::HEAD, path).await;
        assert_eq!(asked.status, head.status, "{path}");
        assert!(head.body.is_empty(), "{path}");
    }
}

/// What ends sessions by cookie needs the session's proof, wherever the request comes from.
#[tokio::test]
async fn n8_every_endpoint_that_ends_sessions_by_cookie_needs_the_proof() {
    let server = Server::start().await;
    let other = server.browser().await;
    let mut browser = server.browser().await;
    // An old browser's access cookie alone, without the refresh cookie.
    browser.cookies.remove("__Secure-rt");
    let victim = server.sign_in().await.access();
    let sid = server.verifier.verify_now(&victim).unwrap();
    let sid = sid.principal().session_id().unwrap().to_owned();
    let delete = request("DELETE", &format!("sessions/{sid}"));
    let delete = delete.body(Full::default()).unwrap();
    let change = json!({ "current_password": PASSWORD, "new_password": "another password" });
    for (name, ask) in [
        ("delete", delete.clone()),
        ("password", post("password", &change)),
        ("logout", post("logout", &json!({}))),
        ("others", post("logout", &json!({ "scope": "others" }))),
        ("all", post("logout", &json!({ "scope": "all" }))),
    ] {
        for proof in [None, Some(other.cookies["__Host-csrf"].clone())] {
            let mut request = browser.dress(ask.clone());
            let headers = request.headers_mut();
            match proof {
                Some(proof) => headers.insert("x-csrf-token", proof.try_into().unwrap()),
                None => headers.remove("x-csrf-token"),
            };
            let answer = server.send(request).await;
            assert_eq!(answer.status, 403, "{name}");
            assert!(answer.cookies().is_empty(), "{name}");
        }
    }
    assert!(server.is_alive(&victim).await);
    assert!(server.is_alive(&browser.cookies["__Host-at"]).await);
    let answer = server.send(browser.dress(delete)).await;
    assert_eq!(answer.status, 204);
    assert!(!server.is_alive(&victim).await);
}

/// A21: a client with a bound token is told that its scheme is not supported, not that it is malformed.
#[tokio::test]
async fn a21_a_bound_token_is_answered_with_the_bearer_challenge_at_every_endpoint() {
    let server = Server::start().await;
    let change = json!({ "current_password": PASSWORD, "new_password": "another password" });
    let session = "sessions/1f0953f2e859f2e1f589274be44a2338";
    let bare = |method: &str, path: &str| request(method, path).body(Full::default()).unwrap();
    let mut linking = ada();
    linking["link"] = true.into();
    for ask in [
        bare("GET", "sessions"),
        bare("DELETE", session),
        post("password", &change),
        post("logout", &json!({})),
        post("logout", &json!({ "scope": "all" })),
        post("guest", &json!({})),
        post("login", &linking),
    ] {
        let mut ask = ask;
        let value = HeaderValue::from_static("DPoP eyJ.eyJ.AAAA");
        ask.headers_mut().insert("authorization", value);
        let path = ask.uri().to_string();
        let answer = server.send(ask).await;
        let challenge = answer.headers.get("www-authenticate").cloned();
        let answer = answer.is(401, "invalid_token");
        assert_eq!(challenge.unwrap(), "Bearer realm=\"api\"", "{path}");
        assert!(answer.cookies().is_empty(), "{path}");
    }
}

/// RFC 6749 §3.1, for members as for fields.
#[tokio::test]
async fn u20_an_empty_member_counts_as_none() {
    let server = Server::start().await;
    let mut login = ada();
    for empty in ["client_id", "device_token", "device", "link"] {
        login[empty] = "".into();
    }
    let tokens = server.post("login", &login).await;
    assert_eq!(tokens.status, 200, "{tokens:?}");
    let browser = server.browser().await;
    let refresh = json!({ "refresh_token": "", "client_id": "" });
    let answer = server.send(browser.dress(post("refresh", &refresh))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}
