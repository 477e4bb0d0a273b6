//! What is refused, with a line that names the variable.

use tower_jwt_auth::{key::Algorithm, test_util::TestKeys};

use crate::support::vars::{AUDIENCE, File, ISSUER, SECRET, WEAK_PEM, read, refusal};

/// The key of [`WEAK_PEM`] in a set.
const WEAK_JWKS: &str = r#"{"keys":[{"kty":"RSA","e":"AQAB","n":"0AZoQCaMQf6sNliKPNuckH6vxP6_UfbPTz5Beqy_CXP767XNvwxa-99vpD1I6C6ZWUutQfwhVrDWRUbJpffdplYV-XohMYJYrPLX2A7sYHNqskr42-psX2LoX0tYgBR1LMG23vBy5xBzFVOWFClosgDoDbA1AGleK5eSd58Xr6E"}]}"#;

/// Refuses these variables beside a good secret.
fn beside_secret(name: &str, value: &str) -> String {
    refusal(&[("JWT_SECRET_KEY", SECRET), (name, value)])
}

#[test]
fn d12_a_secret_shorter_than_its_hash() {
    for (algorithm, bytes) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        let secret = |length| "s".repeat(length);
        let pairs = |length| {
            [
                ("JWT_ALGORITHM", algorithm.to_owned()),
                ("JWT_SECRET_KEY", secret(length)),
            ]
        };
        assert!(read(&pairs(bytes)).is_ok(), "{algorithm}");
        let expected = format!(
            "JWT_SECRET_KEY: the secret for {algorithm} has {} bytes; at least {bytes} are needed",
            bytes - 1
        );
        assert_eq!(refusal(&pairs(bytes - 1)), expected);
    }
    // The longest of the listed hashes counts.
    let both = [("JWT_ALGORITHM", "HS256,HS512"), ("JWT_SECRET_KEY", SECRET)];
    assert!(refusal(&both).starts_with("JWT_SECRET_KEY: the secret for HS512 has 32 bytes"));
}

#[test]
fn an_empty_value_of_any_variable() {
    for name in NAMES {
        for empty in ["", " \t"] {
            let refused = refusal(&[(name, empty)]);
            let expected = format!("{name}: empty; give it a value, or do not set it");
            assert_eq!(refused, expected);
        }
    }
}

#[test]
fn d4_a_key_given_as_a_secret() {
    let keys = TestKeys::new();
    let pem = keys.public_pem(Algorithm::Rs256);
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    for (secret, kind) in [
        (pem, "PEM"),
        (&keys.jwk(Algorithm::Es256), "JWK"),
        (&keys.jwks(), "JWK"),
        (&der, "key in DER format"),
    ] {
        let expected = format!(
            "JWT_SECRET_KEY: the secret is a {kind}: keys of public-key algorithms are not secrets"
        );
        assert_eq!(refusal(&[("JWT_SECRET_KEY", secret)]), expected);
    }
}

#[test]
fn no_key_or_two_keys() {
    let none = "JWT_SECRET_KEY, JWT_PUBLIC_KEY_FILE, JWT_JWKS_FILE, JWT_JWKS_URL, JWT_ISSUER: \
                no key to verify tokens with; set one of them";
    assert_eq!(refusal::<&str>(&[]), none);
    assert_eq!(refusal(&[("JWT_AUDIENCE", AUDIENCE)]), none);

    let (pem, jwks) = (File::pem(Algorithm::Rs256), File::jwks());
    let sources = [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_PUBLIC_KEY_FILE", pem.path()),
        ("JWT_JWKS_FILE", jwks.path()),
        ("JWT_JWKS_URL", "https://as.example/jwks"),
    ];
    for (position, one) in sources.iter().enumerate() {
        for other in &sources[position + 1..] {
            let refused = refusal(&[*one, *other]);
            let expected = format!(
                "{}, {}: both name the keys; set one of them",
                one.0, other.0
            );
            assert_eq!(refused, expected);
        }
    }
}

