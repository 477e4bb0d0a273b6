//! Mails of two nodes: a link that one node sent works once on both.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::{Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::{sync::Mutex, task::JoinSet};
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer,
    server::{
        AuthServerBuilder,
        login::{Argon2Cost, EmailAddress, PasswordHasher},
        mail::{Mail, MailError, MailPurpose, Mailer},
    },
    store::port::{AuthStore, UserStore},
};

#[derive(Clone, Default)]
struct Postbox(Arc<Mutex<Vec<Mail>>>);

impl Mailer for Postbox {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        self.0.lock().await.push(mail.clone());
        Ok(())
    }
}

pub(super) struct Node(pub(super) AuthServer);

impl Node {
    pub(super) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(path, body, None).await
    }

    /// A request with an access token.
    pub(super) async fn call(
        &self,
        path: &str,
        body: &Value,
        access: Option<&str>,
    ) -> (u16, Value) {
        let mut request = Request::post(format!("/api/auth/{path}"));
        if let Some(access) = access {
            request = request.header("authorization", format!("Bearer {access}"));
        }
        let request = request.header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::<bytes::Bytes>::from(body.to_string()));
        let Ok(answer) = self.0.endpoints().oneshot(request.unwrap()).await;
        let (parts, body) = answer.into_parts();
        let Ok(body) = body.collect().await;
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        (parts.status.as_u16(), body)
    }

    async fn status(&self, path: &str, body: Value) -> u16 {
        self.post(path, &body).await.0
    }
}

