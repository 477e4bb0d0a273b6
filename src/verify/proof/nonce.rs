//! Nonces of the server (RFC 9449 §8, §9).

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    error::ConfigError,
    key::{DIGEST, Digester},
    secret::{Secret, random},
    time::Timestamp,
};

/// The nonces that a server demands in proofs. No state is kept.
///
/// A nonce is the start of a time window under a MAC. It is valid in its window and in the next one.
/// In the second window it is ageing: the response to a request with it carries the next nonce, so that a
/// busy client is never refused for its nonce.
///
/// A proof with a nonce is fresh because of the nonce. Its `iat` is not compared with the clock, so that a
/// client with a wrong clock can sign in.
///
/// All nodes of a service must have the same key and similar clocks.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")]
/// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
/// use std::time::Duration;
/// use tower_jwt_auth::verify::proof::Nonces;
///
/// let shared = [7; 32]; // random bytes that all nodes have
/// let nonces = Nonces::with_key(shared)?.lifetime(Duration::from_secs(120))?;
/// # let _ = nonces;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "aws-lc-rs"))]
/// # fn main() {}
/// ```
pub struct Nonces {
    digester: Digester,
    /// The length of a window in seconds: half of a lifetime.
    window: i64,
}

/// The verdict on a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NonceState {
    /// It is valid until this time.
    Fresh(Timestamp),
    /// It is valid until this time, and the client should use the next one.
    Ageing(Timestamp),
    Refused,
}

impl Nonces {
    /// Creates nonces under a random key. They are valid in this process only.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoCrypto`] in a build without cryptography.
    pub fn generate() -> Result<Self, ConfigError> {
        Self::with_key(Secret::new(random::<MIN_KEY>()).expose())
    }

    /// Creates nonces under a key of at least 32 random bytes, which all nodes of the service have.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if there are fewer than 32 bytes, and [`ConfigError::NoCrypto`] in a build
    /// without cryptography.
    pub fn with_key(key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let key = key.as_ref();
        if key.len() < MIN_KEY {
            let problem = "at least 32 random bytes are needed";
            return Err(ConfigError::invalid("the key of nonces", problem));
        }
        Ok(Self {
            digester: Digester::with_key(key)?,
            window: DEFAULT_LIFETIME / 2,
        })
    }

    /// Sets the time for which a nonce is valid, 300 seconds by default: 10 seconds to a day. A nonce ages
    /// after half of it, and is valid for at least half of it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if the time is out of range.
    pub fn lifetime(mut self, lifetime: Duration) -> Result<Self, ConfigError> {
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        if !(10..=86_400).contains(&seconds) {
            let problem = "10 seconds to a day are allowed";
            return Err(ConfigError::invalid("the lifetime of nonces", problem));
        }
        self.window = seconds / 2;
        Ok(self)
    }

    /// Returns the nonce for new proofs.
    pub(crate) fn current(&self, now: Timestamp) -> String {
        let start = now
            .as_secs()
            .div_euclid(self.window)
            .saturating_mul(self.window);
        let message = message(start);
        let mut nonce = Vec::with_capacity(STAMP + DIGEST);
        nonce.push(VERSION);
        nonce.extend(start.to_be_bytes());
        nonce.extend(self.digester.digest(&message));
        URL_SAFE_NO_PAD.encode(nonce)
    }

    /// Checks a nonce of a proof whose signature is not verified yet.
    pub(crate) fn state(&self, nonce: &str, now: Timestamp) -> NonceState {
        let Some((start, digest)) = parse(nonce) else {
            return NonceState::Refused;
        };
        let (window, now) = (self.window, now.as_secs());
        // A nonce of a node whose clock is ahead has a start in the future.
        let earliest = now.saturating_sub(window.saturating_mul(2));
        if start <= earliest || start > now.saturating_add(window) {
            return NonceState::Refused;
        }
        if !self.digester.verifies(&message(start), &digest) {
            return NonceState::Refused;
        }
        let until = Timestamp::from_secs(start.saturating_add(window.saturating_mul(2)));
        match now >= start.saturating_add(window) {
            true => NonceState::Ageing(until),
            false => NonceState::Fresh(until),
        }
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces")
            .field("lifetime", &(self.window * 2))
            .finish_non_exhaustive()
    }
}

/// Returns `true` if a text has the characters of a nonce (RFC 9449 §8.1).
pub(super) fn is_nonce(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
    !text.is_empty() && text.bytes().all(allowed)
}

