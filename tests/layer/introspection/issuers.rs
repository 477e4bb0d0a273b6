//! Opaque tokens beside JWTs and API keys, and revocation: I10, I13.

use std::time::Duration;

use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_jwt_auth::{
    JwtAuthLayer, RoleGuardLayer, Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    layer::{api_key::ApiKeyLayer, extract::Bearer},
    revocation::{Revocation, RevocationSet},
    test_util::{Answer, DpopClient, IntrospectionFixture, TestIssuer, TestKeys},
    verify::introspection::Introspection,
};

use super::{AUDIENCE, LONG, TOKEN, World, ask, bearer, send};
use crate::support::{
    api_key,
    fixture::{Fixture, ISSUER},
};

/// A verifier with the fixture's keys that introspects opaque tokens.
fn both(fixture: &Fixture, settings: Introspection) -> Verifier {
    fixture.builder().introspection(settings).build().unwrap()
}

fn world_of(fixture: &Fixture) -> World {
    World {
        server: IntrospectionFixture::start(),
        clock: fixture.clock.clone(),
    }
}

#[tokio::test]
async fn i10_jwts_are_verified_by_keys_and_other_tokens_are_introspected() {
    let fixture = Fixture::new();
    let world = world_of(&fixture);
    let layer = JwtAuthLayer::new(both(&fixture, world.settings()));
    let jwt = fixture.token();
    for _ in 0..3 {
        ask(&layer, &jwt).await.passes("a JWT");
    }
    assert_eq!(world.server.hits(), 0);
    // Neither is a JWT that the keys do not verify sent anywhere.
    let (message, _) = jwt.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", "A".repeat(86));
    let expired = fixture.with("exp", json!(fixture.now() - 100));
    let foreign = fixture.with("iss", json!("https://other.example"));
    let encrypted = "eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn";
    let cut = message;
    for token in [&forged, &expired, &foreign, encrypted, cut] {
        ask(&layer, token).await.invalid_token(token);
    }
    assert_eq!(world.server.hits(), 0);
    for token in [TOKEN, "dots.are.allowed", "ey.not.json", "a.b"] {
        world.activate(token, |_| ());
        ask(&layer, token).await.passes(token);
        assert_eq!(world.server.hits_of(token), 1, "{token}");
    }
    // What cannot be a token is sent nowhere, either.
    let before = world.server.hits();
    for (token, case) in [
        ("a b", "a space"),
        ("a,b", "a comma"),
        ("=", "only padding"),
    ] {
        let answer = send(layer.clone(), bearer(token)).await;
        assert_eq!(answer.status, 400, "{case}");
    }
    let long = "x".repeat(16 * 1024 + 1);
    assert_eq!(ask(&layer, &long).await.status, 400);
    assert_eq!(world.server.hits(), before);
}

#[tokio::test]
async fn i10_without_keys_a_jwt_is_refused() {
    let world = World::new();
    let layer = world.layer();
    let jwt = TestIssuer::new(Algorithm::Es256).token(|_| ());
    world.activate(&jwt, |_| ());
    ask(&layer, &jwt).await.invalid_token("a JWT");
    assert_eq!(world.server.hits(), 0);
}

