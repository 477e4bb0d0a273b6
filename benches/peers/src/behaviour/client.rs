//! Whoever sends the requests.

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use tokio::{task::JoinSet, time::timeout};
use tower::ServiceExt;

use crate::{
    peer::{Head, Layered},
    setup::{RUNTIME, bearer, request},
};

/// Calls a service as a server would: a clone for every request, made ready first.
pub(super) struct Client<S> {
    service: S,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Head(StatusCode, HeaderMap),
    /// Nothing in time.
    Late,
    Panicked,
}

impl Answer {
    pub(super) fn is(&self, expected: StatusCode) -> bool {
        matches!(self, Self::Head(status, _) if *status == expected)
    }

    /// Turned down, not served and not broken.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Head(status, _) if status.is_client_error())
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        match self {
            Self::Head(_, headers) => headers.get(name)?.to_str().ok(),
            _ => None,
        }
    }

    pub(super) fn shown(&self) -> String {
        match self {
            Self::Head(StatusCode::OK, _) => "served".into(),
            Self::Head(status, _) => format!("answered {}", status.as_u16()),
            Self::Late => "no answer in time".into(),
            Self::Panicked => "panicked".into(),
        }
    }
}

impl<S: Layered> Client<S> {
    pub(super) fn new(service: S) -> Self {
        Self { service }
    }

    pub(super) fn send(&self, request: Request<()>) -> Answer {
        self.send_all([request], PATIENCE).remove(0)
    }

    pub(super) fn send_token(&self, token: &str) -> Answer {
        self.send(request(&bearer(token)))
    }

    /// All at once.
    pub(super) fn send_all(
        &self,
        requests: impl IntoIterator<Item = Request<()>>,
        patience: Duration,
    ) -> Vec<Answer> {
        RUNTIME.block_on(async {
            let mut tasks = JoinSet::new();
            let mut answers = Vec::new();
            for request in requests {
                let call = self.service.clone().oneshot(request);
                tasks.spawn(async move { timeout(patience, call).await });
            }
            while let Some(joined) = tasks.join_next().await {
                answers.push(match joined {
                    Ok(Ok(Ok(response))) => {
                        let (status, headers) = response.head();
                        Answer::Head(status, headers.clone())
                    }
                    Ok(Ok(Err(never))) => match never {},
                    Ok(Err(_)) => Answer::Late,
                    Err(_) => Answer::Panicked,
                });
            }
            answers
        })
    }

    /// One whose answer nobody waits for.
    pub(super) fn send_off(&self, request: Request<()>) {
        RUNTIME.spawn(self.service.clone().oneshot(request));
    }
}

/// How many of each kind.
pub(super) fn shown(answers: &[Answer]) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for answer in answers {
        let shown = answer.shown();
        match kinds.iter_mut().find(|(kind, _)| *kind == shown) {
            Some((_, count)) => *count += 1,
            None => kinds.push((shown, 1)),
        }
    }
    let all = answers.len();
    let kinds = kinds
        .iter()
        .map(|(kind, count)| format!("{count} of {all} {kind}"));
    kinds.collect::<Vec<_>>().join(", ")
}

pub(super) const PATIENCE: Duration = Duration::from_secs(3);
