//! What the variables mean, shown by which tokens pass.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tower_jwt_auth::{
    Claims, JwtSettings,
    event::{EventRecord, sink_fn},
    key::Algorithm,
    test_util::{TestIssuer, TestKeys},
};

use crate::support::vars::{AUDIENCE, File, ISSUER, SECRET, read};

/// The verdict on a token: `ok`, or the cause of its refusal.
fn verdict(settings: &JwtSettings, token: &str) -> &'static str {
    match settings.verifier::<Claims>().unwrap().verify_now(token) {
        Ok(_) => "ok",
        Err(error) => error.as_str(),
    }
}

fn with_secret(pairs: &[(&str, &str)]) -> JwtSettings {
    let mut all = vec![("JWT_SECRET_KEY", SECRET)];
    all.extend(pairs);
    read(&all).unwrap()
}

fn issuer() -> TestIssuer {
    TestIssuer::new(Algorithm::Hs256)
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

#[test]
fn a_secret_alone_means_hs256_and_the_documented_defaults() {
    let settings = with_secret(&[]);
    assert_eq!(settings.address(), ("127.0.0.1", 3000));
    assert_eq!((settings.host(), settings.port()), ("127.0.0.1", 3000));
    assert_eq!(settings.ignored().count(), 0);

    let without_audience = issuer().token(|claims| claims.remove("aud"));
    assert_eq!(verdict(&settings, &without_audience), "ok");
    // RFC 7519 §4.1.3: a token for somebody else.
    assert_eq!(
        verdict(&settings, &issuer().token(|_| ())),
        "wrong_audience"
    );
    let of_other = TestIssuer::with_keys(Algorithm::Hs256, TestKeys::other());
    let of_other = of_other.token(|claims| claims.remove("aud"));
    assert_eq!(verdict(&settings, &of_other), "invalid_signature");
}

#[test]
fn host_and_port_are_taken_as_a_listener_takes_them() {
    for (host, expected) in [
        ("0.0.0.0", "0.0.0.0"),
        ("[::1]", "::1"),
        ("localhost", "localhost"),
    ] {
        let settings = with_secret(&[("HOST", host), ("PORT", " 0 ")]);
        assert_eq!(settings.address(), (expected, 0));
    }
}

#[test]
fn issuer_audience_and_client_are_required_once_named() {
    let good = issuer().token(|_| ());
    let named = [
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_CLIENT_ID", "client"),
    ];
    let settings = with_secret(&named);
    assert_eq!(verdict(&settings, &good), "ok");
    for (claim, missing, wrong) in [
        ("iss", "missing_claim", "wrong_issuer"),
        ("aud", "missing_claim", "wrong_audience"),
        ("client_id", "missing_claim", "wrong_client"),
    ] {
        let without = issuer().token(|claims| claims.remove(claim));
        assert_eq!(verdict(&settings, &without), missing, "{claim}");
        let other = issuer().token(|claims| claims[claim] = json!("https://api.example/"));
        assert_eq!(verdict(&settings, &other), wrong, "{claim}");
    }
}

#[test]
fn audiences_clients_and_algorithms_are_lists() {
    let settings = with_secret(&[("JWT_AUDIENCE", "a, https://b.example/x ")]);
    for (audience, expected) in [
        ("a", "ok"),
        ("https://b.example/x", "ok"),
        ("a, https://b.example/x", "wrong_audience"),
        ("", "wrong_audience"),
    ] {
        let token = issuer().audience(audience).token(|_| ());
        assert_eq!(verdict(&settings, &token), expected, "{audience}");
    }

    let settings = with_secret(&[("JWT_CLIENT_ID", "one,two"), ("JWT_VERIFY_AUD", "false")]);
    for (client, expected) in [
        ("two", "ok"),
        ("three", "wrong_client"),
        ("one,two", "wrong_client"),
    ] {
        let token = issuer().token(|claims| claims["client_id"] = json!(client));
        assert_eq!(verdict(&settings, &token), expected, "{client}");
    }

    let secret = TestKeys::new().secret(Algorithm::Hs512);
    let secret_text = std::str::from_utf8(secret).unwrap();
    let settings = read(&[
        ("JWT_SECRET_KEY", secret_text),
        ("JWT_ALGORITHM", "HS256, HS512"),
        ("JWT_VERIFY_AUD", "false"),
    ])
    .unwrap();
    for (algorithm, expected) in [
        (Algorithm::Hs256, "ok"),
        (Algorithm::Hs384, "algorithm_not_allowed"),
        (Algorithm::Hs512, "ok"),
    ] {
        let token = TestIssuer::with_secret(algorithm, secret).token(|_| ());
        assert_eq!(verdict(&settings, &token), expected, "{algorithm}");
    }
}

#[test]
fn a_pem_serves_the_listed_algorithms_else_its_default() {
    let file = File::pem(Algorithm::Rs256);
    let pem = [
        ("JWT_PUBLIC_KEY_FILE", file.path()),
        ("JWT_AUDIENCE", AUDIENCE),
    ];
    let rs256 = TestIssuer::new(Algorithm::Rs256).token(|_| ());
    let ps256 = TestIssuer::new(Algorithm::Ps256).token(|_| ());
    let settings = read(&pem).unwrap();
    assert_eq!(verdict(&settings, &rs256), "ok");
    assert_eq!(verdict(&settings, &ps256), "algorithm_not_allowed");

    let settings = read(&[&pem[..], &[("JWT_ALGORITHM", "PS256,ES256")]].concat()).unwrap();
    assert_eq!(verdict(&settings, &rs256), "algorithm_not_allowed");
    assert_eq!(verdict(&settings, &ps256), "ok");
}

#[test]
fn a_key_set_serves_an_audience_or_a_client_or_whomever_it_is_told_to() {
    let file = File::jwks();
    let token = TestIssuer::new(Algorithm::Es256).token(|_| ());
    for (name, value, expected) in [
        ("JWT_AUDIENCE", AUDIENCE, "ok"),
        ("JWT_AUDIENCE", "other", "wrong_audience"),
        // An audience that the token names must be the client.
        ("JWT_CLIENT_ID", "client", "wrong_audience"),
        ("JWT_CLIENT_ID", AUDIENCE, "wrong_client"),
        ("JWT_VERIFY_AUD", "False", "ok"),
    ] {
        let settings = read(&[("JWT_JWKS_FILE", file.path()), (name, value)]).unwrap();
        assert_eq!(verdict(&settings, &token), expected, "{name}={value}");
    }
}

#[test]
fn e2_the_leeway_is_taken_in_seconds() {
    let settings =
        |seconds| with_secret(&[("JWT_AUDIENCE", AUDIENCE), ("JWT_LEEWAY_SECONDS", seconds)]);
    let expired = issuer().token(|claims| claims["exp"] = json!(now() - 100));
    assert_eq!(verdict(&settings("0"), &expired), "expired");
    assert_eq!(verdict(&settings("300"), &expired), "ok");
    assert_eq!(
        verdict(&with_secret(&[("JWT_AUDIENCE", AUDIENCE)]), &expired),
        "expired"
    );
}

#[test]
fn the_switches_of_the_times_work_one_by_one() {
    let expired = issuer().token(|claims| claims["exp"] = json!(now() - 3600));
    let endless = issuer().token(|claims| claims.remove("exp"));
    let early = issuer().token(|claims| claims.insert("nbf".into(), json!(now() + 3600)));
    for (switch, verdicts) in [
        ("JWT_VERIFY_EXP", ["ok", "missing_claim", "not_yet_valid"]),
        ("JWT_REQUIRE_EXP", ["expired", "ok", "not_yet_valid"]),
        ("JWT_VERIFY_NBF", ["expired", "missing_claim", "ok"]),
    ] {
        for off in ["false", "FALSE", "0"] {
            let settings = with_secret(&[("JWT_AUDIENCE", AUDIENCE), (switch, off)]);
            let found = [&expired, &endless, &early].map(|token| verdict(&settings, token));
            assert_eq!(found, verdicts, "{switch}={off}");
        }
        for on in ["true", "True", "1"] {
            let settings = with_secret(&[("JWT_AUDIENCE", AUDIENCE), (switch, on)]);
            let found = [&expired, &endless, &early].map(|token| verdict(&settings, token));
            assert_eq!(
                found,
                ["expired", "missing_claim", "not_yet_valid"],
                "{switch}={on}"
            );
        }
    }
}

#[test]
fn f5_a_required_typ_of_at_jwt_is_the_whole_profile() {
    for typ in [
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "Application/At+Jwt",
    ] {
        let settings = with_secret(&[
            ("JWT_REQUIRED_TYP", typ),
            ("JWT_ISSUER", ISSUER),
            ("JWT_AUDIENCE", AUDIENCE),
        ]);
        assert_eq!(verdict(&settings, &issuer().token(|_| ())), "ok", "{typ}");
        let plain = issuer().typ(Some("JWT")).token(|_| ());
        assert_eq!(verdict(&settings, &plain), "wrong_type", "{typ}");
        for claim in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
            let token = issuer().token(|claims| claims.remove(claim));
            assert_eq!(verdict(&settings, &token), "missing_claim", "{typ} {claim}");
        }
    }
}

