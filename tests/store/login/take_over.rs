//! The take-over of an account whose address was never verified, on every store: U34.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer,
    layer::api_key::{ApiKeyFormat, ApiKeyStore, ApiKeys, NewApiKey},
    server::{
        login::{Argon2Cost, EmailAddress, PasswordHasher, SignIn},
        mail::{Mail, MailError, MailPurpose, Mailer},
    },
    store::port::{AuthStore, UserStore},
    time::Timestamp,
};

use super::mails::address;
use crate::support::totp::App;

#[derive(Clone, Default)]
struct Postbox(Arc<Mutex<Vec<Mail>>>);

impl Mailer for Postbox {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        self.0.lock().unwrap().push(mail.clone());
        Ok(())
    }
}

/// The proof by which the owner of the address comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Proof {
    Code,
    Reset,
    Provider,
}

struct Site<S> {
    auth: AuthServer,
    store: S,
    keys: ApiKeys,
    postbox: Postbox,
}

impl<S> Site<S>
where
    S: AuthStore + ApiKeyStore,
{
    async fn start(store: S) -> Self {
        let cost = Argon2Cost::dangerous_custom(8, 1, 1).unwrap();
        let hasher = PasswordHasher::builder().cost(cost).build().unwrap();
        let format = ApiKeyFormat::new("acme_live").unwrap();
        let keys = ApiKeys::builder(format, store.clone()).build().unwrap();
        let postbox = Postbox::default();
        let auth = AuthServer::builder(store.clone())
            .public_origin("https://app.example")
            .secret(
                "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"
                    .parse()
                    .unwrap(),
            )
            .registration(true)
            .login(|login| login.hasher(hasher))
            .mailer(postbox.clone())
            .mail(|mail| mail.sign_in(true))
            .totp("Example")
            .start();
        Self {
            auth: auth.await.unwrap(),
            store,
            keys,
            postbox,
        }
    }

    async fn send(&self, path: &str, body: &Value, access: &str) -> (u16, Value) {
        let mut request = Request::post(format!("/api/auth/{path}"))
            .header(CONTENT_TYPE, "application/json")
            .header("user-agent", "a browser");
        if !access.is_empty() {
            request = request.header("authorization", format!("Bearer {access}"));
        }
        let request = request.body(Full::<bytes::Bytes>::from(body.to_string()));
        let Ok(answer) = self.auth.endpoints().oneshot(request.unwrap()).await;
        let (parts, body) = answer.into_parts();
        let Ok(body) = body.collect().await;
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        (parts.status.as_u16(), body)
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(path, body, "").await
    }

    /// The secret of the only mail with this purpose.
    async fn mailed(&self, purpose: MailPurpose) -> String {
        assert!(self.auth.flush_mail(Duration::from_secs(60)).await);
        let mails = std::mem::take(&mut *self.postbox.0.lock().unwrap());
        let mut found = mails.iter().filter(|mail| mail.purpose == purpose);
        let mail = found.next().expect("a mail");
        assert!(found.next().is_none());
        let link = mail.link.as_ref().unwrap().expose();
        link.rsplit_once('=').unwrap().1.to_owned()
    }
}

/// What the other person has set.
struct Thief {
    subject: String,
    login: Value,
    access: String,
    refresh: String,
    step: Value,
    change: String,
    key: String,
}

fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_default().to_owned()
}

/// Another person registers a foreign address and sets everything that opens the account.
async fn settled<S>(site: &Site<S>, name: &str) -> Thief
where
    S: AuthStore + ApiKeyStore,
{
    let login = json!({ "email": name, "password": "the password of a thief" });
    let (status, tokens) = site.post("register", &login).await;
    assert_eq!(status, 201, "{tokens}");
    site.mailed(MailPurpose::VerifyEmail).await;
    let access = text(&tokens, "access_token");
    let token = site.auth.verifier().verify_now(&access).unwrap();
    let subject = token.subject().unwrap().to_owned();

    let (status, enrolled) = site.send("totp", &json!({}), &access).await;
    assert_eq!(status, 200, "{enrolled}");
    let app = App::with(&text(&enrolled, "secret"));
    let code = app.code(Timestamp::from(SystemTime::now()));
    let (status, codes) = site
        .send("totp/confirm", &json!({ "code": code }), &access)
        .await;
    assert_eq!(status, 200, "{codes}");
    let (status, first) = site.post("login", &login).await;
    assert_eq!(status, 403, "{first}");
    let step = json!({ "mfa_token": first["mfa_token"], "code": codes["recovery_codes"][0] });

    let mine = address("thief");
    let change = json!({ "new_email": mine, "current_password": "the password of a thief" });
    let (status, answer) = site.send("email/change", &change, &access).await;
    assert_eq!(status, 202, "{answer}");
    let change = site.mailed(MailPurpose::ChangeEmail).await;
    let key = site.keys.issue(NewApiKey::new(&subject)).await.unwrap();
    Thief {
        key: key.expose().to_string(),
        subject,
        login,
        refresh: text(&tokens, "refresh_token"),
        access,
        step,
        change,
    }
}

