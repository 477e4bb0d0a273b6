//! Step-up at a server that issues its own tokens: section M with S7 and U25.

use std::time::{Duration, SystemTime};

use http::{Request, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    RoleGuardLayer,
    error::{AuthError, AuthErrorKind},
    layer::role_guard::Rule,
    server::session::StartSession,
    time::Timestamp,
};

use super::Front;

const MFA: &str = "urn:example:mfa";

impl Front {
    /// The challenge of an API that needs a recent second factor, `None` for a caller who has one.
    async fn pay(&self, access: &str) -> Option<AuthError> {
        let rule = Rule::acr([MFA]).and(Rule::max_auth_age(Duration::from_secs(300)));
        let guard = RoleGuardLayer::new(rule);
        let api = service_fn(async |_: Request<()>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        });
        let service = self.auth.layer().layer(guard.layer(api));
        let request = Request::get("/").header("authorization", format!("Bearer {access}"));
        let Ok(answer) = service.oneshot(request.body(()).unwrap()).await;
        match answer.status() {
            StatusCode::OK => None,
            _ => Some(answer.extensions().get::<AuthError>().unwrap().clone()),
        }
    }
}

#[tokio::test]
async fn m1_m2_s7_u25_a_raised_session_meets_the_rule_until_it_is_too_old() {
    for front in Front::on_each(&[("AUTH_ACR_MFA", MFA)]).await {
        let (subject, sessions) = (front.ada().await, front.auth.sessions());
        let hour = SystemTime::now() - Duration::from_secs(3600);
        let start = StartSession::new(&subject).amr(["pwd"]).auth_time(hour);
        let old = sessions.start(start).await.unwrap();

        let lacking = front.pay(old.access_token().expose()).await.unwrap();
        assert_eq!(lacking.kind(), AuthErrorKind::InsufficientAuthentication);
        assert_eq!(lacking.required_acr(), Some(MFA), "{}", front.kind());
        assert_eq!(lacking.required_max_age(), Some(Duration::from_secs(300)));

        let session = sessions.list(&subject, None).await.unwrap();
        let session = session.into_iter().next().unwrap();
        let raised = StartSession::raising(&session, ["otp"]);
        let raised = sessions.step_up(&session, raised).await.unwrap();
        let lacking = front.pay(raised.access_token().expose()).await;
        assert!(lacking.is_none(), "{lacking:?}");

        // A refresh changes neither the class nor the time.
        let refreshed = front.refresh(raised.refresh_token().expose()).await;
        assert_eq!(refreshed.status, StatusCode::OK);
        let access = refreshed.json()["access_token"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(front.pay(&access).await.is_none());
        let (before, after) = (
            front.caller(raised.access_token().expose()),
            front.caller(&access),
        );
        assert_eq!(after.auth_time(), before.auth_time());
        assert_eq!(after.acr(), Some(MFA));

        // Two factors of an hour ago are too old.
        let start = StartSession::new(&subject)
            .amr(["pwd", "otp", "mfa"])
            .auth_time(hour);
        let old = sessions.start(start).await.unwrap();
        let access = old.access_token().expose();
        assert_eq!(
            front.caller(access).auth_time(),
            Some(seconds(Timestamp::from(hour)))
        );
        let lacking = front.pay(access).await.unwrap();
        assert_eq!(lacking.required_acr(), None);
        assert_eq!(lacking.required_max_age(), Some(Duration::from_secs(300)));
    }
}

/// A token has whole seconds.
fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_secs(at.as_secs())
}
