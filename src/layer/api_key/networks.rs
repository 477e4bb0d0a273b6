//! The networks from which keys were used.

use std::net::IpAddr;

use quick_cache::sync::Cache;

use super::ApiKeyId;
use crate::layer::extract::RequestHead;

/// Detects a key that is used from a network from which this process has not seen it.
pub(super) struct Networks {
    of: Box<NetworkOf>,
    seen: Cache<(ApiKeyId, IpAddr), ()>,
}

type NetworkOf = dyn Fn(RequestHead<'_>) -> Option<IpAddr> + Send + Sync;

impl Networks {
    pub(super) fn new<F>(of: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> Option<IpAddr> + Send + Sync + 'static,
    {
        Self {
            of: Box::new(of),
            seen: Cache::new(SEEN),
        }
    }

    pub(super) fn of(&self, head: RequestHead<'_>) -> Option<IpAddr> {
        (self.of)(head)
    }

    /// Records the network. Returns `true` if the key was not seen there before.
    pub(super) fn are_joined_by(&self, id: &ApiKeyId, network: IpAddr) -> bool {
        let pair = (id.clone(), network);
        if self.seen.get(&pair).is_some() {
            return false;
        }
        self.seen.insert(pair, ());
        true
    }
}

/// About 2 MB.
const SEEN: usize = 20_000;
