//! S1, S2, S4: what a token says and how long it lives.

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};
use tower_jwt_auth::{
    ConfigError,
    key::{Algorithm, SigningKey},
    principal::{PrincipalKind, SessionId},
    server::issue::{AccessTokenClaims, IssueError, KeyRing, TokenIssuer},
    test_util::{TestClock, TestKeys},
    time::{Clock, Timestamp},
    verify::Verifier,
};

use crate::support::issuing::{
    AUDIENCE, ISSUER, PUBLIC, SECRET, alice, claims, generated, issuer, plain, read, ring,
};

#[test]
fn s1_an_access_token_says_what_rfc_9068_asks_and_what_was_given() {
    let clock = TestClock::new();
    let issuer = plain(&clock);
    let minted = issuer
        .issue_access_token(
            AccessTokenClaims::for_subject("alice")
                .session(SessionId::from_bytes([0x5E; 16]))
                .roles(["admin", "ops"])
                .scope("orders:write orders:read")
                .permissions(["orders.refund"])
                .epoch(3)
                .refresh_generation(7)
                .auth_time(clock.now().minus(Duration::from_secs(60)))
                .amr(["pwd", "otp"])
                .acr("2")
                .claim("tenant", "x"),
        )
        .unwrap();

    let (header, claims) = read(minted.token().expose());
    let kid = issuer.keys().statuses()[0].kid().unwrap().to_owned();
    assert_eq!(header, json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid}));

    let now = clock.timestamp();
    let exp = claims["exp"].as_i64().unwrap();
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "iat": now, "exp": exp,
            "jti": minted.token_id(), "client_id": "web", "sid": "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e",
            "roles": ["admin", "ops"], "scope": "orders:read orders:write",
            "permissions": ["orders.refund"], "ep": 3, "rtg": 7, "auth_time": now - 60,
            "amr": ["pwd", "otp"], "acr": "2", "tenant": "x",
        })
    );
    let expires = clock.now().plus(minted.lifetime());
    assert_eq!(minted.expires_at(), expires);
    assert_eq!(
        exp,
        now + i64::try_from(minted.lifetime().as_secs()).unwrap()
    );
}

#[test]
fn s1_nothing_is_said_that_was_not_given() {
    let clock = TestClock::new();
    let issuer = TokenIssuer::builder(ring(&clock).build().unwrap())
        .issuer(ISSUER)
        .audience("one")
        .audience("two")
        .build()
        .unwrap();
    let (_, claims) = read(&alice(&issuer));
    let names: HashSet<_> = claims
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        HashSet::from(["iss", "sub", "aud", "exp", "iat", "jti", "client_id"])
    );
    assert_eq!(claims["aud"], json!(["one", "two"]));

    // RFC 9068 §2.2 requires a client.
    assert_eq!(claims["client_id"], "first-party");
    let verifier = issuer.verifier().build().unwrap();
    assert!(verifier.verify_now(alice(&issuer)).is_ok());
}

#[test]
fn s1_a_guest_says_so_and_a_token_may_name_its_client() {
    let issuer = plain(&TestClock::new());
    let token = AccessTokenClaims::for_guest("gst_1").client_id("widget");
    let minted = issuer.issue_access_token(token).unwrap();
    let verifier = issuer.verifier().build().unwrap();
    let caller = verifier.verify_now(minted.token().expose()).unwrap();
    assert_eq!(caller.principal().kind(), PrincipalKind::Guest);
    let claims = claims(&minted);
    assert_eq!(claims["guest"], json!(true));
    assert_eq!(claims["sub"], json!("gst_1"));
    assert_eq!(claims["client_id"], json!("widget"));
}

#[test]
fn s1_every_jti_is_another_one_of_128_bits() {
    let issuer = plain(&TestClock::new());
    let mut seen = HashSet::new();
    for _ in 0..100 {
        let minted = issuer
            .issue_access_token(AccessTokenClaims::for_subject("alice"))
            .unwrap();
        assert_eq!(minted.token_id().len(), 22);
        assert!(seen.insert(minted.token_id().to_owned()));
    }
}

