//! Refreshing: R2, T2, T3, T5, T9.

use std::time::Duration;

use serde_json::json;

use crate::support::endpoints::{Server, form};

#[tokio::test]
async fn a_refresh_token_is_exchanged_in_json_and_in_forms() {
    let server = Server::start().await;
    let first = server.sign_in().await;
    let mut token = first.refresh();
    for number in 0..4 {
        // Past the grace window, so that each is a rotation.
        server.advance(Duration::from_secs(31));
        let answer = match number {
            0 => {
                server
                    .post("refresh", &json!({ "refresh_token": token }))
                    .await
            }
            1 => server.post("refresh", &json!({ "refresh": token })).await,
            2 => {
                server
                    .send(form("refresh", &format!("refresh_token={token}")))
                    .await
            }
            _ => {
                let body = format!("grant_type=refresh_token&refresh_token={token}");
                server.send(form("token", &body)).await
            }
        };
        let answer = answer.not_kept();
        assert_eq!(answer.status, 200, "{number} {answer:?}");
        assert_ne!(answer.refresh(), token);
        assert!(server.verifier.verify_now(answer.access()).is_ok());
        token = answer.refresh();
    }
}

#[tokio::test]
async fn r2_an_access_token_is_no_refresh_token() {
    let server = Server::start().await;
    let tokens = server.sign_in().await;
    for body in [
        json!({ "refresh_token": tokens.access() }),
        json!({ "refresh_token": "rt1_garbage" }),
    ] {
        let answer = server.post("refresh", &body).await.is(400, "invalid_grant");
        assert_eq!(answer.text("code"), "refresh_token_invalid");
    }
    for none in [json!({}), json!({ "refresh_token": "" })] {
        let refused = server.post("refresh", &none).await;
        refused.is(400, "invalid_request");
    }
    let body = json!({ "grant_type": "authorization_code", "code": "x" });
    server
        .post("token", &body)
        .await
        .is(400, "unsupported_grant_type");
    // It did no harm.
    let body = json!({ "refresh_token": tokens.refresh() });
    assert_eq!(server.post("refresh", &body).await.status, 200);
}

#[tokio::test]
async fn t2_the_same_token_within_the_window_has_the_same_successor() {
    let server = Server::start().await;
    let body = json!({ "refresh_token": server.sign_in().await.refresh() });
    let (one, two) = tokio::join!(server.post("refresh", &body), server.post("refresh", &body));
    assert_eq!(one.refresh(), two.refresh());
    assert_eq!(server.post("refresh", &body).await.refresh(), one.refresh());
}

#[tokio::test]
async fn t3_a_spent_token_after_the_window_ends_the_session_and_says_so() {
    let server = Server::start().await;
    let first = server.sign_in().await;
    let body = json!({ "refresh_token": first.refresh() });
    let second = server.post("refresh", &body).await;
    server.advance(Duration::from_secs(31));
    let answer = server.post("refresh", &body).await.is(400, "invalid_grant");
    assert_eq!(answer.text("code"), "refresh_token_reused");
    let body = json!({ "refresh_token": second.refresh() });
    let answer = server.post("refresh", &body).await.is(400, "invalid_grant");
    assert_eq!(answer.text("code"), "session_revoked");
    assert!(!server.is_alive(&first.access()).await);
}
