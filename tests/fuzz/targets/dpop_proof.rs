//! Any header and any claims, signed by the client's key, or any bytes, as the proof of a bound token.
//!
//! The oracle reads the proof with serde_json and repeats the rules of RFC 9449 §4.3 in the plainest way: a proof
//! that passes must keep them all.

#![no_main]

use std::{
    convert::Infallible,
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Request, Response, StatusCode};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    key::{Algorithm, SigningKey},
    layer::dpop::{Dpop, DpopBuilder},
    test_util::{DpopClient, TestClock, TestIssuer, TestKeys},
    verify::proof::Nonces,
};

struct World {
    clock: TestClock,
    client: DpopClient,
    token: String,
    /// Without nonces, and with them.
    layers: [JwtAuthLayer; 2],
    /// The only nonce that is valid now.
    nonce: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let clock = TestClock::new();
    // A published key, so that a finding is one in the next run too.
    let key = include_bytes!("../../../src/test_util/keys/first/ed25519.test-only.pkcs8.der");
    let client = DpopClient::with_key(SigningKey::from_pkcs8_der(key).unwrap()).clock(clock.clone());
    let issuer = TestIssuer::new(Algorithm::Hs256).clock(clock.clone());
    let token = issuer.bound_token(&client, |_| ());
    let verifier = Verifier::key(TestKeys::new().verifying_key(Algorithm::Hs256))
        .audience("https://api.example")
        .clock(clock.clone())
        .build();
    let verifier = verifier.unwrap();
    let rules = || {
        Dpop::at("https://api.example")
            .clock(clock.clone())
            .dangerous_allow_replay()
    };
    let layer = |rules: DpopBuilder| JwtAuthLayer::new(verifier.clone()).dpop(rules.build().unwrap());
    let layers = [
        layer(rules()),
        layer(rules().nonces(Nonces::generate().unwrap())),
    ];
    let proof = client.proof("GET", "https://api.example/notes", &token);
    let asked = answer(&layers[1], request(&token, HeaderValue::try_from(proof).unwrap()));
    let nonce = asked.headers()["dpop-nonce"].to_str().unwrap().to_owned();
    World {
        clock,
        client,
        token,
        layers,
        nonce,
    }
});

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some((kind, rest)) = bytes.split_first() else {
        return Corpus::Reject;
    };
    let world = &*WORLD;
    let with_nonces = kind / 4 % 2 == 1;
    let proof = match kind % 4 {
        // As it stands.
        0 => rest.to_vec(),
        // Edited claims under a good header.
        1 => {
            let Ok(claims) = std::str::from_utf8(rest) else {
                return Corpus::Reject;
            };
            let header = format!(
                r#"{{"typ":"dpop+jwt","alg":"EdDSA","jwk":{}}}"#,
                world.client.public_jwk()
            );
            world.client.raw_proof(&header, &filled(claims)).into_bytes()
        }
        // Both.
        _ => {
            let Ok(text) = std::str::from_utf8(rest) else {
                return Corpus::Reject;
            };
            let (header, claims) = text.split_once('\n').unwrap_or((text, "{}"));
            world.client.raw_proof(&filled(header), &filled(claims)).into_bytes()
        }
    };
    let Ok(value) = HeaderValue::from_bytes(&proof) else {
        return Corpus::Reject;
    };
    let layer = &world.layers[usize::from(with_nonces)];
    let status = answer(layer, request(&world.token, value)).status();
    if status == StatusCode::OK {
        let broken = broken_rule(&proof, with_nonces);
        assert_eq!(broken, None, "{}", String::from_utf8_lossy(&proof));
    } else {
        // A target with a prefix is a mistake of the server.
        let refused = [StatusCode::UNAUTHORIZED, StatusCode::INTERNAL_SERVER_ERROR];
        assert!(refused.contains(&status), "{status}");
    }
    Corpus::Keep
});

/// Puts in what no fuzzer can guess.
fn filled(text: &str) -> String {
    let world = &*WORLD;
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(&world.token));
    text.replace("@ath", &digest)
        .replace("@iat", &world.clock.timestamp().to_string())
        .replace("@jwk", &world.client.public_jwk().to_string())
        .replace("@nonce", &world.nonce)
}

fn request(token: &str, proof: HeaderValue) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = "/notes?x=1".parse().unwrap();
    let token = HeaderValue::try_from(format!("DPoP {token}")).unwrap();
    request.headers_mut().insert("authorization", token);
    request.headers_mut().insert("dpop", proof);
    request
}

fn answer(layer: &JwtAuthLayer, request: Request<()>) -> Response<()> {
    let inner = async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new()));
    let mut service = layer.layer(service_fn(inner));
    let mut answer = pin!(service.call(request));
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(answer)) => answer.map(drop),
        Poll::Pending => panic!("nothing is to be waited for"),
    }
}

/// Returns the first rule that a proof breaks.
fn broken_rule(proof: &[u8], with_nonces: bool) -> Option<&'static str> {
    let world = &*WORLD;
    let proof = std::str::from_utf8(proof).ok()?;
    if proof.len() > 8 * 1024 {
        return Some("size");
    }
    let parts: Vec<_> = proof.split('.').collect();
    let &[header, claims, signature] = parts.as_slice() else {
        return Some("parts");
    };
    let json = |segment: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).ok()?).ok()
    };
    let (Some(header), Some(claims)) = (json(header), json(claims)) else {
        return Some("JSON");
    };
    if URL_SAFE_NO_PAD.decode(signature).map_or(0, |bytes| bytes.len()) != 64 {
        return Some("signature");
    }
    let typ = header["typ"].as_str().unwrap_or_default().to_ascii_lowercase();
    if typ.trim_start_matches("application/") != "dpop+jwt" {
        return Some("typ");
    }
    if !["EdDSA", "Ed25519"].contains(&header["alg"].as_str().unwrap_or_default()) {
        return Some("alg");
    }
    let jwk = &header["jwk"];
    let own = world.client.public_jwk();
    if ["kty", "crv", "x"].iter().any(|member| jwk[member] != own[member]) {
        return Some("another key");
    }
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
    if private.iter().any(|member| jwk.get(member).is_some()) {
        return Some("a private key");
    }
    if ["crit", "b64", "zip"].iter().any(|name| header.get(name).is_some()) {
        return Some("an extension");
    }
    if claims["htm"] != "GET" {
        return Some("htm");
    }
    // Whatever its spelling, it has these letters in some form.
    let target = claims["htu"].as_str().unwrap_or_default();
    if !target.to_ascii_lowercase().starts_with("https://") || target.contains('@') {
        return Some("htu");
    }
    if claims["ath"] != URL_SAFE_NO_PAD.encode(Sha256::digest(&world.token)) {
        return Some("ath");
    }
    let now = world.clock.timestamp() as f64;
    let Some(issued) = claims["iat"].as_f64() else {
        return Some("iat");
    };
    // The time in the nonce replaces that of the client.
    match with_nonces {
        true if claims["nonce"] != world.nonce => return Some("nonce"),
        false if !(now - 60.0..=now + 30.0).contains(&issued) => return Some("iat"),
        _ => {}
    }
    if claims["jti"].as_str().is_none_or(str::is_empty) {
        return Some("jti");
    }
    None
}