#[test]
fn hmac_beside_public_keys() {
    let (pem, jwks) = (File::pem(Algorithm::Rs256), File::jwks());
    let secrets = r#"{"keys":[{"kty":"oct","k":"Zmlyc3QgdGVzdCBzZWNyZXQsIG5ldmVyIGluIHVzZS4"}]}"#;
    let secrets = File::new(secrets);
    for (algorithms, source, value, expected) in [
        (
            "HS256,RS256",
            "JWT_SECRET_KEY",
            SECRET,
            "JWT_ALGORITHM: HMAC secrets and public keys",
        ),
        (
            "RS256",
            "JWT_SECRET_KEY",
            SECRET,
            "JWT_ALGORITHM, JWT_SECRET_KEY: RS256",
        ),
        (
            "HS256",
            "JWT_PUBLIC_KEY_FILE",
            pem.path(),
            "JWT_ALGORITHM, JWT_PUBLIC_KEY_FILE: HS256",
        ),
        (
            "HS256",
            "JWT_JWKS_FILE",
            jwks.path(),
            "JWT_ALGORITHM, JWT_JWKS_FILE: HMAC",
        ),
        (
            "RS256",
            "JWT_JWKS_FILE",
            secrets.path(),
            "JWT_ALGORITHM, JWT_JWKS_FILE: HMAC",
        ),
    ] {
        let refused = refusal(&[
            ("JWT_ALGORITHM", algorithms),
            (source, value),
            ("JWT_AUDIENCE", AUDIENCE),
        ]);
        assert!(refused.starts_with(expected), "{refused}");
    }
}

#[test]
fn d1_none_and_other_algorithms_that_are_none() {
    for (name, expected) in [
        (
            "none",
            "`none` is never accepted: it is not a signature algorithm",
        ),
        (
            "HS256,nOnE",
            "`none` is never accepted: it is not a signature algorithm",
        ),
        ("hs256", "`hs256`"),
        ("HS1", "`HS1`"),
        ("RSA-OAEP", "`RSA-OAEP`"),
        ("a\nb", r"`a\nb`"),
    ] {
        let expected = format!("JWT_ALGORITHM: unsupported algorithm: {expected}");
        assert_eq!(beside_secret("JWT_ALGORITHM", name), expected);
    }
    let refused = beside_secret("JWT_ALGORITHM", "HS256,,HS512");
    assert_eq!(refused, "JWT_ALGORITHM: an entry of the list is empty");

    let pem = File::pem(Algorithm::Es256);
    let refused = refusal(&[
        ("JWT_PUBLIC_KEY_FILE", pem.path()),
        ("JWT_ALGORITHM", "RS256"),
    ]);
    assert!(
        refused.starts_with("JWT_ALGORITHM: no key matches"),
        "{refused}"
    );
}

