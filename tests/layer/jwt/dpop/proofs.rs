//! The proof itself: G1 to G13, G19, G20, G29 to G31, G35.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower_jwt_auth::{
    error::AuthErrorKind, key::Algorithm, layer::dpop::Dpop, test_util::DpopClient,
};

use super::{SERVER, TARGET, World, ask, invalid_proof, refused, request};
use crate::support::{answer::send, request::with};

#[tokio::test]
async fn g1_a_bound_token_with_a_proof_passes_in_every_algorithm_and_spelling() {
    for algorithm in [
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::EdDsa,
        Algorithm::Rs256,
        Algorithm::Ps256,
    ] {
        let world = World::with(algorithm);
        let answer = ask(&world.layer(), world.proven()).await;
        let answer = answer.passes(algorithm.as_str());
        assert_eq!(answer.caller().subject(), Some("alice"));
    }
    let world = World::new();
    for scheme in ["dpop", "DPOP", "dPoP", "DPoP "] {
        let mut request = world.proven();
        let value = format!("{scheme} {}", world.token).parse().unwrap();
        request.headers_mut().insert("authorization", value);
        ask(&world.layer(), request).await.passes(scheme);
    }
}

#[tokio::test]
async fn g1_ed25519_has_two_names() {
    let world = World::with(Algorithm::EdDsa);
    for name in ["EdDSA", "Ed25519"] {
        let request = world.edited(|header, _| header.insert("alg".into(), json!(name)));
        ask(&world.layer(), request).await.passes(name);
    }
}

#[tokio::test]
async fn g2_a_request_without_a_proof_is_refused() {
    let world = World::new();
    let answer = ask(&world.layer(), request(&world.token, &[])).await;
    invalid_proof(&answer, "no proof");
    // A cached token makes no difference: G32.
    ask(&world.layer(), world.proven()).await.passes("cached");
    let answer = ask(&world.layer(), request(&world.token, &[""])).await;
    invalid_proof(&answer, "an empty proof");
}

#[tokio::test]
async fn g3_two_proofs_are_refused_in_one_line_or_two() {
    let world = World::new();
    let layer = world.layer();
    let proof = || world.client.proof("GET", TARGET, &world.token);
    let answer = ask(&layer, request(&world.token, &[&proof(), &proof()])).await;
    invalid_proof(&answer, "two lines");
    let list = format!("{}, {}", proof(), proof());
    invalid_proof(&ask(&layer, world.with_proof(&list)).await, "a list");
}

#[tokio::test]
async fn g4_the_type_must_be_that_of_a_proof() {
    let world = World::new();
    for typ in ["dpop+jwt", "DPoP+JWT", "application/dpop+jwt"] {
        let request = world.edited(|header, _| header.insert("typ".into(), json!(typ)));
        ask(&world.layer(), request).await.passes(typ);
    }
    for typ in ["JWT", "at+jwt", "dpop", "", "dbsc+jwt"] {
        let request = world.edited(|header, _| header.insert("typ".into(), json!(typ)));
        invalid_proof(&ask(&world.layer(), request).await, typ);
    }
    let request = world.edited(|header, _| header.remove("typ"));
    invalid_proof(&ask(&world.layer(), request).await, "no typ");
}

#[tokio::test]
async fn g5_the_algorithm_must_be_asymmetric_and_allowed() {
    let world = World::new();
    for alg in [
        "none", "None", "HS256", "HS384", "HS512", "ES384", "RS256", "EdDSA", "es256", "",
    ] {
        let request = world.edited(|header, _| header.insert("alg".into(), json!(alg)));
        invalid_proof(&ask(&world.layer(), request).await, alg);
    }
    let request = world.edited(|header, _| header.remove("alg"));
    invalid_proof(&ask(&world.layer(), request).await, "no alg");
    let layer = world.layer_with(world.rules().algorithms([Algorithm::EdDsa]));
    invalid_proof(&ask(&layer, world.proven()).await, "not listed");
    for listed in [
        &[Algorithm::Hs256][..],
        &[Algorithm::Es256, Algorithm::Hs256],
        &[],
    ] {
        assert!(
            world
                .rules()
                .algorithms(listed.iter().copied())
                .build()
                .is_err()
        );
    }
}

