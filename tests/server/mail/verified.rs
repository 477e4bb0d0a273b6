//! Users whose address must be verified before they sign in, and the claims about it.

use std::time::Duration;

use http::StatusCode;
use http_body_util::Full;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer, ConfigError,
    event::MailPurpose,
    server::{
        AuthServerBuilder,
        login::{EmailAddress, EmailClaims, Identifier, PasswordHash, SignIn},
    },
    store::{
        AnyStore, MemoryStore,
        port::{NewUser, UserStore},
    },
};

use super::ORIGIN;
use crate::{
    front::{self, Front, NAME, PASSWORD, ada, vars},
    support::{
        endpoints::Answer,
        postbox::{Postbox, token},
    },
};

const VARS: [(&str, &str); 2] = [
    ("AUTH_PUBLIC_URL", ORIGIN),
    ("AUTH_REQUIRE_VERIFIED_EMAIL", "true"),
];

async fn on_each() -> Vec<(Front, Postbox)> {
    let postbox = Postbox::default();
    let mailer = postbox.clone();
    let open = move |builder: AuthServerBuilder<AnyStore>| {
        let builder = builder.mailer(mailer.clone()).registration(true);
        builder.mail(|mail| mail.sign_in(true))
    };
    let servers = Front::changed(&VARS, open).await;
    servers
        .into_iter()
        .map(|front| (front, postbox.clone()))
        .collect()
}

/// The whole response.
async fn whole(front: &Front, path: &str, body: &Value) -> Answer {
    let Ok(answer) = front
        .auth
        .endpoints()
        .oneshot(front::post(path, body))
        .await;
    Answer::of(answer).await
}

#[tokio::test]
async fn u36_only_a_verified_address_signs_in() {
    for (front, postbox) in on_each().await {
        let kind = front.kind();
        // A wrong password and an unknown name get the response of every server.
        let wrong = json!({ "email": NAME, "password": "not the password" });
        let unknown = json!({ "email": "nobody@example.org", "password": PASSWORD });
        let [wrong, unknown] = [wrong, unknown].map(|body| {
            let front = &front;
            async move { whole(front, "login", &body).await }
        });
        let (wrong, unknown) = (wrong.await, unknown.await);
        assert_eq!(wrong.status, 401, "{kind}");
        assert_eq!(
            (&wrong.headers, &wrong.body),
            (&unknown.headers, &unknown.body),
            "{kind}"
        );
        assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
        assert!(postbox.unread().is_empty());

        let refused = whole(&front, "login", &ada()).await;
        refused.is(403, "email_not_verified");
        let link = token(&postbox.next(MailPurpose::VerifyEmail).await);
        let form = format!(
            "grant_type=password&username={}&password={}",
            NAME.replace('@', "%40"),
            PASSWORD.replace(' ', "+")
        );
        let request = front::request("POST", "token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::from(form))
            .unwrap();
        let refused = front.send(request).await;
        assert_eq!(
            (refused.status.as_u16(), &*refused.text("error")),
            (400, "email_not_verified")
        );
        postbox.next(MailPurpose::VerifyEmail).await;
        let subject = front.ada().await;
        let head = http::Request::post("/callback")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        let passkey = front
            .auth
            .sign_in(&head, SignIn::new(&subject).amr(["hwk"]))
            .await;
        assert_eq!(passkey.status(), StatusCode::FORBIDDEN, "{kind}");
        postbox.next(MailPurpose::VerifyEmail).await;
        assert!(front.events.take().contains(&"login.failed"));

        let verified = front.post("email/verify", &json!({ "token": link })).await;
        assert_eq!(verified.status, 204, "{kind}");
        assert_eq!(front.post("login", &ada()).await.status, 200, "{kind}");
    }
}

/// Mails are limited, and the response does not change.
#[tokio::test]
async fn u29_u36_a_correct_password_requests_a_limited_number_of_mails() {
    for (front, postbox) in on_each().await {
        for _ in 0..8 {
            whole(&front, "login", &ada())
                .await
                .is(403, "email_not_verified");
        }
        for _ in 0..5 {
            postbox.next(MailPurpose::VerifyEmail).await;
        }
        assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
        assert!(postbox.unread().is_empty(), "{}", front.kind());
    }
}

#[tokio::test]
async fn u36_a_registration_starts_no_session_before_the_address_is_verified() {
    for (front, postbox) in on_each().await {
        let kind = front.kind();
        let name = json!({ "username": "grace", "password": PASSWORD });
        let refused = front.post("register", &name).await;
        assert_eq!(refused.text("error"), "invalid_request", "{kind}");
        let grace = json!({ "email": "grace@example.org", "password": PASSWORD });
        let answer = whole(&front, "register?transport=cookie", &grace).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.len()),
            (202, 0),
            "{kind}"
        );
        assert!(answer.cookies().is_empty());
        let link = token(&postbox.next(MailPurpose::VerifyEmail).await);
        let verified = front.post("email/verify", &json!({ "token": link })).await;
        assert_eq!(verified.status, 204);
        assert_eq!(front.post("login", &grace).await.status, 200, "{kind}");

        // A code and a link for a new password prove the address as well.
        for by_code in [true, false] {
            let email = format!("new-{by_code}@example.org");
            let body = json!({ "email": email, "password": PASSWORD });
            assert_eq!(front.post("register", &body).await.status, 202);
            postbox.next(MailPurpose::VerifyEmail).await;
            let ask = json!({ "email": email });
            if by_code {
                let flow = front.post("login/email", &ask).await.text("flow");
                let code = postbox.next(MailPurpose::SignIn).await.code.unwrap();
                let body = json!({ "flow": flow, "code": code.expose() });
                assert_eq!(front.post("login/code", &body).await.status, 200);
            } else {
                front.post("password/forgot", &ask).await;
                let link = token(&postbox.next(MailPurpose::ResetPassword).await);
                let body = json!({ "token": link, "new_password": "another long password" });
                assert_eq!(front.post("password/reset", &body).await.status, 204);
                let body = json!({ "email": email, "password": "another long password" });
                assert_eq!(front.post("login", &body).await.status, 200);
            }
            postbox.next(MailPurpose::PasswordChanged).await;
        }
    }
}

