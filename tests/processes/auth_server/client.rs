//! A client of the login server.

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use http::{Method, header::SET_COOKIE};
use serde_json::json;

use crate::support::process::{Answer, Folder, Server, refused_by};

pub(crate) const USER: &str = "ada@example.org";
pub(crate) const ADMIN: &str = "grace@example.org";
pub(crate) const PASSWORD: &str = "a password of the tests";
pub(crate) const SEEDS: (&str, &str) = (
    "AUTH_SEED_USER",
    "ada@example.org:a password of the tests:user,grace@example.org:a password of the tests:admin",
);

/// What a client was given.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Server {
    pub(crate) fn start(vars: &[(&str, &str)]) -> Self {
        Self::start_example("auth_server", vars)
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<String>) -> Answer {
        self.send(Method::POST, path, &[], body).await
    }

    pub(crate) async fn try_login(&self, name: &str, password: &str) -> Answer {
        let body = json!({ "email": name, "password": password });
        self.post("/api/auth/login", body.to_string()).await
    }

    pub(crate) async fn login(&self, name: &str) -> Tokens {
        patiently(|| self.try_login(name, PASSWORD)).await.tokens()
    }

    pub(crate) async fn refresh(&self, tokens: &Tokens) -> Answer {
        let body = json!({ "refresh_token": tokens.refresh }).to_string();
        patiently(|| self.post("/api/auth/refresh", body.clone())).await
    }

    pub(crate) async fn logout(&self, tokens: &Tokens, scope: &str) -> Answer {
        let body = json!({ "scope": scope }).to_string();
        let path = "/api/auth/logout";
        patiently(|| self.with(Method::POST, path, Some(&tokens.access), &body)).await
    }

    pub(crate) async fn me(&self, tokens: &Tokens) -> u16 {
        let me = || self.get("/api/me", Some(&tokens.access));
        patiently(me).await.status
    }

    /// Waits until the tokens' session is known to be over; says how long it took. The process that
    /// ended it knows at once, another one a moment later.
    pub(crate) async fn refuses(&self, tokens: &Tokens) -> Duration {
        let begun = Instant::now();
        while self.me(tokens).await != 401 {
            assert!(begun.elapsed() < Duration::from_secs(60), "still let in");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        begun.elapsed()
    }
}

/// Repeats a request that was refused because the machine was too busy to serve it within a second.
async fn patiently<F: Future<Output = Answer>>(ask: impl Fn() -> F) -> Answer {
    for tries in 0.. {
        let begun = Instant::now();
        let answer = ask().await;
        let is_late = begun.elapsed() > Duration::from_secs(1);
        if answer.status != 503 || !is_late || tries == 9 {
            return answer;
        }
    }
    unreachable!()
}

impl Answer {
    pub(crate) fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub(crate) fn tokens(&self) -> Tokens {
        assert_eq!(self.status, 200, "{self:?}");
        Tokens {
            access: self.text("access_token"),
            refresh: self.text("refresh_token"),
        }
    }

    /// The lines that set cookies, in their order.
    pub(crate) fn cookies(&self) -> Vec<&str> {
        let lines = self.headers.get_all(SET_COOKIE).iter();
        lines.map(|line| line.to_str().unwrap()).collect()
    }
}

impl Folder {
    /// The URL of a database in it.
    pub(crate) fn sqlite(&self) -> String {
        format!("sqlite:{}", self.path().join("auth.db").display())
    }
}

/// What a process says that does not come up: all that it printed, and the complaint alone.
pub(crate) fn refused(vars: &[(&str, &str)]) -> (ExitStatus, String, String) {
    refused_by("auth_server", vars)
}
