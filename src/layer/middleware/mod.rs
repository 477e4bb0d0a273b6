//! The contract of every layer of this crate, and the one future behind their services.
//!
//! Every service returns a [`ResponseFuture`], and the body of its response is a [`ResponseBody`]. These
//! rules hold for every layer:
//!
//! - Headers and extensions that only a layer may set are removed from the request before the decision.
//! - A request that waits (for keys, a store or a revocation check) holds no permit of a service inside
//!   the layer. The inner service is polled for readiness after the wait. If that fails, its error is
//!   the error of the future.
//! - All waits of a request have one deadline, over all layers: the largest limit of a layer that waits
//!   applies to their sum. After the deadline or a panic, the request is refused.
//! - A response to a credential outside `Authorization` is `private` (RFC 9111 §3.5).
//! - Only gRPC calls are refused in gRPC framing.
//! - The body of a refused request is dropped unread. The refusal of a request of HTTP/1.1 with a body is
//!   ready at the second poll, so that the server can announce the end of the connection.
//!
//! The service of a layer that never waits has no bound on the inner service: a guard or a limit works
//! around a service that is not `Clone`. The service of a layer that may wait requires `Clone`.
//!
//! ```text
//! call:   prepare ─▶ decide ─┬─▶ Pass ───────────────▶ admit ─▶ inner.call ─▶ After
//!                            ├─▶ Refuse, Answer ─▶ response
//!                            └─▶ Wait: the ready inner service is dropped
//!                                  │ ▲
//! poll:                            ▼ │ Wait
//!                                resume ─┬─▶ Pass ─▶ admit ─▶ poll_ready ─▶ inner.call ─▶ After
//!                                        └─▶ Refuse, Answer ─▶ response
//! ```

mod body;
mod future;
mod service;
#[cfg(feature = "warp")]
mod standalone;
mod suspended;
mod wait;

#[cfg(test)]
mod tests;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::SET_COOKIE};

pub(crate) use self::future::is_before_body;
#[cfg(feature = "warp")]
pub(crate) use self::standalone::decide;
pub use self::{body::ResponseBody, future::ResponseFuture};
// The parameters of `ResponseFuture`.
#[doc(hidden)]
pub use self::suspended::{Immediate, Suspended};
pub(crate) use self::{
    service::{Guarded, immediate_service},
    suspended::{Kind, Next, Suspension},
    wait::{Never, Wait},
};
use crate::{
    error::AuthError,
    layer::{
        extract::{Cleared, Place, RequestHead},
        response::{DPOP_NONCE, Refuse, keep_private, never_store},
    },
};

/// The decisions of a layer about one request. The service of the layer holds a [`Guarded`].
pub(crate) trait Middleware: Clone {
    /// The future of everything that a request may wait for. Its output carries the state so far.
    type Wait: Wait;
    /// The values that [`admit`](Self::admit) needs.
    type Pass;
    /// The changes to the inner service's response: `()` or [`After`].
    type After: Amend;
    /// The settings for refusals.
    type Refusals: Refuse;

    /// The name in the log line about a panic in a wait.
    const NAME: &'static str;

    /// Removes from the request what a client must not send.
    fn prepare<B>(&self, _request: &mut Request<B>) {}

    /// Decides about a request.
    fn decide(&self, head: RequestHead<'_>) -> Verdict<Self::Pass, Self::Wait>;

    /// Decides about a request after a wait.
    fn resume(
        &self,
        woke: <Self::Wait as Future>::Output,
        head: RequestHead<'_>,
    ) -> Verdict<Self::Pass, Self::Wait>;

    /// Prepares a request that passes for the inner service. Returns the changes to its response.
    fn admit<B>(&self, request: &mut Request<B>, pass: Self::Pass) -> Self::After;

    /// Returns the settings for refusals.
    fn refusals(&self) -> &Self::Refusals;

    /// Returns the time that all waits of a request may take together.
    fn patience(&self) -> Duration {
        PATIENCE
    }
}

/// The decision about a request.
pub(crate) enum Verdict<P, W> {
    /// The request goes to the inner service.
    Pass(P),
    /// The response is complete, for example a redirect or a document.
    Answer(Box<Response<Bytes>>),
    Refuse(AuthError),
    /// The decision needs this wait. The error is the refusal if the wait gives no result.
    Wait(W, AuthError),
}

/// Changes to the headers of the inner service's response.
pub(crate) trait Amend: Default {
    /// Returns `true` if [`amend`](Self::amend) has something to change.
    fn changes_headers(&self) -> bool;

