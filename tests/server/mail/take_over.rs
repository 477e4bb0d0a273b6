//! The take-over of an account whose address was never verified: interrupted, and beside other requests.
//! `tests/store/login/take_over.rs` has the flow on every store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer,
    error::StoreError,
    event::{MailPurpose, RevokeReason},
    server::{
        AuthServerBuilder,
        login::{EmailAddress, Identifier, PasswordHash, TakeOverHook},
        mail::{Mail, MailError, Mailer},
    },
    store::{
        AnyStore, MemoryStore,
        port::{NewUser, UserRecord, UserStore},
    },
};

use super::ORIGIN;
use crate::{
    front::{self, Front, NAME, PASSWORD, bearer, cheap},
    support::{
        endpoints::Answer,
        postbox::{Postbox, token},
    },
};

const EVE: &str = "eve@example.org";
const NEW: &str = "the password of the owner";

/// The step that fails.
#[derive(Clone, Default)]
struct Fault(Arc<AtomicU8>);

const NONE: u8 = 0;
const PASSWORD_WRITE: u8 = 1;
const PASSWORD_ANSWER: u8 = 2;
const HOOK: u8 = 3;
const VERIFICATION: u8 = 4;

impl Fault {
    fn set(&self, step: u8) {
        self.0.store(step, Ordering::SeqCst);
    }

    fn is(&self, step: u8) -> bool {
        self.0.load(Ordering::SeqCst) == step
    }
}

impl TakeOverHook for Fault {
    async fn on_take_over(&self, _: &str) -> Result<(), StoreError> {
        match self.is(HOOK) {
            true => Err(StoreError::unavailable("unplugged")),
            false => Ok(()),
        }
    }
}

#[derive(Clone)]
struct Users(MemoryStore, Fault);

impl UserStore for Users {
    async fn find(&self, identifier: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        self.0.find(identifier).await
    }

    async fn find_by_subject(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        self.0.find_by_subject(subject).await
    }

    async fn replace_hash(
        &self,
        subject: &str,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<bool, StoreError> {
        if self.1.is(PASSWORD_WRITE) {
            return Err(StoreError::unavailable("unplugged"));
        }
        let replaced = self.0.replace_hash(subject, old, new).await;
        match self.1.is(PASSWORD_ANSWER) {
            true => Err(StoreError::interrupted("cut")),
            false => replaced,
        }
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
        match self.1.is(VERIFICATION) {
            true => Err(StoreError::unavailable("unplugged")),
            false => self.0.verify_email(subject, address).await,
        }
    }
}

async fn post(auth: &AuthServer, path: &str, body: &Value) -> Answer {
    let Ok(answer) = auth.endpoints().oneshot(front::post(path, body)).await;
    Answer::of(answer).await
}

/// A link for a new password, or a code: the secret that the owner of the address receives.
async fn proof(auth: &AuthServer, postbox: &Postbox, by_code: bool) -> (&'static str, Value) {
    let email = json!({ "email": EVE });
    if by_code {
        let flow = post(auth, "login/email", &email).await.text("flow");
        let code = postbox.next(MailPurpose::SignIn).await.code.unwrap();
        ("login/code", json!({ "flow": flow, "code": code.expose() }))
    } else {
        post(auth, "password/forgot", &email).await;
        let link = token(&postbox.next(MailPurpose::ResetPassword).await);
        let body = json!({ "token": link, "new_password": NEW });
        ("password/reset", body)
    }
}

/// Whatever step fails, the owner is not signed in, the other person gets no further than before, and the
/// next proof completes the take-over.
#[tokio::test]
async fn u34_an_interrupted_take_over_is_closed_and_can_be_repeated() {
    for by_code in [true, false] {
        for step in [PASSWORD_WRITE, PASSWORD_ANSWER, HOOK, VERIFICATION] {
            let case = format!("code {by_code}, step {step}");
            let (store, fault) = (MemoryStore::new(), Fault::default());
            let postbox = Postbox::default();
            let auth = AuthServer::builder(store.clone())
                .users(Users(store.clone(), fault.clone()))
                .public_origin(ORIGIN)
                .registration(true)
                .login(|login| login.hasher(cheap()))
                .mailer(postbox.clone())
                .mail(|mail| mail.sign_in(true))
                .on_take_over(fault.clone())
                .start()
                .await
                .unwrap();
            let login = json!({ "email": EVE, "password": PASSWORD });
            let thief = post(&auth, "register", &login).await;
            assert_eq!(thief.status, 201);
            postbox.next(MailPurpose::VerifyEmail).await;

            fault.set(step);
            let (path, body) = proof(&auth, &postbox, by_code).await;
            let failed = post(&auth, path, &body).await;
            assert_eq!(failed.status, 503, "{case}: {failed:?}");
            assert!(failed.access().is_empty());
            let address = EmailAddress::new(EVE).unwrap();
            let record = store.find_by_email(&address).await.unwrap().unwrap();
            assert!(!record.email_verified, "{case}");
            if step > PASSWORD_WRITE {
                // Neither the old nor the new password opens the account.
                for password in [PASSWORD, NEW] {
                    let body = json!({ "email": EVE, "password": password });
                    assert_eq!(post(&auth, "login", &body).await.status, 401, "{case}");
                }
            }
            if step > PASSWORD_ANSWER {
                let body = json!({ "refresh_token": thief.refresh() });
                assert_eq!(post(&auth, "refresh", &body).await.status, 400, "{case}");
            }
            // The proof is spent.
            fault.set(NONE);
            assert_eq!(post(&auth, path, &body).await.status, 400, "{case}");

            let (path, body) = proof(&auth, &postbox, by_code).await;
            let done = post(&auth, path, &body).await;
            assert_eq!(
                done.status,
                if by_code { 200 } else { 204 },
                "{case}: {done:?}"
            );
            postbox.next(MailPurpose::PasswordChanged).await;
            let record = store.find_by_email(&address).await.unwrap().unwrap();
            assert!(record.email_verified, "{case}");
            assert_eq!(post(&auth, "login", &login).await.status, 401, "{case}");
            let body = json!({ "refresh_token": thief.refresh() });
            assert_eq!(post(&auth, "refresh", &body).await.status, 400, "{case}");
            if !by_code {
                let body = json!({ "email": EVE, "password": NEW });
                assert_eq!(post(&auth, "login", &body).await.status, 200, "{case}");
            }
        }
    }
}

async fn on_each(
    change: fn(AuthServerBuilder<AnyStore>) -> AuthServerBuilder<AnyStore>,
) -> Vec<(Front, Postbox)> {
    let postbox = Postbox::default();
    let mailer = postbox.clone();
    let open = move |builder: AuthServerBuilder<AnyStore>| {
        change(builder.mailer(mailer.clone()).registration(true))
    };
    let servers = Front::changed(&[("AUTH_PUBLIC_URL", ORIGIN)], open).await;
    servers
        .into_iter()
        .map(|front| (front, postbox.clone()))
        .collect()
}

/// A name that another person has registered cannot be registered or moved to. Its owner takes the
/// account over instead.
#[tokio::test]
async fn u34_a_registered_address_is_neither_registered_again_nor_moved_to() {
    for (front, postbox) in on_each(|builder| builder).await {
        let kind = front.kind();
        let login = json!({ "email": EVE, "password": PASSWORD });
        assert_eq!(front.post("register", &login).await.status, 201);
        postbox.next(MailPurpose::VerifyEmail).await;
        let address = EmailAddress::new(EVE).unwrap();
        let before = front.store.find_by_email(&address).await.unwrap().unwrap();

        let again = json!({ "email": " EVE@example.org", "password": NEW });
        assert_eq!(front.post("register", &again).await.status, 409, "{kind}");
        let ada = front.sign_in().await;
        let body = json!({ "new_email": EVE, "current_password": PASSWORD });
        let asked = front
            .send(bearer(front::post("email/change", &body), &ada.access()))
            .await;
        assert_eq!(asked.status, 202, "{kind}");
        postbox.next(MailPurpose::EmailChangeRequested).await;
        assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
        assert!(postbox.unread().is_empty(), "{kind}");
        let after = front.store.find_by_email(&address).await.unwrap().unwrap();
        assert_eq!(
            (after.subject, after.email_verified),
            (before.subject, false),
            "{kind}"
        );
        assert_eq!(front.post("login", &login).await.status, 200, "{kind}");
        assert_eq!(
            front.post("login", &front::ada()).await.status,
            200,
            "{kind}"
        );
    }
}

/// A mailer that holds every mail until it gets a permit.
#[derive(Clone)]
struct Held(Arc<Semaphore>, Postbox);

impl Mailer for Held {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        self.0.acquire().await?.forget();
        self.1.send(mail).await
    }
}

