//! What is let in, and what a refusal says.

use http::{HeaderValue, Request, StatusCode, header::AUTHORIZATION};
use serde_json::{Map, Value};
use tower_jwt_auth::{
    key::Algorithm,
    test_util::{TestIssuer, TestKeys},
};

use super::{
    Case, Outcome,
    client::{Answer, Client, shown},
};
use crate::{
    floor::Handler,
    harness::KID,
    peer::{Layered, Peer},
    peers::AxumJwks,
    setup::{Lax, Setup, bearer, jwk, jwks, lax_token, request},
};

pub(super) fn cases<P: Peer>() -> Vec<Case> {
    let key = jwk(TestKeys::new(), Algorithm::Rs256, KID);
    let setup = Setup::here(Algorithm::Rs256, jwks([key]));
    match P::around::<Lax, _>(setup, Handler(P::body)) {
        Ok(service) => {
            let mut cases = sent(&Client::new(service));
            if P::NAME == AxumJwks::NAME {
                let issuer = cases.iter_mut().find(|(case, ..)| *case == "no `iss`");
                if let Some((.., outcome)) = issuer {
                    *outcome = Outcome::Absent("cannot be told the issuer");
                }
            }
            cases
        }
        Err(missing) => panic!("everybody has RS256, but {} {}", P::NAME, missing.0),
    }
}

fn sent<S: Layered>(client: &Client<S>) -> Vec<Case> {
    // Otherwise no refusal says anything.
    let good = client.send_token(&token(|_, _| ()));
    assert!(good.is(StatusCode::OK), "a good token was {}", good.shown());
    let without = |claim: &str| {
        client.send_token(&token(|_, claims| {
            claims.remove(claim);
        }))
    };
    vec![
        ("no `aud`", "refused", refused(without("aud"))),
        ("no `iss`", "refused", refused(without("iss"))),
        ("no `exp`", "refused", refused(without("exp"))),
        (
            "unknown `crit` (RFC 7515 §4.1.11)",
            "refused",
            refused(critical(client)),
        ),
        ("`alg: none`", "refused", refused(unsigned(client))),
        (
            "HS256 with the public key as secret",
            "refused",
            refused(confused(client)),
        ),
        (
            "two `Authorization` headers",
            "refused",
            refused(twice(client)),
        ),
        (
            "`bearer` in lower case (RFC 9110 §11.1)",
            "served",
            served(lower_case(client)),
        ),
        (
            "token bound to a key (RFC 9449 §7.2), as Bearer",
            "refused",
            refused(bound(client, "jkt")),
        ),
        (
            "token bound to a certificate (RFC 8705 §3), without one",
            "refused",
            refused(bound(client, "x5t#S256")),
        ),
        ("any invalid token", "4xx", not_broken(client)),
        (
            "no token, an expired token (RFC 6750 §3)",
            "401 with a challenge",
            challenged(client),
        ),
    ]
}

fn token(edit: impl FnOnce(&mut Map<String, Value>, &mut Map<String, Value>)) -> String {
    lax_token(TestKeys::new(), KID, edit)
}

/// Not served. Whether the answer is the right one is asked elsewhere.
fn refused(answer: Answer) -> Outcome {
    Outcome::of(!answer.is(StatusCode::OK), || answer.shown())
}

fn served(answer: Answer) -> Outcome {
    Outcome::of(answer.is(StatusCode::OK), || answer.shown())
}

fn critical<S: Layered>(client: &Client<S>) -> Answer {
    client.send_token(&token(|header, _| {
        header.insert("crit".into(), serde_json::json!(["exp-policy"]));
        header.insert("exp-policy".into(), "strict".into());
    }))
}

fn unsigned<S: Layered>(client: &Client<S>) -> Answer {
    let token = token(|header, _| {
        header.insert("alg".into(), "none".into());
    });
    let signed = token.rfind('.').map_or(0, |dot| dot + 1);
    client.send_token(&token[..signed])
}

/// RFC 8725 §2.1. Of several ways to write the key, the one that gets furthest.
fn confused<S: Layered>(client: &Client<S>) -> Answer {
    let pem = TestKeys::new().public_pem(Algorithm::Rs256);
    let answers = [pem, pem.trim_end(), &pem.replace('\n', "\r\n")].map(|secret| {
        let issuer = TestIssuer::with_secret(Algorithm::Hs256, secret.as_bytes());
        let signed = token(|header, _| {
            header.insert("alg".into(), "HS256".into());
        });
        let mut parts = signed.split('.');
        let (header, claims) = (parts.next(), parts.next());
        client.send_token(&issuer.raw_parts(header.unwrap_or_default(), claims.unwrap_or_default()))
    });
    let furthest = answers.iter().find(|answer| answer.is(StatusCode::OK));
    furthest.unwrap_or(&answers[0]).clone()
}

/// Two different ones, both good: which of them counts would be a guess.
fn twice<S: Layered>(client: &Client<S>) -> Answer {
    let mut request = request(&bearer(&token(|_, _| ())));
    let second = bearer(&token(|_, claims| {
        claims.insert("sub".into(), "mallory".into());
    }));
    request.headers_mut().append(AUTHORIZATION, second);
    client.send(request)
}

fn lower_case<S: Layered>(client: &Client<S>) -> Answer {
    let value = HeaderValue::try_from(format!("bearer {}", token(|_, _| ())));
    client.send(request(&value.expect("a token fits into a header")))
}

/// A token that whoever stole it must not be able to use.
fn bound<S: Layered>(client: &Client<S>, member: &str) -> Answer {
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    client.send_token(&token(|_, claims| {
        claims.insert("cnf".into(), serde_json::json!({ member: thumbprint }));
    }))
}

/// What a caller gets wrong is no failure of the server.
fn not_broken<S: Layered>(client: &Client<S>) -> Outcome {
    let unknown = lax_token(TestKeys::other(), "unknown", |_, _| ());
    let answers = [
        unsigned(client),
        client.send_token("no.token"),
        client.send_token("e30.e30.e30"),
        client.send_token(&unknown),
    ];
    let good = answers.iter().all(Answer::is_refusal);
    Outcome::of(good, || shown(&answers))
}

fn challenged<S: Layered>(client: &Client<S>) -> Outcome {
    let challenges = |answer: &Answer| {
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        answer.is(StatusCode::UNAUTHORIZED) && challenge.starts_with("Bearer")
    };
    let without = client.send(Request::new(()));
    let expired = client.send_token(&token(|_, claims| {
        claims.insert("exp".into(), 1_000_000_000.into());
    }));
    let seen = |answer: &Answer| match challenges(answer) {
        true => "challenged".to_owned(),
        false => format!("{} without one", answer.shown()),
    };
    Outcome::of(challenges(&without) && challenges(&expired), || {
        format!(
            "no token {}, an expired one {}",
            seen(&without),
            seen(&expired)
        )
    })
}
