//! Signing in by a code.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer,
    error::StoreError,
    event::MailPurpose,
    server::{
        AuthServerBuilder,
        login::{EmailAddress, Identifier, Password, PasswordHash},
    },
    store::{
        AnyStore, MemoryStore,
        port::{NewUser, OneTimeToken, UserAdmin, UserRecord, UserStore},
    },
    test_util::TestClock,
};

use super::{ORIGIN, reset, reset_token};
use crate::{
    front::{self, Answer, Front, NAME, PASSWORD, ada, cheap},
    support::{
        endpoints::Browser,
        postbox::{Postbox, token},
        users::Users,
    },
};

async fn on_each() -> Vec<(Front, Postbox)> {
    let postbox = Postbox::default();
    let mailer = postbox.clone();
    let open = move |builder: AuthServerBuilder<AnyStore>| {
        let builder = builder.mailer(mailer.clone()).registration(true);
        builder.mail(|mail| mail.sign_in(true))
    };
    let servers = Front::changed(&[("AUTH_PUBLIC_URL", ORIGIN)], open).await;
    let mut all = Vec::new();
    for front in servers {
        let ada = front.ada().await;
        let address = EmailAddress::new(NAME).unwrap();
        assert!(front.store.verify_email(&ada, &address).await.unwrap());
        all.push((front, postbox.clone()));
    }
    all
}

/// A flow, and the code that belongs to it.
async fn requested(front: &Front, postbox: &Postbox) -> (String, String) {
    let answer = front.post("login/email", &json!({ "email": NAME })).await;
    assert_eq!(answer.status, 202, "{}: {answer:?}", front.kind());
    assert_eq!(answer.json()["expires_in"], 600);
    let mail = postbox.next(MailPurpose::SignIn).await;
    let code = mail.code.as_ref().unwrap().expose().clone();
    assert_eq!(token(&mail), code);
    let link = mail.link.as_ref().unwrap().expose();
    assert!(
        link.starts_with("https://app.example/sign-in#code="),
        "{link}"
    );
    (answer.text("flow"), code)
}

async fn enter(front: &Front, flow: &str, code: &str) -> Answer {
    front
        .post("login/code", &json!({ "flow": flow, "code": code }))
        .await
}

/// A code that is not this one.
fn other_than(code: &str) -> String {
    let number: u32 = code.parse().unwrap();
    format!("{:08}", (number + 1) % 100_000_000)
}

#[tokio::test]
async fn u27_a_code_signs_in_once_in_the_client_that_asked() {
    for (front, postbox) in on_each().await {
        let kind = front.kind();
        let (flow, code) = requested(&front, &postbox).await;
        let (thief, _) = requested(&front, &postbox).await;
        // The code was read over a shoulder, or the link was opened on another device.
        for stolen in [&*thief, "ot1_x", &format!("{flow}0")] {
            let refused = enter(&front, stolen, &code).await;
            assert_eq!(refused.text("error"), "invalid_code", "{kind}");
        }
        let none = front.post("login/code", &json!({ "code": code })).await;
        assert_eq!(none.text("error"), "invalid_request");
        let path = format!("login/code?code={code}&flow={flow}");
        let get = front::request("GET", &path)
            .body(http_body_util::Full::default())
            .unwrap();
        assert_eq!(front.send(get).await.status, 405);

        let uses = (0..5).map(|_| enter(&front, &flow, &code));
        let answers = join_all(uses).await;
        let (good, bad): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == 200);
        assert_eq!(good.len(), 1, "{kind}: {bad:?}");
        assert!(
            bad.iter()
                .all(|answer| answer.text("error") == "invalid_code")
        );
        let session = &good[0];
        assert_eq!(front.call(&session.access()).await, 200);
        let verified = front.auth.verifier().verify_now(session.access()).unwrap();
        assert_eq!(verified.claims().get("amr"), Some(&json!(["email"])));
        assert_eq!(
            enter(&front, &flow, &code).await.text("error"),
            "invalid_code"
        );
        let told = front.events.take();
        assert!(told.contains(&"login.succeeded") && told.contains(&"login.failed"));
        // The password is still the user's.
        assert_eq!(front.post("login", &ada()).await.status, 200, "{kind}");
    }
}

