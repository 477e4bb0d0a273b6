//! Keys that verify and keys that sign, sets of keys, and sources of keys.
//!
//! | item | role |
//! |---|---|
//! | [`VerifyingKey`] | a single key, prepared when it is loaded: from a secret, PEM, DER or JWK |
//! | [`KeySet`] | several keys, of which a token names one: from a JWKS document or a PEM |
//! | [`SharedKeySet`] | a key set that the application replaces at run time |
//! | [`RemoteKeySet`] | a key set that is fetched from a URL, and kept up to date (feature `jwks`) |
//! | [`KeySource`] | the interface of all of them, for keys from another source |
//! | [`SigningKey`] | a private key or a secret that signs; it contains its public half (feature `server`, `jwks` or `test-util`) |
//! | [`Algorithm`] | the algorithms of JWS: HS, RS, PS, ES and EdDSA |
//!
//! A verifier is built from any of them: [`Verifier::key`](crate::Verifier::key),
//! [`key_set`](crate::Verifier::key_set), [`key_source`](crate::Verifier::key_source). The manual
//! describes [the life of a key set](crate::manual::keys).
//!
//! # Examples
//!
//! ```no_run
//! # #[cfg(all(feature = "aws-lc-rs", feature = "pem"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_jwt_auth::{Verifier, key::KeySet};
//!
//! let keys = KeySet::from_file("jwks.json")?;
//! let verifier = Verifier::key_set(keys)
//!     .issuer("https://auth.example")
//!     .audience("api")
//!     .build()?;
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "aws-lc-rs", feature = "pem")))]
//! # fn main() {}
//! ```
//!
//! [`RemoteKeySet`]: remote/index.html
//! [`SigningKey`]: struct.SigningKey.html

mod algorithm;
mod byte_order_mark;
#[cfg_attr(
    not(any(test, feature = "server", feature = "jwks", feature = "test-util")),
    expect(dead_code, reason = "it also reads private keys, for signing")
)]
mod der;
mod digest;
mod hash;
mod jwk;
#[cfg(feature = "pem")]
mod pem;
mod presented;
mod provider;
#[cfg(any(test, feature = "server", feature = "jwks", feature = "test-util"))]
mod public;
#[cfg(feature = "jwks")]
#[cfg_attr(docsrs, doc(cfg(feature = "jwks")))]
pub mod remote;
mod set;
mod shared;
#[cfg(any(test, feature = "server", feature = "jwks", feature = "test-util"))]
mod signing;
mod skipped;
mod thumbprint;
mod verifying;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{sync::oneshot, time::Instant};

use crate::task::Timer;

#[cfg(any(test, feature = "server", feature = "jwks", feature = "test-util"))]
pub use self::signing::SigningKey;
pub use self::{algorithm::Algorithm, set::KeySet, shared::SharedKeySet, verifying::VerifyingKey};
pub(crate) use self::{
    byte_order_mark::without_byte_order_mark,
    digest::{DIGEST, Digester},
    presented::{PresentedKey, PublicMembers, Thumbprint, is_same_hash, sha256_of},
    set::default_algorithms,
};
use crate::error::KeyProblem;

/// A source of the keys that verify tokens.
///
/// Lookups return immediately. A source that needs a remote query returns [`KeyLookup::Wait`] and
/// runs the query in a background task. The request waits, and then repeats the lookup once.
pub trait KeySource: Send + Sync + 'static {
    /// Looks up the key of a token.
    fn lookup(&self, query: &KeyQuery<'_>) -> KeyLookup;

    /// Returns a number that changes whenever a key is added or removed. Verified tokens are cached
    /// until it changes.
    ///
    /// `None` disables caching. Return it if changes cannot be detected or there are no usable
    /// keys.
    fn generation(&self) -> Option<u64> {
        None
    }

    /// Returns `true` if there are keys that can verify tokens. For readiness probes.
    fn is_ready(&self) -> bool {
        true
    }

    /// If there are no keys, returns a wait for the current attempt to fetch some, or `None` if no
    /// attempt is made.
    fn wait_ready(&self) -> Option<KeyWait> {
        None
    }

    /// Returns `true` if the keys come from a URL. A verifier with such keys must be configured
    /// with an issuer, or must accept any issuer explicitly.
    fn is_remote(&self) -> bool {
        false
    }

    /// Returns the reason why there are no keys, or `None` if there are keys or the reason is
    /// unknown. For readiness probes.
    fn problem(&self) -> Option<KeyProblem> {
        None
    }

    /// Starts a new fetch of keys, because the key that a token names does not verify it.
    ///
    /// Some issuers reuse one `kid` for every key. After the wait, the lookup is repeated once, and
    /// its result is final. If this returns `None`, no fetch is made and the token is refused.
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

/// The header parameters of a token that select its key. The verifier allows the algorithm.
#[derive(Clone, Copy)]
pub struct KeyQuery<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: Option<&'a str>,
    pub(crate) x5t: Option<&'a str>,
    pub(crate) x5t_s256: Option<&'a str>,
    pub(crate) listed: bool,
    /// Returns `true` if the token's unverified `iss` is an expected issuer.
    pub(crate) issuer_is_trusted: &'a dyn Fn() -> bool,
}

