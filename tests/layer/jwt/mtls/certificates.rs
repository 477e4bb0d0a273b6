//! The certificate and the token: H1 to H5, H8, H9.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower::ServiceBuilder;
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    layer::{
        api_key::ApiKeyLayer,
        dpop::Dpop,
        extract::{Bearer, Cookie, Query},
        mtls::{CertificateHeader, Mtls},
        peer::PeerCertificate,
        resource::ProtectedResource,
    },
    revocation::{Revocation, RevocationSet},
    test_util::{DpopClient, TestIssuer},
};

use super::{PROXY, World, ask, certificate, from, on_connection};
use crate::{
    jwt::revocation::later,
    support::{
        answer::send,
        api_key,
        fixture::{AUDIENCE, ISSUER, bearer, keys},
        request::{nobody, target, with},
    },
};

const TARGET: &str = "https://api.example/";

#[tokio::test]
async fn h1_a_bound_token_passes_with_the_certificate_of_its_client() {
    let world = World::new();
    let layer = world.layer();
    for case in ["verified", "cached", "cached again"] {
        let answer = ask(&layer, world.proven()).await.passes(case);
        assert_eq!(answer.caller().subject(), Some("alice"));
    }
    // The thumbprint as RFC 8705 §3.1 defines it, without the code of this crate.
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(b"the client"));
    assert_eq!(world.certificate.thumbprint(), Some(digest.clone()));
    let token = world
        .fixture
        .with("cnf", json!({ "x5t#S256": digest, "other": 1 }));
    let request = on_connection(bearer(&token), &world.certificate);
    ask(&layer, request).await.passes("by hand");
}

#[tokio::test]
async fn h1_a_bound_token_passes_in_every_enabled_place() {
    let world = World::new();
    let layer = world.layer().extractor((
        Bearer::new(),
        Cookie::new("at").unwrap(),
        Query::new("access_token"),
    ));
    let cookie = with(nobody(), "cookie", &format!("at={}", world.token));
    let query = target(&format!("/?access_token={}", world.token));
    for (case, request) in [("a cookie", cookie), ("the query", query)] {
        ask(&layer, request.clone())
            .await
            .invalid_token(case)
            .because(AuthErrorKind::SenderConstrained);
        ask(&layer, on_connection(request, &world.certificate))
            .await
            .passes(case);
    }
}

#[tokio::test]
async fn h2_another_certificate_is_refused() {
    let world = World::new();
    let layer = world.layer();
    for (case, other) in [
        ("another client", certificate("another client")),
        ("a byte more", certificate("the client ")),
        ("nothing", certificate("")),
        // The token's value is the digest and not the certificate.
        (
            "the digest",
            PeerCertificate::from_der(Sha256::digest(b"the client").to_vec()),
        ),
    ] {
        for cached in [false, true] {
            let case = format!("{case}, cached: {cached}");
            let request = on_connection(bearer(&world.token), &other);
            ask(&layer, request)
                .await
                .invalid_token(&case)
                .because(AuthErrorKind::WrongCertificate);
            ask(&layer, world.proven()).await.passes(&case);
        }
    }
}

#[tokio::test]
async fn h3_a_bound_token_without_a_certificate_is_refused() {
    let world = World::new();
    let dpop = Dpop::at("https://api.example").build().unwrap();
    let bound = world.layer();
    ask(&bound, world.proven()).await.passes("with one");
    for (case, layer) in [
        ("from the cache", bound),
        ("mTLS", world.layer()),
        ("optional", world.layer().optional()),
        ("a proxy", world.behind(CertificateHeader::Nginx)),
        ("no mTLS", world.fixture.layer()),
        ("DPoP", world.fixture.layer().dpop(dpop)),
    ] {
        for _ in 0..2 {
            let answer = ask(&layer, from(bearer(&world.token), PROXY)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{case}");
            assert!(!answer.ran(), "{case}");
            answer.because(AuthErrorKind::SenderConstrained);
        }
    }
}

#[tokio::test]
async fn h3_a_certificate_is_of_no_effect_without_the_setting() {
    let world = World::new();
    let answer = ask(&world.fixture.layer(), world.proven()).await;
    answer
        .invalid_token("no mTLS")
        .because(AuthErrorKind::SenderConstrained);
    // A verifier that both layers use remembers the token for one of them.
    let verifier = world.fixture.builder().build().unwrap();
    let plain = JwtAuthLayer::new(verifier.clone());
    let bound = JwtAuthLayer::new(verifier.clone()).mtls(Mtls::peer().build().unwrap());
    for _ in 0..3 {
        ask(&bound, world.proven()).await.passes("mTLS");
        ask(&plain, world.proven())
            .await
            .invalid_token("no mTLS")
            .because(AuthErrorKind::SenderConstrained);
        let error = verifier.verify_now(&world.token).unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::SenderConstrained);
        let error = verifier.verify(&world.token).await.unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::SenderConstrained);
    }
}

