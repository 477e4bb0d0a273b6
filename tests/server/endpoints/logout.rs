//! Signing out, revoking, and the list of devices: T10.

use std::time::Duration;

use http_body_util::Full;
use serde_json::json;

use crate::support::endpoints::{Server, bearer, form, json as post, request};

#[tokio::test]
async fn t10_logout_ends_this_device_by_whatever_token_it_brings() {
    let server = Server::start().await;
    let kept = server.sign_in().await;
    for case in [
        "refresh token",
        "access token",
        "expired access token",
        "cookie",
    ] {
        let tokens = server.sign_in().await;
        let answer = match case {
            "refresh token" => {
                let body = json!({ "refresh_token": tokens.refresh() });
                server.post("logout", &body).await
            }
            "access token" => {
                server
                    .send(bearer(post("logout", &json!({})), &tokens.access()))
                    .await
            }
            "expired access token" => {
                server.advance(Duration::from_secs(3600));
                let request = request("POST", "logout").body(Full::default()).unwrap();
                server.send(bearer(request, &tokens.access())).await
            }
            _ => {
                let mut browser = server.browser().await;
                let answer = server.send(browser.request("logout")).await;
                browser.keep(&answer);
                assert!(!browser.cookies.contains_key("__Host-at"));
                assert!(!browser.cookies.contains_key("__Secure-rt"));
                assert!(
                    browser.cookies.contains_key("__Host-dvc"),
                    "the device stays trusted"
                );
                assert_eq!(answer.status, 204);
                continue;
            }
        };
        assert_eq!(answer.status, 204, "{case} {answer:?}");
        let body = json!({ "refresh_token": tokens.refresh() });
        let refused = server.post("refresh", &body).await.is(400, "invalid_grant");
        assert_eq!(refused.text("code"), "session_revoked", "{case}");
    }
    let body = json!({ "refresh_token": kept.refresh() });
    assert_eq!(
        server.post("refresh", &body).await.status,
        200,
        "the other device"
    );
}

#[tokio::test]
async fn t10_logout_is_idempotent_and_unknown_tokens_are_fine() {
    let server = Server::start().await;
    let tokens = server.sign_in().await;
    let body = json!({ "refresh_token": tokens.refresh() });
    for _ in 0..2 {
        assert_eq!(server.post("logout", &body).await.status, 204);
        let revoked = server
            .send(form("revoke", &format!("token={}", tokens.refresh())))
            .await;
        assert_eq!(revoked.status, 200);
    }
    assert_eq!(server.post("logout", &json!({})).await.status, 204);
    assert_eq!(
        server
            .post("logout", &json!({ "refresh_token": "rt1_x" }))
            .await
            .status,
        204
    );
    assert_eq!(
        server
            .send(bearer(post("logout", &json!({})), "a.b.c"))
            .await
            .status,
        204
    );
    for unknown in ["x", "rt1_x", "a.b.c"] {
        let body = format!("token={unknown}&token_type_hint=refresh_token");
        assert_eq!(
            server.send(form("revoke", &body)).await.status,
            200,
            "{unknown}"
        );
    }
    server
        .send(form("revoke", ""))
        .await
        .is(400, "invalid_request");
}

