//! The keys of counters: digests that do not reveal the user or the address.

use std::{fmt, net::IpAddr};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::{
    secret::{Secret, SecretKey},
    server::login::Identifier,
};

/// The key of a counter's row: a keyed digest, so that a store contains neither names nor
/// addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThrottleKey([u8; 16]);

impl ThrottleKey {
    /// Creates a key from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ThrottleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThrottleKey(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// The network of a client: an IPv4 address, or the /64 of an IPv6 address, which usually belongs
/// to one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(Option<NetworkBytes>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum NetworkBytes {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Network {
    /// An unknown network. All attempts at a name from unknown networks share one counter.
    pub const UNKNOWN: Self = Self(None);

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            None => &[],
            Some(NetworkBytes::V4(bytes)) => bytes,
            Some(NetworkBytes::V6(bytes)) => bytes,
        }
    }

    /// Returns the first address of the network; `None` if it is unknown.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        Some(match self.0? {
            NetworkBytes::V4(bytes) => IpAddr::from(bytes),
            NetworkBytes::V6([a, b, c, d, e, f, g, h]) => {
                IpAddr::from([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0])
            }
        })
    }

    pub(in crate::server::login) fn is_unknown(&self) -> bool {
        self.0.is_none()
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        // A dual-stack socket shows an IPv4 client as an IPv4-mapped IPv6 address.
        Self(Some(match address.to_canonical() {
            IpAddr::V4(address) => NetworkBytes::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                NetworkBytes::V6([a, b, c, d, e, f, g, h])
            }
        }))
    }
}

impl From<Option<IpAddr>> for Network {
    fn from(address: Option<IpAddr>) -> Self {
        address.map_or(Self::UNKNOWN, Self::from)
    }
}

/// Derives the keys of counters.
#[derive(Clone, Debug)]
pub(in crate::server::login) struct ThrottleKeys {
    key: Secret<[u8; 32]>,
}

impl ThrottleKeys {
    /// Uses only the minting secret, so a new secret starts new counters.
    pub(in crate::server::login) fn new(secret: &SecretKey) -> Self {
        let first = secret.derive("login throttle").into_iter().next();
        Self {
            key: first.map_or(Secret::new([0; 32]), |derived| derived.key),
        }
    }

    pub(super) fn pair(&self, identifier: &Identifier, network: Network) -> ThrottleKey {
        self.digest(
            b"pair",
            &[identifier.as_str().as_bytes(), network.as_bytes()],
        )
    }

    pub(super) fn name(&self, identifier: &Identifier) -> ThrottleKey {
        self.digest(b"name", &[identifier.as_str().as_bytes()])
    }

    pub(super) fn lock(&self, identifier: &Identifier) -> ThrottleKey {
        self.digest(b"lock", &[identifier.as_str().as_bytes()])
    }

    pub(super) fn device(&self, device: &[u8]) -> ThrottleKey {
        self.digest(b"device", &[device])
    }

    pub(super) fn change(&self, subject: &str) -> ThrottleKey {
        self.digest(b"change", &[subject.as_bytes()])
    }

    pub(super) fn mail(&self, purpose: &str, address: &str) -> ThrottleKey {
        self.digest(b"mail", &[purpose.as_bytes(), address.as_bytes()])
    }

    pub(super) fn mail_device(&self, purpose: &str, device: &[u8]) -> ThrottleKey {
        self.digest(b"mail device", &[purpose.as_bytes(), device])
    }

    pub(super) fn code(&self, subject: &str) -> ThrottleKey {
        self.digest(b"code", &[subject.as_bytes()])
    }

    pub(super) fn code_device(&self, device: &[u8]) -> ThrottleKey {
        self.digest(b"code device", &[device])
    }

    pub(super) fn mail_code(&self, flow: &[u8]) -> ThrottleKey {
        self.digest(b"mail code", &[flow])
    }

    fn digest(&self, kind: &[u8], parts: &[&[u8]]) -> ThrottleKey {
        // HMAC accepts keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.expose()) else {
            return ThrottleKey([0; 16]);
        };
        // Each part is prefixed with its length, so that different lists of parts never give the
        // same bytes.
        for part in [kind].iter().chain(parts) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let digest: [u8; 32] = mac.finalize().into_bytes().into();
        let (half, _) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
        ThrottleKey(*half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_ipv4_address_or_the_first_half_of_an_ipv6_address() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap());
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_eq!(network("2001:db8:0:1::1"), network("2001:db8:0:1:ffff::2"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:2::1"));
        assert_eq!(Network::from(None), Network::UNKNOWN);
    }

    #[test]
    fn every_counter_has_a_key_of_its_own_that_holds_no_name() {
        let keys = ThrottleKeys::new(&SecretKey::from_bytes([1; 32]).unwrap());
        let other = ThrottleKeys::new(&SecretKey::from_bytes([2; 32]).unwrap());
        let (ada, bob) = (
            Identifier::new("ada").unwrap(),
            Identifier::new("bob").unwrap(),
        );
        let network = Network::from("192.0.2.1".parse::<IpAddr>().unwrap());
        let all = [
            keys.pair(&ada, network),
            keys.pair(&ada, Network::UNKNOWN),
            keys.pair(&bob, network),
            keys.name(&ada),
            keys.lock(&ada),
            keys.device(b"ada"),
            keys.change("ada"),
            keys.mail("sign_in", "ada"),
            keys.mail("sign", "_inada"),
            keys.mail_device("sign_in", b"ada"),
            keys.code("ada"),
            keys.code_device(b"ada"),
            keys.mail_code(b"ada"),
            other.name(&ada),
        ];
        for (at, key) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != key), "{at}");
        }
        assert_eq!(
            keys.name(&ada),
            keys.name(&Identifier::new("ADA ").unwrap())
        );
    }
}
