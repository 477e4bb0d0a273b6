//! jsonwebtoken accepts what the issuer mints, with the published keys.

use jsonwebtoken::{
    Algorithm as Name, DecodingKey, Validation, crypto::aws_lc::DEFAULT_PROVIDER, decode,
    decode_header, jwk::JwkSet,
};
use serde_json::Value;
use tower_jwt_auth::{
    key::{Algorithm, SigningKey},
    server::issue::{AccessTokenClaims, KeyRing},
};

use crate::support::issuing::{AUDIENCE, ISSUER, PUBLIC, SECRET, alice, generated, issuer};

fn install() {
    // With both of its crypto features on there is no default; a second installation is refused.
    let _ = DEFAULT_PROVIDER.install_default();
}

fn validation(name: Name) -> Validation {
    let mut validation = Validation::new(name);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
    validation
}

#[test]
fn s1_jsonwebtoken_accepts_every_algorithm_that_it_knows() {
    install();
    for algorithm in PUBLIC {
        // It knows neither P-521 nor the name of RFC 9864.
        let Ok(name) = algorithm.as_str().parse::<Name>() else {
            assert!(matches!(algorithm, Algorithm::Es512 | Algorithm::Ed25519));
            continue;
        };
        let issuer = issuer(KeyRing::new(generated(algorithm)).unwrap());
        let token = alice(&issuer);
        let header = decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        let published: JwkSet = serde_json::from_str(&issuer.keys().jwks()).unwrap();
        let jwk = published.find(header.kid.as_deref().unwrap()).unwrap();
        let key = DecodingKey::from_jwk(jwk).unwrap();
        let decoded = decode::<Value>(&token, &key, &validation(name)).unwrap();
        assert_eq!(decoded.claims["sub"], "alice", "{algorithm}");

        let forged = format!("{}x", token.trim_end_matches(|c| c != '.'));
        assert!(decode::<Value>(forged, &key, &validation(name)).is_err());
    }
}

#[test]
fn s1_jsonwebtoken_accepts_every_secret() {
    install();
    let secret = [b's'; 64];
    for algorithm in SECRET {
        let key = SigningKey::from_secret(algorithm, secret).unwrap();
        let issuer = issuer(KeyRing::new(key).unwrap());
        let token = issuer
            .issue_access_token(AccessTokenClaims::for_subject("alice"))
            .unwrap();
        let name = algorithm.as_str().parse().unwrap();
        let key = DecodingKey::from_secret(&secret);
        let decoded = decode::<Value>(token.token().expose(), &key, &validation(name));
        assert_eq!(decoded.unwrap().claims["sub"], "alice", "{algorithm}");
    }
}

#[test]
fn s4_the_kid_is_the_thumbprint_that_jsonwebtoken_computes() {
    install();
    for algorithm in PUBLIC {
        let key = generated(algorithm);
        let Ok(jwk) = serde_json::from_str::<jsonwebtoken::jwk::Jwk>(&key.public_jwk().unwrap())
        else {
            assert!(matches!(algorithm, Algorithm::Es512 | Algorithm::Ed25519));
            continue;
        };
        let expected = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256);
        assert_eq!(
            key.thumbprint(),
            Some(expected.unwrap().as_str()),
            "{algorithm}"
        );
    }
}