    fn amend(&mut self, headers: &mut HeaderMap);
}

/// A layer that changes no response has nothing to keep in its future.
impl Amend for () {
    fn changes_headers(&self) -> bool {
        false
    }

    fn amend(&mut self, _: &mut HeaderMap) {}
}

/// The changes that a layer makes to the headers of the inner service's response.
#[doc(hidden)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct After {
    /// Makes the response `private`, so that shared caches do not store it.
    is_private: bool,
    // Boxed, because a future is moved several times and most change nothing.
    change: Option<Box<Change>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// Deletes bad cookies.
    ClearCookies(Cleared),
    #[cfg(test)]
    Set(&'static http::HeaderName, HeaderValue),
    /// Sends the nonce for the next proof. No cache stores the response (RFC 9449 §8.2).
    Nonce(HeaderValue),
}

/// The field that a layer sets in the headers of every response of the inner service.
#[doc(hidden)]
#[cfg(feature = "rate-limit")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetField(Option<(&'static http::HeaderName, HeaderValue)>);

impl After {
    /// Changes nothing.
    pub(crate) const NOTHING: Self = Self {
        is_private: false,
        change: None,
    };

    /// Makes the response private unless the credential was in `Authorization`. Caches treat only this
    /// header as a credential (RFC 9111 §3.5).
    #[inline]
    pub(crate) fn of_place(place: Place) -> Self {
        Self {
            is_private: place != Place::Authorization,
            change: None,
        }
    }

    /// Deletes bad cookies, and makes the response private if there are any.
    pub(crate) fn clear_cookies(cookies: Cleared) -> Self {
        match cookies {
            Cleared::Nothing => Self::NOTHING,
            cookies => Self {
                is_private: true,
                change: Some(Box::new(Change::ClearCookies(cookies))),
            },
        }
    }

    /// Sends the nonce for the next proof of possession.
    pub(crate) fn nonce(nonce: HeaderValue) -> Self {
        Self {
            is_private: false,
            change: Some(Box::new(Change::Nonce(nonce))),
        }
    }
}

impl Amend for After {
    #[inline]
    fn changes_headers(&self) -> bool {
        self.is_private || self.change.is_some()
    }

    fn amend(&mut self, headers: &mut HeaderMap) {
        if let Some(change) = self.change.take() {
            change.apply(headers);
        }
        if self.is_private {
            keep_private(headers);
        }
    }
}

impl Change {
    #[cold]
    fn apply(self, headers: &mut HeaderMap) {
        match self {
            Self::ClearCookies(cookies) => clear(&cookies, headers),
            Self::Nonce(nonce) => {
                headers.insert(&DPOP_NONCE, nonce);
                never_store(headers);
            }
            #[cfg(test)]
            Self::Set(name, value) => drop(headers.insert(name, value)),
        }
    }
}

#[cfg(feature = "rate-limit")]
impl SetField {
    pub(crate) fn new(field: Option<(&'static http::HeaderName, HeaderValue)>) -> Self {
        Self(field)
    }
}

#[cfg(feature = "rate-limit")]
impl Amend for SetField {
    fn changes_headers(&self) -> bool {
        self.0.is_some()
    }

    fn amend(&mut self, headers: &mut HeaderMap) {
        if let Some((name, value)) = self.0.take() {
            headers.insert(name, value);
        }
    }
}

fn clear(cookies: &Cleared, headers: &mut HeaderMap) {
    for cookie in cookies.values() {
        let name = cookie_name(cookie);
        let mut set = headers.get_all(SET_COOKIE).iter();
        // Of two cookies of one name a browser keeps the last one (RFC 6265 §5.3).
        if !set.any(|set| cookie_name(set) == name) {
            headers.append(SET_COOKIE, cookie.clone());
        }
    }
}

/// Returns the cookie name in a `Set-Cookie` value (RFC 6265 §5.2), empty if there is none.
fn cookie_name(set_cookie: &HeaderValue) -> &[u8] {
    let mut attributes = set_cookie.as_bytes().split(|byte| *byte == b';');
    let pair = attributes.next().unwrap_or_default();
    let end = pair.iter().position(|byte| *byte == b'=');
    end.and_then(|end| pair.get(..end))
        .unwrap_or_default()
        .trim_ascii()
}

/// The default of [`Middleware::patience`].
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