#[tokio::test]
async fn i10_of_several_issuers_each_sees_only_its_own_tokens() {
    let clock = Fixture::new().clock;
    let [one, two] = [World::new(), World::new()];
    let keys = |name: &str| {
        let keys = match name {
            "one" => TestKeys::new(),
            _ => TestKeys::other(),
        };
        TestIssuer::with_keys(Algorithm::Es256, keys)
            .issuer(format!("https://{name}.example"))
            .clock(clock.clone())
    };
    let member = |name: &str, world: &World, prefix: Option<&str>| {
        let keys = match name {
            "one" => TestKeys::new(),
            _ => TestKeys::other(),
        };
        let settings = match prefix {
            Some(prefix) => world.settings().prefix(prefix),
            None => world.settings(),
        };
        Verifier::key(keys.verifying_key(Algorithm::Es256))
            .issuer(format!("https://{name}.example"))
            .audience(AUDIENCE)
            .clock(clock.clone())
            .introspection(settings)
            .build()
            .unwrap()
    };
    let plain = Verifier::key(TestKeys::new().verifying_key(Algorithm::Es256))
        .issuer("https://three.example")
        .audience(AUDIENCE)
        .clock(clock.clone())
        .build()
        .unwrap();
    let group = Verifier::by_issuer([
        member("one", &one, None),
        member("two", &two, Some("two_")),
        plain.clone(),
    ])
    .unwrap();
    let layer = JwtAuthLayer::new(group);
    for name in ["one", "two"] {
        let jwt = keys(name).token(|_| ());
        for _ in 0..2 {
            let answer = ask(&layer, &jwt).await.passes(name);
            let issuer = format!("https://{name}.example");
            assert_eq!(answer.caller().issuer(), Some(&*issuer));
        }
    }
    assert_eq!((one.server.hits(), two.server.hits()), (0, 0));
    let issued = |world: &World, name: &str, token: &str| {
        let issuer = json!(format!("https://{name}.example"));
        world.activate(token, |answer| answer.insert("iss".into(), issuer));
    };
    issued(&one, "one", TOKEN);
    issued(&two, "two", "two_token");
    for (token, name) in [(TOKEN, "one"), ("two_token", "two")] {
        for _ in 0..2 {
            let answer = ask(&layer, token).await.passes(name);
            let issuer = format!("https://{name}.example");
            assert_eq!(answer.caller().issuer(), Some(&*issuer));
        }
    }
    assert_eq!((one.server.hits(), two.server.hits()), (1, 1));
    // A JWT of another issuer is sent nowhere.
    let foreign = keys("one").issuer("https://four.example").token(|_| ());
    ask(&layer, &foreign).await.invalid_token("foreign");
    assert_eq!((one.server.hits(), two.server.hits()), (1, 1));

    // Without the prefix, it would be left open whose token it is.
    let ambiguous = [member("one", &one, None), member("two", &two, None)];
    assert!(Verifier::by_issuer(ambiguous).is_err());
    let strict = [member("two", &two, Some("two_")), plain];
    let strict = JwtAuthLayer::new(Verifier::by_issuer(strict).unwrap());
    ask(&strict, "one_token")
        .await
        .invalid_token("no prefix fits");
    ask(&strict, "two_token").await.passes("the prefix fits");
    // The same for a single verifier.
    let single = JwtAuthLayer::new(member("two", &two, Some("two_")));
    ask(&single, "one_token")
        .await
        .invalid_token("no prefix fits");
    assert_eq!(two.server.hits_of("one_token"), 0);
}

#[tokio::test]
async fn i10_by_algorithm_opaque_tokens_go_to_the_verifier_that_introspects() {
    let fixture = Fixture::new();
    let world = world_of(&fixture);
    let keys = fixture.builder().build().unwrap();
    let opaque = world.builder().build().unwrap();
    let group = Verifier::by_algorithm([keys, opaque]).unwrap();
    let layer = JwtAuthLayer::new(group);
    world.activate(TOKEN, |_| ());
    ask(&layer, TOKEN).await.passes("opaque");
    ask(&layer, &fixture.token()).await.passes("a JWT");
    assert_eq!(world.server.hits(), 1);
}

#[tokio::test]
async fn i10_all_tokens_are_introspected_after_their_signature() {
    let fixture = Fixture::new();
    let world = world_of(&fixture);
    let verifier = both(&fixture, world.settings().all_tokens());
    let layer = JwtAuthLayer::new(verifier.clone());
    let jwt = fixture.token();
    ask(&layer, &jwt).await.invalid_token("not active");
    world.activate(&jwt, |answer| answer.insert("scope".into(), json!("less")));
    world.clock.advance(Duration::from_secs(5));
    for _ in 0..2 {
        let answer = ask(&layer, &jwt).await.passes("active");
        // The server may grant less to this API.
        assert_eq!(answer.caller().scope().collect::<Vec<_>>(), ["less"]);
    }
    assert_eq!(world.server.hits(), 2);
    let (message, _) = jwt.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", "A".repeat(86));
    world.activate(&forged, |_| ());
    ask(&layer, &forged).await.invalid_token("forged");
    assert_eq!(world.server.hits(), 2);
    assert!(verifier.verify(&jwt).await.is_ok());
    // The members of the answer are checked as the claims were.
    let other = fixture.with("jti", json!("other"));
    world.activate(&other, |answer| answer.insert("aud".into(), json!("other")));
    ask(&layer, &other).await.invalid_token("another audience");
}

