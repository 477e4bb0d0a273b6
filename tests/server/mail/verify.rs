//! Proof of an address by a link.

use futures_util::future::join_all;
use serde_json::json;
use tower_jwt_auth::{event::MailPurpose, server::login::EmailAddress, store::port::UserStore};

use super::{on_each, reset};
use crate::{
    front::{Front, PASSWORD},
    support::postbox::token,
};

const EVE: &str = "eve@example.org";

async fn is_verified(front: &Front, name: &str) -> bool {
    let address = EmailAddress::new(name).unwrap();
    let user = front.store.find_by_email(&address).await.unwrap();
    user.unwrap().email_verified
}

#[tokio::test]
async fn u27_a_registration_sends_a_link_that_verifies_the_address_once() {
    for (front, postbox) in on_each().await {
        let kind = front.kind();
        let body = json!({ "email": EVE, "password": PASSWORD });
        assert_eq!(front.post("register", &body).await.status, 201, "{kind}");
        let mail = postbox.next(MailPurpose::VerifyEmail).await;
        assert_eq!(mail.to.as_str(), EVE);
        assert_eq!(mail.site, "app.example");
        assert!(!is_verified(&front, EVE).await, "{kind}");
        let link = token(&mail);
        // A link for an address sets no password.
        let stolen = reset(&front, &link, "another long password").await;
        assert_eq!(stolen.text("error"), "invalid_link");
        let body = json!({ "token": link });
        let uses = (0..8).map(|_| front.post("email/verify", &body));
        let answers = join_all(uses).await;
        let verified = answers.iter().filter(|answer| answer.status == 204);
        assert_eq!(verified.count(), 1, "{kind}: {answers:?}");
        assert!(is_verified(&front, EVE).await, "{kind}");
        assert!(front.events.take().contains(&"email.verified"), "{kind}");

        // There is nothing to send to a verified address, and the answer is the same.
        let again = front
            .post("email/verification", &json!({ "email": EVE }))
            .await;
        assert_eq!(again.status, 202);
        assert!(
            front
                .auth
                .flush_mail(std::time::Duration::from_secs(60))
                .await
        );
        assert!(postbox.unread().is_empty(), "{kind}");
        assert!(front.events.take().contains(&"mail.skipped"), "{kind}");
    }
}

#[tokio::test]
async fn u27_a_link_verifies_only_the_address_that_received_it() {
    for (front, postbox) in on_each().await {
        let body = json!({ "email": EVE, "password": PASSWORD });
        assert_eq!(front.post("register", &body).await.status, 201);
        let first = token(&postbox.next(MailPurpose::VerifyEmail).await);
        let asked = front
            .post("email/verification", &json!({ "email": EVE }))
            .await;
        assert_eq!(asked.status, 202);
        let second = token(&postbox.next(MailPurpose::VerifyEmail).await);
        let old = EmailAddress::new(EVE).unwrap();
        let user = front.store.find_by_email(&old).await.unwrap().unwrap();
        let new = EmailAddress::new("eve@new.example").unwrap();
        assert!(
            front
                .store
                .change_email(&user.subject, &old, &new)
                .await
                .unwrap()
        );
        for link in [first, second] {
            let answer = front.post("email/verify", &json!({ "token": link })).await;
            assert_eq!(answer.text("error"), "invalid_link", "{answer:?}");
        }
    }
}

/// A name that is not an address gets no mail, and a registration does not depend on the mail.
#[tokio::test]
async fn u28_a_name_without_an_address_gets_no_mail() {
    for (front, postbox) in on_each().await {
        let body = json!({ "username": "eve", "password": PASSWORD });
        assert_eq!(front.post("register", &body).await.status, 201);
        for email in ["eve", "eve@", "a@b@c", "a b@example.org", ""] {
            for path in ["password/forgot", "email/verification"] {
                let answer = front.post(path, &json!({ "email": email })).await;
                assert_eq!(answer.text("error"), "invalid_request", "{email}");
            }
        }
        assert!(
            front
                .auth
                .flush_mail(std::time::Duration::from_secs(60))
                .await
        );
        assert!(postbox.unread().is_empty());
    }
}
