//! Links of credentials that are cut, and accounts of unknown identities, on every store: U34, U47, U50.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    Request,
    header::{CONTENT_TYPE, COOKIE, SET_COOKIE},
};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinSet};
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer,
    error::StoreError,
    key::{Algorithm, SigningKey},
    secret::SecretKey,
    server::{
        endpoints::AuthEndpoints,
        issue::{KeyRing, TokenIssuer},
        login::{
            Argon2Cost, EmailAddress, Identifier, Identity, IdentityOutcome, Login,
            PasskeyAuthority, PasskeyError, PasskeyUser, PasswordHasher, SignIn,
        },
        session::Sessions,
    },
    store::port::{
        AuthStore, CredentialRecord, CredentialStore, NewCredential, NewUser, OneTimeToken,
        UserStore,
    },
};

use super::mails::address;

const ORIGIN: &str = "https://app.example";
const PASSWORD: &str = "the password of a thief";
const ISSUER: &str = "https://idp.example";

/// The write at which a request stops.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Write {
    /// The first one, after which the process ends.
    Link,
    /// The second one.
    Complete,
    /// The removal.
    Unlink,
}

/// Credentials. A chosen write waits, so that a take-over runs before it.
#[derive(Clone)]
struct Cut<S> {
    store: S,
    next: Arc<Mutex<Option<Write>>>,
    came: Arc<Notify>,
    go: Arc<Notify>,
    written: Arc<Notify>,
}

impl<S> Cut<S> {
    async fn stop_at(&self, write: Write) -> bool {
        let stops = self.next.lock().unwrap().take_if(|next| *next == write);
        if stops.is_some() {
            self.came.notify_one();
            self.go.notified().await;
        }
        stops.is_some()
    }
}

impl<S: CredentialStore + Clone> CredentialStore for Cut<S> {
    async fn link_credential(&self, new: NewCredential) -> Result<bool, StoreError> {
        let is_last = self.stop_at(Write::Link).await;
        let linked = self.store.link_credential(new).await;
        if is_last {
            self.written.notify_one();
            std::future::pending::<()>().await;
        }
        linked
    }

    async fn find_credential(
        &self,
        kind: &str,
        id: &str,
    ) -> Result<Option<CredentialRecord>, StoreError> {
        self.store.find_credential(kind, id).await
    }

    async fn credentials(
        &self,
        kind: &str,
        subject: &str,
    ) -> Result<Vec<CredentialRecord>, StoreError> {
        self.store.credentials(kind, subject).await
    }

    async fn update_credential(
        &self,
        from: &CredentialRecord,
        data: &str,
    ) -> Result<bool, StoreError> {
        self.stop_at(Write::Complete).await;
        self.store.update_credential(from, data).await
    }

    async fn unlink_credential(
        &self,
        kind: &str,
        id: &str,
        subject: &str,
    ) -> Result<bool, StoreError> {
        self.stop_at(Write::Unlink).await;
        self.store.unlink_credential(kind, id, subject).await
    }

    async fn unlink_credential_beside(
        &self,
        kind: &str,
        id: &str,
        kept: &CredentialRecord,
    ) -> Result<bool, StoreError> {
        self.stop_at(Write::Unlink).await;
        self.store.unlink_credential_beside(kind, id, kept).await
    }

    async fn unlink_credentials(&self, subject: &str) -> Result<u64, StoreError> {
        self.store.unlink_credentials(subject).await
    }
}

/// An authority without cryptography, whose state is the challenge.
struct Authority;

impl PasskeyAuthority for Authority {
    fn start_registration(
        &self,
        _: &PasskeyUser,
        _: &[String],
    ) -> Result<(Value, String), PasskeyError> {
        self.start_sign_in()
    }

    fn finish_registration(
        &self,
        state: &str,
        response: &str,
    ) -> Result<(Vec<u8>, String), PasskeyError> {
        let response: Value = serde_json::from_str(response)?;
        assert_eq!(response["challenge"], state);
        let id = response["rawId"].as_str().unwrap();
        Ok((URL_SAFE_NO_PAD.decode(id)?, "a key".to_owned()))
    }

    fn start_sign_in(&self) -> Result<(Value, String), PasskeyError> {
        let challenge = OneTimeToken::mint().expose().to_owned();
        Ok((json!({ "challenge": challenge }), challenge))
    }

    fn finish_sign_in(
        &self,
        state: &str,
        response: &str,
        _: &PasskeyUser,
        passkey: &str,
    ) -> Result<String, PasskeyError> {
        let response: Value = serde_json::from_str(response)?;
        assert_eq!(response["challenge"], state);
        Ok(passkey.to_owned())
    }
}