#[tokio::test]
async fn i10_an_answer_does_not_unbind_a_jwt() {
    let fixture = Fixture::new();
    let world = world_of(&fixture);
    let verifier = both(&fixture, world.settings().all_tokens());
    let client = DpopClient::new(Algorithm::Es256).clock(fixture.clock.clone());
    let jwt = fixture.es.bound_token(&client, |_| ());
    world.activate(&jwt, |_| ());
    let layer = JwtAuthLayer::new(verifier);
    ask(&layer, &jwt).await.invalid_token("bound");
    assert_eq!(world.server.hits(), 0);
    let dpop = tower_jwt_auth::layer::dpop::Dpop::at("https://api.example");
    let layer = layer.dpop(dpop.clock(fixture.clock.clone()).build().unwrap());
    let proven = || {
        let request = http::Request::get("/notes");
        let request = client.sign(request, "https://api.example/notes", &jwt);
        request.body(String::new()).unwrap()
    };
    let answer = send(layer.clone(), proven()).await;
    assert_eq!(answer.kind(), Some(AuthErrorKind::SenderConstrained));
    assert_eq!(world.server.hits(), 1);
    world.activate(&jwt, |answer| {
        answer.insert("cnf".into(), json!({ "jkt": client.thumbprint() }))
    });
    world.clock.advance(Duration::from_secs(5));
    send(layer.clone(), proven()).await.passes("the same key");
    let stolen = ask(&layer, &jwt).await;
    assert_eq!(stolen.kind(), Some(AuthErrorKind::SenderConstrained));
}

#[tokio::test]
async fn i10_without_keys_only_jwts_of_the_issuer_are_sent() {
    let world = World::new();
    let settings = || world.settings().all_tokens();
    // JWTs of everyone would be sent.
    assert!(world.builder_with(settings()).build().is_err());
    let open = world.builder_with(settings()).dangerous_any_issuer();
    assert!(open.build().is_ok());
    let builder = world.builder_with(settings()).issuer(ISSUER);
    let layer = JwtAuthLayer::new(builder.build().unwrap());
    let ours = TestIssuer::new(Algorithm::Es256).clock(world.clock.clone());
    let jwt = ours.token(|_| ());
    world.activate(&jwt, |_| ());
    ask(&layer, &jwt).await.passes("of the issuer");
    let foreign = TestIssuer::new(Algorithm::Es256)
        .issuer("https://other.example")
        .token(|_| ());
    world.activate(&foreign, |_| ());
    ask(&layer, &foreign).await.invalid_token("foreign");
    let nobody = ours.token(|claims| claims.remove("iss"));
    world.activate(&nobody, |_| ());
    ask(&layer, &nobody).await.invalid_token("of nobody");
    assert_eq!(world.server.hits(), 1);
}

#[tokio::test]
async fn i10_keys_and_endpoint_of_one_issuer_are_discovered() {
    let world = World::new();
    let settings = Introspection::discovered()
        .basic("api", "secret")
        .timeout(LONG);
    let verifier = Verifier::oidc(&world.server.issuer())
        .audience(AUDIENCE)
        .introspection(settings)
        .build()
        .unwrap();
    let layer = JwtAuthLayer::new(verifier).wait_limit(LONG);
    let issuer = world.server.issuer();
    let jwt = world
        .server
        .keys()
        .issuer_for(Algorithm::Es256)
        .token(|_| ());
    ask(&layer, &jwt).await.passes("a JWT");
    let exp = json!(4_102_444_800_u64);
    world.activate(TOKEN, |answer| {
        answer.insert("exp".into(), exp);
        answer.insert("iss".into(), Value::from(issuer))
    });
    ask(&layer, TOKEN).await.passes("opaque");
    assert_eq!(world.server.hits(), 1);
}

