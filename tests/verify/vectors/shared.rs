//! The vectors in `shared/vectors`: whole tokens with their keys, and bare signatures.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tower_jwt_auth::{
    Verifier,
    error::ConfigError,
    key::{Algorithm, KeySet, VerifyingKey},
    test_util::{verify_primitive, verify_signature},
};

#[derive(Deserialize)]
struct Case {
    id: String,
    alg: Option<String>,
    jwk: Option<Value>,
    jwks: Option<Value>,
    jws: String,
    valid: bool,
    note: String,
    disputed: Option<String>,
    policy: Option<String>,
}

#[derive(Deserialize)]
struct Primitive {
    id: String,
    alg: String,
    jwk: Value,
    msg: String,
    sig: String,
    result: String,
    note: String,
}

#[test]
#[ignore = "needs the files that VECTORS_DIR or ../shared/vectors holds"]
fn tokens_of_the_shared_vectors_get_the_verdict_they_deserve() {
    let cases: Vec<Case> = read("vectors.json");
    let mut wrong = Vec::new();
    let mut reasons = BTreeMap::<String, usize>::new();
    let (mut judged, mut good, mut disputed, mut policy) = (0, 0, 0, 0);
    for case in &cases {
        let verdict = judge(case);
        let said = verdict.as_ref().err().map_or("accepted", String::as_str);
        let (id, note) = (&case.id, &case.note);
        if let Some(dispute) = &case.disputed {
            disputed += 1;
            println!("disputed {id} ({dispute}): {said}");
            continue;
        }
        if let Some(question) = &case.policy {
            policy += 1;
            println!("policy {id} ({question}): {said}");
            let decided = decision(question);
            assert!(said.starts_with(decided), "{id}: {said}, not {decided}");
            continue;
        }
        judged += 1;
        good += usize::from(case.valid);
        if verdict.is_ok() != case.valid {
            wrong.push(format!("{id}, {note}: {said}, valid: {}", case.valid));
        }
        *reasons.entry(said.to_owned()).or_default() += 1;
    }
    for (reason, count) in &reasons {
        println!("{count:4} {reason}");
    }
    println!(
        "vectors.json: {} of {judged} undisputed tokens as expected, {good} of them valid; \
         {disputed} disputed, {policy} of policy",
        judged - wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((cases.len(), judged, disputed, policy), (492, 477, 8, 7));
}

/// What this crate does where the standards leave it open.
fn decision(question: &str) -> &'static str {
    match question {
        // Whoever puts secrets into a set of their own means it; a fetched set is another matter.
        "JWKS of oct keys" => "accepted",
        // RFC 8725 §3.1: a public key next to a secret invites confusing the two.
        "oct and EC in one set" => "set refused: HMAC secrets and public keys",
        // The vector's second key ends in stray bits, so it is no base64url (RFC 4648 §3.5) and is
        // left out like any broken entry. With two keys that both load the token is refused: below.
        "duplicate kid" => "accepted",
        // The operator trusts the provider for its own keys.
        "ROCA key" => "accepted",
        other => panic!("nothing was decided about `{other}`"),
    }
}

#[test]
#[ignore = "needs the files that VECTORS_DIR or ../shared/vectors holds"]
fn d23_two_keys_of_one_kid_and_algorithm_are_ambiguous() {
    let cases: Vec<Case> = read("vectors.json");
    let is_it = |case: &&Case| case.policy.as_deref() == Some("duplicate kid");
    let case = cases.iter().find(is_it).expect("the vector");
    let mut jwks = case.jwks.clone().expect("a key set");
    assert_eq!(KeySet::from_jwks(jwks.to_string()).unwrap().len(), 1);

    let stray = jwks["keys"][1]["k"].as_str().unwrap();
    let clean = format!("{}c", stray.strip_suffix('e').unwrap());
    jwks["keys"][1]["k"] = clean.into();
    let set = KeySet::from_jwks(jwks.to_string()).unwrap();
    assert_eq!(set.len(), 2);
    assert_eq!(verdict(set, None, &case.jws), Err("ambiguous_key".into()));
}

