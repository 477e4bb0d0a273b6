//! A new password by a link.

use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::Full;
use serde_json::json;
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer,
    event::MailPurpose,
    server::login::{Identifier, Password},
    store::{
        MemoryStore,
        port::{
            NewOneTime, NewUser, OneTimePurpose, OneTimeStore, OneTimeToken, UserAdmin, UserStore,
        },
    },
    test_util::TestClock,
};

use super::{ORIGIN, forgot, on_each, reset, reset_token};
use crate::{
    front::{self, NAME, PASSWORD, ada, cheap},
    support::postbox::{Postbox, token},
};

const NEW: &str = "another long password";

#[tokio::test]
async fn u19_u27_a_link_sets_one_password_and_ends_what_the_old_one_opened() {
    for (front, postbox) in on_each().await {
        let kind = front.kind();
        let session = front.sign_in().await;
        let device = session.text("device_token");
        let other = reset_token(&front, &postbox).await;
        let link = reset_token(&front, &postbox).await;
        let answer = reset(&front, &link, NEW).await;
        assert_eq!(answer.status, 204, "{kind}: {answer:?}");
        assert!(answer.text("access_token").is_empty());
        let notice = postbox.next(MailPurpose::PasswordChanged).await;
        assert_eq!((notice.to.as_str(), notice.link.is_none()), (NAME, true));

        let refreshed = front.refresh(&session.refresh()).await;
        assert_eq!(refreshed.text("code"), "session_revoked", "{kind}");
        for spent in [&link, &other] {
            let again = reset(&front, spent, "a third long password").await;
            assert_eq!(again.status, 400, "{kind}");
            assert_eq!(again.text("error"), "invalid_link");
        }
        let old = front.post("login", &ada()).await;
        assert_eq!(old.status, 401, "{kind}");
        let new = json!({ "email": NAME, "password": NEW, "device_token": device });
        assert_eq!(front.post("login", &new).await.status, 200, "{kind}");
        // The mail was received, so the address is verified.
        let user = front.store.find_by_subject(&front.ada().await).await;
        assert!(user.unwrap().unwrap().email_verified, "{kind}");
        assert!(postbox.unread().is_empty(), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u27_of_parallel_uses_of_a_link_one_sets_its_password() {
    for (front, postbox) in on_each().await {
        let link = reset_token(&front, &postbox).await;
        let passwords: Vec<_> = (0..12).map(|n| format!("long password {n}")).collect();
        let uses = passwords
            .iter()
            .map(|password| reset(&front, &link, password));
        let answers = join_all(uses).await;
        let set = answers.iter().position(|answer| answer.status == 204);
        for (at, answer) in answers.iter().enumerate() {
            match Some(at) == set {
                true => {}
                false => assert_eq!(answer.text("error"), "invalid_link", "{answer:?}"),
            }
        }
        let password = &passwords[set.expect("one is set")];
        let body = json!({ "email": NAME, "password": password });
        assert_eq!(front.post("login", &body).await.status, 200);
        postbox.next(MailPurpose::PasswordChanged).await;
    }
}

#[tokio::test]
async fn u23_u27_a_refused_password_and_a_token_of_another_kind_spend_no_link() {
    for (front, postbox) in on_each().await {
        let link = reset_token(&front, &postbox).await;
        let short = reset(&front, &link, "short").await;
        assert_eq!(
            (short.status.as_u16(), &*short.text("code")),
            (400, "too_short")
        );
        for method in ["GET", "HEAD"] {
            let path = format!("password/reset?token={link}&new_password=x");
            let request = front::request(method, &path).body(Full::default()).unwrap();
            assert_eq!(front.send(request).await.status, 405);
        }
        let ada = front.ada().await;
        for purpose in [
            OneTimePurpose::Verification,
            OneTimePurpose::SignIn,
            OneTimePurpose::EmailChange,
            OneTimePurpose::Unlock,
        ] {
            let other = OneTimeToken::mint();
            let hour = Duration::from_secs(3600);
            let new = NewOneTime::new(&other, purpose, &ada, hour);
            front.store.issue(new).await.unwrap();
            let refused = reset(&front, other.expose(), NEW).await;
            assert_eq!(refused.text("error"), "invalid_link", "{purpose:?}");
        }
        for bad in [
            "x",
            "ot1_",
            &link.replace("ot1_", "ot2_"),
            &format!("{link}0"),
        ] {
            assert_eq!(reset(&front, bad, NEW).await.text("error"), "invalid_link");
        }
        let missing = front
            .post("password/reset", &json!({ "new_password": NEW }))
            .await;
        assert_eq!(missing.text("error"), "invalid_request");
        let verify = front.post("email/verify", &json!({ "token": link })).await;
        assert_eq!(verify.text("error"), "invalid_link");
        assert_eq!(reset(&front, &link, NEW).await.status, 204);
        postbox.next(MailPurpose::PasswordChanged).await;
    }
}

#[tokio::test]
async fn u27_a_link_to_an_address_that_the_user_gave_up_is_refused() {
    for (front, postbox) in on_each().await {
        let link = reset_token(&front, &postbox).await;
        let user = front.store.find_by_subject(&front.ada().await).await;
        let user = user.unwrap().unwrap();
        let old = user.email.unwrap();
        let new = tower_jwt_auth::server::login::EmailAddress::new("ada@new.example").unwrap();
        let changed = front.store.change_email(&user.subject, &old, &new);
        assert!(changed.await.unwrap());
        assert_eq!(
            reset(&front, &link, NEW).await.text("error"),
            "invalid_link"
        );
        assert_eq!(forgot(&front, NAME).await.status, 202);
        assert_eq!(forgot(&front, new.as_str()).await.status, 202);
        let mail = postbox.next(MailPurpose::ResetPassword).await;
        assert_eq!(mail.to, new, "{}", front.kind());
        assert_eq!(reset(&front, &token(&mail), NEW).await.status, 204);
        postbox.next(MailPurpose::PasswordChanged).await;
    }
}

/// By the store's clock.
#[tokio::test]
async fn u27_a_link_is_valid_for_its_lifetime_and_for_enabled_users() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let postbox = Postbox::default();
    let auth = AuthServer::builder(store.clone())
        .public_origin(ORIGIN)
        .login(|login| login.hasher(cheap()))
        .mailer(postbox.clone())
        .mail(|mail| mail.reset_lifetime(Duration::from_secs(600)))
        .start()
        .await
        .unwrap();
    let hash = cheap()
        .hash(&Password::new(PASSWORD.to_owned()).unwrap())
        .await;
    let user = NewUser::new("u-ada", Identifier::new(NAME).unwrap(), hash.unwrap());
    assert!(UserStore::create(&store, user).await.unwrap());
    let send = async |path: &str, body: serde_json::Value| {
        let Ok(answer) = auth.endpoints().oneshot(front::post(path, &body)).await;
        answer.status().as_u16()
    };
    let links = async || {
        assert_eq!(send("password/forgot", json!({ "email": NAME })).await, 202);
        let mail = postbox.next(MailPurpose::ResetPassword).await;
        assert_eq!(mail.expires_in, Some(Duration::from_secs(600)));
        token(&mail)
    };
    let set = async |token: &str| {
        send(
            "password/reset",
            json!({ "token": token, "new_password": NEW }),
        )
        .await
    };
    let late = links().await;
    clock.advance(Duration::from_secs(600));
    assert_eq!(set(&late).await, 400);
    let link = links().await;
    clock.advance(Duration::from_secs(599));
    store.set_disabled("u-ada", true).await.unwrap();
    assert_eq!(set(&link).await, 400);
    store.set_disabled("u-ada", false).await.unwrap();
    let link = links().await;
    clock.advance(Duration::from_secs(599));
    assert_eq!(set(&link).await, 204);
}