#[tokio::test]
async fn h3_a_group_of_verifiers_keeps_the_binding() {
    let world = World::new();
    let one = world.fixture.builder().build().unwrap();
    let other = Verifier::key_set(keys())
        .issuer("https://other.example")
        .audience(AUDIENCE)
        .clock(world.fixture.clock.clone());
    let group = Verifier::by_issuer([one, other.build().unwrap()]).unwrap();
    let plain = JwtAuthLayer::new(group.clone());
    let layer = JwtAuthLayer::new(group).mtls(Mtls::peer().build().unwrap());
    for issuer in [ISSUER, "https://other.example"] {
        let issuer = TestIssuer::new(Algorithm::Es256)
            .issuer(issuer)
            .clock(world.fixture.clock.clone());
        let token = issuer.token_for(&world.certificate, |_| ());
        for _ in 0..3 {
            let request = on_connection(bearer(&token), &world.certificate);
            ask(&layer, request.clone()).await.passes("the client");
            let thief = on_connection(bearer(&token), &certificate("a thief"));
            ask(&layer, thief)
                .await
                .because(AuthErrorKind::WrongCertificate);
            ask(&plain, request)
                .await
                .because(AuthErrorKind::SenderConstrained);
        }
        let unbound = bearer(issuer.token(|_| ()));
        ask(&layer, unbound).await.passes("unbound");
    }
}

#[tokio::test]
async fn h4_a_thumbprint_in_another_form_is_refused() {
    let world = World::new();
    let good = world.certificate.thumbprint().unwrap();
    let digest = Sha256::digest(b"the client");
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let standard = base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest);
    // The last character of 43 has two bits that are zero.
    let last = good.chars().last().unwrap();
    let odd = char::from(u8::try_from(last).unwrap() + 1);
    for wrong in [
        json!(format!("{good}=")),
        json!(format!(" {good}")),
        json!(format!("{good} ")),
        json!(format!("{good}\n")),
        json!(format!("{}\n{}", &good[..20], &good[20..])),
        json!(good[1..]),
        json!(format!("{good}AA")),
        json!(format!("{}{odd}", &good[..42])),
        json!(hex),
        json!(""),
        json!(7),
        json!(null),
        json!([good]),
    ] {
        let token = world.fixture.with("cnf", json!({ "x5t#S256": wrong }));
        let request = on_connection(bearer(&token), &world.certificate);
        ask(&world.layer(), request)
            .await
            .invalid_token(&wrong.to_string())
            .because(AuthErrorKind::SenderConstrained);
    }
    // base64 with `+` and `/`, if the digest has one.
    if standard != good {
        let token = world.fixture.with("cnf", json!({ "x5t#S256": standard }));
        let request = on_connection(bearer(&token), &world.certificate);
        ask(&world.layer(), request).await.invalid_token("base64");
    }
    for cnf in [
        json!({}),
        json!("text"),
        json!(null),
        json!([{ "x5t#S256": good }]),
    ] {
        let token = world.fixture.with("cnf", cnf.clone());
        let request = on_connection(bearer(&token), &world.certificate);
        ask(&world.layer(), request)
            .await
            .invalid_token(&cnf.to_string());
    }
}

/// A token that is bound to a key and to a certificate.
struct Both {
    world: World,
    client: DpopClient,
}

impl Both {
    fn new() -> Self {
        let world = World::new();
        let client = DpopClient::new(Algorithm::Es256).clock(world.fixture.clock.clone());
        Self { world, client }
    }

    fn token(&self, cnf: Value) -> String {
        self.world.fixture.with("cnf", cnf)
    }

    fn dpop(&self) -> Dpop {
        let rules = Dpop::at("https://api.example").clock(self.world.fixture.clock.clone());
        rules.build().unwrap()
    }