/// The payload, or why the token or its key was refused.
fn judge(case: &Case) -> Result<Vec<u8>, String> {
    let set =
        match (&case.jwk, &case.jwks) {
            (Some(jwk), None) => KeySet::new([VerifyingKey::from_jwk(jwk.to_string())
                .map_err(|why| format!("key refused: {why}"))?]),
            (None, Some(jwks)) => KeySet::from_jwks(jwks.to_string()),
            _ => panic!("{} has no key", case.id),
        };
    let set = set.map_err(|why| format!("set refused: {why}"))?;
    // The file names the algorithm that the application expects; not every name is one.
    let listed = case.alg.as_deref().and_then(|name| name.parse().ok());
    let verdict = verdict(set.clone(), listed, &case.jws);
    if !case.valid && case.policy.is_none() && case.disputed.is_none() {
        // Neither may it pass where the application lists nothing, or everything that may be.
        let unlisted = self::verdict(set.clone(), None, &case.jws);
        assert!(unlisted.is_err(), "{} passes without a list", case.id);
        for family in [true, false] {
            let listed = ALL.into_iter().filter(|one| one.is_hmac() == family);
            let verdict = self::verdict(set.clone(), listed, &case.jws);
            assert!(verdict.is_err(), "{} passes with a long list", case.id);
        }
    }
    verdict
}

fn verdict(
    set: KeySet,
    listed: impl IntoIterator<Item = Algorithm>,
    token: &str,
) -> Result<Vec<u8>, String> {
    let listed: Vec<_> = listed.into_iter().collect();
    let mut builder = Verifier::key_set(set).dangerous_any_audience();
    if !listed.is_empty() {
        builder = builder.algorithms(listed);
    }
    let verifier = builder
        .build()
        .map_err(|why: ConfigError| format!("verifier refused: {why}"))?;
    verify_signature(&verifier, token).map_err(|why| why.as_str().to_owned())
}

#[test]
#[ignore = "needs the files that VECTORS_DIR or ../shared/vectors holds"]
fn signatures_of_the_shared_vectors_get_the_verdict_they_deserve() {
    let cases: Vec<Primitive> = read("primitives.json");
    let mut keys = BTreeMap::<String, Result<VerifyingKey, ConfigError>>::new();
    let mut wrong = Vec::new();
    let mut short = 0;
    let mut counts = BTreeMap::<(&str, &str, &str), usize>::new();
    for case in &cases {
        let algorithm: Algorithm = case.alg.parse().expect("an algorithm of ours");
        let jwk = case.jwk.to_string();
        let key = keys
            .entry(jwk)
            .or_insert_with_key(|jwk| VerifyingKey::from_jwk(jwk));
        let verified = key.as_ref().is_ok_and(|key| {
            verify_primitive(key, algorithm, &unhex(&case.msg), &unhex(&case.sig))
        });
        let said = match key {
            Err(_) => "key refused",
            Ok(_) if verified => "accepted",
            Ok(_) => "refused",
        };
        *counts.entry((&case.alg, &case.result, said)).or_default() += 1;
        let right = match case.result.as_str() {
            // RFC 7518 §3.2 (D12): HMAC may use any key, JWA may not.
            "valid" if is_short(algorithm, &case.jwk) => {
                short += 1;
                !verified
            }
            "valid" => verified,
            "invalid" => !verified,
            "acceptable" => true,
            other => panic!("{}: {other}", case.id),
        };
        if !right {
            let (id, note) = (&case.id, &case.note);
            wrong.push(format!("{id}, {note}: {said}: {:?}", key.as_ref().err()));
        }
    }
    for ((alg, result, said), count) in &counts {
        println!("{count:4} {alg} {result}: {said}");
    }
    let sum = |wanted: &str| -> usize {
        let these = counts
            .iter()
            .filter(|((_, result, _), _)| *result == wanted);
        these.map(|(_, count)| count).sum()
    };
    println!(
        "primitives.json: {} of {} signatures as expected: {} valid ({short} of them by a secret \
         too short for JWA, refused), {} invalid, {} acceptable",
        cases.len() - wrong.len(),
        cases.len(),
        sum("valid"),
        sum("invalid"),
        sum("acceptable"),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((cases.len(), short), (4387, 9));
}

/// Whether a secret is shorter than the hash of its algorithm.
fn is_short(algorithm: Algorithm, jwk: &Value) -> bool {
    let required = match algorithm {
        Algorithm::Hs256 => 32,
        Algorithm::Hs384 => 48,
        Algorithm::Hs512 => 64,
        _ => return false,
    };
    jwk["k"].as_str().expect("a secret").len() * 6 / 8 < required
}

fn read<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = env::var("VECTORS_DIR").unwrap_or_else(|_| "../shared/vectors".to_owned());
    let path = root.join(folder).join(name);
    let json = fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    serde_json::from_slice(&json).expect("an array of cases")
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a hex digit") as u8;
    let pairs = text.as_bytes().chunks_exact(2);
    assert!(pairs.remainder().is_empty());
    pairs
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

const ALL: [Algorithm; 13] = [
    Algorithm::Hs256,
    Algorithm::Hs384,
    Algorithm::Hs512,
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::EdDsa,
];