#[tokio::test]
async fn t10_others_and_all_need_a_live_access_token() {
    let server = Server::start().await;
    let (one, two, three) = (
        server.sign_in().await,
        server.sign_in().await,
        server.sign_in().await,
    );
    let others = json!({ "scope": "others" });
    let answer = server
        .send(bearer(post("logout", &others), &one.access()))
        .await;
    assert_eq!(answer.status, 204);
    assert!(server.is_alive(&one.access()).await);
    assert!(!server.is_alive(&two.access()).await && !server.is_alive(&three.access()).await);

    let four = server.sign_in().await;
    let all = json!({ "scope": "all" });
    let answer = server
        .send(bearer(post("logout", &all), &one.access()))
        .await;
    assert_eq!(answer.status, 204);
    for tokens in [&one, &four] {
        let body = json!({ "refresh_token": tokens.refresh() });
        server.post("refresh", &body).await.is(400, "invalid_grant");
    }
    for scope in ["others", "all"] {
        let body = json!({ "scope": scope });
        server.post("logout", &body).await.is(401, "invalid_token");
        // A refresh token proves who it is, but not that somebody is there now.
        let body = json!({ "scope": scope, "refresh_token": four.refresh() });
        server.post("logout", &body).await.is(401, "invalid_token");
    }
    let five = server.sign_in().await;
    server.advance(Duration::from_secs(3600));
    server
        .send(bearer(post("logout", &all), &five.access()))
        .await
        .is(401, "invalid_token");
    server
        .post("logout", &json!({ "scope": "everything" }))
        .await
        .is(400, "invalid_request");
}

#[tokio::test]
async fn revoking_either_token_ends_the_session() {
    let server = Server::start().await;
    for which in ["access_token", "refresh_token"] {
        let tokens = server.sign_in().await;
        let body = format!("token={}", tokens.text(which));
        let answer = server.send(form("revoke", &body)).await.not_kept();
        assert_eq!(answer.status, 200);
        assert!(!server.is_alive(&tokens.access()).await, "{which}");
    }
}

#[tokio::test]
async fn devices_are_listed_and_ended_one_by_one_by_their_owner_alone() {
    let server = Server::start().await;
    let phone = json!({
        "email": "ada@example.org", "password": crate::support::endpoints::PASSWORD, "device": "Ada's phone",
    });
    let phone = server.post("login", &phone).await;
    let laptop = server.sign_in().await;
    let list = || {
        bearer(
            request("GET", "sessions").body(Full::default()).unwrap(),
            &laptop.access(),
        )
    };
    let answer = server.send(list()).await.not_kept();
    let sessions = answer.json()["sessions"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 2);
    let current = |session: &&serde_json::Value| session["current"] == true;
    assert_eq!(sessions.iter().filter(current).count(), 1);
    let listed = sessions
        .iter()
        .find(|one| one["label"] == "Ada's phone")
        .unwrap();
    assert_eq!(listed["current"], false);
    assert_eq!(listed["ip"], "203.0.113.9");

    let path = format!("sessions/{}", listed["id"].as_str().unwrap());
    let end = |token: &str| {
        bearer(
            request("DELETE", &path).body(Full::default()).unwrap(),
            token,
        )
    };
    // Somebody else cannot, and is not told that it exists.
    let eve = json!({ "email": "eve@example.org", "password": "a new password" });
    let eve = server.post("register", &eve).await;
    server.send(end(&eve.access())).await.is(404, "not_found");
    assert!(server.is_alive(&phone.access()).await);
    assert_eq!(server.send(end(&laptop.access())).await.status, 204);
    assert!(!server.is_alive(&phone.access()).await);
    server
        .send(end(&laptop.access()))
        .await
        .is(404, "not_found");
    let nobody = request("GET", "sessions").body(Full::default()).unwrap();
    server.send(nobody).await.is(401, "invalid_token");
}

#[tokio::test]
async fn a_token_of_an_ended_session_neither_lists_nor_ends_others() {
    let server = Server::start().await;
    let (kept, stolen) = (server.sign_in().await, server.sign_in().await);
    let body = json!({ "refresh_token": stolen.refresh() });
    assert_eq!(server.post("logout", &body).await.status, 204);
    let stolen = stolen.access();
    assert!(
        server.verifier.verify_now(&stolen).is_ok(),
        "it has not expired"
    );
    let list = request("GET", "sessions").body(Full::default()).unwrap();
    server
        .send(bearer(list, &stolen))
        .await
        .is(401, "invalid_token");
    for scope in ["others", "all"] {
        let request = post("logout", &json!({ "scope": scope }));
        server
            .send(bearer(request, &stolen))
            .await
            .is(401, "invalid_token");
    }
    assert!(server.is_alive(&kept.access()).await);
}

