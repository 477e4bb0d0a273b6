//! The address of a connection's peer, and the proxies among the peers.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::Extensions;
use ipnet::IpNet;

use crate::error::ConfigError;

/// The address of a connection's peer, as a request extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct PeerAddr(pub SocketAddr);

/// The networks of the proxies whose headers are read.
#[derive(Clone)]
pub(crate) struct TrustedProxies {
    networks: Vec<IpNet>,
    peer: Arc<PeerOf>,
}

type PeerOf = dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync;

impl TrustedProxies {
    /// Trusts these addresses and networks.
    pub(crate) fn new<'p>(proxies: impl IntoIterator<Item = &'p str>) -> Result<Self, ConfigError> {
        let network = |text: &str| {
            let network = text
                .parse()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            let network = network
                .map_err(|_| format!("`{text}` is neither an address nor a network"))
                .and_then(canonical);
            network.map_err(|problem| ConfigError::invalid("a trusted proxy", problem))
        };
        Ok(Self {
            networks: proxies.into_iter().map(network).collect::<Result<_, _>>()?,
            ..Self::none()
        })
    }

    /// Trusts no peer.
    pub(crate) fn none() -> Self {
        Self {
            networks: Vec::new(),
            peer: Arc::new(peer_in),
        }
    }

    /// Sets the function that returns the peer's address.
    pub(crate) fn set_peer<F>(&mut self, peer: F)
    where
        F: Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    {
        self.peer = Arc::new(peer);
    }

    /// Returns the peer of the request's connection.
    pub(crate) fn peer(&self, extensions: &Extensions) -> Option<IpAddr> {
        let peer = (self.peer)(extensions)?;
        Some(peer.ip().to_canonical())
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }

    pub(crate) fn are_none(&self) -> bool {
        self.networks.is_empty()
    }

    /// Returns `true` if every address of one kind counts as a proxy.
    pub(crate) fn are_everyone(&self) -> bool {
        let mut lengths = self.networks.iter().map(IpNet::prefix_len);
        lengths.any(|length| length == 0)
    }
}

impl fmt::Debug for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.networks).finish()
    }
}

fn peer_in(extensions: &Extensions) -> Option<SocketAddr> {
    let peer = extensions.get::<PeerAddr>().map(|peer| peer.0);
    #[cfg(feature = "axum")]
    let peer = peer.or_else(|| {
        let info = extensions.get::<::axum::extract::ConnectInfo<SocketAddr>>();
        info.map(|info| info.0)
    });
    peer
}

/// Returns the network in canonical form, as peer addresses are compared.
fn canonical(network: IpNet) -> Result<IpNet, String> {
    const MAPPED: u8 = 96;

    let IpNet::V6(v6) = network else {
        return Ok(network);
    };
    let Some(v4) = v6.addr().to_ipv4_mapped() else {
        return Ok(network);
    };
    let prefix = v6.prefix_len().checked_sub(MAPPED);
    prefix
        .and_then(|prefix| IpNet::new(v4.into(), prefix).ok())
        .ok_or_else(|| format!("`{network}` is wider than all IPv4-mapped addresses: write IPv4"))
}
