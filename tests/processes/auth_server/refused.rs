//! Settings that keep the server from coming up, and what it says then and otherwise.

use super::client::{PASSWORD, SEEDS, USER, refused};
use crate::support::process::{Folder, Server};

const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";
const SECRET: &str = "another test secret, never in use";

#[test]
fn a_bad_value_is_one_line_that_names_it_and_exit_code_2() {
    let folder = Folder::new();
    let no_key = folder.file("no-key.pem", "-----BEGIN NOTHING-----\n");
    let long = format!("{USER}:{}", "x".repeat(1025));
    let hs256 = ("JWT_SECRET_KEY", SECRET);
    let unreachable = "redis://ops:pa55-of-the-store@127.0.0.1:1";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("AUTH_SECRET_KEY", "")], "AUTH_SECRET_KEY"),
        (
            &[("AUTH_SECRET_KEY", "sh0rt-but-secret")],
            "AUTH_SECRET_KEY",
        ),
        (
            &[("AUTH_SECRET_KEY", "sh0rt-but-secret, no")],
            "AUTH_SECRET_KEY",
        ),
        (&[("AUTH_PUBLIC_URL", "app.example")], "AUTH_PUBLIC_URL"),
        (
            &[("AUTH_PUBLIC_URL", "http://app.example")],
            "AUTH_PUBLIC_URL",
        ),
        (&[("AUTH_PUBLIC_URL", "ftp://localhost")], "AUTH_PUBLIC_URL"),
        (
            &[("AUTH_PUBLIC_URL", "https://app.example/x")],
            "AUTH_PUBLIC_URL",
        ),
        (
            &[(
                "AUTH_PUBLIC_URL",
                "https://ops:pa55-of-the-store@app.example",
            )],
            "AUTH_PUBLIC_URL",
        ),
        (
            &[("AUTH_TRUSTED_ORIGINS", "http://app.example")],
            "AUTH_TRUSTED_ORIGINS",
        ),
        (&[("AUTH_COOKIE_PREFIX", "a b")], "AUTH_COOKIE_PREFIX"),
        (&[("AUTH_ACR_MFA", "")], "AUTH_ACR_MFA"),
        (&[("JWT_CLIENT_ID", "web,")], "JWT_CLIENT_ID"),
        (&[("AUTH_STORE_URL", "memory:")], "AUTH_STORE_URL"),
        // Its own address is no origin that browsers may send cookies to.
        (&[("HOST", "0.0.0.0")], "AUTH_PUBLIC_URL"),
        (&[("AUTH_REGISTRATION", "yes")], "AUTH_REGISTRATION"),
        (&[("AUTH_REFRESH_POLICY", "lenient")], "AUTH_REFRESH_POLICY"),
        (
            &[("AUTH_REFRESH_GRACE_SECONDS", "0")],
            "AUTH_REFRESH_GRACE_SECONDS",
        ),
        (
            &[("AUTH_REFRESH_GRACE_SECONDS", "301")],
            "AUTH_REFRESH_GRACE_SECONDS",
        ),
        (
            &[
                ("AUTH_REFRESH_POLICY", "strict"),
                ("AUTH_REFRESH_GRACE_SECONDS", "30"),
            ],
            "AUTH_REFRESH_GRACE_SECONDS",
        ),
        (
            &[("AUTH_STORE", "mysql://ops:pa55-of-the-store@localhost")],
            "AUTH_STORE",
        ),
        (
            &[("AUTH_STORE", "sqlite:/no/such/folder/auth.db")],
            "AUTH_STORE",
        ),
        (
            &[(
                "AUTH_STORE",
                "postgres://ops:pa55-of-the-store@127.0.0.1:1/x",
            )],
            "AUTH_STORE",
        ),
        (&[("AUTH_STORE", unreachable)], "AUTH_STORE"),
        (
            &[("AUTH_STORE", unreachable), ("AUTH_SECRET_KEY", KEY), SEEDS],
            "AUTH_STORE",
        ),
        (&[("AUTH_SEED_USER", USER)], "AUTH_SEED_USER"),
        (
            &[("AUTH_SEED_USER", "ada@example.org::admin")],
            "AUTH_SEED_USER",
        ),
        (&[("AUTH_SEED_USER", &long)], "AUTH_SEED_USER"),
        (&[("AUTH_SECERT_KEY", KEY)], "AUTH_SECERT_KEY"),
        (&[("JWT_SECRET_KEY", "sh0rt-but-secret")], "JWT_SECRET_KEY"),
        (&[hs256, ("JWT_ALGORITHM", "HS512")], "JWT_SECRET_KEY"),
        (
            &[hs256, ("JWT_ALGORITHM", "RS256")],
            "JWT_ALGORITHM, JWT_SECRET_KEY",
        ),
        (&[("JWT_ALGORITHM", "HS256")], "JWT_SECRET_KEY"),
        (&[("JWT_ALGORITHM", "none")], "JWT_ALGORITHM"),
        (
            &[("JWT_PRIVATE_KEY_FILE", "/no/such/file")],
            "JWT_PRIVATE_KEY_FILE",
        ),
        (&[("JWT_PRIVATE_KEY_FILE", &no_key)], "JWT_PRIVATE_KEY_FILE"),
        (
            &[hs256, ("JWT_PRIVATE_KEY_FILE", &no_key)],
            "JWT_PRIVATE_KEY_FILE, JWT_SECRET_KEY",
        ),
        (
            &[("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "31")],
            "JWT_ACCESS_TOKEN_EXPIRE_MINUTES",
        ),
        (
            &[("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "0")],
            "JWT_ACCESS_TOKEN_EXPIRE_MINUTES",
        ),
        (
            &[("JWT_REFRESH_TOKEN_EXPIRE_DAYS", "a week")],
            "JWT_REFRESH_TOKEN_EXPIRE_DAYS",
        ),
        (&[("JWT_ISSUER", " ")], "JWT_ISSUER"),
        (&[("JWT_AUDIENCE", "api,,web")], "JWT_AUDIENCE"),
        (&[("HOST", "256.0.0.1")], "HOST"),
        (&[("PORT", "http")], "PORT"),
    ];
    for (vars, variable) in cases {
        let (status, said, complaint) = refused(vars);
        assert_eq!(status.code(), Some(2), "{variable}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{variable}: {complaint}");
        let named = complaint.starts_with(&format!("{variable}: "));
        assert!(named, "{variable}: {complaint}");
        for secret in [
            "sh0rt-but-secret",
            "pa55-of-the-store",
            KEY,
            SECRET,
            PASSWORD,
        ] {
            assert!(!said.contains(secret), "{variable}: {said}");
        }
    }
}

/// Fault 46: an operator must see what to change.
#[test]
fn a_store_that_cannot_be_opened_is_named_with_its_cause() {
    let folder = Folder::new();
    let broken = format!(
        "sqlite:{}",
        folder.file("broken.db", "this is no database at all")
    );
    for (store, cause) in [
        (
            "sqlite:/no/such/folder/auth.db",
            "unable to open database file",
        ),
        (&*broken, "not a database"),
        ("postgres://ops:pa55-of-the-store@127.0.0.1:1/x", "refused"),
        ("redis://ops:pa55-of-the-store@127.0.0.1:1", "refused"),
    ] {
        let (status, said, complaint) = refused(&[("AUTH_STORE", store)]);
        assert_eq!(status.code(), Some(2), "{store}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        let lower = complaint.to_ascii_lowercase();
        assert!(complaint.starts_with("AUTH_STORE: "), "{complaint}");
        assert!(lower.contains(cause), "{complaint}");
        assert!(!said.contains("pa55-of-the-store"), "{said}");
    }
}

#[tokio::test]
async fn a_server_that_runs_prints_no_secret() {
    let folder = Folder::new();
    let store = folder.sqlite();
    let secrets = [("AUTH_SECRET_KEY", KEY), ("JWT_SECRET_KEY", SECRET)];
    let server = Server::start(&[secrets[0], secrets[1], SEEDS, ("AUTH_STORE", &store)]);
    let tokens = server.login(USER).await;
    let _ = server.try_login(USER, "a wrong one").await;
    let fresh = server.refresh(&tokens).await.tokens();
    assert_eq!(server.logout(&fresh, "device").await.status, 204);
    let said = server.stop();
    let (access, refresh) = (&fresh.access, &fresh.refresh);
    for secret in [KEY, SECRET, PASSWORD, USER, "a wrong one", access, refresh] {
        assert!(!said.contains(secret), "{said}");
    }
}

/// The demo user's password is in the source for anybody to read.
#[tokio::test]
async fn a_demo_user_is_there_only_where_nothing_was_said() {
    let demo = async |server: &Server| {
        let answer = server.try_login("demo@example.org", "demo-password");
        answer.await.status
    };
    let folder = Folder::new();
    let store = folder.sqlite();
    let server = Server::start(&[]);
    assert_eq!(demo(&server).await, 200);
    let said = server.stop();
    assert!(said.contains("demo user: demo@example.org"), "{said}");
    for said in [
        SEEDS,
        ("AUTH_STORE", &*store),
        ("AUTH_STORE", "memory:"),
        ("AUTH_PUBLIC_URL", "https://app.example"),
    ] {
        let server = Server::start(&[said]);
        assert_eq!(demo(&server).await, 401, "{said:?}");
        assert!(!server.stop().contains("demo-password"), "{said:?}");
    }
}
