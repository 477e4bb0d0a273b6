//! Every token of a sign-in that has several steps, on two nodes: each works once on both together.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::Request;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower_jwt_auth::{server::mail::MailPurpose, store::port::AuthStore, time::Timestamp};

use super::mails::{Node, Pair, address};
use crate::support::totp::App;

const PASSWORD: &str = "a password of the tests";

/// The response of the only request that succeeded. The others are refused, or come again.
fn only(case: &str, answers: &[(u16, Value)]) -> Value {
    let refused = [400, 401, 403, 429, 503];
    assert!(
        answers
            .iter()
            .all(|(status, _)| *status == 200 || refused.contains(status)),
        "{case}: {answers:?}"
    );
    let mut good = answers.iter().filter(|(status, _)| *status == 200);
    let (_, only) = good.next().unwrap_or_else(|| panic!("{case}: {answers:?}"));
    assert!(good.next().is_none(), "{case}: {answers:?}");
    only.clone()
}

fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_default().to_owned()
}

async fn first_step(node: &Node, login: &Value) -> String {
    let (status, first) = node.post("login", login).await;
    assert_eq!(
        (status, text(&first, "error")),
        (403, "mfa_required".to_owned())
    );
    text(&first, "mfa_token")
}

/// What one node has issued, the other one accepts, and both together accept it once.
pub(super) async fn every_token_works_once_on_both_nodes<S: AuthStore>(stores: [S; 2]) {
    let pair = Pair::changed(stores, |builder| {
        let builder = builder
            .totp("Example")
            .remember_devices(Duration::from_secs(3600));
        builder.mail(|mail| mail.sign_in(true))
    });
    let pair = pair.await;
    let [one, two] = &pair.nodes;
    let name = address("ada");
    let login = json!({ "email": name, "password": PASSWORD });
    let (status, session) = one.post("register", &login).await;
    assert_eq!(status, 201, "{session}");
    let verify = pair.token(MailPurpose::VerifyEmail).await;
    let verified = two.post("email/verify", &json!({ "token": verify })).await;
    assert_eq!(verified.0, 204);
    let access = text(&session, "access_token");

    // A code from a mail.
    let (_, asked) = one.post("login/email", &json!({ "email": name })).await;
    let code = pair.token(MailPurpose::SignIn).await;
    let body = json!({ "flow": asked["flow"], "code": code });
    let answers = pair.together("login/code", vec![body; 12], None).await;
    only("a code from a mail", &answers);

    // An enrolment that begins on one node ends on the other one.
    let (status, enrolled) = one.call("totp", &json!({}), Some(&access)).await;
    assert_eq!(status, 200, "{enrolled}");
    let app = App::with(&text(&enrolled, "secret"));
    let code = json!({ "code": app.code(Timestamp::from(SystemTime::now())) });
    let answers = pair
        .together("totp/confirm", vec![code; 6], Some(&access))
        .await;
    let codes = only("an enrolment", &answers);
    let mut codes: Vec<_> = codes["recovery_codes"].as_array().unwrap().clone();

    // The token of a first step, with different codes. It spends one of them.
    let step = first_step(one, &login).await;
    let bodies = codes.iter().take(6);
    let bodies = bodies.map(|code| json!({ "mfa_token": step, "code": code }));
    let answers = pair
        .together("login/continue", bodies.collect(), None)
        .await;
    let session = only("a first step", &answers);
    let access = text(&session, "access_token");
    let (_, left) = two.call("login", &login, None).await;
    assert_eq!(text(&left, "error"), "mfa_required");
    codes.drain(..6);

    // A recovery code, with the tokens of different first steps.
    let code = codes.pop().unwrap();
    let mut bodies = Vec::new();
    for node in [one, two, one, two] {
        let step = first_step(node, &login).await;
        bodies.push(json!({ "mfa_token": step, "code": code }));
    }
    let answers = pair.together("login/continue", bodies, None).await;
    only("a recovery code", &answers);

    // A session is raised once, whatever the codes.
    let bodies = codes.iter().take(2).map(|code| json!({ "code": code }));
    let answers = pair.together("step-up", bodies.collect(), Some(&access));
    let raised = only("a session", &answers.await);
    codes.drain(..2);
    let refresh = json!({ "refresh_token": raised["refresh_token"] });
    assert_eq!(two.post("refresh", &refresh).await.0, 200);
    let old = json!({ "refresh_token": session["refresh_token"] });
    assert_eq!(one.post("refresh", &old).await.0, 400);

    // A device that one node remembers, until all sessions end.
    let step = first_step(two, &login).await;
    let body = json!({ "mfa_token": step, "code": codes[0], "remember": true });
    let (status, session) = one.post("login/continue", &body).await;
    assert_eq!(status, 200, "{session}");
    let mut known = login.clone();
    known["remember_token"] = session["remember_token"].clone();
    assert_eq!(two.post("login", &known).await.0, 200);
    let access = text(&session, "access_token");
    let (status, _) = one
        .call("logout", &json!({ "scope": "all" }), Some(&access))
        .await;
    assert_eq!(status, 204);
    first_step(two, &known).await;

    // A hundred wrong codes on both nodes keep everyone out but a device on which the factor was proved.
    let step = first_step(one, &login).await;
    let wrong = app.wrong(Timestamp::from(SystemTime::now()));
    let guess = json!({ "mfa_token": step, "code": wrong });
    let mut counted = 0;
    while counted < 100 {
        let guesses = vec![guess.clone(); 10];
        for (status, answer) in pair.together("login/continue", guesses, None).await {
            assert!([400, 429, 503].contains(&status), "{answer}");
            counted += usize::from(text(&answer, "error") == "invalid_code");
        }
    }
    assert_eq!(counted, 100);
    let next = Timestamp::from(SystemTime::now()).plus(Duration::from_secs(30));
    let mut right = json!({ "mfa_token": step, "code": app.code(next) });
    for node in [one, two] {
        let (status, answer) = node.post("login/continue", &right).await;
        assert_eq!((status, &answer["error"]), (429, &json!("slow_down")));
    }
    right["device_token"] = session["device_token"].clone();
    let (status, answer) = two.post("login/continue", &right).await;
    assert_eq!(status, 200, "{answer}");

    // The state of a flow: of identity providers, passkeys and the application.
    let head = |cookie: Option<&str>| {
        let mut request = Request::get("/callback");
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        request.body(()).unwrap().into_parts().0
    };
    let begun = one.0.begin_flow(&head(None), "idp", "a state").await;
    let cookie = begun.unwrap();
    let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
    let mut tasks = JoinSet::new();
    for turn in 0..12 {
        let (node, head) = (Arc::clone(&pair.nodes[turn % 2]), head(Some(cookie)));
        tasks.spawn(async move { node.0.finish_flow::<String>(&head, "idp").await });
    }
    let ends = tasks.join_all().await;
    let states: Vec<_> = ends.iter().filter_map(|end| end.as_ref().ok()).collect();
    assert_eq!(states, ["a state"], "{ends:?}");
}
