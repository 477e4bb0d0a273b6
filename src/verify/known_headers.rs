//! The headers of verified tokens, parsed.
//!
//! The tokens of an issuer have a header in common for each of its keys, and parsing it takes longer
//! than an HMAC.

use std::{
    hash::{DefaultHasher, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};

use super::header::Header;

/// A few parsed headers, each found by its whole segment.
///
/// A parsed header is a function of the segment alone. It contains no key and no decision, so every
/// check runs for a known header as for any other, and two issuers may use the same header. Only
/// headers of tokens with a valid signature are added, so that an attacker cannot fill the list.
pub(super) struct KnownHeaders {
    known: ArcSwap<List>,
    /// Digests of headers that are not in the list, each at the place that its digest selects.
    candidates: [AtomicU64; MOST],
}

/// The known headers at one moment, from the oldest to the newest.
pub(super) struct List(Vec<Arc<Known>>);

struct Known {
    segment: Box<[u8]>,
    header: Header<'static>,
}

impl KnownHeaders {
    pub(super) fn new() -> Self {
        Self {
            known: ArcSwap::from_pointee(List(Vec::new())),
            candidates: Default::default(),
        }
    }

    /// Returns the current list. Readers take no lock.
    pub(super) fn load(&self) -> Guard<Arc<List>> {
        self.known.load()
    }

    /// Adds the header of a token with a valid signature.
    ///
    /// If the list is full, the oldest header is replaced, but only by a header that was seen before.
    /// Headers that differ from token to token, as those of some gateways, thus replace no other.
    #[cold]
    pub(super) fn add(&self, segment: &[u8], header: &Header<'_>) {
        if segment.len() > MAX_SEGMENT {
            return;
        }
        if self.load().is_full() && !self.is_repeated(segment) {
            return;
        }
        let new = Arc::new(Known {
            segment: segment.into(),
            header: header.to_owned(),
        });
        self.known.rcu(|list| list.with(&new));
    }

    /// Returns `true` if the last header with this place among the candidates had the same digest.
    fn is_repeated(&self, segment: &[u8]) -> bool {
        // Not seeded: with equal digests, a header is only added one token earlier.
        let mut hasher = DefaultHasher::new();
        hasher.write(segment);
        let digest = hasher.finish();
        let place = usize::try_from(digest % MOST as u64).unwrap_or_default();
        let candidate = self.candidates.get(place);
        candidate.is_some_and(|candidate| candidate.swap(digest, Ordering::Relaxed) == digest)
    }
}

impl List {
    pub(super) fn get(&self, segment: &[u8]) -> Option<&Header<'static>> {
        let mut newest_first = self.0.iter().rev();
        let known = newest_first.find(|known| *known.segment == *segment)?;
        Some(&known.header)
    }

    fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// Returns the list with a further header, without the oldest ones that exceed the limit.
    fn with(&self, new: &Arc<Known>) -> Self {
        let others = self.0.iter().filter(|old| old.segment != new.segment);
        let mut list: Vec<_> = others.chain([new]).map(Arc::clone).collect();
        let excess = list.len().saturating_sub(MOST);
        list.drain(..excess);
        Self(list)
    }
}

/// An issuer signs with one key, and with two while it changes them.
const MOST: usize = 8;
/// The maximum length of a remembered header, in base64url.
const MAX_SEGMENT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(known: &KnownHeaders, kid: &str) {
        let json = format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#);
        let header = Header::parse(json.as_bytes()).unwrap();
        known.add(kid.as_bytes(), &header);
    }

    fn kid_of(known: &KnownHeaders, segment: &str) -> Option<String> {
        let list = known.load();
        let header = list.get(segment.as_bytes())?;
        header.kid.as_deref().map(str::to_owned)
    }

    #[test]
    fn q5_at_most_eight_headers_are_known() {
        let known = KnownHeaders::new();
        for number in 0..100 {
            // Twice, so that a full list takes it.
            add(&known, &number.to_string());
            add(&known, &number.to_string());
            assert_eq!(
                kid_of(&known, &number.to_string()),
                Some(number.to_string())
            );
            assert!(known.load().0.len() <= MOST);
        }
        let left = (0..100).filter(|number| kid_of(&known, &number.to_string()).is_some());
        assert_eq!(left.collect::<Vec<_>>(), (92..100).collect::<Vec<_>>());
    }

    #[test]
    fn q5_headers_that_never_come_again_replace_no_other() {
        let known = KnownHeaders::new();
        let usual: Vec<_> = (0..MOST).map(|number| format!("usual {number}")).collect();
        usual.iter().for_each(|kid| add(&known, kid));
        for number in 0..1_000 {
            add(&known, &format!("unique {number}"));
        }
        assert!(usual.iter().all(|kid| kid_of(&known, kid).is_some()));
    }

    #[test]
    fn q5_long_headers_are_not_known() {
        let known = KnownHeaders::new();
        for length in [MAX_SEGMENT, MAX_SEGMENT + 1] {
            let segment = "x".repeat(length);
            add(&known, &segment);
            assert_eq!(kid_of(&known, &segment).is_some(), length == MAX_SEGMENT);
        }
    }
}
