//! The keys of the cache, and their hash.
//!
//! The functions of a lookup are inlined: the code of the cache is compiled in the application's crate.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use quick_cache::Equivalent;

/// The cache key of a token: the token or its digest. It is always compared as a whole.
pub(super) struct Name {
    bytes: Box<[u8]>,
    /// Kept, so that an eviction does not read the token.
    hash: u64,
    /// The length of the token, which is an estimate for the size of its claims.
    token_bytes: usize,
}

/// A cache key that is looked up.
#[derive(Clone, Copy)]
pub(super) struct Sought<'t> {
    bytes: &'t [u8],
    hash: u64,
    token_bytes: usize,
}

impl Name {
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn token_bytes(&self) -> usize {
        self.token_bytes
    }
}

impl<'t> Sought<'t> {
    /// Creates the key of a token: its bytes or its digest.
    #[inline]
    pub(super) fn new(bytes: &'t [u8], token_bytes: usize, seed: &Seed) -> Self {
        Self {
            bytes,
            hash: seed.hash_end(bytes),
            token_bytes,
        }
    }

    #[inline]
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn token_bytes(&self) -> usize {
        self.token_bytes
    }

    #[inline]
    pub(super) fn bytes(&self) -> &'t [u8] {
        self.bytes
    }

    pub(super) fn to_name(self) -> Name {
        Name {
            bytes: self.bytes.into(),
            hash: self.hash,
            token_bytes: self.token_bytes,
        }
    }
}

/// The random secret of the hash.
///
/// The hash is the product of the last 16 bytes of a key, each half under a secret, with the two
/// halves of the product folded. It is no cryptographic hash, and need not be one:
///
/// - Only verified tokens are stored, and their last bytes are the end of a signature or a digest.
///   A client cannot choose them.
/// - An issuer could, for its own tokens. It does not know the secret, which is random for each
///   cache and appears in no response.
/// - Keys with the same hash are compared as a whole. Equal hashes cost time, and never accept a
///   token.
pub(super) struct Seed(u64, u64);

impl Seed {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self(random.hash_one(0), random.hash_one(1))
    }

    #[inline]
    fn hash_end(&self, name: &[u8]) -> u64 {
        let mut end = [0; 16];
        match name.last_chunk() {
            Some(last) => end = *last,
            // Too short for a verified token, but it is looked up.
            None => end.iter_mut().zip(name).for_each(|(to, from)| *to = *from),
        }
        let end = u128::from_le_bytes(end);
        let product = u128::from(end as u64 ^ self.0) * u128::from((end >> 64) as u64 ^ self.1);
        product as u64 ^ (product >> 64) as u64
    }
}

/// Passes the hash of a key on, which is already computed.
#[derive(Default)]
pub(super) struct NameHasher(u64);

impl Hasher for NameHasher {
    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not called for keys.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for Sought<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bytes == other.bytes
    }
}

impl Eq for Name {}

impl Equivalent<Name> for Sought<'_> {
    #[inline]
    fn equivalent(&self, name: &Name) -> bool {
        self.hash == name.hash && *self.bytes == *name.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_hash_depends_on_the_seed_and_on_every_one_of_the_last_bytes() {
        let seed = Seed::new();
        let token = [7; 40];
        assert_eq!(seed.hash_end(&token), seed.hash_end(&token));
        assert_ne!(seed.hash_end(&token), Seed::new().hash_end(&token));
        for at in 24..40 {
            let mut other = token;
            other[at] ^= 1;
            assert_ne!(seed.hash_end(&token), seed.hash_end(&other), "{at}");
        }
        for short in [&b""[..], b"a", b"ab", b"b"] {
            assert_eq!(seed.hash_end(short), seed.hash_end(short));
        }
    }

    /// Ends that differ in one character, as an issuer could arrange them without the seed.
    #[test]
    fn similar_ends_are_spread_over_the_table() {
        let seed = Seed::new();
        let alphabet = (b'0'..=b'9').chain(b'A'..=b'Z').chain(b'a'..=b'z');
        let ends = alphabet.flat_map(|letter| {
            (0..16).map(move |at| {
                let mut end = [b'A'; 16];
                end[at] = letter;
                end
            })
        });
        let ends: HashSet<_> = ends.collect();
        let buckets = |bits: u32| {
            let places = ends.iter().map(|end| seed.hash_end(end) >> (64 - bits));
            places.collect::<HashSet<_>>().len()
        };
        // Of 977 ends in 1024 buckets, 63 % of the buckets are used by chance.
        assert!(buckets(10) > 450, "{}", buckets(10));
        let low = ends.iter().map(|end| seed.hash_end(end) & 1023);
        assert!(low.collect::<HashSet<_>>().len() > 450);
    }
}
