//! Keys that verify and keys that sign, sets of them, and where they come from.
//!
//! A [`SigningKey`] signs, and knows its public half; a [`VerifyingKey`] is one key, prepared when it is loaded; a [`KeySet`] finds the one that a
//! token names; a [`KeySource`] is whatever answers that question, so that keys may come from
//! elsewhere than memory.

mod algorithm;
mod byte_order_mark;
mod der;
mod digest;
mod jwk;
#[cfg(feature = "pem")]
mod pem;
mod provider;
mod public;
#[cfg(feature = "jwks")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
pub mod remote;
mod set;
mod shared;
mod signing;
mod skipped;
mod thumbprint;
mod verifying;

use std::{
    fmt,
    future::Future,
    panic,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, Sleep},
};

pub use self::{
    algorithm::Algorithm, set::KeySet, shared::SharedKeySet, signing::SigningKey,
    verifying::VerifyingKey,
};
pub(crate) use self::{
    byte_order_mark::without_byte_order_mark,
    digest::{DIGEST, Digester},
    set::default_algorithms,
};
use crate::error::KeyProblem;

/// Answers which key verifies a token.
///
/// The answer comes at once. A source that has to ask somebody else says [`KeyLookup::Wait`] and
/// does its asking in a task of its own; the request waits, and asks exactly once more.
pub trait KeySource: Send + Sync + 'static {
    /// Looks for the key of a token.
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup;

    /// A number that changes whenever a key goes or comes, so that verified tokens may be remembered
    /// until then.
    ///
    /// `None`: nothing is to be remembered, because the source cannot tell, or has no usable keys.
    fn generation(&self) -> Option<u64> {
        None
    }

    /// Whether there are keys that could verify a token now: for readiness probes.
    fn is_ready(&self) -> bool {
        true
    }

    /// Where there are none, a wait for the attempt to get some; `None` where no attempt is made.
    fn wait_ready(&self) -> Option<KeyWait> {
        None
    }

    /// Returns `true` if the keys come from a URL. A verifier of such keys must expect an issuer, or
    /// be told that it accepts any.
    fn is_remote(&self) -> bool {
        false
    }

    /// Returns the reason why there are no keys, for readiness probes: `None` if there are keys or
    /// the reason is not known.
    fn problem(&self) -> Option<KeyProblem> {
        None
    }

    /// Fetches keys again because the key that a token names does not verify it.
    ///
    /// Some issuers give each key the same name. After the wait the look-up is repeated once, and
    /// what it finds decides. `None` if no fetch is made: the token is refused.
    fn refetch(&self, _query: &KeyQuery<'_>) -> Option<KeyWait> {
        None
    }
}

impl<T: KeySource + ?Sized> KeySource for Arc<T> {
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup {
        (**self).lookup(query)
    }

    fn generation(&self) -> Option<u64> {
        (**self).generation()
    }

    fn is_ready(&self) -> bool {
        (**self).is_ready()
    }

    fn wait_ready(&self) -> Option<KeyWait> {
        (**self).wait_ready()
    }

    fn is_remote(&self) -> bool {
        (**self).is_remote()
    }

    fn problem(&self) -> Option<KeyProblem> {
        (**self).problem()
    }

    fn refetch(&self, query: &KeyQuery<'_>) -> Option<KeyWait> {
        (**self).refetch(query)
    }
}

/// What a token's header says about its key. The algorithm is one that the verifier allows.
#[derive(Clone, Copy)]
pub struct KeyQuery<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<&'a str>,
    pub(crate) x5t: Option<&'a str>,
    pub(crate) x5t_s256: Option<&'a str>,
    pub(crate) listed: bool,
    /// Whether the token's unverified `iss` is one that is trusted.
    pub(crate) issuer_is_trusted: &'a dyn Fn() -> bool,
}

impl<'a> KeyQuery<'a> {
    /// The token's algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The token's `kid`: an opaque string that anybody may have written.
    #[must_use]
    pub fn kid(&self) -> Option<&'a str> {
        self.kid
    }

    /// Returns the token's `x5t` (RFC 7515 §4.1.7): the base64url SHA-1 digest of a certificate.
    ///
    /// An attacker can write any value. Compare it with the certificates of trusted keys only.
    #[must_use]
    pub fn x5t(&self) -> Option<&'a str> {
        self.x5t
    }

    /// Returns the token's `x5t#S256` (RFC 7515 §4.1.8): the base64url SHA-256 digest of a
    /// certificate.
    ///
    /// An attacker can write any value. Compare it with the certificates of trusted keys only.
    #[must_use]
    pub fn x5t_s256(&self) -> Option<&'a str> {
        self.x5t_s256
    }

    /// Whether the token claims to come from an issuer that the verifier expects; true where it
    /// expects none.
    ///
    /// The claim is unverified, and reading it costs a parse of the claims: ask before keys are
    /// fetched on behalf of this token, and not otherwise.
    #[must_use]
    pub fn issuer_is_trusted(&self) -> bool {
        (self.issuer_is_trusted)()
    }
}

