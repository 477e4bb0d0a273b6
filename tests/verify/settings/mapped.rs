//! Names of issuers, ID tokens, sizes, and claims of other names: one variable each.

use serde_json::{Value, json};
use tower_jwt_auth::{Claims, JwtSettings, Principal, key::Algorithm, test_util::TestIssuer};

use crate::support::vars::{AUDIENCE, File, ISSUER, SECRET, read, refusal};

const ALGORITHM: Algorithm = Algorithm::Es256;

fn token(claims: &Value) -> String {
    TestIssuer::new(ALGORITHM).token(|own| {
        for (name, value) in claims.as_object().unwrap() {
            match value {
                Value::Null => own.remove(name),
                value => own.insert(name.clone(), value.clone()),
            };
        }
    })
}

/// Settings for a key set in a file.
fn settings(pairs: &[(&str, &str)]) -> JwtSettings {
    let file = File::jwks();
    let mut all = vec![("JWT_JWKS_FILE", file.path())];
    all.extend(pairs);
    read(&all).unwrap()
}

fn judge(settings: &JwtSettings, claims: &Value) -> Result<Principal, &'static str> {
    let verifier = settings.verifier::<Claims>().unwrap();
    let verified = verifier.verify_now(token(claims));
    verified
        .map(|verified| verified.principal())
        .map_err(|error| error.as_str())
}

#[test]
fn e25_several_names_of_one_issuer() {
    let both = settings(&[
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_ISSUER", "https://accounts.example, accounts.example"),
    ]);
    for issuer in ["https://accounts.example", "accounts.example"] {
        assert!(judge(&both, &json!({ "iss": issuer })).is_ok(), "{issuer}");
    }
    let other = json!({"iss": "https://accounts.example,accounts.example"});
    assert_eq!(judge(&both, &other).unwrap_err(), "wrong_issuer");
    assert_eq!(
        judge(&both, &json!({"iss": null})).unwrap_err(),
        "missing_claim"
    );
    assert_eq!(both.warnings().count(), 0);
    let refused = refusal(&[("JWT_SECRET_KEY", SECRET), ("JWT_ISSUER", "a,,b")]);
    assert_eq!(refused, "JWT_ISSUER: an entry of the list is empty");
}

