//! Logout that the provider sends to the example server.

use http::Method;
use tower_jwt_auth::{
    key::Algorithm,
    test_util::{JwksFixture, LogoutSender, TestIssuer},
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

    for (client, status) in [("other", 400), ("shop-web", 200)] {
        let sender = LogoutSender::new(&tokens, client).without_subject();
        let body = sender.session("s1").form();
        let answer = server
            .send(Method::POST, "/backchannel-logout", &[], body)
            .await;
        assert_eq!(answer.status, status, "{client}");
        let after = server.get("/protected", Some(&access)).await;
        assert_eq!(after.status, if status == 200 { 401 } else { 200 });
    }
}
