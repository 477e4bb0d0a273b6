//! A page for development: what this server expects of a token, and every check of a pasted one.
//!
//! Plain HTML and a style sheet, no script. The token arrives in the body of a form, is checked, and is
//! dropped. Neither the page nor the log contains it.

use std::fmt::Write;

use axum::{
    Form, Router,
    extract::{DefaultBodyLimit, State},
    http::header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
    response::IntoResponse,
    routing::get,
};
use serde::Deserialize;
use tower_jwt_auth::{Verifier, verify::Explanation};

pub(crate) fn routes(verifier: Verifier) -> Router {
    Router::new()
        .route("/explain", get(expectations).post(explain))
        .route("/explain.css", get(async || page("css", STYLE.to_owned())))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(verifier)
}

#[derive(Deserialize)]
struct Pasted {
    token: String,
}

async fn expectations(State(verifier): State<Verifier>) -> impl IntoResponse {
    let explanation = verifier.explain(EMPTY).await;
    page("html", html("This server expects", &explanation, false))
}

async fn explain(
    State(verifier): State<Verifier>,
    Form(pasted): Form<Pasted>,
) -> impl IntoResponse {
    let token = pasted.token.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim();
    let explanation = verifier.explain(token).await;
    let verdict = match explanation.refusal() {
        None => "Accepted".to_owned(),
        Some(error) => format!("Refused: {} ({error})", error.as_str()),
    };
    page("html", html(&verdict, &explanation, true))
}

fn html(verdict: &str, explanation: &Explanation, of_a_token: bool) -> String {
    let mut rows = String::new();
    for check in explanation.checks() {
        let (class, mark) = match check.passed() {
            _ if !of_a_token => ("none", ""),
            Some(true) => ("passed", "passed"),
            Some(false) => ("failed", "failed"),
            None => ("none", "not checked"),
        };
        let found = if of_a_token { check.found() } else { "" };
        let _ = writeln!(
            rows,
            "<tr class=\"{class}\"><th scope=\"row\">{}</th><td>{mark}</td><td>{}</td><td>{}</td></tr>",
            check.name(),
            escaped(check.expected()),
            escaped(found),
        );
    }
    let kind = if of_a_token { "checked" } else { "expected" };
    PAGE.replace("{kind}", kind)
        .replace("{verdict}", &escaped(verdict))
        .replace("{rows}", &rows)
}

/// Escapes a text for HTML. Values in an explanation come from the token.
fn escaped(text: &str) -> String {
    let replaced = text.replace('&', "&amp;").replace('<', "&lt;");
    replaced
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn page(kind: &str, text: String) -> impl IntoResponse + use<> {
    let headers = [
        (CONTENT_TYPE, format!("text/{kind}; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        (X_FRAME_OPTIONS, "DENY".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (headers, text)
}

/// A token without a signature and without claims: its checks show what is expected.
const EMPTY: &str = "eyJhbGciOiJub25lIn0.e30.AA";
const LONGEST_BODY: usize = 64 * 1024;
const PAGE: &str = include_str!("explain.html");
const STYLE: &str = include_str!("explain.css");
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