#[tokio::test]
async fn g6_a_wrong_signature_is_refused() {
    let world = World::new();
    let proof = world.client.proof("GET", TARGET, &world.token);
    let (message, signature) = proof.rsplit_once('.').unwrap();
    let other = world.client.proof("GET", TARGET, &world.token);
    let (_, other) = other.rsplit_once('.').unwrap();
    for (case, proof) in [
        ("of another proof", format!("{message}.{other}")),
        ("cut", format!("{message}.{}", &signature[..40])),
        ("empty", format!("{message}.")),
        ("absent", message.to_owned()),
        ("padded", format!("{proof}=")),
        ("a part more", format!("{proof}.x")),
        ("zeros", format!("{message}.{}", "A".repeat(86))),
        ("no base64", format!("{message}.!{}", &signature[1..])),
    ] {
        invalid_proof(&ask(&world.layer(), world.with_proof(&proof)).await, case);
    }
}

#[tokio::test]
async fn g7_the_key_must_be_a_public_one() {
    let world = World::new();
    let jwk = world.client.public_jwk();
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        let mut jwk = jwk.clone();
        jwk[private] = json!("AAAA");
        let request = world.edited(|header, _| header.insert("jwk".into(), jwk));
        invalid_proof(&ask(&world.layer(), request).await, private);
    }
    let secret = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode([7; 32]) });
    for (case, jwk) in [
        ("a secret", secret),
        ("a text", json!("key")),
        ("null", Value::Null),
        ("empty", json!({})),
        (
            "another curve",
            json!({ "kty": "EC", "crv": "secp256k1", "x": jwk["x"], "y": jwk["y"] }),
        ),
        (
            "no y",
            json!({ "kty": "EC", "crv": "P-256", "x": jwk["x"] }),
        ),
    ] {
        let request = world.edited(|header, _| header.insert("jwk".into(), jwk));
        invalid_proof(&ask(&world.layer(), request).await, case);
    }
    let request = world.edited(|header, _| header.remove("jwk"));
    invalid_proof(&ask(&world.layer(), request).await, "no key");
}

#[tokio::test]
async fn g8_the_method_is_compared_with_its_case() {
    let world = World::new();
    for method in ["POST", "get", "Get", "GET ", ""] {
        let request = world.with_claim("htm", json!(method));
        invalid_proof(&ask(&world.layer(), request).await, method);
    }
    let proof = world.client.proof("PATCH", TARGET, &world.token);
    let mut patch = world.with_proof(&proof);
    *patch.method_mut() = http::Method::PATCH;
    ask(&world.layer(), patch).await.passes("PATCH");
}

#[tokio::test]
async fn g9_another_scheme_host_port_or_path_is_refused() {
    let world = World::new();
    for target in [
        "http://api.example/notes",
        "https://other.example/notes",
        "https://api.example.evil/notes",
        "https://api.example:8443/notes",
        "https://api.example/note",
        "https://api.example/notes/",
        "https://api.example/NOTES",
        "https://user@api.example/notes",
        "/notes",
        "",
    ] {
        let request = world.with_claim("htu", json!(target));
        invalid_proof(&ask(&world.layer(), request).await, target);
    }
}

#[tokio::test]
async fn g10_queries_and_fragments_are_ignored() {
    let world = World::new();
    let mut request = world.proven();
    *request.uri_mut() = "/notes?page=2".parse().unwrap();
    ask(&world.layer(), request)
        .await
        .passes("the request has a query");
    for target in [
        "https://api.example/notes?page=3",
        "https://api.example/notes#top",
    ] {
        let request = world.with_claim("htu", json!(target));
        ask(&world.layer(), request).await.passes(target);
    }
}

#[tokio::test]
async fn g11_other_spellings_of_the_target_pass() {
    let world = World::new();
    for target in [
        "HTTPS://API.Example/notes",
        "https://api.example:443/notes",
        "https://api.example:/notes",
        "https://api.example/%6eotes",
        "https://api.example/a/../notes",
    ] {
        let request = world.with_claim("htu", json!(target));
        ask(&world.layer(), request).await.passes(target);
    }
    let mut root = world.with_claim("htu", json!(SERVER));
    *root.uri_mut() = "/".parse().unwrap();
    ask(&world.layer(), root).await.passes("an empty path");
    // The URL of the server may be written in any of these ways, too.
    let rules = Dpop::at("HTTPS://Api.Example:443/mcp").clock(world.clock().clone());
    let layer = world.fixture.layer().dpop(rules.build().unwrap());
    ask(&layer, world.proven()).await.passes("a long URL");
}

