//! The environment of a login server: every bad value is named, no secret is shown.

use std::net::SocketAddr;

use http::Request;
use tower_jwt_auth::{
    AuthSettings, Claims,
    layer::{extract::RequestHead, rate_limit::PeerAddr},
    server::{
        issue::{AccessTokenClaims, TokenIssuer},
        refresh::RefreshPolicy,
    },
    store::{MemoryStore, port::KeyRingStore},
};

fn read(vars: &[(&str, &str)]) -> Result<AuthSettings, String> {
    let vars = vars
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    AuthSettings::from_vars(vars).map_err(|error| error.to_string())
}

const SECRET: &str = "an HMAC secret of at least thirty-two bytes";

#[tokio::test]
async fn nothing_set_is_a_first_try_with_a_fresh_key() {
    let settings = read(&[]).unwrap();
    assert!(settings.is_a_first_try() && settings.keys_end_with_process(&MemoryStore::new()));
    assert_eq!(settings.address(), ("127.0.0.1", 3000));
    assert_eq!(settings.public_url(), "http://127.0.0.1:3000");
    // T14: a consumer of the tokens that does not confirm makes `balanced` unsafe.
    assert_eq!(settings.refresh_policy(), RefreshPolicy::browser());
    assert_eq!(settings.refresh_idle().as_secs(), 14 * 24 * 3600);
    assert_eq!(settings.max_sessions(), Some(50));
    for (value, most) in [("1", Some(1)), ("99", Some(99)), ("none", None)] {
        let settings = read(&[("AUTH_MAX_SESSIONS", value)]).unwrap();
        assert_eq!(settings.max_sessions(), most);
    }
    let issuer = settings
        .listening_on(4711)
        .issuer(&MemoryStore::new())
        .await
        .unwrap();
    assert_eq!(issuer.issuer(), "http://127.0.0.1:4711");
    assert_eq!(issuer.access_lifetime().as_secs(), 600);
    // A first try is over as soon as others could reach it, or it would hold data.
    for (name, value) in [
        ("HOST", "0.0.0.0"),
        ("AUTH_PUBLIC_URL", "https://app.example"),
        ("AUTH_STORE", "memory:"),
        ("AUTH_SEED_USER", "ada:a-long-password"),
    ] {
        assert!(!read(&[(name, value)]).unwrap().is_a_first_try(), "{name}");
    }
}

#[test]
fn the_settings_of_accounts_are_read() {
    use std::time::Duration;
    use tower_jwt_auth::server::login::EmailClaims;

    let settings = read(&[]).unwrap();
    assert!(!settings.requires_verified_email());
    assert_eq!(settings.email_claims(), EmailClaims::None);
    assert_eq!(settings.remember_devices(), None);
    let settings = read(&[
        ("AUTH_REQUIRE_VERIFIED_EMAIL", "true"),
        ("AUTH_EMAIL_CLAIMS", "address"),
        ("AUTH_REMEMBER_DEVICE_DAYS", "30"),
    ]);
    let settings = settings.unwrap();
    assert!(settings.requires_verified_email());
    assert_eq!(settings.email_claims(), EmailClaims::Address);
    let days = Duration::from_secs(30 * 24 * 60 * 60);
    assert_eq!(settings.remember_devices(), Some(days));
    for (name, value) in [
        ("AUTH_REQUIRE_VERIFIED_EMAIL", "maybe"),
        ("AUTH_EMAIL_CLAIMS", "email"),
        ("AUTH_REMEMBER_DEVICE_DAYS", "0"),
        ("AUTH_REMEMBER_DEVICE_DAYS", "91"),
    ] {
        let refused = read(&[(name, value)]).unwrap_err();
        assert!(refused.contains(name), "{refused}");
    }
}

