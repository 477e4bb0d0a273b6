//! The flows of codes from mails.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::Login;
use crate::{
    secret::{DerivedKey, Secret, SecretKey, base62::base62, random},
    store::port::{OneTimeDigest, OneTimeToken},
};

/// Issues and recognizes flows.
///
/// Guesses are counted for each flow. A flow that this server has not issued is refused without a counter, so
/// that nobody fills the store with counters of flows that do not exist.
///
/// ```text
/// secret = random(22) || tag(21)
/// tag    = the last digits of HMAC-SHA-256(key, random), in base62
/// ```
pub(super) struct CodeFlows(Vec<DerivedKey>);

impl CodeFlows {
    pub(super) fn new(secret: &SecretKey) -> Self {
        Self(secret.derive("flow of a code"))
    }

    fn issue(&self) -> OneTimeToken {
        let random = Secret::new(base62(random::<16>()));
        let tag = self.0.first().and_then(|key| tag(key, random.expose()));
        // The buffer never grows: a reallocation would leave a copy that is not wiped.
        let mut secret = String::with_capacity(RANDOM + TAG);
        secret.extend([random.expose().as_str(), &tag.unwrap_or_default()]);
        OneTimeToken::of_secret(&Secret::new(secret))
    }

    fn read(&self, flow: &str) -> Option<OneTimeDigest> {
        let (random, presented) = OneTimeToken::secret_of(flow)?.split_at_checked(RANDOM)?;
        let is_of = |key: &DerivedKey| {
            let tag = tag(key, random);
            tag.is_some_and(|tag| tag.as_bytes().ct_eq(presented.as_bytes()).into())
        };
        let is_issued = self.0.iter().any(is_of);
        is_issued.then(|| OneTimeToken::read(flow)).flatten()
    }
}

impl Login {
    /// Returns a new flow of a code from a mail.
    pub(crate) fn issue_code_flow(&self) -> OneTimeToken {
        self.inner.code_flows.issue()
    }

    /// Returns the digest of a presented flow; `None` if this server has not issued it.
    pub(crate) fn read_code_flow(&self, flow: &str) -> Option<OneTimeDigest> {
        self.inner.code_flows.read(flow)
    }
}

fn tag(key: &DerivedKey, random: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.key.expose()).ok()?;
    mac.update(random.as_bytes());
    let digits = base62::<32>(mac.finalize().into_bytes().into());
    // The first digits are not quite random.
    let start = digits.len().checked_sub(TAG)?;
    digits.get(start..).map(str::to_owned)
}

/// The digits of 16 bytes.
const RANDOM: usize = 22;
const TAG: usize = 21;

#[cfg(test)]
mod tests {
    use super::*;

    fn flows(bytes: &[u8]) -> CodeFlows {
        let mut keys = bytes
            .iter()
            .map(|byte| SecretKey::from_bytes([*byte; 32]).unwrap());
        let first = keys.next().unwrap();
        CodeFlows::new(&keys.fold(first, SecretKey::or_older))
    }

    #[test]
    fn u54_only_a_flow_of_this_server_is_read() {
        let flow = flows(&[1]).issue();
        let text = flow.expose();
        assert_eq!(text.len(), OneTimeToken::mint().expose().len());
        for (secrets, is_read) in [(&[1][..], true), (&[2, 1], true), (&[2], false)] {
            assert_eq!(flows(secrets).read(text).is_some(), is_read, "{secrets:?}");
        }
        assert_eq!(flows(&[1]).read(text), Some(*flow.digest()));
        assert_ne!(flows(&[1]).issue().digest(), flow.digest());
        let secret = OneTimeToken::secret_of(text).unwrap();
        for place in 0..secret.len() {
            let mut changed = secret.to_owned().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = Secret::new(String::from_utf8(changed).unwrap());
            let changed = OneTimeToken::of_secret(&changed);
            assert!(flows(&[1]).read(changed.expose()).is_none(), "{place}");
        }
        for bad in ["", "ot1_", &text[1..], OneTimeToken::mint().expose()] {
            assert!(flows(&[1]).read(bad).is_none(), "{bad}");
        }
    }
}