/// A user whom only the application creates, under a name.
#[tokio::test]
async fn u36_a_user_without_an_address_signs_in() {
    for (front, postbox) in on_each().await {
        let hash = front::cheap()
            .hash(&tower_jwt_auth::server::login::Password::new(PASSWORD.to_owned()).unwrap())
            .await
            .unwrap();
        let user = NewUser::new("u-op", Identifier::new("operator").unwrap(), hash);
        assert!(UserStore::create(&front.store, user).await.unwrap());
        let body = json!({ "username": "operator", "password": PASSWORD });
        assert_eq!(front.post("login", &body).await.status, 200);
        assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
        assert!(postbox.unread().is_empty());
    }
}

/// Users of a table that does not record which addresses are verified.
struct Unrecorded;

impl UserStore for Unrecorded {
    async fn find(
        &self,
        _: &Identifier,
    ) -> Result<Option<tower_jwt_auth::store::port::UserRecord>, tower_jwt_auth::error::StoreError>
    {
        Ok(None)
    }

    async fn find_by_subject(
        &self,
        _: &str,
    ) -> Result<Option<tower_jwt_auth::store::port::UserRecord>, tower_jwt_auth::error::StoreError>
    {
        Ok(None)
    }

    async fn replace_hash(
        &self,
        _: &str,
        _: &PasswordHash,
        _: &PasswordHash,
    ) -> Result<bool, tower_jwt_auth::error::StoreError> {
        Ok(false)
    }
}

#[tokio::test]
async fn u36_the_switch_needs_a_mailer_and_recorded_addresses() {
    let named = |error: ConfigError| error.to_string();
    let builder = || AuthServer::builder(MemoryStore::new());
    let refused = named(builder().settings(vars(&VARS)).start().await.unwrap_err());
    assert!(refused.contains("AUTH_REQUIRE_VERIFIED_EMAIL"), "{refused}");
    let refused = builder()
        .users(Unrecorded)
        .public_origin(ORIGIN)
        .mailer(Postbox::default())
        .mail(|mail| mail.require_verified(true))
        .start();
    let refused = named(refused.await.unwrap_err());
    assert!(refused.contains("require_verified"), "{refused}");
}

/// Read from the record at the login and at every refresh.
#[tokio::test]
async fn u37_access_tokens_state_whether_the_address_is_verified() {
    for (setting, claims) in [
        ("none", EmailClaims::None),
        ("verified", EmailClaims::Verified),
        ("address", EmailClaims::Address),
    ] {
        let vars = [("AUTH_EMAIL_CLAIMS", setting)];
        let servers = Front::on_each(&vars).await.into_iter();
        let in_code = Front::changed(&[], move |builder| builder.email_claims(claims)).await;
        for front in servers.chain(in_code) {
            let kind = front.kind();
            let of = |access: &str| {
                let token = front.auth.verifier().verify_now(access).unwrap();
                let claims = token.claims();
                (
                    claims.get("email").cloned(),
                    claims.get("email_verified").cloned(),
                )
            };
            let expected = |name: &str, verified: bool| match claims {
                EmailClaims::Verified => (None, Some(json!(verified))),
                EmailClaims::Address => (Some(json!(name)), Some(json!(verified))),
                _ => (None, None),
            };
            let session = front.sign_in().await;
            assert_eq!(
                of(&session.access()),
                expected(NAME, false),
                "{kind} {setting}"
            );
            let [old, new] = [NAME, "ada@new.example"].map(|name| EmailAddress::new(name).unwrap());
            let subject = front.ada().await;
            assert!(front.store.verify_email(&subject, &old).await.unwrap());
            let session = front.refresh(&session.refresh()).await;
            assert_eq!(
                of(&session.access()),
                expected(NAME, true),
                "{kind} {setting}"
            );
            assert!(
                front
                    .store
                    .change_email(&subject, &old, &new)
                    .await
                    .unwrap()
            );
            let session = front.refresh(&session.refresh()).await;
            let changed = expected("ada@new.example", true);
            assert_eq!(of(&session.access()), changed, "{kind} {setting}");
            let roles = front.auth.verifier().verify_now(session.access()).unwrap();
            assert_eq!(roles.claims().get("roles"), Some(&json!(["admin"])));
        }
    }
}
