//! A key ring that lives in a store and that several nodes share.

mod builder;
mod error;
mod follow;
mod live;
mod ring;
mod seal;
mod sync;
mod text;

use std::{fmt, sync::Arc};

pub(super) use self::follow::Following;
use self::sync::Node;
pub use self::{builder::SharedKeyRingBuilder, error::SharedRingError};
use super::{KeyRing, KeyStatus};
use crate::{secret::SecretKey, store::port::KeyRingStore};

/// The signing keys of an issuer, shared by all nodes on one store and rotated by themselves.
///
/// Every private key is encrypted with AES-256-GCM under a key that HKDF derives from the server's
/// [`SecretKey`]. The seal also covers the `kid`, the algorithm, the state and the activation time,
/// and binds the record to its ring. Writing to the store is therefore not enough to plant a key or
/// to bring an old one back.
///
/// | time | the old key | the new key |
/// |---|---|---|
/// | [`publish_ahead`](SharedKeyRingBuilder::publish_ahead) before the activation | signs | is published |
/// | activation | verifies | signs |
/// | a minute later | its private part is deleted | |
/// | 36 minutes later | is removed: its last token has expired | |
///
/// - One node makes each change, by compare and set. The others follow the store's signal and load
///   the ring every few seconds.
/// - All times are the store's.
/// - A node that could not load the ring for `publish_ahead` stops signing
///   ([`IssueError::KeysUnavailable`](super::IssueError::KeysUnavailable), 503), because another
///   node may sign with a key that it does not know. It is not ready until it has loaded the ring.
/// - The `max-age` of the published set ends before a key can sign that the set lacks.
/// - A store that lost its last writes gets the ring back from a running node.
///
/// All nodes need the same secret and the same times.
///
/// # Rolling the secret
///
/// 1. Deploy `old,new` to all nodes, so that each of them opens both.
/// 2. Deploy `new,old`. Each node seals the ring under the new secret when it starts.
/// 3. An hour after the last of them started, deploy `new`.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::{server::issue::{SharedKeyRing, TokenIssuer}, secret::SecretKey, store::MemoryStore};
///
/// let secret: SecretKey = "c2VjcmV0LWJ5dGVzLXNlY3JldC1ieXRlcy1zZWNyZXQ".parse()?;
/// let ring = SharedKeyRing::builder(MemoryStore::new(), secret).open().await?;
/// let issuer = TokenIssuer::builder(ring.keys())
///     .issuer("https://auth.example")
///     .audience("api")
///     .build()?;
/// ring.rotate().await?;
/// assert_eq!(ring.statuses().len(), 2);
/// # let _ = issuer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedKeyRing {
    node: Arc<Node>,
    following: Following,
}

impl SharedKeyRing {
    /// Creates a builder of the ring in this store.
    pub fn builder(store: impl KeyRingStore, secret: SecretKey) -> SharedKeyRingBuilder {
        SharedKeyRingBuilder::new(Arc::new(store), secret)
    }

    fn new(node: Arc<Node>, following: Following) -> Self {
        Self { node, following }
    }

    /// Returns the keys for a [`TokenIssuer`](super::TokenIssuer). They follow the store while a
    /// clone of them exists.
    #[must_use]
    pub fn keys(&self) -> KeyRing {
        KeyRing::shared(self.following.clone())
    }

    /// Returns the current keys with their states, the active one first.
    #[must_use]
    pub fn statuses(&self) -> Vec<KeyStatus> {
        self.following.live().statuses()
    }

    /// Starts a rotation. The next key is published now and signs after
    /// [`publish_ahead`](SharedKeyRingBuilder::publish_ahead). A next key that is already published
    /// keeps an earlier time.
    ///
    /// # Errors
    ///
    /// [`SharedRingError`] if the ring could not be loaded or changed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is safe. The rotation may have started.
    pub async fn rotate(&self) -> Result<(), SharedRingError> {
        let schedule = self.following.live().schedule;
        self.node
            .change(&mut |access, ring, now| {
                let soonest = now.plus(schedule.publish_ahead);
                if ring
                    .next(now)
                    .is_some_and(|next| next.activates_at <= soonest)
                {
                    return Ok(false);
                }
                if !ring.advance_next(now, &schedule) {
                    ring.insert(access.generate(soonest)?);
                }
                Ok(true)
            })
            .await
    }

    /// Removes a compromised key. Its tokens are refused by every node that has loaded the change,
    /// and by other verifiers after their next fetch of the key set. If the key signed, the next key
    /// or a new one signs immediately. Verifiers that have not fetched a new key refuse its tokens
    /// until they fetch the set again.
    ///
    /// # Errors
    ///
    /// [`SharedRingError::UnknownKey`] if the ring does not contain the key. Otherwise
    /// [`SharedRingError`] if the ring could not be loaded or changed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is safe. The key may have been removed.
    pub async fn withdraw(&self, kid: &str) -> Result<(), SharedRingError> {
        let mut removed = false;
        self.node
            .change(&mut |access, ring, now| match ring.withdraw(kid, now) {
                Some(signs) => {
                    removed = true;
                    if !signs {
                        ring.insert(access.generate(now)?);
                    }
                    Ok(true)
                }
                // A write whose answer was lost succeeded.
                None if removed => Ok(false),
                None => Err(SharedRingError::UnknownKey),
            })
            .await
    }

    /// Loads the ring now, and makes the changes that are due. The background task does so by
    /// itself.
    ///
    /// # Errors
    ///
    /// [`SharedRingError`] if the ring could not be loaded or changed. The keys in hand stay in use.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is safe.
    pub async fn refresh(&self) -> Result<(), SharedRingError> {
        let loaded = self.node.sync().await;
        self.following.live().end_waits();
        loaded
    }
}

impl fmt::Debug for SharedKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKeyRing")
            .field("keys", self.following.live())
            .finish_non_exhaustive()
    }
}