#[tokio::test]
async fn what_is_set_is_used() {
    let settings = read(&[
        ("AUTH_PUBLIC_URL", "https://app.example/"),
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_AUDIENCE", "orders, invoices"),
        ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "5"),
        ("JWT_REFRESH_TOKEN_EXPIRE_DAYS", "1"),
        ("AUTH_REFRESH_POLICY", "browser"),
        ("AUTH_REFRESH_GRACE_SECONDS", "10"),
        ("AUTH_SEED_USER", "ada:a-password:admin+ops,bob:another"),
        ("AUTH_REGISTRATION", "true"),
        ("JWT_TOKEN_TYPE", "bearer"),
        ("JWT_TOKEN_URL", "/auth/v1/token"),
        ("JWT_JWKS_URL", "https://elsewhere.example/jwks.json"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    assert_eq!(settings.ignored().collect::<Vec<_>>(), ["JWT_JWKS_URL"]);
    let issuer = settings.issuer(&MemoryStore::new()).await.unwrap();
    assert_eq!(issuer.issuer(), "https://app.example");
    assert_eq!(issuer.access_lifetime().as_secs(), 300);
    let minted = issuer
        .issue_access_token(AccessTokenClaims::for_subject("ada"))
        .unwrap();
    let verifier = issuer.verifier().claims::<Claims>().build().unwrap();
    assert!(verifier.verify_now(minted.token().expose()).is_ok());
    assert_eq!(settings.refresh_policy().grace_window().as_secs(), 10);
    assert!(settings.registration());
    assert_eq!(settings.base_path(), "/auth/v1");
    let [ada, bob] = settings.seed_users() else {
        panic!("two users");
    };
    assert_eq!(
        (ada.name(), ada.roles()),
        ("ada", &["admin".to_owned(), "ops".into()][..])
    );
    assert_eq!(bob.password().expose(), "another");
}

#[test]
fn proxies_are_believed_where_they_are_named() {
    let peer = |address: &str| PeerAddr(SocketAddr::new(address.parse().unwrap(), 443));
    let request = |from: &str| {
        let request = Request::builder().header("x-forwarded-for", "198.51.100.9, 203.0.113.7");
        request.extension(peer(from)).body(()).unwrap()
    };
    let https = ("AUTH_PUBLIC_URL", "https://app.example");
    let named = read(&[https, ("AUTH_TRUSTED_PROXIES", "10.0.0.0/8, fd00::1")]).unwrap();
    assert!(!named.is_behind_an_unnamed_proxy());
    let nobody = read(&[https]).unwrap();
    assert!(nobody.is_behind_an_unnamed_proxy());
    assert!(!read(&[]).unwrap().is_behind_an_unnamed_proxy());
    for (settings, from, client) in [
        (&named, "10.1.2.3", "203.0.113.7"),
        (&named, "fd00::1", "203.0.113.7"),
        (&named, "192.0.2.1", "192.0.2.1"),
        (&nobody, "10.1.2.3", "10.1.2.3"),
    ] {
        let request = request(from);
        let found = settings.client_ip().client_ip(RequestHead::of(&request));
        assert_eq!(found, Some(client.parse().unwrap()), "{from}");
    }
}

#[test]
fn every_bad_value_names_its_variable_and_shows_no_secret() {
    for (name, value) in [
        ("PORT", "65536"),
        ("AUTH_SECRET_KEY", "dG9vLXNob3J0"),
        ("AUTH_SECRET_KEY", "not base64url!"),
        ("AUTH_REFRESH_POLICY", "lenient"),
        ("AUTH_REFRESH_GRACE_SECONDS", "0"),
        ("AUTH_REFRESH_GRACE_SECONDS", "301"),
        ("AUTH_MAX_SESSIONS", "0"),
        ("AUTH_MAX_SESSIONS", "100"),
        ("AUTH_MAX_SESSIONS", "None"),
        ("AUTH_REGISTRATION", "maybe"),
        ("AUTH_PUBLIC_URL", "app.example"),
        ("AUTH_PUBLIC_URL", "http://app.example"),
        ("AUTH_PUBLIC_URL", "https://app.example/below"),
        ("AUTH_PUBLIC_URL", "https://user:s3cret-pw@app.example"),
        ("AUTH_TRUSTED_ORIGINS", "app.example"),
        ("AUTH_TRUSTED_ORIGINS", "http://app.example"),
        (
            "AUTH_TRUSTED_ORIGINS",
            "https://a.example,,https://b.example",
        ),
        ("AUTH_TRUSTED_ORIGINS", "https://user:s3cret-pw@app.example"),
        ("AUTH_COOKIE_PREFIX", "__Host-shop"),
        ("AUTH_COOKIE_PREFIX", "shop;x"),
        ("AUTH_ACR_MFA", " "),
        ("JWT_CLIENT_ID", "web,,spa"),
        ("AUTH_STORE_URL", "memory:"),
        ("AUTH_TRUSTED_ORIGIN", "https://app.example"),
        ("JWT_CLIENT_IDS", "web"),
        ("JWT_TOKEN_TYPE", "MAC"),
        ("JWT_TOKEN_URL", "/token"),
        ("JWT_TOKEN_URL", "/api/auth/tokens"),
        ("JWT_TOKEN_URL", "https://auth.example/token"),
        ("AUTH_TRUSTED_PROXIES", "proxy.example"),
        ("AUTH_TRUSTED_PROXIES", "10.0.0.1,,10.0.0.2"),
        ("AUTH_TRUSTED_PROXIES", "10.0.0.1/33"),
        ("AUTH_TRUSTED_PROXIES", "10.0.0.1, 0.0.0.0/0"),
        ("AUTH_TRUSTED_PROXIES", "::/0"),
        ("AUTH_TRUSTED_PROXIES", "::ffff:0.0.0.0/96"),
        ("AUTH_TRUSTED_PROXIES", "0.0.0.0/00"),
        ("AUTH_SEED_USER", "ada"),
        ("AUTH_SEED_USER", ":hunter2-hunter2"),
        ("AUTH_SEED_USER", "ada:pass:word:admin"),
        ("JWT_SECRET_KEY", "too-short-a-secret"),
        ("JWT_PRIVATE_KEY_FILE", "/nowhere/key.pem"),
        ("JWT_PRIVATE_KEY_FILE", "-----BEGIN PRIVATE KEY-----"),
        ("JWT_PRIVATE_KEY_FILE", "/nowhere/key.pem,"),
        ("AUTH_KEY_ROTATION_DAYS", "0"),
        ("AUTH_KEY_ROTATION_DAYS", "-1"),
        ("AUTH_KEY_ROTATION_DAYS", "NaN"),
        ("AUTH_KEY_ROTATION_DAYS", "inf"),
        ("AUTH_KEY_ROTATION_DAYS", "a month"),
        ("AUTH_KEY_ROTATION_DAYS", "1e9"),
        // Without a secret nothing is stored that could rotate.
        ("AUTH_KEY_ROTATION_DAYS", "30"),
        ("JWT_ALGORITHM", "none"),
        ("JWT_ALGORITHM", "HS256"),
        ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "31"),
        ("JWT_REFRESH_TOKEN_EXPIRE_DAYS", "0"),
        ("AUTH_STROE", "memory:"),
        ("AUTH_SECRET", "x"),
        ("auth_secret_key", "x"),
        ("AUTH_TRUSTED", "10.0.0.1"),
        ("AUTH_TRUSTED_PROXY", "10.0.0.1"),
        ("AUTH_PUBLIC_URLS", "https://app.example"),
        ("JWT_PRIVATE_KEY", "x"),
        ("JWT_SECRET", "x"),
        ("JWT_ISSUERS", "https://auth.example"),
        ("JWT_ISSUER", "https://auth.example,auth.example"),
    ] {
        let error = read(&[(name, value)]).unwrap_err();
        let named = match (name, value) {
            // The secret that it would need.
            ("JWT_ALGORITHM", "HS256") => "JWT_SECRET_KEY",
            _ => name,
        };
        assert!(error.contains(named), "{name}={value}: {error}");
        assert!(!error.contains('\n'), "{error}");
        let secret = name.contains("SECRET") || name.contains("SEED") || value.contains("BEGIN");
        assert!(!secret || !error.contains(value), "{error}");
    }
    let both = [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_PRIVATE_KEY_FILE", "key.pem"),
    ];
    assert!(
        read(&both)
            .unwrap_err()
            .contains("JWT_PRIVATE_KEY_FILE, JWT_SECRET_KEY")
    );
    let strict = [
        ("AUTH_REFRESH_POLICY", "strict"),
        ("AUTH_REFRESH_GRACE_SECONDS", "5"),
    ];
    assert!(
        read(&strict)
            .unwrap_err()
            .contains("AUTH_REFRESH_GRACE_SECONDS")
    );
    let mixed = [("JWT_SECRET_KEY", SECRET), ("JWT_ALGORITHM", "RS256")];
    assert!(read(&mixed).unwrap_err().contains("RFC 8725"));
    assert!(!format!("{:?}", read(&[("JWT_SECRET_KEY", SECRET)]).unwrap()).contains(SECRET));
}

#[tokio::test]
async fn a_public_url_is_the_origin_that_browsers_write() {
    for (url, origin) in [
        ("https://app.example:443", "https://app.example"),
        ("https://APP.example/", "https://app.example"),
        ("https://app.example:8443", "https://app.example:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:3000/", "http://[::1]:3000"),
    ] {
        let settings = read(&[("AUTH_PUBLIC_URL", url)]).unwrap();
        assert_eq!(settings.public_url(), origin);
        assert_eq!(
            settings.issuer(&MemoryStore::new()).await.unwrap().issuer(),
            origin
        );
        let names = tower_jwt_auth::server::endpoints::CookieNames::new(url, "/api/auth").unwrap();
        assert_eq!(names.origin(), origin);
    }
}

#[tokio::test]
async fn n13_s7_s10_further_settings_are_used() {
    let settings = read(&[
        (
            "AUTH_TRUSTED_ORIGINS",
            "https://WWW.app.example:443/, capacitor://localhost",
        ),
        ("AUTH_COOKIE_PREFIX", "shop"),
        ("AUTH_ACR_MFA", "urn:example:mfa"),
        ("JWT_CLIENT_ID", "web, spa"),
        ("AUTH_SOMETHING_ELSE", "1"),
    ])
    .unwrap();
    let origins: Vec<_> = settings.trusted_origins().collect();
    assert_eq!(
        origins,
        ["https://www.app.example", "capacitor://localhost"]
    );
    assert_eq!(settings.cookie_prefix(), Some("shop"));
    assert_eq!(settings.acr_mfa(), Some("urn:example:mfa"));
    let issuer = settings.issuer(&MemoryStore::new()).await.unwrap();
    assert_eq!(issuer.client_id(), "web");
    assert!(issuer.knows_client("spa") && !issuer.knows_client("first-party"));
    let ignored: Vec<_> = settings.ignored().collect();
    assert_eq!(ignored, ["AUTH_SOMETHING_ELSE"]);
    let settings = read(&[]).unwrap();
    assert_eq!(
        settings
            .issuer(&MemoryStore::new())
            .await
            .unwrap()
            .client_id(),
        "first-party"
    );
}

const SERVER_SECRET: (&str, &str) = (
    "AUTH_SECRET_KEY",
    "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE",
);

#[tokio::test]
async fn s8_with_a_secret_the_keys_are_in_the_store_and_without_one_they_are_not() {
    let store = MemoryStore::new();
    let settings = read(&[SERVER_SECRET, ("JWT_ALGORITHM", "ES256")]).unwrap();
    let (one, two) = (
        settings.issuer(&store).await.unwrap(),
        settings.issuer(&store).await.unwrap(),
    );
    assert_eq!(one.keys().jwks(), two.keys().jwks());
    assert!(one.keys().jwks().contains("ES256"));
    let secret = read(&[SERVER_SECRET, ("JWT_SECRET_KEY", SECRET)]).unwrap();
    assert!(
        secret.issuer(&store).await.unwrap().keys().statuses()[0]
            .kid()
            .is_none()
    );
    for vars in [&[][..], &[SERVER_SECRET, ("JWT_SECRET_KEY", SECRET)]] {
        let store = MemoryStore::new();
        read(vars).unwrap().issuer(&store).await.unwrap();
        let ring = KeyRingStore::load_key_ring(&store).await.unwrap();
        assert_eq!((ring.revision, &*ring.keys), (0, ""), "s9");
    }
    let other = read(&[(
        "AUTH_SECRET_KEY",
        "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3Ro",
    )])
    .unwrap();
    let refused = other.issuer(&store).await.unwrap_err().to_string();
    assert!(
        refused.starts_with("AUTH_SECRET_KEY: no configured secret opens"),
        "{refused}"
    );
}

#[tokio::test]
async fn s8_the_rotation_period_is_at_least_two_lifetimes_of_an_access_token() {
    let minute = ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "1");
    let rotation = |days| [SERVER_SECRET, minute, ("AUTH_KEY_ROTATION_DAYS", days)];
    let refused = read(&rotation("0.00138")).unwrap_err();
    assert!(
        refused.contains("AUTH_KEY_ROTATION_DAYS: less than twice"),
        "{refused}"
    );
    let settings = read(&rotation("0.0014")).unwrap();
    assert!(settings.issuer(&MemoryStore::new()).await.is_ok());
    let with_secret = [
        SERVER_SECRET,
        ("JWT_SECRET_KEY", SECRET),
        ("AUTH_KEY_ROTATION_DAYS", "30"),
    ];
    assert!(
        read(&with_secret)
            .unwrap_err()
            .contains("AUTH_KEY_ROTATION_DAYS")
    );
}