struct Site<S> {
    store: S,
    sessions: Sessions,
    login: Login,
    endpoints: AuthEndpoints,
    cut: Cut<S>,
}

fn hasher() -> PasswordHasher {
    let cost = Argon2Cost::dangerous_custom(8, 1, 1).unwrap();
    PasswordHasher::builder().cost(cost).build().unwrap()
}

impl<S: AuthStore> Site<S> {
    async fn start(store: S) -> Self {
        let secret = SecretKey::from_bytes([7; 32]).unwrap();
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let issuer = TokenIssuer::builder(KeyRing::new(key).unwrap()).issuer(ORIGIN);
        let issuer = issuer.audience(ORIGIN).build().unwrap();
        let revoked = store.revocations().unwrap();
        revoked.loaded(Duration::from_secs(60)).await;
        let sessions = Sessions::builder(issuer, store.clone());
        let sessions = sessions.secret(secret.clone()).revocation(revoked);
        let sessions = sessions.build().unwrap();
        let cut = Cut {
            store: store.clone(),
            next: Arc::default(),
            came: Arc::default(),
            go: Arc::default(),
            written: Arc::default(),
        };
        let login = Login::builder(store.clone(), store.clone(), secret.clone())
            .hasher(hasher())
            .one_time(store.clone())
            .credentials(cut.clone())
            .build();
        let endpoints = AuthEndpoints::builder(sessions.clone(), login.clone(), secret)
            .public_origin(ORIGIN)
            .registration(true)
            .passkeys(Authority);
        Self {
            store,
            sessions,
            login,
            endpoints: endpoints.build().unwrap(),
            cut,
        }
    }

    /// The status, the body, and the cookie that was set.
    async fn post(&self, path: &str, body: &Value, access: &str, cookie: &str) -> Answer {
        let mut request = Request::post(format!("/api/auth/{path}"))
            .header(CONTENT_TYPE, "application/json")
            .header(COOKIE, cookie);
        if !access.is_empty() {
            request = request.header("authorization", format!("Bearer {access}"));
        }
        let request = request.body(Full::<bytes::Bytes>::from(body.to_string()));
        let Ok(answer) = self.endpoints.clone().oneshot(request.unwrap()).await;
        let (parts, body) = answer.into_parts();
        let Ok(body) = body.collect().await;
        let cookie = parts.headers.get(SET_COOKIE);
        let cookie = cookie.map_or("", |cookie| cookie.to_str().unwrap());
        (
            parts.status.as_u16(),
            serde_json::from_slice(&body.to_bytes()).unwrap_or_default(),
            cookie.split(';').next().unwrap_or_default().to_owned(),
        )
    }

    /// Runs a request whose write waits until the owner of the address has taken the account over. Returns
    /// `None` if the process has ended by then.
    async fn crossed<T>(
        &self,
        write: Write,
        owner: &EmailAddress,
        request: impl Future<Output = T>,
    ) -> Option<T> {
        *self.cut.next.lock().unwrap() = Some(write);
        let take_over = async {
            self.cut.came.notified().await;
            let proved = self.login.prove_email(&self.sessions, owner).await;
            assert!(proved.unwrap().is_some_and(|proved| proved.taken_over));
            self.cut.go.notify_one();
            self.cut.written.notified().await;
        };
        tokio::select! {
            answer = request => Some(answer),
            () = take_over => None,
        }
    }

    /// Registers the address of another person. Returns the access token.
    async fn thief(&self) -> (EmailAddress, String) {
        let name = address("victim");
        let body = json!({ "email": name, "password": PASSWORD });
        let (status, tokens, _) = self.post("register", &body, "", "").await;
        assert_eq!(status, 201, "{tokens}");
        let access = tokens["access_token"].as_str().unwrap().to_owned();
        (EmailAddress::new(&name).unwrap(), access)
    }
}

type Answer = (u16, Value, String);

