//! The page. Style and scripts are separate files, so that its Content-Security-Policy allows nothing inline.

use axum::{
    Router,
    http::header::{
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
    routing::{MethodRouter, get},
};

pub(crate) fn routes() -> Router {
    let mail = || file("text/html", include_str!("mail.html"));
    Router::new()
        .route("/reset-password", mail())
        .route("/sign-in", mail())
        .route("/verify-email", mail())
        .route("/change-email", mail())
        .route("/mail.js", file(SCRIPT, include_str!("mail.js")))
        .route("/", file("text/html", include_str!("page.html")))
        .route("/page.css", file("text/css", include_str!("page.css")))
        .route("/account.js", file(SCRIPT, include_str!("account.js")))
        .route("/page.js", file(SCRIPT, include_str!("page.js")))
        .route("/passkeys.js", file(SCRIPT, include_str!("passkeys.js")))
        .route("/client.js", file(SCRIPT, include_str!("client.js")))
        .route("/dpop.js", file(SCRIPT, include_str!("dpop.js")))
        .route("/icon.svg", file("image/svg+xml", include_str!("icon.svg")))
}

fn file(kind: &str, text: &'static str) -> MethodRouter {
    let headers = [
        (CONTENT_TYPE, format!("{kind}; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        // For browsers without `frame-ancestors`.
        (X_FRAME_OPTIONS, "DENY".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    get(async move || (headers, text))
}

const SCRIPT: &str = "text/javascript";
/// `form-action` keeps a form from putting the password into the page's address if the script is not loaded.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
