//! Another address for an account.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer,
    error::StoreError,
    event::MailPurpose,
    server::login::{EmailAddress, Identifier, PasswordHash},
    store::{
        MemoryStore,
        port::{NewUser, UserAdmin, UserRecord, UserStore},
    },
};

use super::{ORIGIN, forgot, on_each, reset};
use crate::{
    front::{Answer, Front, NAME, PASSWORD, ada, bearer, cheap, post},
    support::{
        self,
        postbox::{Postbox, token},
    },
};

const NEW: &str = "ada@new.example";

async fn ask(front: &Front, access: &str, to: &str, password: &str) -> Answer {
    let body = json!({ "new_email": to, "current_password": password });
    front
        .send(bearer(post("email/change", &body), access))
        .await
}

/// Requests the change, and returns the token of the link to the new address.
async fn requested(front: &Front, postbox: &Postbox, access: &str, to: &str) -> String {
    let answer = ask(front, access, to, PASSWORD).await;
    assert_eq!(answer.status, 202, "{}: {answer:?}", front.kind());
    assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
    let mut mails = Vec::new();
    for mail in postbox.unread() {
        mails.push(postbox.next(mail.purpose).await);
    }
    mails.sort_by_key(|mail| mail.purpose.is_notice());
    let [link, notice] = &mails[..] else {
        panic!("{mails:?}");
    };
    assert_eq!(
        (link.purpose, link.to.as_str()),
        (MailPurpose::ChangeEmail, to)
    );
    assert_eq!(notice.purpose, MailPurpose::EmailChangeRequested);
    assert_eq!(notice.to.as_str(), NAME);
    assert!(notice.link.is_none() && notice.code.is_none());
    token(link)
}

async fn confirm(front: &Front, token: &str) -> Answer {
    front
        .post("email/confirm", &json!({ "token": token }))
        .await
}

#[tokio::test]
async fn u27_a_change_is_proved_at_the_new_address_and_announced_at_the_old_one() {
    for (front, postbox) in on_each().await {
        let kind = front.kind();
        let session = front.sign_in().await;
        assert_eq!(forgot(&front, NAME).await.status, 202);
        let older = token(&postbox.next(MailPurpose::ResetPassword).await);
        let other = requested(&front, &postbox, &session.access(), "ada@third.example").await;
        let link = requested(&front, &postbox, &session.access(), NEW).await;
        // Nothing has changed before the link is used.
        assert_eq!(front.post("login", &ada()).await.status, 200, "{kind}");
        let uses = (0..6).map(|_| confirm(&front, &link));
        let answers = join_all(uses).await;
        let confirmed = answers.iter().filter(|answer| answer.status == 204);
        assert_eq!(confirmed.count(), 1, "{kind}: {answers:?}");
        let notice = postbox.next(MailPurpose::EmailChanged).await;
        assert_eq!(notice.to.as_str(), NAME);

        assert_eq!(front.post("login", &ada()).await.status, 401, "{kind}");
        let new = json!({ "email": NEW, "password": PASSWORD });
        assert_eq!(front.post("login", &new).await.status, 200, "{kind}");
        // Mails to the old address, and other changes, are worth nothing.
        let stolen = reset(&front, &older, "another long password").await;
        assert_eq!(stolen.text("error"), "invalid_link");
        assert_eq!(confirm(&front, &other).await.text("error"), "invalid_link");
        let user = front
            .store
            .find_by_email(&EmailAddress::new(NEW).unwrap())
            .await;
        assert!(user.unwrap().unwrap().email_verified, "{kind}");
        assert!(front.events.take().contains(&"email.changed"), "{kind}");
        assert_eq!(
            front.refresh(&session.refresh()).await.status,
            200,
            "{kind}"
        );
    }
}

#[tokio::test]
async fn u27_a_stolen_session_changes_no_address() {
    for (front, postbox) in on_each().await {
        let session = front.sign_in().await;
        let access = session.access();
        let wrong = ask(&front, &access, NEW, "not the password").await;
        assert_eq!(
            (wrong.status.as_u16(), &*wrong.text("error")),
            (400, "invalid_password")
        );
        let none = json!({ "new_email": NEW });
        let none = front
            .send(bearer(post("email/change", &none), &access))
            .await;
        assert_eq!(none.text("error"), "invalid_request");
        let body = json!({ "new_email": NEW, "current_password": PASSWORD });
        assert_eq!(front.post("email/change", &body).await.status, 401);
        for bad in ["ada", "a@b,c@d", "a b@example.org"] {
            assert_eq!(
                ask(&front, &access, bad, PASSWORD).await.text("error"),
                "invalid_request"
            );
        }
        // Guesses are counted with those of a password change.
        let mut last = wrong;
        for _ in 0..6 {
            last = ask(&front, &access, NEW, "not the password").await;
        }
        assert_eq!(last.status, 429);
        assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
        assert!(postbox.unread().is_empty());
    }
}

/// The answer does not show that another user has the address, and that user's account stays.
#[tokio::test]
async fn u26_a_taken_address_gets_the_same_response_and_no_mail() {
    for (front, postbox) in on_each().await {
        let bob = json!({ "email": "bob@example.org", "password": PASSWORD });
        assert_eq!(front.post("register", &bob).await.status, 201);
        postbox.next(MailPurpose::VerifyEmail).await;
        let session = front.sign_in().await;
        let free = ask(&front, &session.access(), NEW, PASSWORD).await;
        let taken = ask(&front, &session.access(), "bob@example.org", PASSWORD).await;
        assert_eq!((taken.status, taken.json()), (free.status, free.json()));
        assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
        let unread = postbox.unread();
        assert!(
            unread
                .iter()
                .all(|mail| mail.to.as_str() != "bob@example.org")
        );
        for mail in unread {
            postbox.next(mail.purpose).await;
        }
        assert_eq!(front.post("login", &bob).await.status, 200);
    }
}

