//! A guest registers: twice at once, and through a store that fails.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::ServiceExt;
use tower_jwt_auth::store::port::GuestStore;

use crate::support::{
    endpoints::{Browser, PASSWORD, Server, ada, bearer, json as post},
    users::Fault,
};

fn linking(name: &str) -> Value {
    json!({ "email": name, "password": PASSWORD, "link": true })
}

impl Server {
    /// A guest's access token and its subject.
    async fn guest(&self) -> (String, String) {
        let token = self.post("guest", &json!({})).await.access();
        let verified = self.verifier.verify_now(&token).unwrap();
        let subject = verified.subject().unwrap().to_owned();
        (token, subject)
    }

    async fn register(&self, name: &str, guest: &str) -> crate::support::endpoints::Answer {
        let request = bearer(post("register", &linking(name)), guest);
        self.send(request).await
    }

    fn subject_of(&self, token: &str) -> String {
        let token = self.verifier.verify_now(token).unwrap();
        token.subject().unwrap().to_owned()
    }
}

/// A double click.
#[tokio::test]
async fn two_equal_registrations_keep_the_guest() {
    let mut server = Server::start().await;
    for n in 0..40 {
        // The budget of strangers is spent by then.
        if n % 10 == 0 {
            server = Server::start().await;
        }
        let (token, guest) = server.guest().await;
        let name = format!("eve{n}@example.org");
        let (one, two) = tokio::join!(
            server.register(&name, &token),
            server.register(&name, &token)
        );
        let owner = server.users.subject(&name);
        assert_eq!(owner.as_ref(), Some(&guest), "{n}: {one:?} {two:?}");
        let (kept, refused) = match one.status.as_u16() {
            201 => (one, two),
            _ => (two, one),
        };
        assert_eq!(kept.status, 201, "{n}: {kept:?}");
        refused.is(409, "invalid_request");
        assert_eq!(server.subject_of(&kept.access()), guest);
        assert!(server.is_alive(&kept.access()).await);
        assert!(!server.is_alive(&token).await);
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_registers_has_its_account() {
    let server = Server::start().await;
    let (token, guest) = server.guest().await;
    let (came, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    server.users.next_create(Fault::Waits {
        came: Arc::clone(&came),
        go: Arc::clone(&go),
    });
    let request = bearer(post("register", &linking("eve@example.org")), &token);
    let client = tokio::spawn(server.endpoints.clone().oneshot(request));
    came.notified().await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    assert!(!server.is_alive(&token).await, "promoted already");
    go.notify_one();
    let kept = async {
        while server.users.subject("eve@example.org").is_none() {
            tokio::task::yield_now().await;
        }
    };
    let kept = tokio::time::timeout(Duration::from_secs(60), kept).await;
    kept.expect("the account is kept all the same");
    assert_eq!(server.users.subject("eve@example.org"), Some(guest.clone()));

    let again = server.register("eve@example.org", &token).await;
    again.is(409, "invalid_request");
    let login = json!({ "email": "eve@example.org", "password": PASSWORD });
    let login = server.post("login", &login).await;
    assert_eq!(server.subject_of(&login.access()), guest);
}

#[tokio::test]
async fn a_guest_whose_account_could_not_be_kept_asks_again() {
    let server = Server::start().await;
    let (token, guest) = server.guest().await;
    server.users.next_create(Fault::Unavailable);
    let refused = server.register("eve@example.org", &token).await;
    refused.is(503, "temporarily_unavailable");
    assert!(!server.is_alive(&token).await, "promoted already");
    let again = server.register("eve@example.org", &token).await;
    assert_eq!(again.status, 201, "{again:?}");
    assert_eq!(server.subject_of(&again.access()), guest);
    assert!(server.is_alive(&again.access()).await);

    // Once, and for as long as the token and the guest's hour last.
    let other = server.register("fay@example.org", &token).await;
    other.is(409, "invalid_request");
    assert_eq!(server.users.subject("fay@example.org"), None);
    let (token, guest) = server.guest().await;
    server.users.next_create(Fault::Unavailable);
    server.register("fay@example.org", &token).await;
    server.store.age_guest(&guest, Duration::from_secs(3601));
    let late = server.register("fay@example.org", &token).await;
    late.is(409, "invalid_request");
    assert_eq!(server.users.subject("fay@example.org"), None);
}

#[tokio::test]
async fn nobody_else_goes_on_where_an_account_could_not_be_kept() {
    let server = Server::start().await;
    let come = async || {
        let answer = server.send(post("guest?transport=cookie", &json!({})));
        let mut browser = Browser::default();
        browser.keep(&answer.await);
        browser
    };
    let (victim, mut thief) = (come().await, come().await);
    let access = victim.cookies["__Host-at"].clone();
    let guest = server.subject_of(&access);
    server.users.next_create(Fault::Unavailable);
    let register = |name, browser: &Browser| browser.dress(post("register", &linking(name)));
    let refused = server.send(register("eve@example.org", &victim)).await;
    refused.is(503, "temporarily_unavailable");

    // A copy of the token is not the device.
    thief.cookies.insert("__Host-at".to_owned(), access);
    let stolen = server.send(register("mallory@example.org", &thief)).await;
    assert_eq!(stolen.status, 201);
    assert_ne!(server.subject_of(&stolen.access()), guest);
    thief.cookies.remove("__Host-gst");
    let stolen = server.send(register("mallet@example.org", &thief)).await;
    assert_ne!(server.subject_of(&stolen.access()), guest);
    let again = server.send(register("eve@example.org", &victim)).await;
    assert_eq!(server.subject_of(&again.access()), guest);
}

#[tokio::test]
async fn an_account_whose_answer_was_lost_is_asked_for_once_more() {
    let server = Server::start().await;
    for (fault, name) in [
        (Fault::Written, "eve@example.org"),
        (Fault::NotWritten, "fay@example.org"),
    ] {
        let (token, guest) = server.guest().await;
        server.users.next_create(fault);
        let answer = server.register(name, &token).await;
        assert_eq!(answer.status, 201, "{name} {answer:?}");
        assert_eq!(server.subject_of(&answer.access()), guest);
        assert_eq!(server.users.subject(name), Some(guest));
    }
    server.users.next_create(Fault::Written);
    let plain = json!({ "email": "gil@example.org", "password": PASSWORD });
    assert_eq!(server.post("register", &plain).await.status, 201);

    // The same name and subject, and another password: somebody else was first.
    let (token, _) = server.guest().await;
    server.users.next_create(Fault::Beaten);
    let answer = server.register("hal@example.org", &token).await;
    answer.is(409, "invalid_request");
}

#[tokio::test]
async fn a_promotion_whose_answer_was_lost_is_asked_for_once_more() {
    let server = Server::start().await;
    let (token, guest) = server.guest().await;
    server.lose_promotion();
    let answer = server.register("eve@example.org", &token).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(server.subject_of(&answer.access()), guest);
    assert!(server.is_alive(&answer.access()).await);
    assert!(!server.is_alive(&token).await);
}

/// A guest that is not to be had costs nobody the account, unless it is an account's.
#[tokio::test]
async fn a_guest_that_is_somebodys_is_a_conflict_and_an_old_one_is_left() {
    let server = Server::start().await;
    let (token, guest) = server.guest().await;
    server.store.age_guest(&guest, Duration::from_secs(3601));
    let answer = server.register("eve@example.org", &token).await;
    assert_eq!(answer.status, 201);
    assert_ne!(server.subject_of(&answer.access()), guest);
    let peek = server.store.find_guest(&guest).await.unwrap().unwrap();
    assert!(peek.guest.is_alive(peek.now));

    let ada = server.post("login", &ada()).await.access();
    let answer = server.register("fay@example.org", &ada).await;
    assert_eq!(answer.status, 201, "a user's token is no guest's");

    let (token, _) = server.guest().await;
    let mut login = crate::support::endpoints::ada();
    login["link"] = true.into();
    server.send(bearer(post("login", &login), &token)).await;
    let answer = server.register("gil@example.org", &token).await;
    answer.is(409, "invalid_request");
    assert_eq!(server.users.subject("gil@example.org"), None);
}