#[test]
fn s1_the_issuers_own_verifier_accepts_it_by_every_algorithm() {
    let clock = TestClock::new();
    for algorithm in PUBLIC.into_iter().chain(SECRET) {
        let keys = KeyRing::builder(generated(algorithm)).clock(clock.clone());
        let issuer = issuer(keys.build().unwrap());
        let verifier = issuer.verifier().build().unwrap();
        let token = alice(&issuer);
        let verified = verifier.verify_now(&token).unwrap();
        assert_eq!(verified.subject(), Some("alice"), "{algorithm}");
        assert_eq!(verified.principal().kind(), PrincipalKind::User);

        let other = self::issuer(
            KeyRing::builder(generated(algorithm))
                .clock(clock.clone())
                .build()
                .unwrap(),
        );
        assert!(verifier.verify_now(alice(&other)).is_err(), "{algorithm}");
        clock.advance(Duration::from_secs(1000));
        assert!(verifier.verify_now(&token).is_err(), "{algorithm}: expired");
    }
}

#[test]
fn s2_the_lifetime_is_ten_minutes_less_a_twentieth_at_most() {
    let issuer = plain(&TestClock::new());
    let mut seen = HashSet::new();
    for _ in 0..400 {
        let minted = issuer
            .issue_access_token(AccessTokenClaims::for_subject("alice"))
            .unwrap();
        let lifetime = minted.lifetime().as_secs();
        assert!((570..=600).contains(&lifetime), "{lifetime}");
        seen.insert(lifetime);
    }
    // 31 values, each missed with a probability of (30/31)^400.
    assert!(seen.len() > 15, "{seen:?}");
}

#[test]
fn s2_the_lifetime_is_settable_up_to_half_an_hour() {
    let clock = TestClock::new();
    let with = |seconds| {
        TokenIssuer::builder(ring(&clock).build().unwrap())
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .access_lifetime(Duration::from_secs(seconds))
            .build()
    };
    for (seconds, least) in [(1, 1), (19, 19), (60, 57), (1800, 1710)] {
        let minted = with(seconds)
            .unwrap()
            .issue_access_token(AccessTokenClaims::for_subject("alice"));
        let lifetime = minted.unwrap().lifetime().as_secs();
        assert!((least..=seconds).contains(&lifetime), "{lifetime}");
    }
    for seconds in [0, 1801] {
        assert!(
            matches!(with(seconds), Err(ConfigError::Invalid { name, .. }) if name == "access_lifetime")
        );
    }

    let issuer = plain(&clock);
    let asking = |seconds| {
        issuer.issue_access_token(
            AccessTokenClaims::for_subject("alice").lifetime(Duration::from_secs(seconds)),
        )
    };
    assert!((1710..=1800).contains(&asking(1800).unwrap().lifetime().as_secs()));
    assert!(matches!(asking(1801), Err(IssueError::InvalidClaim { name, .. }) if name == "exp"));
    assert!(asking(0).is_err());
}

#[test]
fn s2_no_token_outlives_its_session() {
    let clock = TestClock::new();
    let issuer = plain(&clock);
    let until =
        |end| issuer.issue_access_token(AccessTokenClaims::for_subject("alice").not_after(end));

    let end = clock.now().plus(Duration::from_millis(90_900));
    let minted = until(end).unwrap();
    assert_eq!(minted.lifetime(), Duration::from_secs(90));
    assert!(minted.expires_at() <= end);
    let far = until(clock.now().plus(Duration::from_secs(86_400))).unwrap();
    assert!(far.lifetime() <= Duration::from_secs(600));

    for over in [
        clock.now(),
        clock.now().minus(Duration::from_secs(1)),
        Timestamp::from_secs(0),
    ] {
        assert!(matches!(until(over), Err(IssueError::SessionEnded)));
    }
}

#[test]
fn s4_the_kid_in_the_header_is_the_thumbprint_unless_named() {
    let clock = TestClock::new();
    let key = generated(Algorithm::Es256);
    let thumbprint = key.thumbprint().unwrap().to_owned();
    let keys = KeyRing::builder(key).clock(clock.clone()).build().unwrap();
    assert_eq!(read(&alice(&issuer(keys))).0["kid"], json!(thumbprint));

    let named = KeyRing::builder(generated(Algorithm::Es256).with_kid("2026-01"));
    let keys = named.clock(clock.clone()).build().unwrap();
    assert_eq!(read(&alice(&issuer(keys))).0["kid"], json!("2026-01"));

    // A secret's thumbprint would be a hash of the secret.
    let secret = KeyRing::builder(generated(Algorithm::Hs256));
    let keys = secret.clock(clock).build().unwrap();
    assert_eq!(read(&alice(&issuer(keys))).0.get("kid"), None);
}