impl fmt::Debug for KeyQuery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyQuery")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .field("x5t", &self.x5t)
            .field("x5t#S256", &self.x5t_s256)
            .finish_non_exhaustive()
    }
}

/// A [`KeySource`]'s answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyLookup {
    /// The key is here.
    Found(KeyMatch),
    /// There is no such key: the token is refused.
    Absent,
    /// The key that the token names is here, and does not serve the token's algorithm: the token is
    /// refused.
    AlgorithmMismatch,
    /// Several keys fit and nothing says which: the token is refused.
    Ambiguous,
    /// The keys are being asked for.
    Wait(KeyWait),
    /// The keys cannot be had now: the request is answered with 503.
    Unavailable {
        /// Seconds until a new attempt may succeed.
        retry_after: u32,
    },
}

/// The key that verifies a token, or the few that fit a token which names none.
#[derive(Clone, Debug)]
pub struct KeyMatch {
    first: Arc<VerifyingKey>,
    rest: Vec<Arc<VerifyingKey>>,
}

impl KeyMatch {
    /// Returns `true` if several keys fit.
    pub(crate) fn is_several(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Whether one of the keys made the signature.
    ///
    /// One key, one algorithm (RFC 8725 §3.1) is asked once more, so that no [`KeySource`] of
    /// somebody else's can get it wrong.
    pub(crate) fn verifies(
        &self,
        (algorithm, listed): (Algorithm, bool),
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        std::iter::once(&self.first)
            .chain(&self.rest)
            .filter(|key| key.serves(algorithm, listed))
            .any(|key| key.verifies(algorithm, message, signature))
    }
}

impl From<Arc<VerifyingKey>> for KeyMatch {
    fn from(key: Arc<VerifyingKey>) -> Self {
        Self {
            first: key,
            rest: Vec::new(),
        }
    }
}

/// Resolves when a [`KeySource`] has news: keys, or the certainty that there are none now.
///
/// # Cancel safety
///
/// Dropping it drops a place in the queue and nothing else: what the source does goes on.
pub struct KeyWait {
    news: oneshot::Receiver<()>,
    limit: Option<Limit>,
}

/// The end of a wait without news, by the runtime of the request that waits.
struct Limit {
    timer: Timer,
    /// Set when the time is over.
    passed: Arc<AtomicBool>,
}

enum Timer {
    #[cfg_attr(
        not(feature = "jwks"),
        expect(dead_code, reason = "remote keys alone set limits")
    )]
    At(Instant),
    Running(Pin<Box<Sleep>>),
    Missing,
}

impl KeyWait {
    /// A wait, and the other end that ends it. Dropping the other end ends it too.
    #[must_use]
    pub fn new() -> (KeyNews, Self) {
        let (sender, news) = oneshot::channel();
        (KeyNews { sender }, Self { news, limit: None })
    }

    /// Creates a wait that also ends by itself after this time, and sets a flag then.
    ///
    /// The request's own runtime keeps the time: the one that fetches may be gone.
    #[cfg(feature = "jwks")]
    pub(crate) fn within(limit: std::time::Duration, passed: &Arc<AtomicBool>) -> (KeyNews, Self) {
        let (news, mut wait) = Self::new();
        wait.limit = Some(Limit {
            timer: Timer::At(Instant::now() + limit),
            passed: Arc::clone(passed),
        });
        (news, wait)
    }
}

impl Limit {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Timer::At(at) = self.timer {
            self.timer = Timer::started(at);
        }
        let Timer::Running(sleep) = &mut self.timer else {
            return Poll::Pending;
        };
        ready!(sleep.as_mut().poll(cx));
        self.passed.store(true, Ordering::Relaxed);
        Poll::Ready(())
    }
}

impl Timer {
    /// Without a runtime that has timers there is none: the news end the wait.
    fn started(at: Instant) -> Self {
        if Handle::try_current().is_err() {
            return Self::Missing;
        }
        let sleep = panic::catch_unwind(|| Box::pin(tokio::time::sleep_until(at)));
        sleep.map_or(Self::Missing, Self::Running)
    }
}

impl Future for KeyWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.news).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match &mut self.limit {
            Some(limit) => limit.poll(cx),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for KeyWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyWait")
    }
}

/// The source's end of a [`KeyWait`].
#[derive(Debug)]
pub struct KeyNews {
    sender: oneshot::Sender<()>,
}

impl KeyNews {
    /// Whether nobody waits any more.
    #[cfg(feature = "jwks")]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    /// Ends the wait.
    pub fn announce(self) {
        // Nobody waits any more where the request was dropped.
        let _ = self.sender.send(());
    }
}