    /// A request with a proof.
    fn proven(&self, token: &str) -> http::Request<String> {
        let proof = self.client.proof("GET", TARGET, token);
        let request = with(nobody(), "authorization", &format!("DPoP {token}"));
        with(request, "dpop", &proof)
    }
}

#[tokio::test]
async fn h5_a_token_with_a_key_and_a_certificate_needs_both_proofs() {
    let both = Both::new();
    let (world, mtls) = (&both.world, || Mtls::peer().build().unwrap());
    let (jkt, x5t) = (both.client.thumbprint(), world.certificate.thumbprint());
    let token = both.token(json!({ "jkt": jkt, "x5t#S256": x5t }));
    let plain = || world.fixture.layer();
    for (case, layer) in [
        ("DPoP, then mTLS", plain().dpop(both.dpop()).mtls(mtls())),
        ("mTLS, then DPoP", plain().mtls(mtls()).dpop(both.dpop())),
    ] {
        for _ in 0..2 {
            let request = on_connection(both.proven(&token), &world.certificate);
            ask(&layer, request).await.passes(case);
            let only_key = ask(&layer, both.proven(&token)).await;
            assert_eq!(only_key.status, StatusCode::UNAUTHORIZED, "{case}");
            only_key.because(AuthErrorKind::SenderConstrained);
            let other = on_connection(both.proven(&token), &certificate("another"));
            let other = ask(&layer, other).await;
            assert_eq!(other.status, StatusCode::UNAUTHORIZED, "{case}");
            other.because(AuthErrorKind::WrongCertificate);
            let only_certificate = on_connection(bearer(&token), &world.certificate);
            let only_certificate = ask(&layer, only_certificate).await;
            assert_eq!(only_certificate.status, StatusCode::UNAUTHORIZED, "{case}");
            only_certificate.because(AuthErrorKind::SenderConstrained);
        }
        // A token that names one of them needs the one.
        let token = both.token(json!({ "jkt": jkt }));
        ask(&layer, both.proven(&token)).await.passes("the key");
        let token = both.token(json!({ "x5t#S256": x5t }));
        let request = on_connection(bearer(&token), &world.certificate);
        ask(&layer, request).await.passes("the certificate");
        ask(&layer, bearer(world.fixture.token()))
            .await
            .passes("neither");
    }
    // A layer that checks one of them cannot accept the token.
    let request = || on_connection(both.proven(&token), &world.certificate);
    let answer = ask(&plain().dpop(both.dpop()), request()).await;
    answer.because(AuthErrorKind::SenderConstrained);
    let request = on_connection(bearer(&token), &world.certificate);
    let answer = ask(&plain().mtls(mtls()), request).await;
    answer.because(AuthErrorKind::SenderConstrained);
}

#[tokio::test]
async fn h5_a_malformed_member_is_not_left_out() {
    let both = Both::new();
    let world = &both.world;
    let (jkt, x5t) = (both.client.thumbprint(), world.certificate.thumbprint());
    let layer = world.layer().dpop(both.dpop());
    for wrong in [json!(null), json!(7), json!(""), json!(format!("{jkt}="))] {
        let token = both.token(json!({ "jkt": jkt, "x5t#S256": wrong }));
        let request = on_connection(both.proven(&token), &world.certificate);
        let answer = ask(&layer, request).await;
        assert!(!answer.ran(), "{wrong}");
        answer.because(AuthErrorKind::SenderConstrained);
        let token = both.token(json!({ "jkt": wrong, "x5t#S256": x5t }));
        let request = on_connection(bearer(&token), &world.certificate);
        ask(&layer, request)
            .await
            .because(AuthErrorKind::SenderConstrained);
    }
}

#[tokio::test]
async fn h8_an_expired_certificate_is_the_affair_of_tls() {
    // Not even its syntax is looked at.
    let world = World::new();
    ask(&world.layer(), world.proven())
        .await
        .passes("no certificate at all");
}