#[tokio::test]
async fn u27_a_flow_has_five_guesses_in_turn_and_at_the_same_time() {
    for (front, postbox) in on_each().await {
        let (flow, code) = requested(&front, &postbox).await;
        for _ in 0..5 {
            let wrong = enter(&front, &flow, &other_than(&code)).await;
            assert_eq!(
                (wrong.status.as_u16(), &*wrong.text("error")),
                (400, "invalid_code")
            );
        }
        // The right one, now.
        let late = enter(&front, &flow, &code).await;
        assert_eq!(
            (late.status.as_u16(), &*late.text("error")),
            (400, "invalid_code")
        );

        let (flow, code) = requested(&front, &postbox).await;
        let wrong = other_than(&code);
        let guesses = (0..40).map(|_| enter(&front, &flow, &wrong));
        for guess in join_all(guesses).await {
            assert!([400, 429].contains(&guess.status.as_u16()), "{guess:?}");
        }
        let late = enter(&front, &flow, &code).await;
        assert_eq!(late.text("error"), "invalid_code", "{}", front.kind());
    }
}

#[tokio::test]
async fn u26_a_code_is_promised_and_refused_in_the_same_way_for_an_unknown_address() {
    for (front, postbox) in on_each().await {
        let (known, _) = requested(&front, &postbox).await;
        let body = json!({ "email": "nobody@example.org" });
        let answer = front.post("login/email", &body).await;
        assert_eq!(answer.status, 202);
        assert_eq!(answer.json()["expires_in"], 600);
        let unknown = answer.text("flow");
        assert_eq!(unknown.len(), known.len());
        for _ in 0..6 {
            let [first, second] = [&known, &unknown].map(|flow| enter(&front, flow, "00000000"));
            let (first, second) = (first.await, second.await);
            assert_eq!((first.status, first.json()), (second.status, second.json()));
        }
        assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
        assert!(postbox.unread().is_empty());
    }
}

#[tokio::test]
async fn u12_u27_a_browser_keeps_the_flow_in_a_cookie() {
    for (front, postbox) in on_each().await {
        let ask = front::post("login/email?transport=cookie", &json!({ "email": NAME }));
        let Ok(answer) = front.auth.endpoints().oneshot(ask).await;
        let answer = crate::support::endpoints::Answer::of(answer).await;
        assert_eq!(answer.status, 202);
        assert!(answer.text("flow").is_empty());
        let cookie = answer.cookies()[0].to_owned();
        for part in [
            "__Host-flw=ot1_",
            "HttpOnly",
            "Secure",
            "SameSite=Strict",
            "Path=/",
            "Max-Age=600",
        ] {
            assert!(cookie.contains(part), "{cookie}");
        }
        let mut browser = Browser::default();
        browser.keep(&answer);
        let code = postbox.next(MailPurpose::SignIn).await.code.unwrap();
        let body = json!({ "code": code.expose() });
        // Another browser has no flow.
        let path = "login/code?transport=cookie";
        assert_eq!(
            front.post(path, &body).await.text("error"),
            "invalid_request"
        );
        let Ok(answer) = front
            .auth
            .endpoints()
            .oneshot(browser.dress(front::post(path, &body)))
            .await;
        let answer = crate::support::endpoints::Answer::of(answer).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        browser.keep(&answer);
        assert!(!browser.cookies.contains_key("__Host-flw"));
        assert!(browser.cookies.contains_key("__Host-at"));
    }
}

/// What the user does between the request and the use decides.
#[tokio::test]
async fn u19_u27_a_code_does_not_outlive_a_new_password_a_logout_or_the_account() {
    for (front, postbox) in on_each().await {
        let kind = front.kind();
        let (flow, code) = requested(&front, &postbox).await;
        let link = reset_token(&front, &postbox).await;
        assert_eq!(
            reset(&front, &link, "another long password").await.status,
            204
        );
        postbox.next(MailPurpose::PasswordChanged).await;
        assert_eq!(
            enter(&front, &flow, &code).await.text("error"),
            "invalid_code",
            "{kind}"
        );

        let ada = front.ada().await;
        let (flow, code) = requested(&front, &postbox).await;
        let reason = tower_jwt_auth::event::RevokeReason::Logout;
        front
            .auth
            .sessions()
            .revoke_all(&ada, reason)
            .await
            .unwrap();
        assert_eq!(
            enter(&front, &flow, &code).await.text("error"),
            "invalid_code",
            "{kind}"
        );

        let (flow, code) = requested(&front, &postbox).await;
        front.store.set_disabled(&ada, true).await.unwrap();
        assert_eq!(
            enter(&front, &flow, &code).await.text("error"),
            "invalid_code",
            "{kind}"
        );
        front.store.set_disabled(&ada, false).await.unwrap();

        let (flow, code) = requested(&front, &postbox).await;
        let [old, new] = [NAME, "ada@new.example"].map(|name| EmailAddress::new(name).unwrap());
        assert!(front.store.change_email(&ada, &old, &new).await.unwrap());
        assert_eq!(
            enter(&front, &flow, &code).await.text("error"),
            "invalid_code",
            "{kind}"
        );
    }
}