impl<'a> KeyQuery<'a> {
    /// Returns the token's algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the token's `kid`, an opaque string that is not trusted.
    #[must_use]
    pub fn kid(&self) -> Option<&'a str> {
        self.kid
    }

    /// Returns the token's `x5t` (RFC 7515 §4.1.7): the base64url SHA-1 digest of a certificate.
    ///
    /// An attacker can choose any value. Compare it only with the certificates of trusted keys.
    #[must_use]
    pub fn x5t(&self) -> Option<&'a str> {
        self.x5t
    }

    /// Returns the token's `x5t#S256` (RFC 7515 §4.1.8): the base64url SHA-256 digest of a
    /// certificate.
    ///
    /// An attacker can choose any value. Compare it only with the certificates of trusted keys.
    #[must_use]
    pub fn x5t_s256(&self) -> Option<&'a str> {
        self.x5t_s256
    }

    /// Returns `true` if the token's `iss` is an issuer that the verifier expects, or if the
    /// verifier accepts any issuer.
    ///
    /// The claim is unverified, and reading it requires parsing the claims. Call this only before
    /// fetching keys for this token.
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

/// The result of a lookup in a [`KeySource`].
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyLookup {
    /// The key was found.
    Found(KeyMatch),
    /// The key does not exist. The token is refused.
    Absent,
    /// The key that the token names exists, but is not for the token's algorithm. The token is
    /// refused.
    AlgorithmMismatch,
    /// Several keys match, and the token does not select one. The token is refused.
    Ambiguous,
    /// The keys are being fetched.
    Wait(KeyWait),
    /// The keys are currently unavailable. The response is 503.
    Unavailable {
        /// The time until a new attempt may succeed, in seconds.
        retry_after: u32,
    },
}

/// The key that verifies a token, or a few candidates for a token that names no key.
#[derive(Clone, Debug)]
pub struct KeyMatch {
    first: Arc<VerifyingKey>,
    rest: Vec<Arc<VerifyingKey>>,
}

impl KeyMatch {
    /// Returns `true` if there are several candidates.
    pub(crate) fn is_several(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Returns the key that made the signature, if it is one of these.
    ///
    /// Each key is checked again to be for the algorithm (RFC 8725 §3.1), so that a custom
    /// [`KeySource`] cannot break this rule.
    pub(crate) fn signer(
        self,
        (algorithm, listed): (Algorithm, bool),
        message: &[u8],
        signature: &[u8],
    ) -> Option<Arc<VerifyingKey>> {
        let signed = |key: &Arc<VerifyingKey>| {
            key.serves(algorithm, listed) && key.verifies(algorithm, message, signature)
        };
        // Usually there is no other.
        if signed(&self.first) {
            return Some(self.first);
        }
        self.rest.into_iter().find(signed)
    }

    /// Returns `true` if this key is one of these, whatever names it has.
    pub(crate) fn includes(&self, key: &VerifyingKey) -> bool {
        self.keys().any(|one| one.has_material_of(key))
    }

    fn keys(&self) -> impl Iterator<Item = &Arc<VerifyingKey>> {
        std::iter::once(&self.first).chain(&self.rest)
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

/// A future that completes when a [`KeySource`] has fetched keys or the fetch has failed.
///
/// # Cancel safety
///
/// Dropping the future removes this waiter from the queue. The fetch continues.
pub struct KeyWait {
    news: oneshot::Receiver<()>,
    limit: Option<Limit>,
}

/// The time limit of a wait, measured by the runtime of the waiting request.
struct Limit {
    end: Instant,
    timer: Timer,
    /// Set after the time has passed.
    passed: Arc<AtomicBool>,
}

impl KeyWait {
    /// Creates a wait and the handle that ends it. Dropping the handle ends the wait, too.
    #[must_use]
    pub fn new() -> (KeyNotifier, Self) {
        let (sender, news) = oneshot::channel();
        (KeyNotifier { sender }, Self { news, limit: None })
    }

    /// Creates a wait that also ends after `limit`. The flag `passed` is then set.
    ///
    /// The timer is that of the request's runtime, because the runtime of the fetch task may have
    /// ended.
    #[cfg(any(feature = "jwks", all(feature = "server", feature = "aws-lc-rs")))]
    pub(crate) fn within(
        limit: std::time::Duration,
        passed: &Arc<AtomicBool>,
    ) -> (KeyNotifier, Self) {
        let (news, mut wait) = Self::new();
        let end = Instant::now() + limit;
        wait.limit = Some(Limit {
            end,
            timer: Timer::At(end),
            passed: Arc::clone(passed),
        });
        (news, wait)
    }

    /// Returns the time at which the wait ends by itself, if it is limited.
    pub(crate) fn ends_at(&self) -> Option<Instant> {
        self.limit.as_ref().map(|limit| limit.end)
    }
}

impl Limit {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.timer.poll(cx));
        self.passed.store(true, Ordering::Relaxed);
        Poll::Ready(())
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

/// The handle of a [`KeySource`] that ends a [`KeyWait`].
#[derive(Debug)]
pub struct KeyNotifier {
    sender: oneshot::Sender<()>,
}

impl KeyNotifier {
    /// Returns `true` if the wait was dropped.
    #[cfg(feature = "jwks")]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    /// Ends the wait.
    pub fn notify(self) {
        // Fails if the request was dropped and no longer waits.
        let _ = self.sender.send(());
    }
}