#[test]
fn d11_files_without_a_key_that_can_be_used() {
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n-----END PRIVATE KEY-----\n";
    for (name, contents, expected) in [
        ("JWT_PUBLIC_KEY_FILE", WEAK_PEM, "fewer than 2048 bits"),
        ("JWT_JWKS_FILE", WEAK_JWKS, "fewer than 2048 bits"),
        ("JWT_PUBLIC_KEY_FILE", private, "this is a private key"),
        ("JWT_PUBLIC_KEY_FILE", "", "not a PEM"),
        ("JWT_PUBLIC_KEY_FILE", WEAK_JWKS, "not a PEM"),
        ("JWT_JWKS_FILE", WEAK_PEM, "not JSON"),
        ("JWT_JWKS_FILE", "{}", "no member `keys`"),
        ("JWT_JWKS_FILE", r#"{"keys":[]}"#, "no usable key"),
    ] {
        let file = File::new(contents);
        let refused = refusal(&[(name, file.path()), ("JWT_AUDIENCE", AUDIENCE)]);
        assert!(refused.starts_with(&format!("{name}: ")), "{refused}");
        assert!(refused.contains(expected), "{refused}");
    }
}

#[test]
fn a_file_that_cannot_be_read() {
    for name in ["JWT_PUBLIC_KEY_FILE", "JWT_JWKS_FILE"] {
        let refused = refusal(&[(name, "no/such\nfile")]);
        let expected = format!(r"{name}: cannot read no/such\nfile: ");
        assert!(refused.starts_with(&expected), "{refused}");
        assert!(refusal(&[(name, env!("CARGO_TARGET_TMPDIR"))]).contains(": cannot read "));

        // What was pasted in the path's place is not repeated: it may be private.
        for key in [WEAK_PEM, WEAK_JWKS] {
            let expected =
                format!("{name}: this is a key; put it into a file, and give the file's path");
            assert_eq!(refusal(&[(name, key)]), expected);
        }
    }
}

#[test]
fn a_key_set_without_an_audience() {
    let jwks = File::jwks();
    let set = ("JWT_JWKS_FILE", jwks.path());
    let expected = "JWT_JWKS_FILE: a key set serves many audiences: set JWT_AUDIENCE or \
                    JWT_CLIENT_ID, or JWT_VERIFY_AUD=false to accept tokens for any audience";
    assert_eq!(refusal(&[set]), expected);
    assert_eq!(refusal(&[set, ("JWT_VERIFY_AUD", "true")]), expected);
    assert_eq!(refusal(&[set, ("JWT_ISSUER", ISSUER)]), expected);

    let refused = refusal(&[set, ("JWT_VERIFY_AUD", "false"), ("JWT_AUDIENCE", AUDIENCE)]);
    assert!(
        refused.starts_with("JWT_AUDIENCE, JWT_VERIFY_AUD: "),
        "{refused}"
    );
}

#[test]
fn e20_values_out_of_their_range() {
    for (name, value, problem) in [
        (
            "JWT_LEEWAY_SECONDS",
            "301",
            "`301` is not a whole number from 0 to 300",
        ),
        (
            "JWT_LEEWAY_SECONDS",
            "-1",
            "`-1` is not a whole number from 0 to 300",
        ),
        (
            "JWT_LEEWAY_SECONDS",
            "1.5",
            "`1.5` is not a whole number from 0 to 300",
        ),
        (
            "JWT_LEEWAY_SECONDS",
            "99999999999",
            "`99999999999` is not a whole number from 0 to 300",
        ),
        (
            "HOST",
            "http://localhost",
            "`http://localhost` is neither an IP address nor a host name",
        ),
        (
            "HOST",
            "256.0.0.1",
            "`256.0.0.1` is neither an IP address nor a host name",
        ),
        (
            "PORT",
            "65536",
            "`65536` is not a whole number from 0 to 65535",
        ),
        (
            "PORT",
            "http",
            "`http` is not a whole number from 0 to 65535",
        ),
        ("JWT_VERIFY_EXP", "no", "`no` is neither true nor false"),
        ("JWT_VERIFY_AUD", "off", "`off` is neither true nor false"),
        (
            "JWT_VERIFY_SIGNATURE",
            "false",
            "only true is accepted: without this check anyone can forge a token",
        ),
        (
            "JWT_VERIFY_IAT",
            "0",
            "only true is accepted: the type of `iat` is always checked",
        ),
        ("JWT_AUDIENCE", "a,", "an entry of the list is empty"),
        ("JWT_ROLES_CLAIM", "/", "a JSON pointer must name a claim"),
        (
            "JWT_REQUIRED_TYP",
            "logout+jwt",
            "a type that no access token has",
        ),
    ] {
        assert_eq!(beside_secret(name, value), format!("{name}: {problem}"));
    }
}

#[test]
fn the_profile_without_what_it_needs() {
    let whole = [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_REQUIRED_TYP", "at+jwt"),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
    ];
    assert!(read(&whole).is_ok());
    let line = |demand: &str| format!("JWT_REQUIRED_TYP: with `at+jwt`, {demand} (RFC 9068 §4)");
    let without = |name| {
        whole
            .into_iter()
            .filter(|(one, _)| *one != name)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        refusal(&without("JWT_ISSUER")),
        line("JWT_ISSUER must name the issuer")
    );
    assert_eq!(
        refusal(&without("JWT_AUDIENCE")),
        line("JWT_AUDIENCE must name an audience")
    );
    for switch in ["JWT_VERIFY_EXP", "JWT_REQUIRE_EXP", "JWT_VERIFY_AUD"] {
        let mut vars = match switch {
            "JWT_VERIFY_AUD" => without("JWT_AUDIENCE"),
            _ => whole.to_vec(),
        };
        vars.push((switch, "false"));
        assert_eq!(refusal(&vars), line(&format!("{switch} must not be false")));
    }
}

#[test]
fn numbers_out_of_range_even_where_nothing_is_fetched() {
    for (name, value) in [
        ("JWT_CACHE_ENTRIES", "1000001"),
        ("JWT_CACHE_ENTRIES", "-1"),
        ("JWT_JWKS_CACHE_SECONDS", "0"),
        ("JWT_JWKS_CACHE_SECONDS", "86401"),
        ("JWT_JWKS_COOLDOWN_SECONDS", "0"),
        ("JWT_JWKS_TIMEOUT_SECONDS", "61"),
        ("JWT_JWKS_STALE_SECONDS", "-1"),
        ("JWT_JWKS_CA_FILE", "/does/not/exist"),
    ] {
        let refused = beside_secret(name, value);
        assert!(refused.starts_with(&format!("{name}: ")), "{refused}");
    }
}

#[test]
fn d33_k3_places_that_keys_must_not_be_fetched_from() {
    let of_url = |url| {
        refusal(&[
            ("JWT_JWKS_URL", url),
            ("JWT_ISSUER", ISSUER),
            ("JWT_AUDIENCE", AUDIENCE),
        ])
    };
    for url in [
        "http://as.example/jwks",
        "ftp://as.example/jwks",
        "/jwks",
        "not a url",
    ] {
        let refused = of_url(url);
        assert!(refused.starts_with("JWT_JWKS_URL: not a"), "{refused}");
    }
    let of_issuer = |issuer| refusal(&[("JWT_ISSUER", issuer), ("JWT_AUDIENCE", AUDIENCE)]);
    for issuer in ["http://as.example", "https://as.example?a=b", "as.example"] {
        let refused = of_issuer(issuer);
        assert!(refused.starts_with("JWT_ISSUER: "), "{refused}");
    }
    let secret_algorithm = [
        ("JWT_JWKS_URL", "https://as.example/jwks"),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_ALGORITHM", "HS256"),
    ];
    let refused = refusal(&secret_algorithm);
    assert!(
        refused.starts_with("JWT_ALGORITHM, JWT_JWKS_URL: "),
        "{refused}"
    );
    let no_audience = [("JWT_JWKS_URL", "https://as.example/jwks")];
    let refused = refusal(&no_audience);
    assert!(
        refused.starts_with("JWT_JWKS_URL: a key set serves"),
        "{refused}"
    );
    let two = [
        ("JWT_JWKS_URL", "https://as.example/jwks"),
        ("JWT_JWKS_FILE", "keys.json"),
        ("JWT_AUDIENCE", AUDIENCE),
    ];
    let refused = refusal(&two);
    assert!(
        refused.starts_with("JWT_JWKS_FILE, JWT_JWKS_URL: "),
        "{refused}"
    );
}

#[test]
fn a_name_that_would_be_a_check_that_silently_does_not_happen() {
    for (name, meant) in [
        ("JWT_AUDIANCE", "JWT_AUDIENCE"),
        ("JWT_AUDIENCES", "JWT_AUDIENCE"),
        ("JWT_AUD", "JWT_AUDIENCE"),
        ("jwt_audience", "JWT_AUDIENCE"),
        ("JWT_ISS", "JWT_ISSUER"),
        ("JWT_ISUER", "JWT_ISSUER"),
        ("JWT_SECRET", "JWT_SECRET_KEY"),
        ("JWT_ALGORITHMS", "JWT_ALGORITHM"),
        ("JWT_LEEWAY", "JWT_LEEWAY_SECONDS"),
        ("JWT_REQUIRE_AUD", "JWT_REQUIRE_EXP"),
        ("JWT_VERIFY_ISSUER", "JWT_VERIFY_"),
        ("JWT_JWKS_PATH", "JWT_JWKS_"),
    ] {
        let expected = format!("{name}: unknown variable; did you mean {meant}");
        let refused = beside_secret(name, "x");
        assert!(refused.starts_with(&expected), "{refused}");
    }
    let refused = refusal(&[("JWT_ISSUER", ISSUER), ("JWT_ISSUER", ISSUER)]);
    assert_eq!(refused, "JWT_ISSUER: given twice");
}

#[cfg(feature = "jwks")]
#[test]
fn x9_a_logout_that_names_no_client_or_no_issuer() {
    let with = |vars: &[(&str, &str)]| {
        let on = [
            ("JWT_SECRET_KEY", SECRET),
            ("JWT_BACKCHANNEL_LOGOUT", "true"),
        ];
        let vars: Vec<_> = on.iter().chain(vars).copied().collect();
        read(&vars).map(|_| ()).map_err(|error| error.to_string())
    };
    let needs = |what: &str| Err(format!("JWT_BACKCHANNEL_LOGOUT: {what}"));
    let (issuer, audience) = (("JWT_ISSUER", ISSUER), ("JWT_AUDIENCE", AUDIENCE));
    let unnamed = "needs JWT_LOGOUT_CLIENT_ID, or a single JWT_CLIENT_ID or JWT_AUDIENCE";
    assert_eq!(
        with(&[audience]),
        needs("needs JWT_ISSUER, whose logouts are received")
    );
    assert_eq!(with(&[issuer]), needs(unnamed));
    assert_eq!(with(&[issuer, ("JWT_AUDIENCE", "a,b")]), needs(unnamed));
    // The audience by default is no client.
    let resource = ("JWT_RESOURCE", "https://api.example");
    assert_eq!(with(&[issuer, resource]), needs(unnamed));
    assert_eq!(
        with(&[issuer, audience, ("JWT_SUBJECT_CLAIM", "oid")]),
        needs("contradicts JWT_SUBJECT_CLAIM: logout tokens identify the subject by `sub`")
    );
    for vars in [
        &[issuer, audience][..],
        &[issuer, audience, ("JWT_SUBJECT_CLAIM", "sub")],
        &[issuer, ("JWT_CLIENT_ID", "web")],
        &[
            issuer,
            ("JWT_CLIENT_ID", "web,app"),
            ("JWT_LOGOUT_CLIENT_ID", "web"),
        ],
    ] {
        assert_eq!(with(vars), Ok(()), "{vars:?}");
    }
    assert_eq!(
        beside_secret("JWT_LOGOUT_CLIENT_ID", "web"),
        "JWT_LOGOUT_CLIENT_ID: needs JWT_BACKCHANNEL_LOGOUT=true"
    );
    let store = "redis://:hunter2@store.example";
    assert_eq!(
        beside_secret("JWT_LOGOUT_STORE", store),
        "JWT_LOGOUT_STORE: needs JWT_BACKCHANNEL_LOGOUT=true"
    );
    let with_store = with(&[issuer, audience, ("JWT_LOGOUT_STORE", store)]);
    #[cfg(feature = "server")]
    assert_eq!(with_store, Ok(()));
    #[cfg(not(feature = "server"))]
    assert_eq!(
        with_store.unwrap_err(),
        "JWT_LOGOUT_STORE: needs the feature `server`"
    );
}

/// Every variable that is read.
const NAMES: [&str; 47] = [
    "HOST",
    "PORT",
    "JWT_ACCEPT_ID_TOKENS",
    "JWT_ALGORITHM",
    "JWT_AUDIENCE",
    "JWT_AUTHORIZATION_SERVERS",
    "JWT_BACKCHANNEL_LOGOUT",
    "JWT_CACHE_ENTRIES",
    "JWT_CLIENT_ID",
    "JWT_CLIENT_ID_CLAIM",
    "JWT_GATEWAY",
    "JWT_INTROSPECTION_ALL",
    "JWT_INTROSPECTION_CACHE_SECONDS",
    "JWT_INTROSPECTION_CLIENT_ID",
    "JWT_INTROSPECTION_CLIENT_SECRET",
    "JWT_INTROSPECTION_URL",
    "JWT_ISSUER",
    "JWT_JWKS_CACHE_SECONDS",
    "JWT_JWKS_ALLOW_HTTP",
    "JWT_JWKS_CA_FILE",
    "JWT_JWKS_COOLDOWN_SECONDS",
    "JWT_JWKS_FILE",
    "JWT_JWKS_STALE_SECONDS",
    "JWT_JWKS_TIMEOUT_SECONDS",
    "JWT_JWKS_URL",
    "JWT_LEEWAY_SECONDS",
    "JWT_LOGOUT_CLIENT_ID",
    "JWT_LOGOUT_STORE",
    "JWT_MAX_TOKEN_BYTES",
    "JWT_MTLS",
    "JWT_MTLS_HEADER",
    "JWT_PUBLIC_KEY_FILE",
    "JWT_REQUIRED_TYP",
    "JWT_REQUIRE_EXP",
    "JWT_RESOURCE",
    "JWT_RESOURCE_SCOPES",
    "JWT_ROLES_CLAIM",
    "JWT_SCOPE_CLAIM",
    "JWT_SECRET_KEY",
    "JWT_SUBJECT_CLAIM",
    "JWT_TRUSTED_PROXIES",
    "JWT_VERIFY_AUD",
    "JWT_VERIFY_EXP",
    "JWT_VERIFY_IAT",
    "JWT_VERIFY_ISS",
    "JWT_VERIFY_NBF",
    "JWT_VERIFY_SIGNATURE",
];