/// Account pre-hijacking: a thief registers the address of another person and waits.
#[tokio::test]
async fn u27_the_owner_of_an_address_takes_over_an_account_that_another_person_registered() {
    for (front, postbox) in on_each().await {
        let kind = front.kind();
        let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
        let thief = front.post("register", &eve).await;
        assert_eq!(thief.status, 201);
        postbox.next(MailPurpose::VerifyEmail).await;
        let body = json!({ "email": "eve@example.org" });
        let flow = front.post("login/email", &body).await.text("flow");
        let code = postbox.next(MailPurpose::SignIn).await.code.unwrap();
        let owner = enter(&front, &flow, code.expose()).await;
        assert_eq!(owner.status, 200, "{kind}: {owner:?}");
        postbox.next(MailPurpose::PasswordChanged).await;
        assert_eq!(front.refresh(&thief.refresh()).await.status, 400, "{kind}");
        assert_eq!(front.post("login", &eve).await.status, 401, "{kind}");
        assert_eq!(front.refresh(&owner.refresh()).await.status, 200, "{kind}");
        let address = EmailAddress::new("eve@example.org").unwrap();
        let user = front.store.find_by_email(&address).await.unwrap();
        assert!(user.unwrap().email_verified, "{kind}");
        // From then on a code leaves the password as it is.
        let flow = front.post("login/email", &body).await.text("flow");
        let code = postbox.next(MailPurpose::SignIn).await.code.unwrap();
        assert_eq!(
            enter(&front, &flow, code.expose()).await.status,
            200,
            "{kind}"
        );
        assert_eq!(front.refresh(&owner.refresh()).await.status, 200, "{kind}");
        assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
        assert!(postbox.unread().is_empty(), "{kind}");
    }
}

/// By the store's clock.
#[tokio::test]
async fn u27_a_code_that_is_over_is_refused() {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let postbox = Postbox::default();
    let auth = AuthServer::builder(store.clone())
        .public_origin(ORIGIN)
        .login(|login| login.hasher(cheap()))
        .mailer(postbox.clone())
        .mail(|mail| mail.sign_in(true))
        .start()
        .await
        .unwrap();
    let hash = cheap()
        .hash(&Password::new(PASSWORD.to_owned()).unwrap())
        .await;
    let user = NewUser::new("u-ada", Identifier::new(NAME).unwrap(), hash.unwrap());
    assert!(UserStore::create(&store, user).await.unwrap());
    let send = async |path: &str, body: Value| {
        let Ok(answer) = auth.endpoints().oneshot(front::post(path, &body)).await;
        crate::support::endpoints::Answer::of(answer).await
    };
    for (wait, status) in [(600, 400), (599, 200)] {
        let answer = send("login/email", json!({ "email": NAME })).await;
        let code = postbox.next(MailPurpose::SignIn).await.code.unwrap();
        clock.advance(Duration::from_secs(wait));
        let body = json!({ "flow": answer.text("flow"), "code": code.expose() });
        assert_eq!(send("login/code", body).await.status, status, "{wait}");
        clock.advance(Duration::from_secs(3600));
    }
}

/// Another person uses up the codes of an address. Its owner still gets one on a device that signed in before.
#[tokio::test]
async fn u53_a_known_device_gets_a_code_while_another_person_requests_them() {
    for (front, postbox) in on_each().await {
        let kind = front.kind();
        let device = front.sign_in().await.text("device_token");
        let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
        let foreign = front.post("register", &eve).await.text("device_token");
        postbox.next(MailPurpose::VerifyEmail).await;
        for _ in 0..5 {
            requested(&front, &postbox).await;
        }
        let ask = async |email: &str, device: &str| {
            let body = json!({ "email": email, "device_token": device });
            front.post("login/email", &body).await
        };
        for none in ["", "x", &device[1..], &device.to_lowercase()] {
            let refused = ask(NAME, none).await;
            assert_eq!(refused.text("error"), "slow_down", "{kind}: {none}");
        }
        // The response to the device of another account is that of the owner's device, and there is no mail.
        let strange = ask(NAME, &foreign).await;
        let known = ask(NAME, &device).await;
        assert_eq!((strange.status.as_u16(), known.status.as_u16()), (202, 202));
        let code = postbox.next(MailPurpose::SignIn).await.code.unwrap();
        let stolen = enter(&front, &strange.text("flow"), code.expose()).await;
        assert_eq!(stolen.text("error"), "invalid_code", "{kind}");
        let signed_in = enter(&front, &known.text("flow"), code.expose()).await;
        assert_eq!(signed_in.status, 200, "{kind}: {signed_in:?}");
        assert!(front.auth.flush_mail(Duration::from_secs(60)).await);
        assert!(postbox.unread().is_empty(), "{kind}");

        // A device has five codes of its own in an hour.
        for _ in 0..4 {
            assert_eq!(ask(NAME, &device).await.status, 202, "{kind}");
            postbox.next(MailPurpose::SignIn).await;
        }
        assert_eq!(ask(NAME, &device).await.text("error"), "slow_down");
        assert_eq!(ask(NAME, &foreign).await.status, 202, "{kind}");
    }
}