#[tokio::test]
async fn h9_where_a_certificate_is_required_an_unbound_token_is_refused() {
    let both = Both::new();
    let world = &both.world;
    let rules = || Mtls::peer().required();
    assert!(rules().build().unwrap().is_required());
    let layer = world.layer_with(rules()).dpop(both.dpop());
    let unbound = world.fixture.token();
    let by_key = world.fixture.es.bound_token(&both.client, |_| ());
    let certificate = &world.certificate;
    for cached in [false, true] {
        let case = format!("cached: {cached}");
        for request in [
            bearer(&unbound),
            on_connection(bearer(&unbound), certificate),
            both.proven(&by_key),
            on_connection(both.proven(&by_key), certificate),
        ] {
            let answer = ask(&layer, request).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{case}");
            assert!(!answer.ran(), "{case}");
            answer.because(AuthErrorKind::NotSenderConstrained);
        }
        ask(&layer, world.proven()).await.passes(&case);
    }
    let layer = world.layer_with(rules());
    ask(&layer, bearer(&unbound))
        .await
        .invalid_token("required");
    // On an optional route a token is still refused, and a request without one passes.
    let optional = layer.optional();
    ask(&optional, bearer(&unbound))
        .await
        .invalid_token("optional");
    ask(&optional, nobody()).await.passes("anonymous");
    // Where it is allowed, both kinds pass.
    let allowed = world.layer();
    ask(&allowed, bearer(&unbound)).await.passes("allowed");
    ask(&allowed, on_connection(bearer(&unbound), certificate))
        .await
        .passes("allowed, with a certificate");
}

#[tokio::test]
async fn h9_a_value_for_another_layer_does_not_pass_without_a_certificate() {
    let world = World::new();
    let prefix = Bearer::new().except_prefix("key_");
    let layer = world.layer_with(Mtls::peer().required()).extractor(prefix);
    let answer = ask(&layer, bearer("key_abc")).await;
    assert!(!answer.ran());
    ask(&layer, world.proven()).await.passes("a token");
}

#[tokio::test]
async fn h1_a_bound_token_beside_an_api_key_is_two_credentials() {
    let world = World::new();
    let fixture = api_key::Fixture::new();
    let keys = fixture.keys();
    let key = api_key::issue(&keys).await;
    let both = with(world.proven(), "x-api-key", key.expose());
    let by_key = || ApiKeyLayer::new(&keys).optional();
    let outside = ServiceBuilder::new().layer(by_key()).layer(world.layer());
    let inside = ServiceBuilder::new().layer(world.layer()).layer(by_key());
    for answer in [send(outside, both.clone()).await, send(inside, both).await] {
        assert!(!answer.ran());
        answer.because(AuthErrorKind::MultipleCredentials);
    }
}

#[tokio::test]
async fn h1_a_revoked_token_is_refused_with_its_certificate_too() {
    let world = World::new();
    let revoked = RevocationSet::local_with_clock(world.fixture.clock.clone());
    let layer = world.layer().revocation(revoked.clone());
    let token = world.fixture.es.token_for(&world.certificate, |claims| {
        claims.insert("jti".into(), json!("one"))
    });
    let request = || on_connection(bearer(&token), &world.certificate);
    send(layer.clone(), request()).await.passes("before");
    revoked.insert(&Revocation::token("one", later(&world.fixture.clock)));
    send(layer, request())
        .await
        .invalid_token("after")
        .because(AuthErrorKind::Revoked);
}

#[tokio::test]
async fn h1_the_metadata_state_that_bound_tokens_are_accepted() {
    const MEMBER: &str = "tls_client_certificate_bound_access_tokens";

    let world = World::new();
    let resource = ProtectedResource::builder(AUDIENCE)
        .authorization_server(ISSUER)
        .build()
        .unwrap();
    let rules = || Mtls::peer().build().unwrap();
    for layer in [
        world.fixture.layer().resource(&resource).mtls(rules()),
        world.fixture.layer().mtls(rules()).resource(&resource),
    ] {
        let document = layer.metadata().unwrap().to_json();
        assert_eq!(document[MEMBER], true);
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    }
    let plain = world.fixture.layer().resource(&resource);
    assert_eq!(plain.metadata().unwrap().to_json().get(MEMBER), None);
}

#[test]
fn h7_no_output_shows_the_certificate() {
    let shown = format!("{:?}", certificate("CN=a person"));
    assert!(
        !shown.contains("person") && !shown.contains("110"),
        "{shown}"
    );
    let thumbprint = certificate("CN=a person").thumbprint().unwrap();
    assert!(shown.contains(&thumbprint), "{shown}");
    assert_eq!(certificate("x").der(), b"x");
    assert!(PeerCertificate::of_chain::<Vec<u8>>(&[]).is_none());
    let chain = [b"the client".to_vec(), b"its issuer".to_vec()];
    let first = PeerCertificate::of_chain(&chain).unwrap();
    assert_eq!(first.der(), b"the client");
}