/// The address is taken, the user is disabled or a new password is set between request and use.
#[tokio::test]
async fn u19_u27_a_change_that_is_overtaken_is_refused() {
    for (front, postbox) in on_each().await {
        let session = front.sign_in().await;
        let access = session.access();
        let link = requested(&front, &postbox, &access, NEW).await;
        let thief = json!({ "email": NEW, "password": PASSWORD });
        assert_eq!(front.post("register", &thief).await.status, 201);
        postbox.next(MailPurpose::VerifyEmail).await;
        assert_eq!(confirm(&front, &link).await.text("error"), "invalid_link");

        let link = requested(&front, &postbox, &access, "ada@other.example").await;
        let subject = front.ada().await;
        front.store.set_disabled(&subject, true).await.unwrap();
        assert_eq!(confirm(&front, &link).await.text("error"), "invalid_link");
        front.store.set_disabled(&subject, false).await.unwrap();

        // The owner who gets the notice sets a new password.
        let link = requested(&front, &postbox, &access, "thief@other.example").await;
        assert_eq!(forgot(&front, NAME).await.status, 202);
        let rescue = token(&postbox.next(MailPurpose::ResetPassword).await);
        assert_eq!(
            reset(&front, &rescue, "another long password").await.status,
            204
        );
        postbox.next(MailPurpose::PasswordChanged).await;
        assert_eq!(confirm(&front, &link).await.text("error"), "invalid_link");
        assert!(postbox.unread().is_empty());
    }
}

/// The first lookup by subject after this is set reports that it came, and waits.
type Stop = Arc<Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>>;

/// Users whose store stops answering for a while.
#[derive(Clone, Default)]
struct Slow(MemoryStore, Stop);

impl UserStore for Slow {
    async fn find(&self, identifier: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        self.0.find(identifier).await
    }

    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        let stop = self.1.lock().unwrap().take();
        if let Some((came, go)) = stop {
            came.send(()).unwrap();
            go.await.unwrap();
        }
        self.0.find_by_subject(subject).await
    }

    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        self.0.replace_hash(subject, old, new).await
    }

    fn can_create(&self) -> bool {
        true
    }

    async fn create(&self, user: NewUser) -> Result<bool, StoreError> {
        UserStore::create(&self.0, user).await
    }

    fn keeps_email(&self) -> bool {
        true
    }

    async fn verify_email(
        &self,
        subject: &str,
        address: &EmailAddress,
    ) -> Result<bool, StoreError> {
        self.0.verify_email(subject, address).await
    }

    async fn change_email(
        &self,
        subject: &str,
        from: &EmailAddress,
        to: &EmailAddress,
    ) -> Result<bool, StoreError> {
        self.0.change_email(subject, from, to).await
    }
}

/// A thief has registered the address of another person, and uses the link to an address of the thief at the
/// moment when the owner comes. The link is spent before the owner ends it, and must not take effect afterwards.
#[tokio::test]
async fn u34_a_change_that_crosses_a_take_over_is_refused() {
    let (store, postbox) = (MemoryStore::new(), Postbox::default());
    let slow = Slow(store.clone(), Stop::default());
    let auth = AuthServer::builder(store.clone())
        .users(slow.clone())
        .public_origin(ORIGIN)
        .registration(true)
        .login(|login| login.hasher(cheap()))
        .mailer(postbox.clone())
        .start()
        .await
        .unwrap();
    let send = async |path: &str, body: Value, access: &str| {
        let mut request = post(path, &body);
        if !access.is_empty() {
            request = bearer(request, access);
        }
        let Ok(answer) = auth.endpoints().oneshot(request).await;
        support::endpoints::Answer::of(answer).await
    };
    let login = json!({ "email": NAME, "password": PASSWORD });
    let thief = send("register", login, "").await.access();
    postbox.next(MailPurpose::VerifyEmail).await;
    let body = json!({ "new_email": NEW, "current_password": PASSWORD });
    assert_eq!(send("email/change", body, &thief).await.status, 202);
    assert!(auth.flush_mail(Duration::from_secs(60)).await);
    let mut change = String::new();
    for mail in postbox.unread() {
        let mail = postbox.next(mail.purpose).await;
        if mail.purpose == MailPurpose::ChangeEmail {
            change = token(&mail);
        }
    }

    let ((came, comes), (goes, go)) = (oneshot::channel(), oneshot::channel());
    *slow.1.lock().unwrap() = Some((came, go));
    let owner = async {
        comes.await.unwrap();
        send("password/forgot", json!({ "email": NAME }), "").await;
        let link = token(&postbox.next(MailPurpose::ResetPassword).await);
        let body = json!({ "token": link, "new_password": "the password of the owner" });
        assert_eq!(send("password/reset", body, "").await.status, 204);
        goes.send(()).unwrap();
    };
    let confirm = send("email/confirm", json!({ "token": change }), "");
    let (confirmed, ()) = tokio::join!(confirm, owner);
    assert_eq!(confirmed.text("error"), "invalid_link", "{confirmed:?}");
    let login = json!({ "email": NAME, "password": "the password of the owner" });
    assert_eq!(send("login", login, "").await.status, 200);
    let address = EmailAddress::new(NAME).unwrap();
    assert!(store.find_by_email(&address).await.unwrap().is_some());
}
