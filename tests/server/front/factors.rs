//! Second factors and other ways in through the front door: U31, U32, U33.

use std::time::SystemTime;

use http::{Request, request::Parts};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_jwt_auth::{
    AuthServer,
    server::login::SignIn,
    store::{AnyStore, port::KeyRingStore},
    time::Timestamp,
};

use super::{NAME, PASSWORD, SECRET, cheap, stores};
use crate::support::totp::App;

fn builder(store: &AnyStore) -> tower_jwt_auth::server::AuthServerBuilder<AnyStore> {
    AuthServer::builder(store.clone())
        .public_origin("https://app.example")
        .registration(true)
        .login(|login| login.hasher(cheap()))
        .totp("Example")
}

async fn read(answer: http::Response<tower_jwt_auth::layer::response::Whole>) -> (u16, Value) {
    let status = answer.status().as_u16();
    let Ok(body) = answer.into_body().collect().await;
    let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    (status, body)
}

async fn post(auth: &AuthServer, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::post(format!("/api/auth/{path}"))
        .header("content-type", "application/json")
        .body(Full::<bytes::Bytes>::from(body.to_string()))
        .unwrap();
    let Ok(answer) = auth.endpoints().oneshot(request).await;
    read(answer).await
}

fn head() -> Parts {
    Request::post("/callback").body(()).unwrap().into_parts().0
}

#[tokio::test]
async fn u33_second_factors_need_a_secret_that_outlives_the_process() {
    for (store, _folder) in stores().await {
        let started = builder(&store).start().await;
        match store.keeps_key_ring() {
            true => assert!(started.unwrap_err().to_string().starts_with("totp")),
            false => drop(started.unwrap()),
        }
        let secret = SECRET.parse().unwrap();
        builder(&store).secret(secret).start().await.unwrap();
    }
}

#[tokio::test]
async fn u31_u32_a_passkey_signs_in_and_an_authenticator_is_asked_for() {
    for (store, _folder) in stores().await {
        let secret = SECRET.parse().unwrap();
        let auth = builder(&store).secret(secret).start().await.unwrap();
        let ada = json!({ "email": NAME, "password": PASSWORD });
        let (status, tokens) = post(&auth, "register", &ada).await;
        assert_eq!(status, 201, "{tokens}");
        let access = tokens["access_token"].as_str().unwrap();
        let verifier = auth.issuer().verifier().build().unwrap();
        let token = verifier.verify_now(access).unwrap();
        let subject = token.subject().unwrap().to_owned();
        let passkey = async |amr: &[&str]| {
            let who = SignIn::new(&subject).amr(amr.iter().copied());
            read(auth.sign_in(&head(), who).await).await
        };
        assert_eq!(passkey(&["hwk"]).await.0, 200);

        let factors = auth.login().second_factors().unwrap();
        let enrolled = factors.enroll(&subject, NAME).await.unwrap();
        let app = App::with(enrolled.secret().expose());
        let code = app.code(Timestamp::from(SystemTime::now()));
        let codes = factors.confirm(&subject, &code).await.unwrap();
        let code = codes.expose().next().unwrap().to_owned();
        let (status, first) = passkey(&["hwk"]).await;
        assert_eq!((status, &first["error"]), (403, &json!("mfa_required")));
        let body = json!({ "mfa_token": first["mfa_token"], "code": code });
        let (status, second) = post(&auth, "login/continue", &body).await;
        assert_eq!(status, 200, "{second}");
        // A passkey that has verified its user is two factors already.
        assert_eq!(passkey(&["hwk", "pin"]).await.0, 200);
        assert_eq!(passkey(&["mfa"]).await.0, 200);
    }
}