#[tokio::test]
async fn g12_a_proof_is_fresh_for_a_minute_and_half_a_minute_ahead() {
    let world = World::new();
    let now = world.fixture.now();
    for (seconds, fresh) in [
        (0, true),
        (-59, true),
        (-60, true),
        (-61, false),
        (30, true),
        (31, false),
        (-86_400, false),
        (86_400, false),
    ] {
        let request = world.with_claim("iat", json!(now + seconds));
        let answer = ask(&world.layer(), request).await;
        match fresh {
            true => drop(answer.passes(&seconds.to_string())),
            false => invalid_proof(&answer, &seconds.to_string()),
        }
    }
    // The window of the Model Context Protocol.
    let wide = Duration::from_secs(300);
    let layer = world.layer_with(world.rules().max_age(wide).max_ahead(wide));
    for seconds in [-300, 300] {
        let request = world.with_claim("iat", json!(now + seconds));
        ask(&layer, request).await.passes("within five minutes");
    }
    assert!(
        world
            .rules()
            .max_age(Duration::from_secs(601))
            .build()
            .is_err()
    );
}

#[tokio::test]
async fn g13_a_claim_that_is_missing_or_of_another_type_is_refused() {
    let world = World::new();
    for claim in ["jti", "htm", "htu", "iat"] {
        let request = world.edited(|_, claims| claims.remove(claim));
        invalid_proof(&ask(&world.layer(), request).await, claim);
        for wrong in [json!(null), json!([]), json!({}), json!(true)] {
            let request = world.with_claim(claim, wrong);
            invalid_proof(&ask(&world.layer(), request).await, claim);
        }
    }
    for (claim, wrong) in [
        ("jti", json!(7)),
        ("jti", json!("")),
        ("iat", json!("1700000000")),
        ("nonce", json!(7)),
        ("nonce", json!("")),
        ("nonce", json!("a b")),
        ("nonce", json!("a\"b")),
        ("nonce", json!("\u{e4}")),
        ("ath", json!(7)),
    ] {
        let request = world.with_claim(claim, wrong.clone());
        invalid_proof(
            &ask(&world.layer(), request).await,
            &format!("{claim} {wrong}"),
        );
    }
    // A nonce that nobody demands is not compared with anything.
    let request = world.with_claim("nonce", json!("abc"));
    ask(&world.layer(), request).await.passes("a foreign nonce");
}