#[test]
fn another_required_typ_is_only_a_type() {
    let settings = with_secret(&[("JWT_REQUIRED_TYP", "JWT"), ("JWT_AUDIENCE", AUDIENCE)]);
    let plain = issuer()
        .typ(Some("jwt"))
        .token(|claims| claims.remove("jti"));
    assert_eq!(verdict(&settings, &plain), "ok");
    assert_eq!(verdict(&settings, &issuer().token(|_| ())), "wrong_type");
    assert_eq!(
        verdict(&settings, &issuer().typ(None).token(|_| ())),
        "wrong_type"
    );
}

#[test]
fn l11_roles_are_merged_from_the_listed_claims() {
    let token = issuer().token(|claims| {
        claims.insert("roles".into(), json!(["one"]));
        claims.insert("role".into(), json!("two"));
        claims.insert("https://x.example/roles".into(), json!(["three"]));
        claims.insert("realm_access".into(), json!({ "roles": ["four"] }));
    });
    for (paths, expected) in [
        (None, &["one", "two"][..]),
        (Some("role"), &["two"]),
        (
            Some("https://x.example/roles, /realm_access/roles"),
            &["three", "four"],
        ),
    ] {
        let mut pairs = vec![("JWT_AUDIENCE", AUDIENCE)];
        pairs.extend(paths.map(|paths| ("JWT_ROLES_CLAIM", paths)));
        let verifier = with_secret(&pairs).verifier::<Claims>().unwrap();
        let caller = verifier.verify_now(&token).unwrap().principal();
        let mut found: Vec<_> = caller.roles().collect();
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{paths:?}");
    }
}

