//! The members of an answer: I1, I3, I5, I14, I15, I16.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower_jwt_auth::{
    JwtAuthLayer, Principal, Verified,
    error::AuthErrorKind,
    key::Algorithm,
    layer::{dpop::Dpop, mtls::Mtls, peer::PeerCertificate},
    principal::PrincipalKind,
    test_util::{Answer, DpopClient},
};

use super::{AUDIENCE, TOKEN, World, ask, bearer, send};

#[tokio::test]
async fn i1_a_token_that_is_not_active_is_refused() {
    let world = World::new();
    let layer = world.layer();
    let unknown = ask(&layer, TOKEN).await.invalid_token("unknown");
    unknown.because(AuthErrorKind::Inactive);
    // `active: false` decides, whatever else the answer contains.
    world.activate("revoked", |_| ());
    let mut answer = world.members();
    answer.insert("active".into(), false.into());
    let answer = Value::Object(answer).to_string();
    world.server.answer_to("revoked", Answer::json(answer));
    let revoked = ask(&layer, "revoked").await.invalid_token("revoked");
    revoked.because(AuthErrorKind::Inactive);
}

#[tokio::test]
async fn i5_numbers_of_any_size_are_times_and_deep_answers_are_unreadable() {
    let world = World::new();
    let layer = world.layer();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for (number, (member, value, status)) in [
        ("exp", "1e300", 200),
        ("exp", "18446744073709551616", 200),
        ("exp", "-1", 401),
        ("exp", "-1e300", 401),
        ("nbf", "1e300", 401),
        ("nbf", "-1e300", 200),
        ("auth_time", "-9223372036854775808", 200),
        ("exp", "1e999", 503),
        ("other", &*deep, 503),
    ]
    .into_iter()
    .enumerate()
    {
        let mut members = world.members();
        members.remove(member);
        members.insert("active".into(), true.into());
        let text = Value::Object(members).to_string();
        let text = text.replacen('{', &format!(r#"{{"{member}":{value},"#), 1);
        let token = format!("token-{number}");
        world.server.answer_to(&token, Answer::json(text));
        for _ in 0..2 {
            let answer = ask(&layer, &token).await;
            assert_eq!(answer.status, status, "{member} {value}");
        }
    }
}

#[tokio::test]
async fn i3_an_answer_without_a_boolean_is_a_refusal() {
    let world = World::new();
    let layer = world.layer();
    let cases = [
        json!(null),
        json!("true"),
        json!(1),
        json!([true]),
        json!({}),
    ];
    for (number, active) in cases.into_iter().enumerate() {
        let token = format!("odd-{number}");
        let mut answer = world.members();
        answer.insert("active".into(), active.clone());
        let answer = Value::Object(answer).to_string();
        world.server.answer_to(&token, Answer::json(answer));
        ask(&layer, &token).await.invalid_token(&active.to_string());
    }
    let answer = Value::Object(world.members()).to_string();
    world.server.answer_to("none", Answer::json(&*answer));
    ask(&layer, "none").await.invalid_token("no member");
    // RFC 8259 §4: a name that occurs twice has no meaning that two readers share.
    let twice = answer.replacen('{', r#"{"active":true,"active":true,"#, 1);
    world.server.answer_to("twice", Answer::json(twice));
    ask(&layer, "twice").await.invalid_token("twice");
}

#[tokio::test]
async fn i5_an_answer_is_read_as_claims_are() {
    let world = World::new();
    world.activate(TOKEN, |answer| {
        answer.insert("roles".into(), json!(["admin"]));
        answer.insert("acr".into(), json!("urn:example:mfa"));
        answer.insert("auth_time".into(), json!(world.clock.timestamp() - 5));
        answer.insert("sid".into(), json!("s1"));
    });
    let answer = ask(&world.layer(), TOKEN).await.passes("a good answer");
    let caller = answer.caller();
    assert_eq!(caller.subject(), Some("alice"));
    assert_eq!(caller.client_id(), Some("web"));
    assert_eq!(caller.issuer(), Some("https://as.example"));
    assert_eq!(caller.kind(), PrincipalKind::User);
    assert!(caller.has_role("admin"));
    assert_eq!(
        caller.scope().collect::<Vec<_>>(),
        ["orders:read", "orders:write"]
    );
    assert_eq!(caller.session_id(), Some("s1"));
    let expires = caller.expires_at().map(|time| time.as_secs());
    assert_eq!(expires, Some(world.clock.timestamp() + 600));
}

#[tokio::test]
async fn i5_members_that_no_claim_may_have_are_refused() {
    let world = World::new();
    let layer = JwtAuthLayer::new(
        world
            .builder()
            .issuer("https://as.example")
            .build()
            .unwrap(),
    );
    let now = world.clock.timestamp();
    let cases = [
        ("exp", json!(now - 61), AuthErrorKind::Expired),
        ("exp", json!("later"), AuthErrorKind::MalformedClaims),
        ("nbf", json!(now + 61), AuthErrorKind::NotYetValid),
        (
            "aud",
            json!("https://other.example"),
            AuthErrorKind::WrongAudience,
        ),
        ("aud", json!([]), AuthErrorKind::WrongAudience),
        (
            "iss",
            json!("https://other.example"),
            AuthErrorKind::WrongIssuer,
        ),
        ("sub", json!(7), AuthErrorKind::MalformedClaims),
        ("typ", json!("Refresh"), AuthErrorKind::WrongUse),
        ("token_use", json!("refresh_token"), AuthErrorKind::WrongUse),
    ];
    for (number, (name, value, expected)) in cases.into_iter().enumerate() {
        let token = format!("bad-{number}");
        world.activate(&token, |answer| answer.insert(name.into(), value.clone()));
        let answer = ask(&layer, &token).await;
        let answer = answer.invalid_token(&format!("{name} {value}"));
        answer.because(expected);
    }
    for name in ["exp", "aud"] {
        let token = format!("without-{name}");
        world.activate(&token, |answer| answer.remove(name));
        let answer = ask(&layer, &token).await.invalid_token(name);
        answer.because(AuthErrorKind::MissingClaim(name));
    }
    // Only the issuer is known without the answer: it is the one that was asked.
    world.activate("without-iss", |answer| answer.remove("iss"));
    let answer = ask(&layer, "without-iss").await.passes("no issuer");
    assert_eq!(answer.caller().issuer(), Some("https://as.example"));
}

#[tokio::test]
async fn i5_an_answer_has_the_type_of_the_application() {
    #[derive(Deserialize)]
    struct Order {
        authorization_details: Vec<Value>,
    }
    let world = World::new();
    let details = json!([{ "type": "payment", "amount": 5 }]);
    world.activate(TOKEN, |answer| {
        answer.insert("authorization_details".into(), details.clone())
    });
    let verifier = world.builder().claims::<Order>().build().unwrap();
    let answer = send(JwtAuthLayer::new(verifier), bearer(TOKEN)).await;
    let answer = answer.passes("typed");
    let token: &Verified<Order> = answer.seen().extensions.get().unwrap();
    assert_eq!(Value::from(token.authorization_details.clone()), details);
    // An answer without the member does not match the type.
    world.activate("other", |_| ());
    let verifier = world.builder().claims::<Order>().build().unwrap();
    let answer = send(JwtAuthLayer::new(verifier), bearer("other")).await;
    answer
        .invalid_token("no details")
        .because(AuthErrorKind::MalformedClaims);
}

#[tokio::test]
async fn i5_a_bound_token_needs_its_proof() {
    let world = World::new();
    let client = DpopClient::new(Algorithm::Es256).clock(world.clock.clone());
    let key = client.thumbprint().to_owned();
    let rules = Dpop::at("https://api.example").clock(world.clock.clone());
    let layer = world.layer().dpop(rules.build().unwrap());
    let bind = |token: &str, token_type: Option<&str>| {
        world.activate(token, |answer| {
            answer.insert("cnf".into(), json!({ "jkt": key }));
            token_type.map(|name| answer.insert("token_type".into(), json!(name)))
        });
    };
    let proven = |client: &DpopClient, token: &str| {
        let request = Request::get("/notes");
        let request = client.sign(request, "https://api.example/notes", token);
        request.body(String::new()).unwrap()
    };
    for (token, token_type) in [
        ("typed", Some("DPoP")),
        ("lower", Some("dpop")),
        ("none", None),
    ] {
        bind(token, token_type);
        for _ in 0..2 {
            let answer = send(layer.clone(), proven(&client, token)).await;
            answer.passes(token);
        }
        // G22: also if an answer is cached.
        let stolen = send(layer.clone(), bearer(token)).await;
        assert_eq!(stolen.kind(), Some(AuthErrorKind::SenderConstrained));
        assert_eq!(world.server.hits_of(token), 1, "{token}");
        let thief = DpopClient::new(Algorithm::Es256).clock(world.clock.clone());
        let stolen = send(layer.clone(), proven(&thief, token)).await;
        assert_eq!(stolen.kind(), Some(AuthErrorKind::WrongProofKey));
    }
    bind("plain", Some("Bearer"));
    let answer = send(layer.clone(), proven(&client, "plain")).await;
    assert_eq!(answer.kind(), Some(AuthErrorKind::WrongUse));
    // Without the setting a bound token is refused, too.
    let answer = ask(&world.layer(), "typed")
        .await
        .invalid_token("no setting");
    answer.because(AuthErrorKind::SenderConstrained);
    // A token of this type whose key the answer does not name.
    world.activate("unnamed", |answer| {
        answer.insert("token_type".into(), json!("DPoP"))
    });
    let answer = ask(&world.layer(), "unnamed").await.invalid_token("no key");
    answer.because(AuthErrorKind::SenderConstrained);
    // Bound to a certificate, which this layer does not compare.
    world.activate("mtls", |answer| {
        answer.insert("cnf".into(), json!({ "x5t#S256": key }))
    });
    let answer = ask(&world.layer(), "mtls").await.invalid_token("mTLS");
    answer.because(AuthErrorKind::SenderConstrained);
}

#[tokio::test]
async fn i5_a_token_that_is_bound_to_a_certificate_needs_it() {
    let world = World::new();
    let layer = world.layer().mtls(Mtls::peer().build().unwrap());
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(b"the client"));
    world.activate(TOKEN, |answer| {
        answer.insert("cnf".into(), json!({ "x5t#S256": digest }));
        answer.insert("token_type".into(), json!("Bearer"))
    });
    let with = |der: &[u8]| {
        let mut request = bearer(TOKEN);
        let certificate = PeerCertificate::from_der(der.to_vec());
        request.extensions_mut().insert(certificate);
        request
    };
    for _ in 0..2 {
        let answer = send(layer.clone(), with(b"the client")).await;
        answer.passes("the certificate of the token");
        for request in [with(b"a thief"), bearer(TOKEN)] {
            let answer = send(layer.clone(), request).await;
            answer.invalid_token("another certificate, or none");
        }
    }
    assert_eq!(world.server.hits(), 1);
}

#[tokio::test]
async fn i14_a_refresh_token_that_is_active_is_refused() {
    let world = World::new();
    let layer = world.layer();
    for token_type in ["refresh_token", "N_A", "access_token", "Basic", ""] {
        let token = format!("typed-{token_type}");
        world.activate(&token, |answer| {
            answer.insert("token_type".into(), json!(token_type))
        });
        let answer = ask(&layer, &token).await.invalid_token(token_type);
        answer.because(AuthErrorKind::WrongUse);
    }
    world.activate("number", |answer| {
        answer.insert("token_type".into(), json!(1))
    });
    ask(&layer, "number").await.invalid_token("a number");
    for token_type in ["Bearer", "bearer"] {
        world.activate(token_type, |answer| {
            answer.insert("token_type".into(), json!(token_type))
        });
        ask(&layer, token_type).await.passes(token_type);
    }
    // As npm's oidc-provider answers: neither a type nor an audience.
    world.activate("refresh", |answer| answer.remove("aud"));
    let answer = ask(&layer, "refresh").await.invalid_token("no audience");
    answer.because(AuthErrorKind::MissingClaim("aud"));
}

#[tokio::test]
async fn i15_without_a_subject_the_client_is_a_service() {
    let world = World::new();
    world.activate(TOKEN, |answer| answer.remove("sub"));
    let answer = ask(&world.layer(), TOKEN).await.passes("a client");
    let caller: &Principal = answer.caller();
    assert_eq!(caller.subject(), None);
    assert_eq!(caller.client_id(), Some("web"));
    assert_eq!(caller.kind(), PrincipalKind::Service);
    assert_eq!(AUDIENCE, "https://api.example");
}

#[tokio::test]
async fn i16_a_token_that_the_server_does_not_introspect_is_refused() {
    let world = World::new();
    let layer = world.layer();
    let unsupported = Answer::json(r#"{"error":"unsupported_token_type"}"#).with_status(400);
    world.server.answer_to(TOKEN, unsupported);
    let answer = ask(&layer, TOKEN).await.invalid_token("unsupported");
    answer.because(AuthErrorKind::Inactive);
    // Any other complaint is about this server's request.
    let odd = Answer::json(r#"{"error":"invalid_request"}"#).with_status(400);
    world.server.answer_to("other", odd);
    super::unavailable(ask(&layer, "other").await, "another error");
}
