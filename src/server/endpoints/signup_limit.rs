//! The limits on guests and accounts that a client without a password may create, on mails that it may
//! request, and on flows that it may begin.

use std::{num::NonZeroU32, time::Duration};

use http::request::Parts;

use super::answer::Refusal;
use crate::{
    error::AuthErrorKind,
    layer::{
        extract::RequestHead,
        rate_limit::{ClientIp, RateLimitLayer},
    },
};

/// The budget of guests and accounts, of mails, or of flows.
pub(super) enum SignupLimit {
    Limited(RateLimitLayer),
    /// The default, which applies only if the network is known. Otherwise all unknown clients would
    /// share one budget.
    ByNetwork(ClientIp, RateLimitLayer),
}

impl SignupLimit {
    pub(super) fn new(
        limit: Option<RateLimitLayer>,
        an_hour: NonZeroU32,
        clients: &ClientIp,
    ) -> Self {
        if let Some(limit) = limit {
            return Self::Limited(limit);
        }
        let limit = RateLimitLayer::per_hour(an_hour, clients.clone());
        Self::ByNetwork(clients.clone(), limit)
    }

    /// Takes one from the budget of the client.
    pub(super) fn take(&self, parts: &Parts) -> Result<(), Refusal> {
        let head = RequestHead::of_parts(parts);
        let limit = match self {
            Self::Limited(limit) => limit,
            Self::ByNetwork(clients, limit) => match clients.client_ip(head) {
                Some(_) => limit,
                None => return Ok(()),
            },
        };
        limit.take(head).map_err(|error| match error.kind() {
            AuthErrorKind::TooManyRequests => {
                let wait = error.retry_after().unwrap_or(1);
                Refusal::slow_down(Duration::from_secs(wait.into()))
            }
            kind => Refusal::misconfigured(kind),
        })
    }
}