#[test]
fn the_builder_takes_what_has_no_variable() {
    let settings = with_secret(&[("JWT_AUDIENCE", AUDIENCE)]);
    let builder = settings.verifier_builder::<Claims>();
    let verifier = builder.max_age(Duration::from_secs(60)).build().unwrap();
    let old = issuer().token(|claims| claims["iat"] = json!(now() - 300));
    assert_eq!(verifier.verify_now(&old).unwrap_err().as_str(), "too_old");
    assert_eq!(verdict(&settings, &old), "ok");
}

#[test]
fn variables_of_others_are_passed_over_and_listed() {
    let settings = with_secret(&[
        ("PATH", "/bin"),
        ("JWT_EXPIRES_IN", "1h"),
        ("JWT_CACHE_ENTRIES", "0"),
        ("JWT_VERIFY_SIGNATURE", "true"),
        ("JWT_VERIFY_IAT", "true"),
        // An authorization server's, which may share the environment.
        ("JWT_PRIVATE_KEY_FILE", "/run/secrets/private.pem"),
        ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "10"),
        ("JWT_REFRESH_TOKEN_EXPIRE_DAYS", "14"),
        ("JWT_TOKEN_TYPE", "Bearer"),
        ("JWT_TOKEN_URL", "/api/auth/token"),
    ]);
    assert_eq!(settings.ignored().collect::<Vec<_>>(), ["JWT_EXPIRES_IN"]);
}

#[test]
fn u13_the_settings_do_not_print_the_secret() {
    let printed = format!("{:#?}", with_secret(&[("JWT_AUDIENCE", AUDIENCE)]));
    assert!(printed.contains(AUDIENCE), "{printed}");
    assert!(!printed.contains("secret, never"), "{printed}");
    // Nor its bytes.
    assert!(!printed.contains("102,"), "{printed}");
}

#[test]
fn d42_an_entry_of_the_key_file_that_is_left_out_is_an_event() {
    let mut document: Value = serde_json::from_str(&TestKeys::new().jwks()).unwrap();
    let unusable = json!({"kty": "PQC", "kid": "new"});
    document["keys"].as_array_mut().unwrap().push(unusable);
    let file = File::new(document.to_string());
    let reported = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&reported);
    let settings = read(&[("JWT_JWKS_FILE", file.path()), ("JWT_AUDIENCE", AUDIENCE)])
        .unwrap()
        .events(sink_fn(move |event| {
            let record = EventRecord::of(event);
            let entry = (record.name, record.object, record.detail);
            sink.lock().unwrap().push(entry);
        }));
    for _ in 0..2 {
        let token = TestIssuer::new(Algorithm::Es256).token(|_| ());
        assert_eq!(verdict(&settings, &token), "ok");
    }
    let reason = Some("unsupported `kty` or `crv`");
    let expected = [("keys.skipped", Some("new".to_owned()), reason)];
    assert_eq!(*reported.lock().unwrap(), expected);
}

#[test]
fn d41_a_byte_order_mark_before_a_key_file_is_ignored() {
    let keys = TestKeys::new();
    let token = TestIssuer::new(Algorithm::Es256).token(|_| ());
    for (variable, text) in [
        ("JWT_JWKS_FILE", keys.jwks()),
        (
            "JWT_PUBLIC_KEY_FILE",
            keys.public_pem(Algorithm::Es256).to_owned(),
        ),
    ] {
        let file = File::new(format!("\u{FEFF}{text}"));
        let settings = read(&[(variable, file.path()), ("JWT_AUDIENCE", AUDIENCE)]).unwrap();
        assert_eq!(verdict(&settings, &token), "ok", "{variable}");
    }
}

#[test]
fn d51_every_public_key_of_a_pem_file_verifies() {
    let both = [TestKeys::new(), TestKeys::other()];
    let file = File::new(both.map(|keys| keys.public_pem(Algorithm::Rs256)).concat());
    let settings = read(&[
        ("JWT_PUBLIC_KEY_FILE", file.path()),
        ("JWT_AUDIENCE", AUDIENCE),
    ]);
    let settings = settings.unwrap();
    for keys in both {
        let token = TestIssuer::with_keys(Algorithm::Rs256, keys).token(|_| ());
        assert_eq!(verdict(&settings, &token), "ok");
    }
}