/// Guesses with flows that the server has not issued need no counters, so that nobody fills a store with them.
#[tokio::test]
async fn u54_a_flow_that_was_not_issued_leaves_no_row() {
    let (store, postbox) = (MemoryStore::new(), Postbox::default());
    let auth = AuthServer::builder(store.clone())
        .public_origin(ORIGIN)
        .mailer(postbox.clone())
        .mail(|mail| mail.sign_in(true))
        .start()
        .await
        .unwrap();
    let send = async |path: &str, body: Value| {
        let Ok(answer) = auth.endpoints().oneshot(front::post(path, &body)).await;
        crate::support::endpoints::Answer::of(answer).await
    };
    let flow = send("login/email", json!({ "email": NAME })).await;
    let (before, flow) = (store.rows(), flow.text("flow"));
    for _ in 0..20 {
        let foreign = OneTimeToken::mint();
        let body = json!({ "flow": foreign.expose(), "code": "12345678" });
        let refused = send("login/code", body).await;
        assert_eq!(refused.text("error"), "invalid_code");
    }
    assert_eq!(store.rows(), before);
    // A flow that was issued has its counter, also without an account.
    let body = json!({ "flow": flow, "code": "12345678" });
    assert_eq!(send("login/code", body).await.text("error"), "invalid_code");
    assert_eq!(store.rows(), before + 1);
}

/// Users of a table that does not record which addresses are verified.
#[derive(Clone)]
struct Unrecorded(Users);

impl UserStore for Unrecorded {
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
        self.0.replace_hash(subject, old, new).await
    }
}

/// Another person may have registered the account, and nothing of that person could be removed.
#[tokio::test]
async fn u34_a_code_opens_no_account_whose_address_is_neither_verified_nor_recorded() {
    let (users, postbox) = (Users::default(), Postbox::default());
    let hash = cheap()
        .hash(&Password::new(PASSWORD.to_owned()).unwrap())
        .await;
    users.put(NAME, UserRecord::new("u-ada").password(hash.unwrap()));
    let auth = AuthServer::builder(MemoryStore::new())
        .users(Unrecorded(users.clone()))
        .public_origin(ORIGIN)
        .mailer(postbox.clone())
        .mail(|mail| mail.sign_in(true))
        .start()
        .await
        .unwrap();
    let send = async |path: &str, body: Value| {
        let Ok(answer) = auth.endpoints().oneshot(front::post(path, &body)).await;
        crate::support::endpoints::Answer::of(answer).await
    };
    let ask = async || send("login/email", json!({ "email": NAME })).await;
    assert_eq!(ask().await.status, 202);
    assert!(auth.flush_mail(Duration::from_secs(60)).await);
    assert!(postbox.unread().is_empty());

    // The application has verified the address by itself.
    let address = EmailAddress::new(NAME).unwrap();
    users.change(NAME, |user| user.email(Some(address.clone()), true));
    let flow = ask().await.text("flow");
    let code = postbox.next(MailPurpose::SignIn).await.code.unwrap();
    let body = json!({ "flow": flow, "code": code.expose() });
    assert_eq!(send("login/code", body).await.status, 200);

    // No longer when the code is used.
    let flow = ask().await.text("flow");
    let code = postbox.next(MailPurpose::SignIn).await.code.unwrap();
    users.change(NAME, |user| user.email(Some(address), false));
    let body = json!({ "flow": flow, "code": code.expose() });
    let refused = send("login/code", body).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.access().is_empty());
}

#[tokio::test]
async fn u20_sign_in_by_mail_is_off_by_default() {
    for (front, _) in super::on_each().await {
        for path in ["login/email", "login/code"] {
            assert_eq!(front.post(path, &json!({})).await.status, 404, "{path}");
        }
    }
}