/// The process ends after a credential was written and before its session was checked. The credential opens
/// nothing.
pub(super) async fn a_cut_link_opens_nothing<S>(store: S)
where
    S: AuthStore + UserStore,
{
    let site = Site::start(store).await;
    for write in [Write::Link, Write::Complete] {
        let (owner, access) = site.thief().await;
        let id = URL_SAFE_NO_PAD.encode(owner.as_str());
        let options = "passkeys/register/options";
        let (status, options, cookie) = site.post(options, &json!({}), &access, "").await;
        assert_eq!(status, 200, "{options}");
        let response = json!({ "rawId": id, "challenge": options["challenge"] });
        let body = json!({ "credential": response.to_string() });
        let request = site.post("passkeys/register", &body, &access, &cookie);
        let answer = site.crossed(write, &owner, request).await;
        let status = answer.map(|(status, ..)| status);
        match write {
            Write::Link => assert_eq!(status, None),
            _ => assert_eq!(status, Some(401)),
        }

        let (_, options, cookie) = site.post("passkeys/options", &json!({}), "", "").await;
        let response = json!({ "rawId": id, "challenge": options["challenge"] });
        let body = json!({ "credential": response.to_string() });
        let (status, refused, _) = site.post("passkeys/sign-in", &body, "", &cookie).await;
        assert_eq!(
            (status, &refused["error"]),
            (400, &json!("invalid_passkey")),
            "{write:?}"
        );
        let user = site.store.find_by_email(&owner).await.unwrap().unwrap();
        let rows = site.store.credentials("passkey", &user.subject).await;
        assert!(!rows.unwrap().iter().any(CredentialRecord::is_linked));
    }

    let identities = site.login.identities(&site.sessions);
    let verifier = site.sessions.issuer().verifier().build().unwrap();
    for write in [Write::Link, Write::Complete] {
        let (owner, access) = site.thief().await;
        let token = verifier.verify_now(&access).unwrap();
        let session = token.principal().session_id().unwrap().parse().unwrap();
        let identity = Identity::new(ISSUER, address("sub"));
        let request = identities.link(session, &identity);
        let answer = site.crossed(write, &owner, request).await;
        assert_eq!(answer.is_none(), write == Write::Link, "{answer:?}");
        let outcome = identities.sign_in(&identity).await.unwrap();
        assert!(matches!(outcome, IdentityOutcome::Unknown), "{outcome:?}");
        let user = site.store.find_by_email(&owner).await.unwrap().unwrap();
        let linked = identities.list(&user.subject).await.unwrap();
        assert!(linked.is_empty(), "{write:?}");
    }
}

/// Two removals run at the same time, each of a credential on which the other one counts.
pub(super) async fn parallel_removals_leave_a_way_to_sign_in<S>(store: S)
where
    S: AuthStore + UserStore,
{
    let site = Site::start(store).await;
    for _ in 0..3 {
        let name = address("without-password");
        let subject = address("usr");
        let user = NewUser::without_password(&subject, Identifier::new(&name).unwrap());
        assert!(UserStore::create(&site.store, user).await.unwrap());
        let ids = [format!("a {subject}"), format!("b {subject}")];
        for id in &ids {
            let new = NewCredential::new("passkey", id, &subject);
            assert!(site.store.link_credential(new).await.unwrap());
        }
        let head = Request::post("/callback").body(()).unwrap().into_parts().0;
        let who = SignIn::new(&subject);
        let tokens = site.endpoints.sign_in(&head, who).await.into_body();
        let Ok(tokens) = tokens.collect().await;
        let tokens: Value = serde_json::from_slice(&tokens.to_bytes()).unwrap();
        let access = tokens["access_token"].as_str().unwrap();
        let remove = async |id: &str| {
            let body = json!({ "id": id });
            let (status, answer, _) = site.post("passkeys/remove", &body, access, "").await;
            (status, answer["error"].as_str().map(str::to_owned))
        };

        *site.cut.next.lock().unwrap() = Some(Write::Unlink);
        let second = async {
            site.cut.came.notified().await;
            let answer = remove(&ids[1]).await;
            site.cut.go.notify_one();
            answer
        };
        let (first, second) = tokio::join!(remove(&ids[0]), second);
        assert_eq!(second, (204, None));
        assert_eq!(first, (409, Some("last_credential".to_owned())));
        assert_eq!(remove(&ids[1]).await.0, 404);
        assert_eq!(site.store.unlink_credentials(&subject).await.unwrap(), 1);
    }
}

/// Returns the subject of the session.
async fn signed_in(auth: &AuthServer, outcome: IdentityOutcome) -> String {
    let IdentityOutcome::SignIn(who) = outcome else {
        panic!("{outcome:?}");
    };
    let head = Request::post("/callback").body(()).unwrap().into_parts().0;
    let answer = auth.sign_in(&head, *who).await;
    let status = answer.status();
    let Ok(body) = answer.into_body().collect().await;
    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
    assert_eq!(status, 200, "{body}");
    let token = body["access_token"].as_str().unwrap();
    let token = auth.verifier().verify_now(token).unwrap();
    token.subject().unwrap().to_owned()
}