#[tokio::test]
async fn i13_what_is_known_as_revoked_causes_no_call() {
    let world = World::new();
    let revoked = RevocationSet::local_with_clock(world.clock.clone());
    let layer = || world.layer().revocation(revoked.clone());
    let layer = layer();
    world.activate(TOKEN, |answer| answer.insert("iss".into(), json!(ISSUER)));
    send(layer.clone(), bearer(TOKEN)).await.passes("before");
    let until = tower_jwt_auth::time::Timestamp::from_secs(world.clock.timestamp() + 600);
    revoked.insert(&Revocation::token("j1", until));
    send(layer.clone(), bearer(TOKEN))
        .await
        .invalid_token("revoked")
        .because(AuthErrorKind::Revoked);
    // The answer is too old now, and names the token that was revoked.
    world.clock.advance(Duration::from_secs(61));
    send(layer.clone(), bearer(TOKEN))
        .await
        .invalid_token("revoked")
        .because(AuthErrorKind::Revoked);
    assert_eq!(world.server.hits(), 1);
    // Another node learns it by its first call.
    let other = world.layer().revocation(revoked.clone());
    send(other, bearer(TOKEN))
        .await
        .invalid_token("revoked")
        .because(AuthErrorKind::Revoked);
    assert_eq!(world.server.hits(), 2);
}

#[tokio::test]
async fn i13_a_revoked_jwt_is_not_introspected() {
    let fixture = Fixture::new();
    let world = world_of(&fixture);
    let revoked = RevocationSet::local_with_clock(fixture.clock.clone());
    let verifier = both(&fixture, world.settings().all_tokens());
    let layer = JwtAuthLayer::new(verifier).revocation(revoked.clone());
    let jwt = fixture.with("jti", json!("gone"));
    let until = tower_jwt_auth::time::Timestamp::from_secs(fixture.now() + 600);
    revoked.insert(&Revocation::token("gone", until));
    send(layer, bearer(&jwt))
        .await
        .invalid_token("revoked")
        .because(AuthErrorKind::Revoked);
    assert_eq!(world.server.hits(), 0);
}

#[tokio::test]
async fn i13_a_failing_server_does_not_hide_a_revocation() {
    let world = World::new();
    let revoked = RevocationSet::local_with_clock(world.clock.clone());
    let layer = world.layer().revocation(revoked.clone());
    world.activate(TOKEN, |answer| answer.insert("sid".into(), json!("s1")));
    send(layer.clone(), bearer(TOKEN)).await.passes("before");
    let until = tower_jwt_auth::time::Timestamp::from_secs(world.clock.timestamp() + 600);
    revoked.insert(&Revocation::session("s1", until));
    world.server.answer(Answer::status(500));
    world.clock.advance(Duration::from_secs(61));
    send(layer, bearer(TOKEN))
        .await
        .invalid_token("revoked")
        .because(AuthErrorKind::Revoked);
}

#[tokio::test]
async fn i13_an_api_key_is_not_introspected() {
    let fixture = api_key::Fixture::new();
    let keys = fixture.keys();
    let key = api_key::issue(&keys).await;
    let world = World {
        server: IntrospectionFixture::start(),
        clock: fixture.clock.clone(),
    };
    let except = Bearer::new().except_prefix("acme_live_");
    let tokens = world.layer().extractor(except).optional();
    let keys = ApiKeyLayer::new(&keys).optional();
    let guard = || RoleGuardLayer::scope("orders:read");
    let (key, unknown) = (key.expose().to_owned(), format!("{}x", key.expose()));
    world.activate(TOKEN, |_| ());
    for (token, status) in [(key.as_str(), 200), (unknown.as_str(), 401), (TOKEN, 200)] {
        let outside = ServiceBuilder::new()
            .layer(tokens.clone())
            .layer(keys.clone())
            .layer(guard());
        assert_eq!(send(outside, bearer(token)).await.status, status);
        let inside = ServiceBuilder::new()
            .layer(keys.clone())
            .layer(tokens.clone())
            .layer(guard());
        assert_eq!(send(inside, bearer(token)).await.status, status);
    }
    assert_eq!(world.server.hits(), 1);
}