#[cfg(feature = "jwks")]
#[test]
fn q3_the_query_of_a_key_server_is_not_printed() {
    let url = "http://127.0.0.1/jwks?code=hunter2";
    let settings = read(&[
        ("JWT_JWKS_URL", url),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
    ]);
    let printed = format!("{:?}", settings.unwrap());
    assert!(printed.contains("http://127.0.0.1/jwks"), "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[cfg(feature = "jwks")]
#[test]
fn e25_one_of_the_names_is_where_the_keys_are_found() {
    let of = |issuers| read(&[("JWT_AUDIENCE", AUDIENCE), ("JWT_ISSUER", issuers)]);
    for issuers in [
        "https://a.example",
        "https://a.example,a.example",
        "a.example,https://a.example",
    ] {
        assert!(of(issuers).is_ok(), "{issuers}");
    }
    for (issuers, problem) in [
        ("a.example,b.example", "none of them is a URL"),
        (
            "https://a.example,https://b.example",
            "several of them are URLs",
        ),
    ] {
        let line = of(issuers).unwrap_err().to_string();
        assert!(
            line.starts_with(&format!("JWT_ISSUER: {problem}")),
            "{line}"
        );
        assert!(line.contains("JWT_JWKS_URL"), "{line}");
    }
    let url = ("JWT_JWKS_URL", "https://a.example/keys");
    let several = [
        url,
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_ISSUER", "https://a.example,https://b.example"),
    ];
    assert!(read(&several).is_ok());
}

#[test]
fn d50_a_set_from_a_file_warns_and_one_from_a_url_needs_an_issuer() {
    let audience = ("JWT_AUDIENCE", AUDIENCE);
    let open = settings(&[audience]);
    let lines: Vec<_> = open.warnings().collect();
    assert!(
        matches!(lines[..], [line] if line.starts_with("JWT_JWKS_FILE: without JWT_ISSUER")),
        "{lines:?}"
    );
    assert!(judge(&open, &json!({"iss": "https://other.example"})).is_ok());
    for quiet in [
        settings(&[audience, ("JWT_ISSUER", ISSUER)]),
        settings(&[audience, ("JWT_VERIFY_ISS", "false")]),
        read(&[("JWT_SECRET_KEY", SECRET)]).unwrap(),
    ] {
        assert_eq!(quiet.warnings().count(), 0);
    }
    let refused = refusal(&[
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_ISSUER", ISSUER),
        ("JWT_VERIFY_ISS", "false"),
    ]);
    assert!(
        refused.starts_with("JWT_ISSUER, JWT_VERIFY_ISS: "),
        "{refused}"
    );
    #[cfg(feature = "jwks")]
    {
        let url = ("JWT_JWKS_URL", "https://a.example/keys");
        let refused = refusal(&[url, audience]);
        let expected = "JWT_JWKS_URL: keys from a URL may sign for many issuers: set JWT_ISSUER, or \
                        JWT_VERIFY_ISS=false to accept tokens of any issuer";
        assert_eq!(refused, expected);
        assert_eq!(
            refusal(&[url, audience, ("JWT_VERIFY_ISS", "true")]),
            expected
        );
        let any = read(&[url, audience, ("JWT_VERIFY_ISS", "false")]).unwrap();
        assert_eq!(any.warnings().count(), 0);
        assert!(read(&[url, audience, ("JWT_ISSUER", ISSUER)]).is_ok());
    }
}

#[test]
fn e26_id_tokens_pass_where_they_are_accepted() {
    let audience = ("JWT_AUDIENCE", AUDIENCE);
    let accept = ("JWT_ACCEPT_ID_TOKENS", "true");
    let id_tokens = [
        json!({"at_hash": "h"}),
        json!({"token_use": "id"}),
        json!({"c_hash": "h"}),
    ];
    for claims in &id_tokens {
        for off in [
            settings(&[audience]),
            settings(&[audience, (accept.0, "false")]),
        ] {
            assert_eq!(judge(&off, claims).unwrap_err(), "wrong_use");
        }
        assert!(
            judge(&settings(&[audience, accept]), claims).is_ok(),
            "{claims}"
        );
    }
    for other in [json!({"token_type": "refresh"}), json!({"events": {}})] {
        let refused = judge(&settings(&[audience, accept]), &other);
        assert_eq!(refused.unwrap_err(), "wrong_use");
    }
    for pairs in [
        &[accept][..],
        &[accept, ("JWT_CLIENT_ID", "client")],
        &[accept, ("JWT_VERIFY_AUD", "false")],
    ] {
        let all = [&[("JWT_SECRET_KEY", SECRET)], pairs].concat();
        let refused = refusal(&all);
        assert!(
            refused.starts_with("JWT_ACCEPT_ID_TOKENS: JWT_AUDIENCE must"),
            "{refused}"
        );
    }
}

#[test]
fn e23_the_client_is_in_the_first_of_the_listed_claims() {
    let of = |claims| {
        settings(&[
            ("JWT_AUDIENCE", AUDIENCE),
            ("JWT_CLIENT_ID", "app-1"),
            ("JWT_CLIENT_ID_CLAIM", claims),
        ])
    };
    for (claims, token, expected) in [
        ("appid", json!({"appid": "app-1"}), Ok("app-1")),
        ("cid", json!({"cid": "app-1"}), Ok("app-1")),
        (
            "cid, client_id",
            json!({"cid": "app-1", "client_id": "x"}),
            Ok("app-1"),
        ),
        (
            "client_id,cid",
            json!({"cid": "app-1", "client_id": "x"}),
            Err("wrong_client"),
        ),
        ("appid", json!({"appid": "app-2"}), Err("wrong_client")),
        ("appid", json!({"client_id": "app-1"}), Err("missing_claim")),
    ] {
        let found = judge(&of(claims), &token);
        let found = found.as_ref().map(|caller| caller.client_id().unwrap());
        assert_eq!(found, expected.as_ref().copied(), "{claims} {token}");
    }
}

#[test]
fn e24_e27_scope_and_subject_of_other_names() {
    let chosen = settings(&[
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_SCOPE_CLAIM", "scopes,/ext/scope"),
        ("JWT_SUBJECT_CLAIM", "user_id"),
    ]);
    let claims = json!({"user_id": 7, "scope": null, "scopes": ["a"], "ext": {"scope": "b c"}});
    let caller = judge(&chosen, &claims).unwrap();
    let mut scope: Vec<_> = caller.scope().collect();
    scope.sort_unstable();
    assert_eq!(
        (caller.subject(), &scope[..]),
        (Some("7"), &["a", "b", "c"][..])
    );
    let broken = json!({"user_id": {}});
    assert_eq!(judge(&chosen, &broken).unwrap_err(), "malformed_claims");
    for (name, value) in [
        ("JWT_SUBJECT_CLAIM", "/user/id"),
        ("JWT_CLIENT_ID_CLAIM", "azp,/client/id"),
        ("JWT_SCOPE_CLAIM", "/"),
        ("JWT_SCOPE_CLAIM", "a,"),
    ] {
        let refused = refusal(&[("JWT_SECRET_KEY", SECRET), (name, value)]);
        assert!(refused.starts_with(&format!("{name}: ")), "{refused}");
    }
}

#[test]
fn l18_every_form_of_roles_has_a_spelling() {
    for (place, claims, expected) in [
        ("/groups/0", json!({"groups": ["a", "b"]}), &["a"][..]),
        ("r|split:space", json!({"r": "a  b"}), &["a", "b"]),
        ("r|split:comma", json!({"r": "a, b"}), &["a", "b"]),
        ("r|split:;", json!({"r": "a;b"}), &["a", "b"]),
        ("r|split:|", json!({"r": "a|b"}), &["a", "b"]),
        (
            "urn:x:roles|names",
            json!({"urn:x:roles": {"a": {}, "b": {}}}),
            &["a", "b"],
        ),
        ("/x/r|names", json!({"x": {"r": {"a": 1}}}), &["a"]),
        ("r|member:name", json!({"r": [{"name": "a"}]}), &["a"]),
        (
            "r|member:/role/name",
            json!({"r": [{"role": {"name": "a"}}]}),
            &["a"],
        ),
        ("r | split:;", json!({"r": "a;b"}), &["a", "b"]),
        ("r |names", json!({"r": {"a": 1}}), &["a"]),
        ("r| member: name", json!({"r": [{"name": "a"}]}), &["a"]),
        ("r|names, s", json!({"r": {"a": 1}, "s": "b"}), &["a", "b"]),
    ] {
        let chosen = settings(&[("JWT_AUDIENCE", AUDIENCE), ("JWT_ROLES_CLAIM", place)]);
        let caller = judge(&chosen, &claims).unwrap();
        let mut roles: Vec<_> = caller.roles().collect();
        roles.sort_unstable();
        assert_eq!(roles, expected, "{place}");
    }
    for place in [
        "r|",
        "r|keys",
        "r|split:",
        "r|split: ",
        " |names",
        "r|member:",
        "r|names:x",
        "|names",
        "r|split",
    ] {
        let refused = refusal(&[("JWT_SECRET_KEY", SECRET), ("JWT_ROLES_CLAIM", place)]);
        assert!(refused.starts_with("JWT_ROLES_CLAIM: "), "{refused}");
    }
}

#[test]
fn a19_the_longest_token_can_be_set() {
    let long = json!({"padding": "x".repeat(20_000)});
    let short = json!({"padding": "x".repeat(2_000)});
    let of = |bytes| settings(&[("JWT_AUDIENCE", AUDIENCE), ("JWT_MAX_TOKEN_BYTES", bytes)]);
    let default = settings(&[("JWT_AUDIENCE", AUDIENCE)]);
    assert_eq!(judge(&default, &long).unwrap_err(), "oversized_credential");
    assert!(judge(&of("1048576"), &long).is_ok());
    assert!(judge(&default, &short).is_ok());
    assert_eq!(
        judge(&of("1024"), &short).unwrap_err(),
        "oversized_credential"
    );
    for bytes in ["1023", "1048577", "0", "16k", "-1"] {
        let refused = refusal(&[("JWT_SECRET_KEY", SECRET), ("JWT_MAX_TOKEN_BYTES", bytes)]);
        let problem = format!("`{bytes}` is not a whole number from 1024 to 1048576");
        assert_eq!(refused, format!("JWT_MAX_TOKEN_BYTES: {problem}"));
    }
}