/// Of concurrent sign-ins with one new address, also from two providers, one creates the account.
pub(super) async fn an_unknown_identity_gets_one_account<S>(store: S)
where
    S: AuthStore + UserStore,
{
    let auth = AuthServer::builder(store.clone())
        .public_origin(ORIGIN)
        // The secret of the other servers on this database, whose key ring they share.
        .secret(
            "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"
                .parse()
                .unwrap(),
        )
        .registration(true)
        .login(|login| login.hasher(hasher()))
        .start()
        .await
        .unwrap();
    for _ in 0..3 {
        let name = address("new");
        let subject = address("sub");
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let issuer = ["https://one.example", "https://two.example"][number % 2];
            let identity = Identity::new(issuer, &subject).email(&name, true);
            let auth = auth.clone();
            tasks.spawn(async move {
                let outcome = auth.identities().sign_up(&identity).await.unwrap();
                signed_in(&auth, outcome).await
            });
        }
        let mut subjects = tasks.join_all().await;
        subjects.dedup();
        assert_eq!(subjects.len(), 1, "{subjects:?}");
        let user = store.find(&Identifier::new(&name).unwrap()).await.unwrap();
        let user = user.unwrap();
        assert_eq!(user.subject, subjects[0]);
        assert!(user.email_verified && user.password.is_none() && user.roles.is_empty());
        let linked = auth.identities().list(&user.subject).await.unwrap();
        assert_eq!(linked.len(), 2);
    }
}

/// An account that another person has registered for the address is the owner's, without anything that the
/// other person has set.
pub(super) async fn an_unknown_identity_takes_an_unverified_account_over<S>(store: S)
where
    S: AuthStore + UserStore,
{
    let site = Site::start(store).await;
    let (owner, access) = site.thief().await;
    let verifier = site.sessions.issuer().verifier().build().unwrap();
    let token = verifier.verify_now(&access).unwrap();
    let session = token.principal().session_id().unwrap().parse().unwrap();
    let identities = site.login.identities(&site.sessions);
    let thief = Identity::new(ISSUER, address("thief"));
    identities.link(session, &thief).await.unwrap();

    let identity = Identity::new(ISSUER, address("owner")).email(owner.as_str(), true);
    let outcome = identities.sign_in(&identity).await.unwrap();
    assert!(matches!(outcome, IdentityOutcome::LinkFirst), "{outcome:?}");
    let outcome = identities.sign_up(&identity).await.unwrap();
    assert!(matches!(outcome, IdentityOutcome::SignIn(_)), "{outcome:?}");
    let outcome = identities.sign_up(&thief).await.unwrap();
    assert!(matches!(outcome, IdentityOutcome::Unknown), "{outcome:?}");
    let user = site.store.find_by_email(&owner).await.unwrap().unwrap();
    assert!(user.email_verified);
    let linked = identities.list(&user.subject).await.unwrap();
    let linked: Vec<_> = linked.iter().map(|one| one.identity.subject()).collect();
    assert_eq!(linked, [identity.subject()]);
    assert!(site.sessions.find(session).await.unwrap().is_none());
    let body = json!({ "email": owner.as_str(), "password": PASSWORD });
    assert_eq!(site.post("login", &body, "", "").await.0, 401);

    // A second identity of the provider is not linked by the address of a verified account.
    let other = Identity::new(ISSUER, address("other")).email(owner.as_str(), true);
    let outcome = identities.sign_up(&other).await.unwrap();
    assert!(matches!(outcome, IdentityOutcome::LinkFirst), "{outcome:?}");
    // An address that the provider has not verified creates nothing.
    let name = address("unverified");
    let other = Identity::new(ISSUER, address("other")).email(&name, false);
    let outcome = identities.sign_up(&other).await.unwrap();
    assert!(matches!(outcome, IdentityOutcome::Unknown), "{outcome:?}");
    let found = site.store.find(&Identifier::new(&name).unwrap()).await;
    assert!(found.unwrap().is_none());
}

/// All tests of this file, in one store of the fixture.
macro_rules! credentials {
    ([$($meta:tt)*] $start:expr => $store:expr) => {
        #[cfg(feature = "aws-lc-rs")]
        mod links {
            use super::*;

            $($meta)*
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn u34_u45_a_cut_link_opens_nothing() {
                let fixture = $start;
                crate::login::credentials::a_cut_link_opens_nothing(($store)(&fixture)).await;
            }

            $($meta)*
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn u51_parallel_removals_leave_a_way_to_sign_in() {
                let fixture = $start;
                let store = ($store)(&fixture);
                crate::login::credentials::parallel_removals_leave_a_way_to_sign_in(store).await;
            }

            $($meta)*
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn u50_an_unknown_identity_gets_one_account() {
                let fixture = $start;
                crate::login::credentials::an_unknown_identity_gets_one_account(($store)(&fixture)).await;
            }

            $($meta)*
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn u34_u50_an_unknown_identity_takes_an_unverified_account_over() {
                let fixture = $start;
                let store = ($store)(&fixture);
                crate::login::credentials::an_unknown_identity_takes_an_unverified_account_over(store).await;
            }
        }
    };
}
pub(super) use credentials;