/// An address that no other test of the same database has.
pub(super) fn address(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (process, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("{name}-{process}-{next}@mails.example")
}

/// Two nodes with one secret and one mailer.
pub(super) struct Pair {
    pub(super) nodes: [Arc<Node>; 2],
    postbox: Postbox,
}

impl Pair {
    async fn start<S: AuthStore>(stores: [S; 2]) -> Self {
        Self::changed(stores, |builder| builder).await
    }

    /// The same, with a change to each builder.
    pub(super) async fn changed<S: AuthStore>(
        stores: [S; 2],
        change: impl Fn(AuthServerBuilder<S>) -> AuthServerBuilder<S>,
    ) -> Self {
        let postbox = Postbox::default();
        let mut nodes = Vec::new();
        for store in stores {
            let cost = Argon2Cost::dangerous_custom(8, 1, 1).unwrap();
            let hasher = PasswordHasher::builder().cost(cost).build().unwrap();
            let auth = AuthServer::builder(store)
                .public_origin("https://app.example")
                .secret(
                    "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"
                        .parse()
                        .unwrap(),
                )
                .registration(true)
                .login(|login| login.hasher(hasher))
                .mailer(postbox.clone());
            let auth = change(auth).start();
            nodes.push(Arc::new(Node(auth.await.unwrap())));
        }
        let [first, second] = <[_; 2]>::try_from(nodes).ok().unwrap();
        Self {
            nodes: [first, second],
            postbox,
        }
    }

    /// Waits for both nodes, and takes the mails.
    async fn mails(&self) -> Vec<Mail> {
        for node in &self.nodes {
            assert!(node.0.flush_mail(Duration::from_secs(60)).await);
        }
        std::mem::take(&mut *self.postbox.0.lock().await)
    }

    /// The token of the only mail with a link.
    pub(super) async fn token(&self, purpose: MailPurpose) -> String {
        let mut mails = self.mails().await;
        mails.retain(|mail| mail.link.is_some());
        let [mail] = &mails[..] else {
            panic!("{mails:?}");
        };
        assert_eq!(mail.purpose, purpose);
        let link = mail.link.as_ref().unwrap().expose();
        link.rsplit_once('=').unwrap().1.to_owned()
    }

    /// Sends these requests to both nodes at the same time. Returns the responses.
    pub(super) async fn together(
        &self,
        path: &'static str,
        bodies: Vec<Value>,
        access: Option<&str>,
    ) -> Vec<(u16, Value)> {
        let mut tasks = JoinSet::new();
        for (turn, body) in bodies.into_iter().enumerate() {
            let node = Arc::clone(&self.nodes[turn % 2]);
            let access = access.map(str::to_owned);
            tasks.spawn(async move { node.call(path, &body, access.as_deref()).await });
        }
        tasks.join_all().await
    }

    /// Uses a token sixteen times on both nodes at the same time. Returns the number of successes.
    async fn uses(&self, path: &'static str, body: &Value) -> usize {
        let answers = self.together(path, vec![body.clone(); 16], None).await;
        let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
        // A busy store refuses with 503, and spends nothing.
        assert!(
            statuses
                .iter()
                .all(|status| [204, 400, 503].contains(status)),
            "{statuses:?}"
        );
        statuses.iter().filter(|status| **status == 204).count()
    }
}

/// Verification, reset and change of an address, each requested on one node and used on both.
pub(super) async fn a_link_works_once_on_both_nodes<S>(stores: [S; 2])
where
    S: AuthStore + UserStore,
{
    let store = stores[0].clone();
    let pair = Pair::start(stores).await;
    let [one, two] = &pair.nodes;
    let (name, new_name) = (address("ada"), address("new"));
    let (name, new_name) = (&*name, &*new_name);
    let password = |text: &str| json!({ "email": name, "password": text });

    let (status, session) = one.post("register", &password("the first password")).await;
    assert_eq!(status, 201, "{session}");
    let token = pair.token(MailPurpose::VerifyEmail).await;
    assert_eq!(
        pair.uses("email/verify", &json!({ "token": token })).await,
        1
    );
    let address = EmailAddress::new(name).unwrap();
    let user = store.find_by_email(&address).await.unwrap().unwrap();
    assert!(user.email_verified);

    assert_eq!(
        one.status("password/forgot", json!({ "email": name }))
            .await,
        202
    );
    let token = pair.token(MailPurpose::ResetPassword).await;
    let body = json!({ "token": token, "new_password": "the second password" });
    assert_eq!(pair.uses("password/reset", &body).await, 1);
    assert_eq!(
        two.status("login", password("the first password")).await,
        401
    );
    let (status, session) = two.post("login", &password("the second password")).await;
    assert_eq!(status, 200, "{session}");

    let body = json!({ "new_email": new_name, "current_password": "the second password" });
    let change = Request::post("/api/auth/email/change").header(CONTENT_TYPE, "application/json");
    let bearer = format!("Bearer {}", session["access_token"].as_str().unwrap());
    let change = change.header("authorization", bearer);
    let change = change
        .body(Full::<bytes::Bytes>::from(body.to_string()))
        .unwrap();
    let Ok(answer) = two.0.endpoints().oneshot(change).await;
    assert_eq!(answer.status(), 202);
    let token = pair.token(MailPurpose::ChangeEmail).await;
    assert_eq!(
        pair.uses("email/confirm", &json!({ "token": token })).await,
        1
    );
    assert_eq!(
        one.status("login", password("the second password")).await,
        401
    );
    let moved = json!({ "email": new_name, "password": "the second password" });
    assert_eq!(one.status("login", moved).await, 200);
    assert!(store.find_by_email(&address).await.unwrap().is_none());
}

/// Both nodes count the mails for one address, whether it is known or not.
pub(super) async fn mails_to_one_address_are_limited_on_both_nodes<S: AuthStore>(stores: [S; 2]) {
    let pair = Pair::start(stores).await;
    for email in [address("ada"), address("nobody")] {
        let mut accepted = 0;
        for turn in 0..8 {
            let body = json!({ "email": email });
            match pair.nodes[turn % 2].status("password/forgot", body).await {
                202 => accepted += 1,
                status => assert_eq!(status, 429),
            }
        }
        assert_eq!(accepted, 5, "{email}");
    }
}
