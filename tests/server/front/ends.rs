//! What ends an access: a disabled user, a session that was revoked; and what does not.

use http_body_util::Full;
use serde_json::json;
use tower_jwt_auth::{
    event::sink_fn,
    layer::socket::CloseReason,
    server::session::StaticClaims,
    store::port::{RevokeReason, UserAdmin},
};

use super::{Front, bearer, post, request};

#[tokio::test]
async fn u17_a_disabled_user_cannot_refresh_or_sign_in() {
    for front in Front::on_each(&[]).await {
        let tokens = front.sign_in().await;
        let ada = front.ada().await;
        assert!(front.caller(&tokens.access()).has_role("admin"));

        assert!(
            front
                .store
                .set_roles(&ada, &["editor".to_owned()])
                .await
                .unwrap()
        );
        let second = front.refresh(&tokens.refresh()).await;
        let caller = front.caller(&second.access());
        assert!(caller.has_role("editor") && !caller.has_role("admin"));

        assert!(front.store.set_disabled(&ada, true).await.unwrap());
        let refused = front.refresh(&second.refresh()).await;
        assert_eq!(refused.status, 400, "{}: {refused:?}", front.kind());
        assert_eq!(refused.text("error"), "invalid_grant");
        assert_eq!(front.post("login", &super::ada()).await.status, 401);
        // By the part as well.
        let direct = front.auth.sessions().refresh(&second.refresh()).await;
        assert!(direct.is_err());
    }
}

/// An own source takes precedence, as the one that reads nothing.
#[tokio::test]
async fn u17_another_claims_source_is_used() {
    let servers = Front::changed(&[], |builder| builder.claims_source(StaticClaims));
    for front in servers.await {
        let tokens = front.sign_in().await;
        assert!(
            front
                .store
                .set_disabled(&front.ada().await, true)
                .await
                .unwrap()
        );
        assert_eq!(front.refresh(&tokens.refresh()).await.status, 200);
    }
}

#[tokio::test]
async fn t10_t11_a_revoked_session_is_refused_by_layer_sockets_and_endpoints() {
    for front in Front::on_each(&[]).await {
        for way in ["endpoint", "part"] {
            let case = format!("{way}, {}", front.kind());
            let tokens = front.sign_in().await;
            let access = tokens.access();
            let sockets = front.auth.sockets();
            let mut open = sockets.guard(front.caller(&access)).unwrap();
            assert_eq!(front.call(&access).await, 200, "{case}");

            if way == "endpoint" {
                let logout = bearer(post("logout", &json!({})), &access);
                assert_eq!(front.send(logout).await.status, 204, "{case}");
            } else {
                let (ada, reason) = (front.ada().await, RevokeReason::CredentialsChanged);
                let ended = front.auth.sessions().revoke_all(&ada, reason);
                ended.await.unwrap();
            }

            // In this process immediately: no test waits here.
            assert_eq!(front.call(&access).await, 401, "{case}");
            assert_eq!(open.closed().await, CloseReason::Revoked, "{case}");
            let again = sockets.guard(front.caller(&access));
            assert_eq!(again.err(), Some(CloseReason::Revoked), "{case}");
            let list = request("GET", "sessions").body(Full::default()).unwrap();
            let list = front.send(bearer(list, &access)).await;
            assert_eq!(list.status, 401, "{case}");
            let refresh = front.refresh(&tokens.refresh()).await;
            assert_eq!(refresh.text("code"), "session_revoked", "{case}");
        }
    }
}

#[tokio::test]
async fn q11_a_sink_that_panics_changes_nothing() {
    let panics = || sink_fn(|_| panic!("a sink"));
    for front in Front::changed(&[], |builder| builder.events(panics())).await {
        let tokens = front.sign_in().await;
        assert_eq!(front.call(&tokens.access()).await, 200);
        assert_eq!(front.call("no.token.here").await, 401);
        let second = front.refresh(&tokens.refresh()).await;
        assert_eq!(second.status, 200);
        let sockets = front.auth.sockets();
        let mut open = sockets.guard(front.caller(&second.access())).unwrap();
        let wrong = json!({ "email": super::NAME, "password": "not this one" });
        assert_eq!(front.post("login", &wrong).await.status, 401);
        let logout = bearer(post("logout", &json!({})), &second.access());
        assert_eq!(front.send(logout).await.status, 204);
        assert_eq!(front.call(&second.access()).await, 401);
        assert_eq!(open.closed().await, CloseReason::Revoked);
    }
}

#[tokio::test]
async fn one_sink_receives_the_events_of_every_part() {
    for front in Front::on_each(&[]).await {
        front.events.take();
        let tokens = front.sign_in().await;
        front.call(&tokens.access()).await;
        front.call("no.token.here").await;
        let second = front.refresh(&tokens.refresh()).await;
        let logout = bearer(post("logout", &json!({})), &second.access());
        front.send(logout).await;
        assert_eq!(
            front.events.take(),
            [
                "login.succeeded",
                "session.created",
                "request.allowed",
                "request.denied",
                "session.refreshed",
                "session.revoked",
            ],
            "{}",
            front.kind()
        );
    }
}