#[test]
fn what_a_token_cannot_say_is_reported_and_nothing_is_minted() {
    let issuer = plain(&TestClock::new());
    let alice = || AccessTokenClaims::for_subject("alice");
    let unspeakable = std::collections::BTreeMap::from([((1, 2), 3)]);
    for (name, token) in [
        ("sub", AccessTokenClaims::for_subject("")),
        ("scope", alice().scope("a\"b")),
        ("client_id", alice().client_id("")),
        ("tenant", alice().claim("tenant", 1).claim("tenant", 2)),
        ("map", alice().claim("map", &unspeakable)),
        ("claims", alice().claims(["no", "object"])),
    ] {
        match issuer.issue_access_token(token) {
            Err(IssueError::InvalidClaim { name: found, .. }) => assert_eq!(found, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn an_issuer_is_named_and_says_for_whom() {
    let keys = || ring(&TestClock::new()).build().unwrap();
    let builder = || {
        TokenIssuer::builder(keys())
            .issuer(ISSUER)
            .audience(AUDIENCE)
    };
    for (name, builder) in [
        ("issuer", TokenIssuer::builder(keys()).audience(AUDIENCE)),
        ("audience", TokenIssuer::builder(keys()).issuer(ISSUER)),
        ("audience", builder().audience("")),
        ("client_id", builder().client_id("")),
    ] {
        let refused = builder.build();
        assert!(
            matches!(&refused, Err(ConfigError::Invalid { name: found, .. }) if found == name),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn a_key_from_a_file_signs_what_its_public_half_verifies_elsewhere() {
    let clock = TestClock::new();
    // As a service writes it: PEM in, and the other side has the public PEM alone.
    let key = include_str!("../../../src/key/signing/test-only/p256.pkcs8.pem");
    let key = SigningKey::from_pem(key).unwrap();
    let jwk = key.public_jwk().unwrap();
    let keys = KeyRing::builder(key).clock(clock.clone()).build().unwrap();
    let key = tower_jwt_auth::key::VerifyingKey::from_jwk(jwk).unwrap();
    let verifier = Verifier::key(key)
        .rfc9068()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .clock(clock)
        .build()
        .unwrap();
    assert!(verifier.verify_now(alice(&issuer(keys))).is_ok());

    let public = TestKeys::new().public_pem(Algorithm::Es256);
    assert!(matches!(
        SigningKey::from_pem(public),
        Err(ConfigError::Key(_))
    ));
}

#[test]
fn q3_debug_prints_no_token_no_claim_and_no_key() {
    let clock = TestClock::new();
    let secret = "p01s0n p01s0n p01s0n p01s0n p01s0n p01s0n";
    let key = SigningKey::from_secret(Algorithm::Hs256, secret).unwrap();
    let issuer = issuer(KeyRing::builder(key).clock(clock).build().unwrap());
    let asked = AccessTokenClaims::for_subject("p01s0n").claim("tenant", "p01s0n");
    let asking = format!("{asked:?}");
    let minted = issuer.issue_access_token(asked).unwrap();
    let signature = minted
        .token()
        .expose()
        .rsplit('.')
        .next()
        .unwrap()
        .to_owned();
    let text = format!(
        "{asking} {minted:?} {issuer:?} {:?} {:?}",
        issuer.keys(),
        issuer.jwks()
    );
    assert!(
        !text.contains("p01s0n") && !text.contains(&signature),
        "{text}"
    );
    assert!(!text.contains("112, 48, 49"), "{text}");
    let refused =
        issuer.issue_access_token(AccessTokenClaims::for_subject("a").claim("sub", "p01s0n"));
    assert!(!format!("{0:?} {0}", refused.unwrap_err()).contains("p01s0n"));
}

#[test]
fn the_claims_of_a_struct_are_claims_of_the_token() {
    #[derive(serde::Serialize)]
    struct Own {
        tenant: u32,
        plan: Option<&'static str>,
    }
    let issuer = plain(&TestClock::new());
    let own = Own {
        tenant: 7,
        plan: None,
    };
    let token = AccessTokenClaims::for_subject("alice").claims(own);
    let claims = claims(&issuer.issue_access_token(token).unwrap());
    assert_eq!(
        (&claims["tenant"], &claims["plan"]),
        (&json!(7), &Value::Null)
    );
}