/// The text under the MAC. The first part separates it from other uses of the key.
fn message(start: i64) -> [u8; PURPOSE.len() + STAMP] {
    let mut message = [VERSION; PURPOSE.len() + STAMP];
    let (purpose, stamp) = message.split_at_mut(PURPOSE.len());
    purpose.copy_from_slice(PURPOSE);
    if let Some((_, seconds)) = stamp.split_first_mut() {
        seconds.copy_from_slice(&start.to_be_bytes());
    }
    message
}

/// Returns the start of the window and the MAC.
fn parse(nonce: &str) -> Option<(i64, [u8; DIGEST])> {
    // A nonce has one length, so that nothing else is decoded.
    if nonce.len() != (STAMP + DIGEST).div_ceil(3) * 4 - 1 {
        return None;
    }
    let mut bytes = [0; STAMP + DIGEST];
    let length = URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes).ok()?;
    let (version, rest) = bytes.get(..length)?.split_first()?;
    let (seconds, digest) = rest.split_first_chunk()?;
    let digest = digest.try_into().ok()?;
    (*version == VERSION).then_some((i64::from_be_bytes(*seconds), digest))
}

const VERSION: u8 = 1;
/// The version and the seconds, in bytes.
const STAMP: usize = 9;
const PURPOSE: &[u8; 26] = b"tower-jwt-auth dpop nonce\0";
const MIN_KEY: usize = 32;
const DEFAULT_LIFETIME: i64 = 300;

#[cfg(test)]
#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(1_700_000_100 + seconds)
    }

    fn nonces() -> Nonces {
        Nonces::with_key([7; 32]).unwrap()
    }

    /// The start of a window.
    const START: i64 = 0;

    #[test]
    fn g24_a_nonce_is_fresh_then_ageing_then_refused() {
        let nonce = nonces().current(at(START + 10));
        let until = at(START + 300);
        for (second, state) in [
            (10, NonceState::Fresh(until)),
            (149, NonceState::Fresh(until)),
            (150, NonceState::Ageing(until)),
            (299, NonceState::Ageing(until)),
            (300, NonceState::Refused),
            (3_000, NonceState::Refused),
        ] {
            assert_eq!(
                nonces().state(&nonce, at(START + second)),
                state,
                "{second}"
            );
        }
    }

    #[test]
    fn g24_all_nonces_of_a_window_are_equal_on_every_node_with_the_key() {
        let nonce = nonces().current(at(START));
        assert_eq!(nonces().current(at(START + 149)), nonce);
        assert_ne!(nonces().current(at(START + 150)), nonce);
        let other = Nonces::with_key([8; 32]).unwrap();
        assert_eq!(other.state(&nonce, at(START)), NonceState::Refused);
        let own = Nonces::generate().unwrap();
        let nonce = own.current(at(START));
        assert!(matches!(own.state(&nonce, at(START)), NonceState::Fresh(_)));
    }

    #[test]
    fn g24_a_nonce_of_a_node_that_is_ahead_is_fresh() {
        let nonce = nonces().current(at(START));
        assert!(matches!(
            nonces().state(&nonce, at(START - 30)),
            NonceState::Fresh(_)
        ));
        assert_eq!(nonces().state(&nonce, at(START - 151)), NonceState::Refused);
    }

    #[test]
    fn g25_any_other_text_is_refused() {
        let nonce = nonces().current(at(START));
        assert!(is_nonce(&nonce), "{nonce}");
        for position in 0..nonce.len() {
            let mut bytes = nonce.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(bytes).unwrap();
            assert_eq!(
                nonces().state(&other, at(START)),
                NonceState::Refused,
                "{position}"
            );
        }
        for other in [
            "",
            "A",
            &nonce[1..],
            &format!("{nonce}A"),
            &"A".repeat(4_000),
        ] {
            assert_eq!(nonces().state(other, at(START)), NonceState::Refused);
        }
    }

    #[test]
    fn g13_quotes_backslashes_spaces_and_controls_are_in_no_nonce() {
        for text in ["", " ", "a b", "a\"", "a\\", "a\n", "a\u{7f}", "ä"] {
            assert!(!is_nonce(text), "{text:?}");
        }
    }

    #[test]
    fn short_keys_and_odd_lifetimes_are_refused() {
        assert!(Nonces::with_key([7; 31]).is_err());
        for seconds in [0, 9, 86_401] {
            assert!(nonces().lifetime(Duration::from_secs(seconds)).is_err());
        }
        assert!(nonces().lifetime(Duration::from_secs(10)).is_ok());
        assert!(!format!("{:?}", nonces()).contains('7'));
    }
}