#[tokio::test]
async fn g13_a_member_that_occurs_twice_is_refused() {
    let world = World::new();
    let parts = |proof: &str, at: usize| {
        let segment = proof.split('.').nth(at).unwrap();
        String::from_utf8(URL_SAFE_NO_PAD.decode(segment).unwrap()).unwrap()
    };
    let proof = world.client.proof("GET", TARGET, &world.token);
    let (header, claims) = (parts(&proof, 0), parts(&proof, 1));
    let twice = |json: &str, member: &str| json.replacen('{', &format!("{{{member},"), 1);
    let jwk = world.client.public_jwk();
    for (header, claims) in [
        (twice(&header, r#""alg":"ES256""#), claims.clone()),
        (twice(&header, r#""\u0061lg":"ES256""#), claims.clone()),
        (twice(&header, &format!(r#""jwk":{jwk}"#)), claims.clone()),
        (twice(&header, r#""own":1,"own":2"#), claims.clone()),
        (
            header.replacen(r#""kty""#, r#""kty":"EC","kty""#, 1),
            claims.clone(),
        ),
        (
            header.replacen(r#""kty""#, r#""own":1,"own":2,"kty""#, 1),
            claims.clone(),
        ),
        (header.clone(), twice(&claims, r#""jti":"other""#)),
        (header.clone(), twice(&claims, r#""iat":1"#)),
        (header.clone(), twice(&claims, r#""own":1,"own":2"#)),
        (format!("{header} x"), claims.clone()),
        (header.clone(), format!("{claims}{{}}")),
        (twice(&header, r#""crit":["own"],"own":1"#), claims.clone()),
        (twice(&header, r#""b64":false"#), claims.clone()),
        (format!("[{header}]"), claims.clone()),
        (header.clone(), "[]".to_owned()),
    ] {
        let proof = world.client.raw_proof(&header, &claims);
        invalid_proof(&ask(&world.layer(), world.with_proof(&proof)).await, &proof);
    }
    let proof = world.client.raw_proof(&header, &claims);
    ask(&world.layer(), world.with_proof(&proof))
        .await
        .passes("each once");
}

#[tokio::test]
async fn g19_the_proof_must_be_for_the_token() {
    let world = World::new();
    let other = world.fixture.es.bound_token(&world.client, |_| ());
    let proof = world.client.proof("GET", TARGET, &other);
    invalid_proof(
        &ask(&world.layer(), world.with_proof(&proof)).await,
        "another token",
    );
    let request = world.edited(|_, claims| claims.remove("ath"));
    invalid_proof(&ask(&world.layer(), request).await, "no digest");
    let padded = format!("{}=", "A".repeat(43));
    let request = world.with_claim("ath", json!(padded));
    invalid_proof(&ask(&world.layer(), request).await, "padded");
}

#[tokio::test]
async fn g20_a_proof_by_another_key_makes_the_token_invalid() {
    let world = World::new();
    let thief = DpopClient::new(Algorithm::Es256).clock(world.clock().clone());
    let proof = thief.proof("GET", TARGET, &world.token);
    let answer = ask(&world.layer(), world.with_proof(&proof)).await;
    refused(&answer, "invalid_token", "another key");
    answer.because(AuthErrorKind::WrongProofKey);
}

#[tokio::test]
async fn g29_further_members_of_the_key_change_nothing() {
    let world = World::new();
    let mut jwk = world.client.public_jwk();
    for (member, value) in [
        ("kid", json!("1")),
        ("use", json!("enc")),
        ("alg", json!("ES512")),
        ("key_ops", json!(["verify"])),
        ("own", json!({ "d": 1 })),
    ] {
        jwk[member] = value;
    }
    let request = world.edited(|header, _| header.insert("jwk".into(), jwk));
    ask(&world.layer(), request).await.passes("more members");
}

#[tokio::test]
async fn g30_further_members_of_the_confirmation_are_ignored() {
    let world = World::new();
    let jkt = world.client.thumbprint();
    let token = world.fixture.es.token(|claims| {
        let cnf = json!({ "kid": "1", "x5t": "AAAA", "jkt": jkt, "own": {} });
        claims.insert("cnf".into(), cnf)
    });
    let proof = world.client.proof("GET", TARGET, &token);
    ask(&world.layer(), request(&token, &[&proof]))
        .await
        .passes("more members");
    for cnf in [
        json!({ "x5t#S256": jkt }),
        json!({ "jkt": 7 }),
        json!({ "jkt": "" }),
        json!({ "jkt": format!("{jkt}=") }),
        json!({ "jkt": &jkt[1..] }),
        json!({}),
        json!("text"),
        json!(null),
        json!([{ "jkt": jkt }]),
    ] {
        let token = world
            .fixture
            .es
            .token(|claims| claims.insert("cnf".into(), cnf.clone()));
        let proof = world.client.proof("GET", TARGET, &token);
        let answer = ask(&world.layer(), request(&token, &[&proof])).await;
        refused(&answer, "invalid_token", &cnf.to_string());
        answer.because(AuthErrorKind::SenderConstrained);
    }
}

#[tokio::test]
async fn g31_headers_of_the_request_never_change_the_target() {
    let world = World::new();
    let proof = world
        .client
        .proof("GET", "https://evil.example/notes", &world.token);
    for (name, value) in [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "host=evil.example;proto=https"),
        ("x-original-url", "https://evil.example/notes"),
    ] {
        let forged = with(world.with_proof(&proof), name, value);
        invalid_proof(&ask(&world.layer(), forged).await, name);
        let honest = with(world.proven(), name, value);
        ask(&world.layer(), honest).await.passes(name);
    }
    // HTTP/2 has an authority, and a request to a proxy a whole URI.
    let mut forged = world.with_proof(&proof);
    *forged.uri_mut() = "https://evil.example/notes".parse().unwrap();
    invalid_proof(&ask(&world.layer(), forged).await, "an authority");
}

#[tokio::test]
async fn g31_the_target_may_come_from_a_function_of_the_application() {
    let world = World::new();
    let public = |head: tower_jwt_auth::layer::extract::RequestHead<'_>| {
        let path = head.uri().path();
        (path != "/lost").then(|| format!("https://api.example/v1{path}"))
    };
    let layer = world.layer_with(world.rules().target_uri(public));
    let proof = |target: &str| world.client.proof("GET", target, &world.token);
    let good = proof("https://API.example/v1/notes");
    ask(&layer, world.with_proof(&good))
        .await
        .passes("the prefix");
    let bad = proof(TARGET);
    invalid_proof(&ask(&layer, world.with_proof(&bad)).await, "no prefix");
    let mut lost = world.with_proof(&proof("https://api.example/v1/lost"));
    *lost.uri_mut() = "/lost".parse().unwrap();
    let answer = ask(&layer, lost).await;
    assert_eq!(answer.status, 500);
    answer.because(AuthErrorKind::Misconfigured);
}

#[tokio::test]
async fn g38_a_path_without_its_prefix_is_a_mistake_of_the_server_and_not_of_the_client() {
    let world = World::new();
    let proof = world
        .client
        .proof("GET", "https://api.example/v1/notes", &world.token);
    let answer = ask(&world.layer(), world.with_proof(&proof)).await;
    assert_eq!(answer.status, 500);
    answer.because(AuthErrorKind::Misconfigured);
}

#[tokio::test]
async fn g35_long_proofs_and_odd_keys_are_refused_before_any_signature() {
    let world = World::with(Algorithm::Rs256);
    let rules = world.rules().build().unwrap();
    let layer = world.fixture.layer().dpop(rules.clone());
    let request = world.with_claim("own", json!("x".repeat(8 * 1024)));
    invalid_proof(&ask(&layer, request).await, "over 8 KiB");
    let request = world.with_claim("own", json!("x".repeat(2 * 1024)));
    ask(&layer, request).await.passes("below");
    let before = rules.verifications();
    let jwk = world.client.public_jwk();
    let modulus = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xFF; bytes]);
    for (case, n, e) in [
        ("1024 bits", json!(modulus(128)), json!("AQAB")),
        (
            "2047 bits",
            json!(URL_SAFE_NO_PAD.encode([vec![0x7F], vec![0xFF; 255]].concat())),
            json!("AQAB"),
        ),
        ("4104 bits", json!(modulus(513)), json!("AQAB")),
        ("8192 bits", json!(modulus(1024)), json!("AQAB")),
        (
            "a leading zero",
            json!(URL_SAFE_NO_PAD.encode([vec![0], vec![0xFF; 256]].concat())),
            json!("AQAB"),
        ),
        ("exponent 1", jwk["n"].clone(), json!("AQ")),
        ("exponent 5", jwk["n"].clone(), json!("BQ")),
        ("a huge exponent", jwk["n"].clone(), json!(modulus(256))),
        ("exponent with zeros", jwk["n"].clone(), json!("AAEAAQ")),
    ] {
        let odd = json!({ "kty": "RSA", "n": n, "e": e });
        // The token is bound to the odd key, so that nothing else refuses it.
        let text = format!(r#"{{"e":{e},"kty":"RSA","n":{n}}}"#);
        let jkt = URL_SAFE_NO_PAD.encode(Sha256::digest(text));
        let token = world
            .fixture
            .es
            .token(|claims| claims.insert("cnf".into(), super::bound_to(&jkt)));
        let proof = world
            .client
            .edited_proof("GET", TARGET, &token, |header, _| {
                header.insert("jwk".into(), odd)
            });
        invalid_proof(&ask(&layer, request_with(&token, &proof)).await, case);
    }
    assert_eq!(rules.verifications(), before, "nothing was verified");
}

fn request_with(token: &str, proof: &str) -> Request<String> {
    request(token, &[proof])
}

#[tokio::test]
async fn g32_a_cached_token_is_refused_without_its_proof() {
    let world = World::new();
    let layer = world.layer();
    ask(&layer, world.proven()).await.passes("first");
    ask(&layer, world.proven()).await.passes("from the cache");
    invalid_proof(&ask(&layer, request(&world.token, &[])).await, "no proof");
    let mut bearer = world.proven();
    let value = format!("Bearer {}", world.token).parse().unwrap();
    bearer.headers_mut().insert("authorization", value);
    let answer = send(layer.clone(), bearer).await;
    answer.because(AuthErrorKind::SenderConstrained);
    ask(&layer, world.proven()).await.passes("still cached");
}