/// Fault 30: the next and the retiring key have a name.
#[tokio::test]
async fn s8_the_first_of_several_key_files_signs_and_all_verify() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let der = std::fs::read(format!("src/test_util/keys/{name}.test-only.pkcs8.der")).unwrap();
        let path = folder.path().join(name.replace('/', "-"));
        std::fs::write(&path, pem::encode(&pem::Pem::new("PRIVATE KEY", der))).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (old, new, rsa) = (
        file("first/ed25519"),
        file("other/ed25519"),
        file("first/rsa2048"),
    );
    let store = MemoryStore::new();
    let issuer = async |list: &str| {
        let vars = [
            ("JWT_PRIVATE_KEY_FILE", list),
            ("JWT_ISSUER", "https://as.example"),
            SERVER_SECRET,
        ];
        read(&vars).unwrap().issuer(&store).await.unwrap()
    };
    let before = issuer(&old).await;
    let [first, second] = [
        issuer(&format!("{old}, {new} ,{rsa}")).await,
        issuer(&format!("{new},{old},{rsa}")).await,
    ];
    for signing in [&before, &first, &second] {
        let minted = signing
            .issue_access_token(AccessTokenClaims::for_subject("ada"))
            .unwrap();
        for verifying in [&first, &second] {
            let verifier = verifying.verifier().build().unwrap();
            assert!(verifier.verify_now(minted.token().expose()).is_ok());
        }
    }
    let kid = |issuer: &TokenIssuer| issuer.keys().statuses()[0].kid().unwrap().to_owned();
    assert_eq!(kid(&before), kid(&first));
    assert_ne!(kid(&first), kid(&second));
    for issuer in [&first, &second] {
        assert_eq!(issuer.keys().jwks().matches("\"kid\"").count(), 3);
    }
    let twice = [("JWT_PRIVATE_KEY_FILE", &*format!("{old},{old}"))];
    assert!(read(&twice).unwrap_err().contains("JWT_PRIVATE_KEY_FILE"));
}
