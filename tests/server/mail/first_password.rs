//! A first password for an account that has none: of an identity provider, with a passkey, or by codes.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tower_jwt_auth::{
    event::MailPurpose,
    server::login::{EmailAddress, Identifier},
    store::port::{NewUser, UserStore},
};

use super::{forgot, on_each, reset};
use crate::support::postbox::token;

const GRACE: &str = "grace@example.org";
const NEW: &str = "a first long password";

#[tokio::test]
async fn u35_a_link_sets_the_first_password_once() {
    for (front, postbox) in on_each().await {
        let kind = front.kind();
        let address = EmailAddress::new(GRACE).unwrap();
        let user = NewUser::without_password("u-grace", Identifier::new(GRACE).unwrap());
        assert!(UserStore::create(&front.store, user).await.unwrap());
        assert!(front.store.verify_email("u-grace", &address).await.unwrap());
        // No password is correct before.
        for guess in ["x", "", NEW] {
            let body = json!({ "email": GRACE, "password": guess });
            let status = front.post("login", &body).await.status.as_u16();
            assert!([400, 401].contains(&status), "{kind}: {guess}");
        }
        assert_eq!(forgot(&front, GRACE).await.status, 202);
        let link = token(&postbox.next(MailPurpose::ResetPassword).await);
        let uses = (0..6).map(|_| reset(&front, &link, NEW));
        let set = join_all(uses).await;
        let set = set.iter().filter(|answer| answer.status == 204).count();
        assert_eq!(set, 1, "{kind}");
        postbox.next(MailPurpose::PasswordChanged).await;
        let body = json!({ "email": GRACE, "password": NEW });
        assert_eq!(front.post("login", &body).await.status, 200, "{kind}");
        assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
    }
}

/// The address is proved by the link, and the account has nothing of another person.
#[tokio::test]
async fn u34_u35_a_first_password_verifies_the_address() {
    for (front, postbox) in on_each().await {
        let user = NewUser::without_password("u-grace", Identifier::new(GRACE).unwrap());
        assert!(UserStore::create(&front.store, user).await.unwrap());
        assert_eq!(forgot(&front, GRACE).await.status, 202);
        let link = token(&postbox.next(MailPurpose::ResetPassword).await);
        assert_eq!(reset(&front, &link, NEW).await.status, 204);
        postbox.next(MailPurpose::PasswordChanged).await;
        let user = front.store.find_by_subject("u-grace").await.unwrap();
        assert!(user.unwrap().email_verified, "{}", front.kind());
    }
}
