//! A second step that the application asks for and verifies: U32.

use std::time::Duration;

use http::{Request, request::Parts};
use http_body_util::Full;
use serde_json::json;
use tower_jwt_auth::{
    error::StoreError,
    server::{
        login::{FirstStep, SignIn},
        refresh::RefreshPolicy,
    },
    store::port::UserRecord,
};

use super::second_step::claims;
use crate::support::endpoints::{Answer, Server, ada, request};

fn head() -> Parts {
    let request: Request<Full<bytes::Bytes>> =
        request("POST", "callback").body(Full::default()).unwrap();
    request.into_parts().0
}

impl Server {
    async fn finish(&self, who: SignIn) -> Answer {
        Answer::of(self.endpoints.sign_in(&head(), who).await).await
    }
}

#[tokio::test]
async fn u32_a_policy_of_the_application_asks_for_its_own_factor() {
    let policy = |first: FirstStep| async move {
        let has_key = first.amr().any(|method| method == "hwk");
        Ok::<_, StoreError>(match first.subject() {
            "u-ada" if !has_key => vec!["webauthn".to_owned()],
            _ => Vec::new(),
        })
    };
    let server = Server::with_login(true, RefreshPolicy::browser(), |login, store| {
        login.factors(store.clone()).second_step(policy)
    });
    let server = server.await;
    server
        .users
        .put("eve@example.org", UserRecord::new("u-eve"));
    assert_eq!(server.finish(SignIn::new("u-eve")).await.status, 200);
    assert_eq!(
        server
            .finish(SignIn::new("u-ada").amr(["hwk"]))
            .await
            .status,
        200
    );

    // By a password, and by another provider.
    let provider = SignIn::new("u-ada").amr(["fed"]).label("A phone");
    for (answer, first) in [
        (server.post("login", &ada()).await, "pwd"),
        (server.finish(provider).await, "fed"),
    ] {
        let answer = answer.is(403, "mfa_required");
        assert_eq!(answer.json()["mfa_methods"], json!(["webauthn"]));
        let token = answer.text("mfa_token");
        // No code helps.
        server
            .post(
                "login/continue",
                &json!({ "mfa_token": token, "code": "123456" }),
            )
            .await
            .is(404, "not_found");
        assert!(server.endpoints.pending_sign_in(&head(), "mf1_").is_none());
        let pending = || server.endpoints.pending_sign_in(&head(), &token).unwrap();
        assert_eq!(pending().subject(), "u-ada");
        assert_eq!(pending().methods().collect::<Vec<_>>(), ["webauthn"]);
        let complete = || SignIn::completing(pending(), ["hwk"]).unwrap();
        let answer = server.finish(complete()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(claims(&answer.access())["amr"], json!([first, "hwk"]));
        assert_eq!(claims(&answer.access())["roles"], json!(["admin"]));
        server.finish(complete()).await.is(400, "invalid_grant");
    }
    let token = server.first_step().await;
    server.advance(Duration::from_secs(300));
    assert!(server.endpoints.pending_sign_in(&head(), &token).is_none());
}