/// The queue is slower than the end of the sessions.
#[tokio::test]
async fn u34_a_change_of_the_address_that_waits_in_the_queue_does_not_outlive_the_sessions() {
    let (gate, postbox) = (Arc::new(Semaphore::new(0)), Postbox::default());
    let mailer = Held(Arc::clone(&gate), postbox.clone());
    let open = move |builder: AuthServerBuilder<AnyStore>| builder.mailer(mailer.clone());
    for front in Front::changed(&[("AUTH_PUBLIC_URL", ORIGIN)], open).await {
        let (ada, session) = (front.ada().await, front.sign_in().await);
        let mail = front.auth.mail().unwrap();
        // Every sender is busy.
        for _ in 0..4 {
            mail.notify(&ada, MailPurpose::EmailChanged);
        }
        let body = json!({ "new_email": EVE, "current_password": PASSWORD });
        let asked = front::post("email/change", &body);
        let asked = front.send(bearer(asked, &session.access())).await;
        assert_eq!(asked.status, 202);
        let sessions = front.auth.sessions();
        let reason = RevokeReason::CredentialsChanged;
        sessions.revoke_all(&ada, reason).await.unwrap();
        gate.add_permits(100);
        assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
        let links = postbox.unread();
        assert!(links.iter().all(|mail| mail.link.is_none()), "{links:?}");
        assert!(front.events.take().contains(&"mail.skipped"));
        gate.forget_permits(100);
    }
}

/// A provider has verified the address of an account that is verified here, unknown, or disabled.
#[tokio::test]
async fn u34_a_proved_address_opens_only_an_account_that_has_it() {
    use tower_jwt_auth::store::port::UserAdmin;
    for (front, _) in on_each(|builder| builder).await {
        let (login, sessions) = (front.auth.login(), front.auth.sessions());
        let [ada, nobody] =
            [NAME, "nobody@example.org"].map(|name| EmailAddress::new(name).unwrap());
        let prove =
            async |address: &EmailAddress| login.prove_email(sessions, address).await.unwrap();
        assert!(prove(&nobody).await.is_none());
        let subject = front.ada().await;
        assert!(front.store.verify_email(&subject, &ada).await.unwrap());
        let session = front.sign_in().await;
        let proved = prove(&ada).await.unwrap();
        assert_eq!((&*proved.subject, proved.taken_over), (&*subject, false));
        assert_eq!(front.refresh(&session.refresh()).await.status, 200);
        assert_eq!(front.post("login", &front::ada()).await.status, 200);
        front.store.set_disabled(&subject, true).await.unwrap();
        assert!(prove(&ada).await.is_none(), "{}", front.kind());
    }
}
