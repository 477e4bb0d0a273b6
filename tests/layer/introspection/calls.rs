//! Calls of the endpoint: I2, I6, I11, I12.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::StatusCode;
use serde_json::{Value, json};
use tower_jwt_auth::{
    Verifier,
    event::{AuthEvent, EventSink, channel, sink_fn},
    key::{Algorithm, SigningKey},
    test_util::Answer,
    verify::introspection::Introspection,
};

use super::{LONG, TOKEN, World, ask, unavailable};

#[tokio::test]
async fn i2_a_token_is_posted_as_a_form() {
    let world = World::new();
    let token = "a+b/c~d.e-f_g==";
    world.activate(token, |_| ());
    ask(&world.layer(), token)
        .await
        .passes("special characters");
    let server = &world.server;
    assert_eq!(server.field("token").as_deref(), Some(token));
    let hint = server.field("token_type_hint");
    assert_eq!(hint.as_deref(), Some("access_token"));
    for (name, value) in [
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "application/json"),
        ("accept-encoding", "identity"),
    ] {
        assert_eq!(server.header(name).as_deref(), Some(value), "{name}");
    }
}

#[tokio::test]
async fn i6_a_server_in_trouble_is_503() {
    let world = World::new();
    let layer = world.layer();
    world.activate("known", |_| ());
    ask(&layer, "known").await.passes("before");
    let bad = [
        Answer::status(401),
        Answer::status(403),
        Answer::status(404),
        Answer::status(429),
        Answer::status(500),
        Answer::status(503).header("Retry-After", "7"),
        Answer::json("<html>Sign in</html>"),
        Answer::json("[true]"),
        Answer::json("true"),
        Answer::json(r#"{"active":true"#),
        Answer::bytes(b"{\"active\":true,\"sub\":\"\xff\"}".to_vec()),
        Answer::truncated(r#"{"active":true}"#),
        Answer::reset(),
        Answer::status(204),
    ];
    for (number, answer) in bad.into_iter().enumerate() {
        let case = format!("{answer:?}");
        world.server.answer(answer);
        unavailable(ask(&layer, &format!("new-{number}")).await, &case);
        // An answer that is cached is not affected.
        ask(&layer, "known").await.passes(&case);
    }
    world
        .server
        .answer(Answer::status(503).header("Retry-After", "7"));
    let answer = ask(&layer, "busy").await;
    assert_eq!(answer.header("retry-after"), Some("7"));
    world.server.down();
    unavailable(ask(&layer, "down").await, "no server");
    // No failure is remembered.
    world.server.up();
    world.activate("down", |_| ());
    ask(&layer, "down").await.passes("up again");
}

#[tokio::test]
async fn i6_a_server_that_does_not_answer_is_503() {
    let world = World::new();
    world.server.answer(Answer::hang());
    let settings = world.settings().timeout(Duration::from_millis(20));
    unavailable(ask(&world.layer_with(settings), TOKEN).await, "no answer");
}

#[tokio::test]
async fn q8_calls_are_events_and_cached_answers_are_not() {
    let world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = {
        let seen = Arc::clone(&seen);
        sink_fn(move |event| {
            let problem = match event {
                AuthEvent::IntrospectionFailed { problem, .. } => problem.as_str(),
                _ => "",
            };
            seen.lock().unwrap().push((event.name(), problem));
        })
    };
    let (queue, mut queued) = channel(10);
    let layer = world.layer_with(world.settings().events(sink.clone().and(queue)));
    world.activate(TOKEN, |_| ());
    let answered = ("introspection.answered", "");
    for _ in 0..3 {
        ask(&layer, TOKEN).await.passes("active");
    }
    assert_eq!(
        ask(&layer, "unknown").await.status,
        StatusCode::UNAUTHORIZED
    );
    let taken = || std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(taken(), [answered, answered]);
    for (answer, problem) in [
        (Answer::status(500), "unexpected_status"),
        (Answer::status(401), "unexpected_status"),
        (Answer::json("[]"), "invalid_metadata"),
    ] {
        world.server.answer(answer);
        unavailable(ask(&layer, problem).await, problem);
        assert_eq!(taken(), [("introspection.failed", problem)]);
    }
    world.server.answer(Answer::hang());
    let settings = world.settings().timeout(Duration::from_millis(20));
    let layer = world.layer_with(settings.events(sink));
    unavailable(ask(&layer, "late").await, "late");
    assert_eq!(taken(), [("introspection.failed", "timeout")]);
    // An outage must not fill an audit log.
    assert!(queued.try_recv().is_none());
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn i16_refused_credentials_are_one_line_for_the_operator() {
    let world = World::new();
    let layer = world.layer();
    let refusal = Answer::json(r#"{"error":"invalid_client"}"#).with_status(401);
    world.server.answer(refusal);
    let (log, _guard) = crate::support::log::Log::start();
    for number in 0..3 {
        unavailable(ask(&layer, &format!("token-{number}")).await, "401");
    }
    let line = "the authorization server refuses the credentials";
    assert_eq!(log.lines_with(line), 1, "{}", log.text());
    assert!(log.text().contains("invalid_client"));
    // Later the operator may have overlooked the line.
    world.clock.advance(Duration::from_secs(60));
    unavailable(ask(&layer, "later").await, "401");
    assert_eq!(log.lines_with(line), 2);
    for secret in ["secret", "token-1", &STANDARD.encode("api:secret")] {
        assert!(
            !log.text().contains(&format!("={secret}")),
            "{}",
            log.text()
        );
        assert!(
            !log.text().contains(&format!("\"{secret}\"")),
            "{}",
            log.text()
        );
    }
}

#[tokio::test]
async fn i11_every_client_authentication_reaches_the_server() {
    let world = World::new();
    let at = || Introspection::at(world.server.url()).timeout(LONG);
    let asked = async |settings: Introspection, token: &str| {
        world.activate(token, |_| ());
        ask(&world.layer_with(settings), token).await.passes(token);
        world.server.header("authorization")
    };
    let basic = asked(at().basic("a:b", "p&ss w\u{f6}rd"), "basic").await;
    let expected = STANDARD.encode("a%3Ab:p%26ss+w%C3%B6rd");
    assert_eq!(basic, Some(format!("Basic {expected}")));
    assert_eq!(world.server.field("client_secret"), None);

    let post = asked(at().post("api", "p&ss"), "post").await;
    assert_eq!(post, None);
    assert_eq!(world.server.field("client_id").as_deref(), Some("api"));
    assert_eq!(world.server.field("client_secret").as_deref(), Some("p&ss"));

    let bearer = asked(at().bearer("own-token"), "bearer").await;
    assert_eq!(bearer.as_deref(), Some("Bearer own-token"));
    assert_eq!(world.server.field("client_id"), None);
}

#[tokio::test]
async fn i11_an_assertion_is_signed_for_each_call() {
    let world = World::new();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let public = key.verifying_key();
    let settings = Introspection::at(world.server.url()).timeout(LONG);
    let settings = settings.private_key_jwt("api", key);
    let builder = world.builder_with(settings).issuer("https://as.example");
    let layer = tower_jwt_auth::JwtAuthLayer::new(builder.build().unwrap());
    // The server's view of the assertion, as any verifier of JWTs has it.
    let server = Verifier::key(public)
        .audience("https://as.example")
        .issuer("api")
        .clock(world.clock.clone())
        .claims::<serde_json::Map<String, Value>>()
        .build()
        .unwrap();
    let mut seen = Vec::new();
    for token in ["one", "two"] {
        world.activate(token, |_| ());
        ask(&layer, token).await.passes(token);
        let kind = world.server.field("client_assertion_type");
        let expected = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert_eq!(kind.as_deref(), Some(expected));
        let assertion = world.server.field("client_assertion").unwrap();
        let claims = server.verify_now(&assertion).unwrap();
        assert_eq!(claims.subject(), Some("api"));
        let now = world.clock.timestamp();
        assert_eq!(claims["iat"], json!(now));
        assert_eq!(claims["exp"], json!(now + 60));
        seen.push(claims["jti"].clone());
        let header = assertion.split('.').next().unwrap();
        let header = URL_SAFE_NO_PAD.decode(header).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["alg"], "ES256");
    }
    assert_ne!(seen[0], seen[1]);
    // Without an issuer the endpoint is the audience.
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let server = Verifier::key(key.verifying_key())
        .audience(world.server.url())
        .clock(world.clock.clone());
    let settings = Introspection::at(world.server.url()).timeout(LONG);
    let layer = world.layer_with(settings.private_key_jwt("api", key));
    world.activate("three", |_| ());
    ask(&layer, "three").await.passes("three");
    let assertion = world.server.field("client_assertion").unwrap();
    assert!(server.build().unwrap().verify_now(assertion).is_ok());
}

#[tokio::test]
async fn i11_no_secret_is_printed() {
    let world = World::new();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let at = || Introspection::at("https://as.example/introspect?key=s3cr3t");
    for settings in [
        at().basic("api", "s3cr3t"),
        at().post("api", "s3cr3t"),
        at().bearer("s3cr3t"),
        at().private_key_jwt("api", key),
    ] {
        let printed = format!("{settings:?}");
        assert!(!printed.contains("s3cr3t"), "{printed}");
        let builder = world.builder_with(settings);
        assert!(!format!("{builder:?}").contains("s3cr3t"));
    }
}

#[tokio::test]
async fn i12_what_could_never_work_is_refused_when_it_is_built() {
    let world = World::new();
    let good = || world.settings();
    let with = |settings: Introspection| world.builder_with(settings).build();
    assert!(with(good()).is_ok());
    let at = |url: &str| Introspection::at(url).basic("api", "secret");
    for (case, settings) in [
        ("http", at("http://as.example/introspect")),
        ("user info", at("https://user@as.example/introspect")),
        ("no URL", at("introspect")),
        ("no client", Introspection::at(world.server.url())),
        ("no secret", good().basic("api", "")),
        ("no identifier", good().post("", "secret")),
        ("a line", good().bearer("a\nb")),
        (
            "a shared secret",
            good().private_key_jwt("api", SigningKey::generate(Algorithm::Hs256).unwrap()),
        ),
        ("no prefix", good().prefix("")),
        ("a long cache", good().cache_for(Duration::from_secs(3601))),
        ("no time", good().timeout(Duration::ZERO)),
        ("much time", good().timeout(Duration::from_secs(61))),
        ("no calls", good().max_concurrent_calls(0)),
        ("no bytes", good().max_bytes(0)),
        (
            "no issuer",
            Introspection::discovered().basic("api", "secret"),
        ),
        ("no certificate", good().root_certificate("x")),
    ] {
        assert!(with(settings).is_err(), "{case}");
    }
    assert!(with(at("http://as.example/introspect").dangerous_allow_http()).is_ok());
}

#[test]
fn i12_a_verifier_is_built_within_a_runtime() {
    let world = World::new();
    assert!(world.builder().build().is_err());
}

#[tokio::test]
async fn i12_answers_are_limited_as_key_sets_are() {
    let world = World::new();
    let settings = world.settings().max_bytes(1024);
    let layer = world.layer_with(settings);
    world.activate("large", |answer| {
        answer.insert("groups".into(), json!("x".repeat(1024)))
    });
    unavailable(ask(&layer, "large").await, "too large");
    world.server.answer_to("endless", Answer::endless());
    unavailable(ask(&layer, "endless").await, "endless");
    let coded = Answer::json(r#"{"active":true}"#).header("Content-Encoding", "gzip");
    world.server.answer_to("coded", coded);
    unavailable(ask(&layer, "coded").await, "compressed");
}

#[tokio::test]
async fn i12_redirects_stay_within_the_origin_and_keep_the_form() {
    let world = World::new();
    let layer = world.layer();
    let other = World::new();
    let redirect = |status: u16, to: String| Answer::status(status).header("Location", to);
    for status in [307, 308] {
        let token = format!("elsewhere-{status}");
        let to = other.server.url();
        world.server.answer_to(&token, redirect(status, to));
        unavailable(ask(&layer, &token).await, "another origin");
    }
    for status in [301, 302, 303] {
        let token = format!("lost-{status}");
        let to = world.server.keys().url_of("/moved");
        world.server.answer_to(&token, redirect(status, to));
        unavailable(ask(&layer, &token).await, "a redirect that loses the form");
    }
    assert_eq!(other.server.hits(), 0);
    assert_eq!(world.server.keys().hits_at("/moved"), 0);
    // The server of the test answers by the token, whatever the path is: this goes round in circles.
    world
        .server
        .answer_to("round", redirect(307, "/introspect".to_owned()));
    unavailable(ask(&layer, "round").await, "in circles");
    assert_eq!(world.server.hits_of("round"), 4);
}

/// The endpoint is known. A server that does not answer about its metadata delays one call, and fails none.
#[tokio::test]
async fn i12_metadata_that_hang_fail_no_call() {
    let world = World::new();
    let issuer = world.server.issuer();
    let settings = Introspection::discovered().basic("api", "secret");
    // A quarter of it is for the metadata.
    let settings = settings.timeout(Duration::from_secs(24));
    let builder = world.builder_with(settings).issuer(&issuer);
    let layer = tower_jwt_auth::JwtAuthLayer::new(builder.build().unwrap());
    let activate =
        |token| world.activate(token, |answer| answer.insert("iss".into(), json!(issuer)));
    activate("one");
    ask(&layer, "one").await.passes("before");
    let keys = world.server.keys();
    let metadata = "/.well-known/openid-configuration";
    keys.answer_at(metadata, Answer::hang());
    world.clock.advance(Duration::from_secs(3600));
    for token in ["two", "three"] {
        activate(token);
        ask(&layer, token).await.passes(token);
    }
    assert_eq!(keys.hits_at(metadata), 2);
    // They are read again after a minute.
    keys.forget(metadata);
    world.clock.advance(Duration::from_secs(60));
    activate("four");
    ask(&layer, "four").await.passes("four");
    assert_eq!(keys.hits_at(metadata), 3);
}

#[tokio::test]
async fn i12_the_endpoint_is_found_in_the_metadata() {
    let world = World::new();
    let settings = Introspection::discovered().basic("api", "secret");
    let builder = || world.builder_with(settings.clone().timeout(LONG));
    let layer = |issuer: &str| {
        let builder = builder().issuer(issuer);
        tower_jwt_auth::JwtAuthLayer::new(builder.build().unwrap())
    };
    let issuer = world.server.issuer();
    for token in ["one", "two"] {
        world.activate(token, |answer| answer.insert("iss".into(), json!(issuer)));
    }
    let ours = layer(&issuer);
    ask(&ours, "one").await.passes("one");
    ask(&ours, "two").await.passes("two");
    let metadata = "/.well-known/openid-configuration";
    let keys = world.server.keys();
    assert_eq!(keys.hits_at(metadata), 1);
    // After an hour they are read again; an outage of theirs changes nothing.
    keys.answer_at(metadata, Answer::status(500));
    keys.answer_at(
        "/.well-known/oauth-authorization-server",
        Answer::status(500),
    );
    world.clock.advance(Duration::from_secs(3600));
    world.activate("three", |answer| answer.insert("iss".into(), json!(issuer)));
    ask(&ours, "three").await.passes("three");
    assert_eq!(keys.hits_at(metadata), 2);

    for broken in [
        json!({ "issuer": issuer }),
        json!({ "issuer": "https://other.example", "introspection_endpoint": world.server.url() }),
        json!({ "issuer": issuer, "introspection_endpoint": "http://as.example/introspect" }),
    ] {
        keys.answer_at(metadata, Answer::json(broken.to_string()));
        unavailable(ask(&layer(&issuer), "one").await, &broken.to_string());
    }
}
