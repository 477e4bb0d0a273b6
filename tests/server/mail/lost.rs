//! Mails that are not sent.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer,
    event::{AuthEvent, MailEvent, MailFailure, MailPurpose, sink_fn},
    server::{
        login::{Identifier, Password},
        mail::{Mail, MailError, Mailer},
    },
    store::{
        MemoryStore,
        port::{NewUser, UserStore},
    },
};

use super::ORIGIN;
use crate::{
    front::{self, NAME, PASSWORD, cheap, until},
    support::postbox::Postbox,
};

#[derive(Clone, Copy, Debug)]
enum Fault {
    Fails,
    Panics,
    Hangs,
}

struct Faulty(Fault);

impl Mailer for Faulty {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        match self.0 {
            Fault::Fails => Err("the relay is closed".into()),
            Fault::Panics => panic!("a bug that knows {}", mail.text().expose()),
            Fault::Hangs => std::future::pending().await,
        }
    }
}

/// A mailer that holds every mail until it gets a permit.
struct Held(Arc<Semaphore>);

impl Mailer for Held {
    async fn send(&self, _: &Mail) -> Result<(), MailError> {
        self.0.acquire().await?.forget();
        Ok(())
    }
}

type Seen = Arc<Mutex<Vec<MailEvent>>>;

async fn server(mailer: impl Mailer, queue: u32, timeout: Duration) -> (AuthServer, Seen) {
    let seen = Seen::default();
    let store = MemoryStore::new();
    let hash = cheap()
        .hash(&Password::new(PASSWORD.to_owned()).unwrap())
        .await;
    let user = NewUser::new("u-ada", Identifier::new(NAME).unwrap(), hash.unwrap());
    assert!(UserStore::create(&store, user).await.unwrap());
    let events = Arc::clone(&seen);
    let auth = AuthServer::builder(store)
        .public_origin(ORIGIN)
        .login(|login| login.hasher(cheap()))
        .events(sink_fn(move |event| {
            if let AuthEvent::Mail(event) = event {
                events.lock().unwrap().push((*event).clone());
            }
        }))
        .mailer(mailer)
        .mail(move |mail| mail.timeout(timeout).queue(queue))
        .start()
        .await
        .unwrap();
    (auth, seen)
}

async fn forgot(
    auth: &AuthServer,
    email: &str,
) -> http::Response<tower_jwt_auth::layer::response::Whole> {
    let request = front::post("password/forgot", &json!({ "email": email }));
    let Ok(answer) = auth.endpoints().oneshot(request).await;
    answer
}

fn reasons(seen: &Seen) -> Vec<&'static str> {
    let seen = seen.lock().unwrap();
    seen.iter()
        .map(|event| match event {
            MailEvent::Failed { reason, .. } => reason.as_str(),
            other => other.name(),
        })
        .collect()
}

#[tokio::test]
async fn u28_a_mailer_that_fails_panics_or_hangs_is_reported_and_the_next_mail_is_sent() {
    for (fault, reason) in [
        (Fault::Fails, MailFailure::Refused),
        (Fault::Panics, MailFailure::Panicked),
        (Fault::Hangs, MailFailure::TimedOut),
    ] {
        let (auth, seen) = server(Faulty(fault), 100, SHORT).await;
        for _ in 0..3 {
            assert_eq!(forgot(&auth, NAME).await.status(), 202, "{fault:?}");
        }
        assert_eq!(forgot(&auth, "nobody@example.org").await.status(), 202);
        assert!(auth.flush_mail(Duration::from_secs(60)).await);
        let mut reasons = reasons(&seen);
        reasons.sort_unstable();
        let mut expected = vec![
            "mail.skipped",
            reason.as_str(),
            reason.as_str(),
            reason.as_str(),
        ];
        expected.sort_unstable();
        assert_eq!(reasons, expected, "{fault:?}");
    }
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn u13_u28_a_lost_mail_is_one_log_line_without_its_link() {
    let (log, _guard) = crate::support::log::Log::start();
    for fault in [Fault::Fails, Fault::Panics] {
        let (auth, _) = server(Faulty(fault), 100, SHORT).await;
        assert_eq!(forgot(&auth, NAME).await.status(), 202);
        assert!(auth.flush_mail(Duration::from_secs(60)).await);
    }
    assert_eq!(log.lines_with("a mail was lost"), 2, "{}", log.text());
    assert!(log.text().contains("the relay is closed"));
    for hidden in ["ot1_", NAME] {
        assert!(!log.text().contains(hidden), "{}", log.text());
    }
}

#[tokio::test]
async fn u28_a_full_queue_refuses_with_503_for_every_address() {
    let gate = Arc::new(Semaphore::new(0));
    let (auth, seen) = server(Held(Arc::clone(&gate)), 2, LONG).await;
    let store_mail = auth.mail().unwrap().clone();
    for _ in 0..2 {
        store_mail.notify("u-ada", MailPurpose::NewDevice);
    }
    for email in [NAME, "nobody@example.org"] {
        let answer = forgot(&auth, email).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()["retry-after"], "1");
    }
    store_mail.notify("u-ada", MailPurpose::NewDevice);
    // A purpose with a link is no notice.
    store_mail.notify("u-ada", MailPurpose::ResetPassword);
    assert_eq!(reasons(&seen), ["queue_full"; 3]);
    gate.add_permits(10);
    assert!(auth.flush_mail(Duration::from_secs(60)).await);
    assert_eq!(forgot(&auth, NAME).await.status(), 202);
    assert!(auth.flush_mail(Duration::from_secs(60)).await);
    assert_eq!(seen.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn u28_the_queue_is_emptied_after_the_server_is_dropped() {
    let postbox = Postbox::default();
    let (auth, seen) = server(postbox.clone(), 100, LONG).await;
    let mail = auth.mail().unwrap().clone();
    for _ in 0..20 {
        mail.notify("u-ada", MailPurpose::PasswordChanged);
    }
    drop((auth, mail));
    for _ in 0..20 {
        postbox.next(MailPurpose::PasswordChanged).await;
    }
    until("reported", async || reasons(&seen).len() == 20).await;
    assert_eq!(reasons(&seen), ["mail.sent"; 20]);
}

#[tokio::test]
async fn u28_a_queue_that_cannot_be_emptied_is_dropped_within_a_bound_and_reported() {
    let gate = Arc::new(Semaphore::new(0));
    let (auth, seen) = server(Held(gate), 1000, SHORT).await;
    let mail = auth.mail().unwrap().clone();
    for _ in 0..400 {
        mail.notify("u-ada", MailPurpose::PasswordChanged);
    }
    assert!(!auth.flush_mail(Duration::from_millis(10)).await);
    drop((auth, mail));
    crate::support::until::until(|| reasons(&seen).len() == 400).await;
    let reasons = reasons(&seen);
    assert!(reasons.contains(&"stopped") && reasons.contains(&"timed_out"));
}

#[test]
fn u28_a_runtime_that_ends_reports_what_was_queued() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let seen = runtime.block_on(async {
        let (auth, seen) = server(Held(Arc::new(Semaphore::new(0))), 100, LONG).await;
        for _ in 0..7 {
            auth.mail()
                .unwrap()
                .notify("u-ada", MailPurpose::EmailChanged);
        }
        seen
    });
    drop(runtime);
    assert_eq!(reasons(&seen), ["stopped"; 7]);
}

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);
