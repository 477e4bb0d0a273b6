//! What else is wired: guests and their hook, the limit of sign-ups, the client's address, one-time
//! tokens, and your type of claims.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Request;
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    Verified,
    error::StoreError,
    server::{
        login::{ChangePasswordOutcome, Network, Password},
        session::ClaimHook,
    },
};

use super::{Front, NAME, PASSWORD, bearer, post};

#[derive(Clone, Default)]
struct Conversations(Arc<Mutex<Vec<(String, String)>>>);

impl ClaimHook for Conversations {
    async fn on_claim(&self, guest: &str, user: &str) -> Result<(), StoreError> {
        let moved = (guest.to_owned(), user.to_owned());
        self.0.lock().unwrap().push(moved);
        Ok(())
    }
}

#[tokio::test]
async fn guests_exist_only_if_they_are_enabled() {
    for front in Front::on_each(&[]).await {
        assert_eq!(front.post("guest", &json!({})).await.status, 404);
    }
    for front in Front::changed(&[], |builder| builder.guests(|guests| guests)).await {
        assert_eq!(front.post("guest", &json!({})).await.status, 200);
    }
}

#[tokio::test]
async fn w2_w5_a_claim_calls_the_hook_and_ends_the_guest() {
    let conversations = Conversations::default();
    let hook = conversations.clone();
    for front in Front::changed(&[], move |builder| builder.on_claim(hook.clone())).await {
        let guest = front.post("guest", &json!({})).await.access();
        let subject = front.caller(&guest).subject().unwrap().to_owned();
        let login = json!({ "email": NAME, "password": PASSWORD, "link": true });
        let user = front.send(bearer(post("login", &login), &guest)).await;
        assert_eq!(user.json()["link"]["outcome"], "linked", "{user:?}");
        assert_eq!(front.call(&guest).await, 401, "{}", front.kind());
        let moved = conversations.0.lock().unwrap().pop();
        assert_eq!(moved, Some((subject, front.ada().await)));
    }
}

/// The default limit, for each network.
#[tokio::test]
async fn sign_ups_of_one_network_are_limited() {
    let servers = Front::changed(&[("AUTH_REGISTRATION", "true")], |builder| {
        builder.guests(|guests| guests)
    });
    for front in servers.await {
        let mut statuses = Vec::new();
        for _ in 0..31 {
            statuses.push(front.post("guest", &json!({})).await.status.as_u16());
        }
        assert_eq!(
            statuses.split_last(),
            Some((&429, &[200; 30][..])),
            "{}",
            front.kind()
        );
    }
}

/// The address of an axum connection needs no setting.
#[cfg(feature = "axum")]
#[tokio::test]
async fn the_client_of_an_axum_connection_is_known_by_itself() {
    use std::net::SocketAddr;

    use axum::extract::ConnectInfo;
    use tower_jwt_auth::layer::extract::RequestHead;

    let client = |front: &Front, proxy: &str, forwarded: &str| {
        let peer: SocketAddr = proxy.parse().unwrap();
        let request = Request::get("/").header("x-forwarded-for", forwarded);
        let request = request.extension(ConnectInfo(peer)).body(()).unwrap();
        let client = front.auth.client_ip().client_ip(RequestHead::of(&request));
        client.map(|client| client.to_string())
    };
    for front in Front::on_each(&[("AUTH_TRUSTED_PROXIES", "10.0.0.0/8")]).await {
        let of = |proxy, forwarded| client(&front, proxy, forwarded);
        assert_eq!(
            of("10.0.0.7:443", "203.0.113.9").as_deref(),
            Some("203.0.113.9")
        );
        assert_eq!(
            of("192.0.2.1:443", "203.0.113.9").as_deref(),
            Some("192.0.2.1")
        );
    }
}

#[tokio::test]
async fn u19_a_password_reset_needs_no_further_store() {
    for front in Front::on_each(&[]).await {
        let (login, sessions) = (front.auth.login(), front.auth.sessions());
        let old = front.sign_in().await;
        let hour = Duration::from_secs(3600);
        let token = login.reset_token(&front.ada().await, hour).await.unwrap();
        let new = "another long password";
        let password = Password::new(new.to_owned()).unwrap();
        let reset = login.reset_password(sessions, token.expose(), &password, Network::UNKNOWN);
        assert!(matches!(reset.await, ChangePasswordOutcome::Changed { .. }));
        assert_eq!(front.call(&old.access()).await, 401, "{}", front.kind());
        assert_eq!(front.post("login", &super::ada()).await.status, 401);
        let body = json!({ "email": NAME, "password": new });
        assert_eq!(front.post("login", &body).await.status, 200);
    }
}

#[tokio::test]
async fn a_layer_with_a_type_of_claims_is_wired_as_the_other() {
    #[derive(serde::Deserialize)]
    struct Mine {
        roles: Vec<String>,
    }

    for front in Front::on_each(&[]).await {
        let access = front.sign_in().await.access();
        let call = async || {
            let api = service_fn(async |request: Request<()>| {
                let mine = request.extensions().get::<Verified<Mine>>().unwrap();
                Ok::<_, Infallible>(http::Response::new(mine.roles.join(" ")))
            });
            let layer = front.auth.layer_of::<Mine>().unwrap();
            let request = Request::get("/").header("authorization", format!("Bearer {access}"));
            let request = request.body(()).unwrap();
            let Ok(answer) = layer.layer(api).oneshot(request).await;
            answer.status()
        };
        assert_eq!(call().await, 200);
        let logout = bearer(post("logout", &json!({})), &access);
        front.send(logout).await;
        assert_eq!(call().await, 401, "{}", front.kind());
    }
}
