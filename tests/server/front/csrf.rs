//! Requests that another site causes, at every endpoint: N8.

use http::header::SET_COOKIE;
use serde_json::json;
use tower_jwt_auth::{AuthServer, store::MemoryStore};

use super::{
    NAME, PASSWORD, SECRET, cheap,
    identities::{Browser, Idp},
    passkeys::Authority,
};
use crate::support::postbox::Postbox;

/// The endpoints that act for the user of a cookie. Each needs the CSRF proof of the session.
const FOR_A_USER: &[&str] = &[
    "password",
    "email/change",
    "identity/idp/link",
    "identities/unlink",
    "passkeys/register/options",
    "passkeys/register",
    "passkeys/remove",
    #[cfg(feature = "totp")]
    "totp",
    #[cfg(feature = "totp")]
    "totp/confirm",
    #[cfg(feature = "totp")]
    "totp/disable",
    #[cfg(feature = "totp")]
    "recovery-codes",
    #[cfg(feature = "totp")]
    "step-up",
];

/// The endpoints that set cookies, by which another site could sign a browser in.
const THAT_SIGN_IN: &[&str] = &[
    "login",
    "register",
    "guest",
    "refresh",
    "login/code",
    "passkeys/options",
    "passkeys/sign-in",
    #[cfg(feature = "totp")]
    "login/continue",
];

/// The endpoints without cookies: a token or an address in the body is all that counts.
const WITHOUT_COOKIES: &[&str] = &[
    "token",
    "revoke",
    "password/forgot",
    "password/reset",
    "email/verification",
    "email/verify",
    "email/confirm",
];

async fn server() -> AuthServer {
    let builder = AuthServer::builder(MemoryStore::new())
        .public_origin("https://app.example")
        .secret(SECRET.parse().unwrap())
        .registration(true)
        .login(|login| login.hasher(cheap()))
        .mailer(Postbox::default())
        .guests(|guests| guests)
        .mail(|mail| mail.sign_in(true))
        .identity_provider("idp", Idp::default())
        .passkeys(Authority);
    #[cfg(feature = "totp")]
    let builder = builder.totp("app.example");
    builder.start().await.unwrap()
}

#[tokio::test]
async fn n8_every_endpoint_refuses_what_another_site_causes() {
    let auth = server().await;
    let mut user = Browser::new(&auth);
    let account = json!({ "email": NAME, "password": PASSWORD, "transport": "cookie" });
    assert_eq!(user.post("register", account.clone()).await.0, 201);
    let mut body = account;
    for (name, value) in [
        ("flow", "f"),
        ("code", "123456"),
        ("token", "t"),
        ("id", "AQID"),
        ("issuer", "https://idp.example"),
        ("subject", "1"),
        ("credential", "{}"),
        ("mfa_token", "mf1_"),
        ("new_email", "eve@example.org"),
        ("new_password", "another long password"),
        ("current_password", PASSWORD),
        ("return_to", "/"),
    ] {
        body[name] = value.into();
    }
    let body = body.to_string();
    for path in FOR_A_USER {
        // Without the proof no site is trusted, and with it another site is not.
        let mut unproved = user.clone();
        unproved.cookies.remove("__Host-csrf");
        let answer = unproved.send("POST", path, "same-origin", &body).await;
        assert_eq!(answer.status(), 403, "{path} without the proof");
        for site in ["cross-site", "same-site"] {
            let answer = unproved.send("POST", path, site, &body).await;
            assert_eq!(answer.status(), 403, "{path} {site}");
            assert!(!answer.headers().contains_key(SET_COOKIE), "{path}");
        }
        let answer = user.clone().send("POST", path, "cross-site", &body).await;
        assert_eq!(answer.status(), 403, "{path} with a proof");
    }
    for path in THAT_SIGN_IN {
        for site in ["cross-site", "same-site"] {
            let answer = user.clone().send("POST", path, site, &body).await;
            assert_eq!(answer.status(), 403, "{path} {site}");
            assert!(!answer.headers().contains_key(SET_COOKIE), "{path}");
        }
    }
    for path in WITHOUT_COOKIES {
        let answer = user.clone().send("POST", path, "cross-site", &body).await;
        assert!(!answer.headers().contains_key(SET_COOKIE), "{path}");
        assert_ne!(answer.status(), 404, "{path}");
    }
    // A logout from another site is no error, and deletes nothing.
    let answer = user
        .clone()
        .send("POST", "logout", "cross-site", "{}")
        .await;
    assert!(!answer.headers().contains_key(SET_COOKIE));
    assert!(user.is_signed_in().await);
    // Every response that may hold a secret is of no use to a cache.
    for path in [FOR_A_USER, THAT_SIGN_IN, WITHOUT_COOKIES].concat() {
        let answer = user.clone().send("POST", path, "same-origin", &body).await;
        assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
    }
}