/// A form that another site's page posts comes without the cookies, which are `SameSite`; but what its
/// answer sets and deletes the browser obeys (logout CSRF).
#[tokio::test]
async fn n2_a_logout_from_another_site_deletes_no_cookies() {
    let server = Server::start().await;
    let theirs = format!("refresh_token={}", server.sign_in().await.refresh());
    for (name, value, deleted) in [
        ("sec-fetch-site", "cross-site", 0),
        ("sec-fetch-site", "same-site", 0),
        ("origin", "https://evil.example", 0),
        ("origin", "null", 0),
        ("sec-fetch-site", "same-origin", 5),
    ] {
        for body in ["", &*theirs] {
            let mut request = form("logout", body);
            let value = http::HeaderValue::from_static(value);
            request.headers_mut().insert(name, value);
            let answer = server.send(request).await;
            assert_eq!(answer.status, 204, "{name}");
            assert_eq!(answer.cookies().len(), deleted, "{name} {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_token_for_one_conversation_neither_lists_nor_ends_its_owners_sessions() {
    let server = Server::start().await;
    let tokens = server.sign_in().await;
    let caller = server
        .verifier
        .verify_now(tokens.access())
        .unwrap()
        .principal();
    let minted = server
        .sessions
        .conversation_token(&caller, "c1")
        .await
        .unwrap();
    let token = minted.token().expose();
    let chat = server
        .sessions
        .issuer()
        .verifier()
        .allow_conversation_tokens();
    let chat = chat.build().unwrap();
    assert!(chat.verify_now(token).is_ok(), "it is a good one");
    let list = request("GET", "sessions").body(Full::default()).unwrap();
    server
        .send(bearer(list, token))
        .await
        .is(401, "invalid_token");
    for scope in ["others", "all"] {
        let request = post("logout", &json!({ "scope": scope }));
        server
            .send(bearer(request, token))
            .await
            .is(401, "invalid_token");
    }
    let logout = bearer(post("logout", &json!({})), token);
    assert_eq!(server.send(logout).await.status, 204);
    let body = format!("token={token}");
    let answer = server.send(form("revoke", &body)).await;
    answer.is(400, "unsupported_token_type");
    assert!(server.is_alive(&tokens.access()).await);
}

/// Decision 38: also where the browser says that the request comes from this site.
#[tokio::test]
async fn n8_every_logout_by_cookie_needs_the_sessions_own_proof() {
    let server = Server::start().await;
    let other = server.browser().await;
    for scope in ["device", "others", "all"] {
        let mut browser = server.browser().await;
        // With it the scope `device` does not look at the access token.
        browser.cookies.remove("__Secure-rt");
        let access = browser.cookies["__Host-at"].clone();
        let ask = || browser.dress(post("logout", &json!({ "scope": scope })));
        let mut bare = ask();
        bare.headers_mut().remove("x-csrf-token");
        let mut foreign = ask();
        let theirs = other.cookies["__Host-csrf"].clone();
        let theirs = theirs.try_into().unwrap();
        foreign.headers_mut().insert("x-csrf-token", theirs);
        let mut masked = ask();
        masked.headers_mut().remove("x-csrf-token");
        let basic = http::HeaderValue::from_static("Basic YTpi");
        masked.headers_mut().insert("authorization", basic);
        for request in [bare, foreign, masked] {
            let refused = server.send(request).await.is(403, "access_denied");
            assert!(refused.cookies().is_empty(), "{scope}");
        }
        assert!(server.is_alive(&access).await, "{scope}");
        let kept = server.sign_in().await.access();
        assert_eq!(server.send(ask()).await.status, 204, "{scope}");
        assert_eq!(server.is_alive(&access).await, scope == "others");
        assert_eq!(server.is_alive(&kept).await, scope == "device");
    }
    // A header is sent by nobody but its owner.
    let token = server.sign_in().await.access();
    let all = post("logout", &json!({ "scope": "all" }));
    assert_eq!(server.send(bearer(all, &token)).await.status, 204);
}
