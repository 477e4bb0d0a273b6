//! Notices of sign-ins on new devices.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer,
    event::MailPurpose,
    server::{
        AuthServerBuilder,
        mail::{Mail, MailError, Mailer},
    },
    store::{AnyStore, MemoryStore},
};

use super::{ORIGIN, reset, reset_token};
use crate::{
    front::{self, Front, NAME, PASSWORD, ada, cheap},
    support::{
        endpoints::{Answer, Browser},
        postbox::Postbox,
    },
};

async fn on_each() -> Vec<(Front, Postbox)> {
    let postbox = Postbox::with_notices();
    let mailer = postbox.clone();
    let open = move |builder: AuthServerBuilder<AnyStore>| {
        builder.mailer(mailer.clone()).registration(true)
    };
    let servers = Front::changed(&[("AUTH_PUBLIC_URL", ORIGIN)], open).await;
    servers
        .into_iter()
        .map(|front| (front, postbox.clone()))
        .collect()
}

async fn nothing(front: &Front, postbox: &Postbox) {
    assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
    let unread = postbox.unread();
    assert!(unread.is_empty(), "{}: {unread:?}", front.kind());
}

#[tokio::test]
async fn u38_a_sign_in_on_a_new_device_is_announced_after_the_first_one() {
    for (front, postbox) in on_each().await {
        let first = front.sign_in().await;
        nothing(&front, &postbox).await;
        // The known device, and a wrong password on an unknown one.
        let mut known = ada();
        known["device_token"] = json!(first.text("device_token"));
        assert_eq!(front.post("login", &known).await.status, 200);
        let wrong = json!({ "email": NAME, "password": "not the password" });
        assert_eq!(front.post("login", &wrong).await.status, 401);
        nothing(&front, &postbox).await;

        let other = front.sign_in().await;
        let notice = postbox.next(MailPurpose::NewDevice).await;
        assert_eq!(notice.to.as_str(), NAME);
        assert_eq!(notice.network.as_deref(), Some("203.0.113.0/24"));
        assert!(notice.link.is_none() && notice.code.is_none());
        let text = notice.text();
        let date = notice.at.unwrap().to_calendar().date().to_string();
        for part in [&*date, " UTC", "203.0.113.0/24", "was not you"] {
            assert!(text.expose().contains(part), "{}", text.expose());
        }
        for secret in ["203.0.113.9", &*other.access(), &*other.refresh()] {
            assert!(!text.expose().contains(secret));
        }
        // A refresh and a password change are no sign-ins.
        assert_eq!(front.refresh(&other.refresh()).await.status, 200);
        nothing(&front, &postbox).await;
    }
}

/// A browser keeps its device token, also after it signed out.
#[tokio::test]
async fn u38_a_browser_is_announced_once_and_a_registration_never() {
    for (front, postbox) in on_each().await {
        let grace = json!({ "email": "grace@example.org", "password": PASSWORD });
        let send = async |browser: &mut Browser, path: &str, body: &Value| {
            let request = browser.dress(front::post(path, body));
            let Ok(answer) = front.auth.endpoints().oneshot(request).await;
            let answer = Answer::of(answer).await;
            browser.keep(&answer);
            answer
        };
        let (mut home, mut work) = (Browser::default(), Browser::default());
        let answer = send(&mut home, "register?transport=cookie", &grace).await;
        assert_eq!(answer.status, 201);
        postbox.next(MailPurpose::VerifyEmail).await;
        send(&mut home, "logout", &json!({})).await;
        let path = "login?transport=cookie";
        assert_eq!(send(&mut home, path, &grace).await.status, 200);
        nothing(&front, &postbox).await;
        for _ in 0..2 {
            assert_eq!(send(&mut work, path, &grace).await.status, 200);
        }
        postbox.next(MailPurpose::NewDevice).await;
        nothing(&front, &postbox).await;
    }
}

/// The device token of another account is no known device, and neither is one from before a reset.
#[tokio::test]
async fn u14_u38_a_device_token_of_another_account_or_password_is_a_new_device() {
    for (front, postbox) in on_each().await {
        let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
        let eve = front.post("register", &eve).await.text("device_token");
        postbox.next(MailPurpose::VerifyEmail).await;
        let own = front.sign_in().await.text("device_token");
        let mut foreign = ada();
        foreign["device_token"] = json!(eve);
        assert_eq!(front.post("login", &foreign).await.status, 200);
        postbox.next(MailPurpose::NewDevice).await;
        // The address is verified, so that this is no take-over.
        let address = tower_jwt_auth::server::login::EmailAddress::new(NAME).unwrap();
        let subject = front.ada().await;
        let verified =
            tower_jwt_auth::store::port::UserStore::verify_email(&front.store, &subject, &address);
        assert!(verified.await.unwrap());
        let link = reset_token(&front, &postbox).await;
        assert_eq!(
            reset(&front, &link, "another long password").await.status,
            204
        );
        postbox.next(MailPurpose::PasswordChanged).await;
        let body =
            json!({ "email": NAME, "password": "another long password", "device_token": own });
        assert_eq!(front.post("login", &body).await.status, 200);
        postbox.next(MailPurpose::NewDevice).await;
        nothing(&front, &postbox).await;
    }
}

#[tokio::test]
async fn u29_u38_an_address_gets_five_notices_in_an_hour() {
    for (front, postbox) in on_each().await {
        for _ in 0..9 {
            front.sign_in().await;
        }
        for _ in 0..5 {
            postbox.next(MailPurpose::NewDevice).await;
        }
        nothing(&front, &postbox).await;
    }
}

/// A mailer that never answers.
struct Held(Arc<Semaphore>);

impl Mailer for Held {
    async fn send(&self, _: &Mail) -> Result<(), MailError> {
        self.0.acquire().await?.forget();
        Ok(())
    }
}

#[tokio::test]
async fn u28_u38_a_mailer_that_hangs_and_a_full_queue_delay_no_sign_in() {
    let auth = AuthServer::builder(MemoryStore::new())
        .public_origin(ORIGIN)
        .registration(true)
        .login(|login| login.hasher(cheap()))
        .mailer(Held(Arc::new(Semaphore::new(0))))
        .mail(|mail| mail.queue(1).timeout(Duration::from_secs(3600)))
        .start()
        .await
        .unwrap();
    let send = async |path: &str| {
        let Ok(answer) = auth.endpoints().oneshot(front::post(path, &ada())).await;
        answer.status().as_u16()
    };
    assert_eq!(send("register").await, 201);
    for _ in 0..5 {
        assert_eq!(send("login").await, 200);
    }
}

#[tokio::test]
async fn u38_notices_can_be_switched_off() {
    let postbox = Postbox::with_notices();
    let mailer = postbox.clone();
    let open = move |builder: AuthServerBuilder<AnyStore>| {
        let builder = builder.mailer(mailer.clone());
        builder.mail(|mail| mail.new_device_notice(false))
    };
    for front in Front::changed(&[("AUTH_PUBLIC_URL", ORIGIN)], open).await {
        for _ in 0..3 {
            front.sign_in().await;
        }
        nothing(&front, &postbox).await;
    }
}
