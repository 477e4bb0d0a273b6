//! The waits of a request with a token.
//!
//! ```text
//!   decide ──▶ Token: keys ──▶ decide ──▶ Replay ──▶ Check ──▶ conclude
//!      │         Token: answer ─▶ settle ────▲         ▲
//!      ├─────────────────────────────────────┤         │
//!      └─────────────────────────────────────┴─────────┘
//! ```

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Request;
use pin_project_lite::pin_project;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{
    JwtAuthLayer,
    bound::Proven,
    config::{Decision, Pass, Pending},
};
use crate::{
    error::StoreError,
    layer::{
        dpop::Recorded,
        extract::RequestHead,
        middleware::{After, Middleware, Verdict, Wait},
        response::Answers,
    },
    revocation::{RevocationCheck, RevocationStatus},
    verify::{Arrived, Awaited},
};

pin_project! {
    /// A wait for keys that are being fetched or for an answer about the token, for the store of used
    /// proofs, or for a revocation check that queries its source.
    #[project = Projected]
    pub(crate) enum TokenWait<C, F> {
        Token { wait: Awaited },
        Replay { query: Recorded, proven: Option<Box<Proven<C, F>>> },
        Check { #[pin] check: F, pending: Option<Pending<C>> },
    }
}

/// The result of a wait.
pub(crate) enum Woke<C, F> {
    Token(Arrived),
    Recorded(Result<bool, StoreError>, Box<Proven<C, F>>),
    Status(RevocationStatus, Pending<C>),
}

impl<C, F: Future<Output = RevocationStatus>> Future for TokenWait<C, F> {
    type Output = Woke<C, F>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Woke<C, F>> {
        match self.project() {
            Projected::Token { wait } => Pin::new(wait).poll(cx).map(Woke::Token),
            Projected::Replay { query, proven } => {
                let recorded = ready!(query.as_mut().poll(cx));
                match proven.take() {
                    Some(proven) => Poll::Ready(Woke::Recorded(recorded, proven)),
                    None => Poll::Pending,
                }
            }
            Projected::Check { check, pending } => {
                let status = ready!(check.poll(cx));
                match pending.take() {
                    Some(pending) => Poll::Ready(Woke::Status(status, pending)),
                    None => Poll::Pending,
                }
            }
        }
    }
}

impl<C, F: Future<Output = RevocationStatus>> Wait for TokenWait<C, F> {
    fn ends_at(&self) -> Option<Instant> {
        match self {
            Self::Token { wait } => wait.ends_at(),
            Self::Replay { .. } | Self::Check { .. } => None,
        }
    }
}

impl<C, R, const FORWARDS: bool> Middleware for JwtAuthLayer<C, R, FORWARDS>
where
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    type Wait = TokenWait<C, R::Future>;
    type Pass = Pass<C>;
    type After = After;
    type Refusals = Answers;

    const NAME: &'static str = "JWT layer";

    fn prepare<B>(&self, request: &mut Request<B>) {
        self.config.clean(request);
    }

    // Inlined with `admit` into the service: the decision to let a request pass then needs no memory.
    #[inline(always)]
    fn decide(&self, head: RequestHead<'_>) -> Decision<C, R::Future> {
        self.config.decide(head)
    }

    fn resume(&self, woke: Woke<C, R::Future>, head: RequestHead<'_>) -> Decision<C, R::Future> {
        match woke {
            Woke::Token(Arrived::Keys) => match self.config.decide(head) {
                // A key source is waited for once per request.
                Verdict::Wait(
                    TokenWait::Token {
                        wait: Awaited::Keys(_),
                    },
                    error,
                ) => Verdict::Refuse(error),
                decision => decision,
            },
            #[cfg(feature = "jwks")]
            Woke::Token(Arrived::Answer(answered)) => self.config.decide_answered(head, &answered),
            Woke::Recorded(recorded, proven) => self.config.resume_bound(recorded, *proven),
            Woke::Status(status, pending) => self.config.conclude_pending(status, pending),
        }
    }

    #[inline(always)]
    fn admit<B>(&self, request: &mut Request<B>, pass: Pass<C>) -> After {
        self.config.admit(request, pass)
    }

    fn refusals(&self) -> &Answers {
        &self.config.answers
    }

    fn patience(&self) -> Duration {
        self.config.patience
    }
}
