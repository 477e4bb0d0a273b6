//! Mails of accounts: through the endpoints, on every store that needs no server.

mod change;
mod devices;
mod first_password;
mod lost;
mod requests;
mod reset;
mod sign_in;
mod take_over;
mod verified;
mod verify;

use serde_json::json;
use tower_jwt_auth::event::MailPurpose;

use crate::{
    front::{Answer, Front, NAME},
    support::postbox::{Postbox, token},
};

/// A server with ada and a postbox, on each store.
async fn on_each() -> Vec<(Front, Postbox)> {
    let mut servers = Vec::new();
    let postbox = Postbox::default();
    let mailer = postbox.clone();
    let open = move |builder: tower_jwt_auth::server::AuthServerBuilder<_>| {
        builder.mailer(mailer.clone()).registration(true)
    };
    // One postbox for each server: the tests of one end before the next begins.
    for front in Front::changed(&[("AUTH_PUBLIC_URL", ORIGIN)], open).await {
        servers.push((front, postbox.clone()));
    }
    servers
}

/// The token of a link for a new password.
async fn reset_token(front: &Front, postbox: &Postbox) -> String {
    let answer = forgot(front, NAME).await;
    assert_eq!(answer.status, 202, "{}: {answer:?}", front.kind());
    token(&postbox.next(MailPurpose::ResetPassword).await)
}

async fn forgot(front: &Front, email: &str) -> Answer {
    front
        .post("password/forgot", &json!({ "email": email }))
        .await
}

async fn reset(front: &Front, token: &str, password: &str) -> Answer {
    let body = json!({ "token": token, "new_password": password });
    front.post("password/reset", &body).await
}

const ORIGIN: &str = "https://app.example";
