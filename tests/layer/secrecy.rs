//! Q3: no token, claim value, secret or key byte is ever printed.

use std::{error::Error, fmt::Debug, iter::successors};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceBuilder, service_fn};
use tower_jwt_auth::{
    Claims, ConfigError, Principal, RoleGuardLayer, Verified, Verifier,
    key::{Algorithm, KeySet, VerifyingKey},
    layer::{
        extract::{
            Bearer, Cookie, Credential, Header, Place, Query, RequestHead, TokenExtractor,
            WebSocketProtocol,
        },
        role_guard::Rule,
    },
    secret::Secret,
    test_util::{TestIssuer, TestKeys},
    verify::CheckError,
};

use crate::support::{
    answer::send,
    fixture::{Fixture, bearer, keys},
};

const POISON: &str = "p01s0n";
const SECRET: &str = "a secret of p01s0n, thirty-two bytes and more";

/// Whether a text shows anything of these, in any form in which Rust prints bytes.
#[track_caller]
fn shows_nothing(text: &str, secrets: &[&str]) {
    for secret in secrets {
        let bytes = secret.as_bytes();
        let start = &bytes[..bytes.len().min(12)];
        let decimal = format!("{start:?}");
        let hex = start
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        let base64 = URL_SAFE_NO_PAD.encode(&start[..start.len() / 3 * 3]);
        for form in [
            std::str::from_utf8(start).unwrap(),
            decimal.trim_matches(['[', ']']),
            &hex,
            &base64,
        ] {
            assert!(!text.contains(form), "{form} in {text}");
        }
    }
}

/// Everything that a token is made of.
fn parts_of(token: &str) -> Vec<&str> {
    let mut parts: Vec<_> = token.split('.').filter(|part| part.len() > 12).collect();
    parts.push(POISON);
    parts
}

fn poisoned(fixture: &Fixture) -> String {
    fixture.es.token(|claims| {
        for name in ["sub", "jti", "sid", "client_id", "scope", "x"] {
            claims.insert(name.into(), json!(format!("{POISON}-{name}")));
        }
        claims.insert("roles".into(), json!([format!("{POISON}-role")]));
        claims.insert("nested".into(), json!({"a": [POISON]}));
    })
}

fn print(value: &dyn Debug) -> String {
    format!("{value:?}\n{value:#?}")
}