/// The owner comes. Returns the access token.
async fn come<S>(site: &Site<S>, name: &str, proof: Proof) -> String
where
    S: AuthStore + ApiKeyStore + UserStore,
{
    let email = json!({ "email": name });
    let (status, tokens) = match proof {
        Proof::Code => {
            let (_, asked) = site.post("login/email", &email).await;
            let code = site.mailed(MailPurpose::SignIn).await;
            let body = json!({ "flow": asked["flow"], "code": code });
            site.post("login/code", &body).await
        }
        Proof::Reset => {
            site.post("password/forgot", &email).await;
            let token = site.mailed(MailPurpose::ResetPassword).await;
            let password = "the password of the owner";
            let body = json!({ "token": token, "new_password": password });
            let (status, answer) = site.post("password/reset", &body).await;
            assert_eq!(status, 204, "{answer}");
            let body = json!({ "email": name, "password": password });
            site.post("login", &body).await
        }
        Proof::Provider => {
            let address = EmailAddress::new(name).unwrap();
            let login = site.auth.login();
            let proved = login.prove_email(site.auth.sessions(), &address).await;
            let proved = proved.unwrap().unwrap();
            let who = SignIn::new(proved.subject).epoch(proved.epoch);
            let head = Request::post("/callback").body(()).unwrap().into_parts().0;
            let answer = site.auth.sign_in(&head, who).await;
            let status = answer.status().as_u16();
            let Ok(body) = answer.into_body().collect().await;
            (status, serde_json::from_slice(&body.to_bytes()).unwrap())
        }
    };
    assert_eq!(status, 200, "{proof:?}: {tokens}");
    text(&tokens, "access_token")
}

pub(super) async fn nothing_of_another_person_outlives_the_take_over<S>(store: S)
where
    S: AuthStore + UserStore + ApiKeyStore,
{
    let site = Site::start(store).await;
    for proof in [Proof::Code, Proof::Reset, Proof::Provider] {
        let name = address("victim");
        let thief = settled(&site, &name).await;
        let owner = come(&site, &name, proof).await;

        let (status, _) = site.post("login", &thief.login).await;
        assert_eq!(status, 401, "{proof:?}: the password");
        let refresh = json!({ "refresh_token": thief.refresh });
        let (status, answer) = site.post("refresh", &refresh).await;
        assert_eq!(
            (status, text(&answer, "code")),
            (400, "session_revoked".to_owned())
        );
        for path in ["totp", "email/change"] {
            let body = json!({ "new_email": name, "current_password": "x" });
            let (status, _) = site.send(path, &body, &thief.access).await;
            assert_eq!(status, 401, "{proof:?}: {path} by the old session");
        }
        let (status, answer) = site.post("login/continue", &thief.step).await;
        assert_eq!(status, 400, "{proof:?}: {answer}");
        let (status, answer) = site
            .post("email/confirm", &json!({ "token": thief.change }))
            .await;
        assert_eq!(status, 400, "{proof:?}: {answer}");
        let check = site.keys.verify(&thief.key).await;
        assert!(check.is_err(), "{proof:?}: the API key");
        let record = site.store.find_by_subject(&thief.subject).await.unwrap();
        let record = record.unwrap();
        assert!(record.email_verified, "{proof:?}");

        // The owner has no second factor and can enrol one.
        let factors = site.auth.login().second_factors().unwrap();
        let status = factors.status(&thief.subject).await.unwrap();
        assert_eq!(
            (status.totp, status.recovery_codes),
            (false, 0),
            "{proof:?}"
        );
        let (status, enrolled) = site.send("totp", &json!({}), &owner).await;
        assert_eq!(status, 200, "{proof:?}: {enrolled}");
        let app = App::with(&text(&enrolled, "secret"));
        let code = app.code(Timestamp::from(SystemTime::now()));
        let (status, codes) = site
            .send("totp/confirm", &json!({ "code": code }), &owner)
            .await;
        assert_eq!(status, 200, "{proof:?}: {codes}");

        // From now on the address is verified, and every proof leaves the second factor as it is.
        for again in [Proof::Code, Proof::Reset] {
            let refused = first_step(&site, &name, again).await;
            assert_eq!(
                text(&refused, "error"),
                "mfa_required",
                "{again:?}: {refused}"
            );
        }
        assert!(factors.status(&thief.subject).await.unwrap().totp);
    }
}

/// The response to a proof of a verified address.
async fn first_step<S>(site: &Site<S>, name: &str, proof: Proof) -> Value
where
    S: AuthStore + ApiKeyStore + UserStore,
{
    let email = json!({ "email": name });
    if proof == Proof::Code {
        let (_, asked) = site.post("login/email", &email).await;
        let code = site.mailed(MailPurpose::SignIn).await;
        let body = json!({ "flow": asked["flow"], "code": code });
        return site.post("login/code", &body).await.1;
    }
    site.post("password/forgot", &email).await;
    let token = site.mailed(MailPurpose::ResetPassword).await;
    let password = "another password of the owner";
    let body = json!({ "token": token, "new_password": password });
    assert_eq!(site.post("password/reset", &body).await.0, 204);
    let body = json!({ "email": name, "password": password });
    site.post("login", &body).await.1
}
