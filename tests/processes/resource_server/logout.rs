//! Logout that the provider sends to the example server.

use http::Method;
use serde_json::json;
use tower_jwt_auth::{
    key::Algorithm,
    test_util::{JwksFixture, TestIssuer},
};

use super::{network::decided, start};

#[tokio::test]
async fn x1_a_logout_at_the_provider_ends_its_tokens() {
    let provider = JwksFixture::start();
    let issuer = provider.issuer();
    let server = start(&[
        ("JWT_ISSUER", issuer.as_str()),
        ("JWT_AUDIENCE", "https://api.example"),
        ("JWT_BACKCHANNEL_LOGOUT", "true"),
        ("JWT_LOGOUT_CLIENT_ID", "shop-web"),
    ]);
    let tokens: TestIssuer = provider.issuer_for(Algorithm::Es256);
    let access = tokens.token(|claims| {
        claims.insert("sub".into(), "alice".into());
        claims.insert("sid".into(), "s1".into());
    });
    assert_eq!(
        decided(&server, "/protected", Some(&access)).await.status,
        200
    );

    let logout = |client: &str| {
        tokens.clone().typ(Some("logout+jwt")).token(|claims| {
            claims.retain(|name, _| ["iss", "iat", "exp"].contains(&name.as_str()));
            claims.insert("aud".into(), client.into());
            claims.insert("jti".into(), "l1".into());
            claims.insert("sid".into(), "s1".into());
            let event = "http://schemas.openid.net/event/backchannel-logout";
            claims.insert("events".into(), json!({ event: {} }));
        })
    };
    for (client, status) in [("other", 400), ("shop-web", 200)] {
        let body = format!("logout_token={}", logout(client));
        let answer = server
            .send(Method::POST, "/backchannel-logout", &[], body)
            .await;
        assert_eq!(answer.status, status, "{client}");
        let after = server.get("/protected", Some(&access)).await;
        assert_eq!(after.status, if status == 200 { 401 } else { 200 });
    }
}