fn print_error(error: &(dyn Error + 'static)) -> String {
    successors(Some(error), |&cause| cause.source())
        .map(|cause| format!("{cause}\n{cause:?}\n{cause:#?}\n"))
        .collect()
}

/// Tokens that are refused for every reason that can hold a value of theirs. The values that the log may
/// name (Q20) are `named`.
fn refused(fixture: &Fixture, named: &str) -> Vec<String> {
    let mut tokens = vec![
        "p01s0n".into(),
        "p01s0n.p01s0n.p01s0n".into(),
        fixture.with_header(&format!(r#"{{"alg":"{named}"}}"#)),
        fixture.with_header(&format!(r#"{{"alg":"ES256","kid":"{named}"}}"#)),
        fixture.with_header(&format!(r#"{{"alg":"ES256","typ":"{named}"}}"#)),
        fixture.with_header(r#"{"alg":"ES256","crit":["p01s0n"]}"#),
        fixture.with_header(r#"{"alg":"ES256","p01s0n""#),
        fixture.with_payload(r#"{"p01s0n":"p01s0n""#),
        fixture.with_payload(r#""p01s0n""#),
        TestIssuer::with_keys(Algorithm::Es256, TestKeys::other())
            .clock(fixture.clock.clone())
            .kid(Some("first-es256"))
            .token(|claims| claims.insert("x".into(), json!(POISON))),
    ];
    for claim in ["iss", "aud"] {
        tokens.push(fixture.with(claim, json!(named)));
    }
    for claim in ["iss", "aud", "exp", "nbf", "iat", "cnf"] {
        if !["iss", "aud"].contains(&claim) {
            tokens.push(fixture.with(claim, json!(POISON)));
        }
        tokens.push(fixture.with(claim, json!({ POISON: POISON })));
    }
    let late = json!(1);
    tokens.push(fixture.es.token(|claims| {
        claims.insert("x".into(), json!(POISON));
        claims.insert("exp".into(), late)
    }));
    tokens
}

#[tokio::test]
async fn q3_errors_and_their_sources_show_nothing_of_the_token() {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "no token fits it")]
    struct Narrow {
        tenant: u32,
    }

    let fixture = Fixture::new();
    let narrow = fixture.builder().claims::<Narrow>().build().unwrap();
    let plain = fixture.builder().build().unwrap();
    let mut tokens = refused(&fixture, POISON);
    tokens.push(fixture.with("tenant", json!(POISON)));
    for token in &tokens {
        let narrow = narrow.verify(token).await.unwrap_err();
        let plain = plain.verify(token).await.err();
        for error in [Some(narrow), plain].into_iter().flatten() {
            shows_nothing(&print_error(&error), &parts_of(token));
            shows_nothing(&print(&error.kind()), &parts_of(token));
        }
    }
    // What a check says of a token is the application's own word, and it alone is the source.
    let error = CheckError::rejected("own words");
    assert!(print(&error).contains("own words"));
}

#[tokio::test]
async fn q3_nothing_that_holds_a_token_or_its_claims_prints_them() {
    let fixture = Fixture::new();
    let token = poisoned(&fixture);
    let parts = parts_of(&token);
    let verifier = fixture.builder().build().unwrap();
    let verified = verifier.verify_now(&token).unwrap();
    let own = fixture.builder().claims::<Value>().build().unwrap();
    let value: Verified<Value> = own.verify_now(&token).unwrap();
    let caller = verified.principal();
    let by_hand = Principal::builder()
        .subject(POISON)
        .issuer(POISON)
        .client_id(POISON)
        .session_id(POISON)
        .token_id(POISON)
        .roles([POISON])
        .scope(POISON);
    for printed in [
        print(&verified),
        print(&value),
        print(&caller),
        print(&by_hand),
        print(&by_hand.build()),
        print(&verifier),
        print(&Credential::new(token.as_bytes(), Place::Header)),
    ] {
        shows_nothing(&printed, &parts);
    }
    // Names of claims are shown, values are not.
    let claims: &Claims = &verified;
    assert!(print(claims).contains("nested"));
    shows_nothing(&print(claims), &parts);

    let request = Request::get(format!("/{POISON}?access_token={token}"))
        .header("authorization", format!("Bearer {token}"))
        .header("cookie", format!("at={token}"))
        .header("x-jwt", &token)
        .body(String::new())
        .unwrap();
    let head = RequestHead::of(&request);
    shows_nothing(&print(&head), &parts);
    let header = Header::new(http::HeaderName::from_static("x-jwt"));
    let places: [&dyn TokenExtractor; 4] = [
        &Bearer::new(),
        &Cookie::new("at").unwrap(),
        &Query::new("access_token"),
        &header,
    ];
    for place in places {
        let found = place.extract(head).unwrap().unwrap();
        assert_eq!(found.token(), token.as_bytes());
        shows_nothing(&print(&found), &parts);
    }
    shows_nothing(&print(&WebSocketProtocol::new("bearer")), &parts);
}

#[tokio::test]
async fn q3_layers_services_futures_and_answers_print_nothing() {
    let fixture = Fixture::new();
    let token = poisoned(&fixture);
    let parts = parts_of(&token);
    let layer = fixture.layer().realm("api").optional();
    let inner = service_fn(async |_: Request<String>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
    });
    let mut service = layer.layer(inner);
    shows_nothing(&print(&layer), &parts);
    shows_nothing(&print(&service), &parts);
    for token in [token.clone(), format!("{token}x"), format!("{token} ")] {
        let future = service.call(bearer(&token));
        shows_nothing(&print(&future), &parts);
        let answer = future.await.unwrap();
        shows_nothing(&print(&answer), &parts);
    }
    let mut guarded = RoleGuardLayer::any_of(["admin"]).layer(inner);
    let mut request = bearer(&token);
    let caller = fixture
        .builder()
        .build()
        .unwrap()
        .verify_now(&token)
        .unwrap();
    request.extensions_mut().insert(caller.principal());
    let future = guarded.call(request);
    shows_nothing(&print(&future), &parts);
    shows_nothing(&print(&future.await.unwrap()), &parts);
    shows_nothing(&print(&guarded), &parts);

    for token in refused(&fixture, POISON) {
        let answer = send(fixture.layer(), bearer(&token)).await;
        shows_nothing(&print(&answer), &parts_of(&token));
    }
    let layers = ServiceBuilder::new()
        .layer(fixture.layer())
        .layer(RoleGuardLayer::new(Rule::scope("b")));
    let answer = send(layers, bearer(&token)).await;
    shows_nothing(&print(&answer), &parts);
}

#[test]
fn q3_secrets_and_keys_are_never_printed() {
    let secret = VerifyingKey::from_secret(Algorithm::Hs256, SECRET).unwrap();
    let set = KeySet::new([secret.clone()]).unwrap();
    let builder = Verifier::hs256(SECRET);
    for printed in [
        print(&secret),
        print(&set),
        print(&builder),
        print(&builder.build().unwrap()),
        print(&Secret::new(SECRET.to_owned())),
        print(&Secret::new(SECRET.as_bytes().to_vec())),
        print(&TestIssuer::with_secret(
            Algorithm::Hs256,
            SECRET.as_bytes(),
        )),
    ] {
        shows_nothing(&printed, &[SECRET, POISON]);
    }
    let public: Value = serde_json::from_str(&TestKeys::new().jwk(Algorithm::Rs256)).unwrap();
    let n = public["n"].as_str().unwrap();
    shows_nothing(&print(&keys()), &[n]);
    shows_nothing(&print(&TestKeys::new()), &[n]);
}

#[cfg(feature = "jwks")]
#[tokio::test]
async fn q3_what_proves_introspects_and_binds_prints_no_secret() {
    use tower_jwt_auth::{
        key::SigningKey,
        layer::{dpop::Dpop, mcp::McpSessionLayer},
        secret::SecretKey,
        test_util::{DpopClient, IntrospectionFixture},
        verify::{introspection::Introspection, proof::Nonces},
    };

    let place = format!("https://as.example/introspect?key={POISON}");
    let settings = || Introspection::at(&place);
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let nonces = || Nonces::with_key(SECRET).unwrap();
    let rules = Dpop::at("https://api.example").nonces(nonces());
    let secret = SecretKey::from_bytes(*b"p01s0np01s0np01s0np01s0np01s0np0").unwrap();
    let client = DpopClient::new(Algorithm::Es256);
    let server = IntrospectionFixture::start();
    server.activate(POISON, json!({ "sub": POISON }));
    let verifier = Verifier::introspected(settings().basic("api", SECRET)).audience("api");
    let verifier = verifier.issuer("https://as.example");
    let mut all = vec![
        print(&settings().basic("api", SECRET)),
        print(&settings().post("api", SECRET)),
        print(&settings().bearer(POISON)),
        print(&settings().private_key_jwt("api", key)),
        print(&verifier),
        print(&nonces()),
        print(&rules),
        print(&secret),
        print(&McpSessionLayer::new(&secret)),
        print(&client),
        print(&server),
    ];
    all.push(print(&verifier.build().unwrap()));
    let rules = rules.build().unwrap();
    all.push(print(&rules));
    all.push(print(&Fixture::new().layer().dpop(rules)));
    #[cfg(feature = "redis-replay")]
    {
        use tower_jwt_auth::verify::proof::RedisReplayStore;

        let url = format!("redis://:{POISON}@127.0.0.1/0");
        all.push(print(&RedisReplayStore::new(&url).unwrap()));
        let wrong = format!("redis://:{POISON}@[::/0");
        all.push(print_error(&RedisReplayStore::new(&wrong).unwrap_err()));
    }
    for printed in all {
        shows_nothing(&printed, &[SECRET, POISON]);
    }
    // Settings that are refused do not quote the secret.
    for settings in [
        settings().bearer(format!("{POISON}\n")),
        settings().basic("", SECRET),
    ] {
        let error = Verifier::introspected(settings).build().unwrap_err();
        shows_nothing(&print_error(&error), &[SECRET, POISON]);
    }
}

#[test]
fn q3_errors_about_secrets_and_keys_do_not_quote_them() {
    let long = format!("-----BEGIN PUBLIC KEY-----\n{POISON}");
    let jwk = json!({"kty": "oct", "k": POISON, "kid": "k"}).to_string();
    let encoded = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(POISON)}).to_string();
    let rsa = json!({"kty": "RSA", "n": POISON, "e": POISON, "d": POISON}).to_string();
    let broken = format!(r#"{{"kty":"{POISON}","k":{POISON}}}"#);
    let document = format!(r#"{{"keys":[{jwk},{rsa}]}}"#);
    let errors: [ConfigError; 12] = [
        Verifier::hs256(POISON).build().unwrap_err(),
        Verifier::hs256(long.clone()).build().unwrap_err(),
        Verifier::hs256(jwk.clone()).build().unwrap_err(),
        Verifier::pem(POISON).build().unwrap_err(),
        Verifier::pem(long).build().unwrap_err(),
        VerifyingKey::from_der(POISON).unwrap_err(),
        VerifyingKey::from_jwk(&jwk).unwrap_err(),
        VerifyingKey::from_jwk(encoded).unwrap_err(),
        VerifyingKey::from_jwk(rsa).unwrap_err(),
        VerifyingKey::from_jwk(broken).unwrap_err(),
        KeySet::from_jwks(POISON).unwrap_err(),
        KeySet::from_jwks(document).unwrap_err(),
    ];
    for error in errors {
        shows_nothing(&print_error(&error), &[POISON]);
    }
}

#[cfg(feature = "tracing")]
pub(crate) use log::logged;

#[cfg(feature = "tracing")]
mod log {
    use tower_jwt_auth::JwtAuthLayer;
    use tracing::Level;
    use tracing_subscriber::fmt::format::FmtSpan;

    use super::*;
    use crate::support::{log::Log, unreachable::Unreachable};

    /// Everything that is logged on this thread, spans included, at every level.
    pub(crate) async fn logged(run: impl Future<Output = ()>) -> String {
        let (log, guard) = Log::capture(Level::TRACE, FmtSpan::FULL);
        run.await;
        drop(guard);
        log.text()
    }

    #[tokio::test]
    async fn q3_the_log_shows_nothing_of_a_token_at_any_level() {
        let fixture = Fixture::new();
        let good = poisoned(&fixture);
        let mut tokens = refused(&fixture, "named");
        tokens.extend([
            good.clone(),
            format!("{good} "),
            "p01s0n\"".into(),
            "p".repeat(20_000),
        ]);
        let places = || {
            (
                Bearer::new(),
                Query::new("access_token"),
                Cookie::new("at").unwrap(),
            )
        };
        let away = fixture.expecting(Verifier::key_source(Unreachable));
        let unavailable = JwtAuthLayer::new(away.build().unwrap());
        let text = logged(async {
            for token in &tokens {
                for layer in [
                    fixture.layer(),
                    fixture.layer().optional(),
                    unavailable.clone(),
                ] {
                    let guarded = ServiceBuilder::new()
                        .layer(layer.clone().extractor(places()))
                        .layer(RoleGuardLayer::any_of(["admin"]));
                    send(guarded, bearer(token)).await;
                    let cookie = Request::get("/").header("cookie", format!("at={token}"));
                    if let Ok(request) = cookie.body(String::new()) {
                        send(layer.clone().extractor(places()), request).await;
                    }
                    let query = Request::get(format!("/?access_token={token}"));
                    if let Ok(request) = query.body(String::new()) {
                        send(layer.extractor(places()), request).await;
                    }
                }
            }
        })
        .await;
        // Control: the refusals were logged.
        for reason in [
            "wrong_issuer",
            "invalid_signature",
            "keys_unavailable",
            "forbidden",
        ] {
            assert!(text.contains(reason), "{reason} is missing");
        }
        for token in &tokens {
            if token.starts_with("pppp") {
                assert!(!text.contains("pppppppp"));
            } else {
                shows_nothing(&text, &parts_of(token));
            }
        }
    }

    #[tokio::test]
    async fn l13_a_misconfiguration_is_logged_as_an_error_once() {
        let text = logged(async {
            for _ in 0..3 {
                let guard = RoleGuardLayer::any_of(["admin"]);
                send(guard, Request::new(String::new())).await;
            }
        })
        .await;
        // Another test of this process may have been first.
        assert!(text.matches("ERROR").count() <= 1, "{text}");
        assert_eq!(
            text.matches("reason=\"misconfigured\"").count(),
            3 + text.matches("ERROR").count()
        );
    }
}
