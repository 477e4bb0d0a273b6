//! The part of the cache that threads do not share.
//!
//! A hit in the shared part writes to memory that every thread writes to: the lock of the table, and the
//! reference count of the entry. If many requests carry the same token, such as the token of a service,
//! the processors wait for this memory, and a second thread gains almost nothing. The front therefore
//! keeps copies of a few entries for each [stripe](Stripes) of threads. A copy has a separate lock and a
//! separate reference count.
//!
//! The front makes no decision: its entries are copies of valid entries of the shared part, are compared
//! with the token as a whole, and are checked on every hit like those.

use std::sync::{
    Mutex, OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{Entry, name::Sought};
use crate::stripes::{self, Stripes};

pub(super) struct Front<C, O> {
    stripes: Stripes<Part<C, O>>,
    /// The number of places in each stripe, a power of two.
    places: usize,
}

/// The part of one stripe.
struct Part<C, O> {
    /// The hash of the token that was last found in the shared part of the cache.
    last_found: AtomicU64,
    /// Created for the first copy.
    places: OnceLock<Box<[Place<C, O>]>>,
}

/// The place of all tokens whose hashes end with the same bits.
struct Place<C, O> {
    /// The hash of the copy. It is read without the lock, so that most misses take none.
    hash: AtomicU64,
    copy: Mutex<Option<Copied<C, O>>>,
}

struct Copied<C, O> {
    /// The token or its digest.
    name: Box<[u8]>,
    entry: Entry<C, O>,
}

impl<C, O: Clone> Front<C, O> {
    /// Creates the front of a cache for this number of tokens. It holds at most an eighth of them. `None`
    /// if that is less than one for each stripe.
    pub(super) fn new(capacity: usize) -> Option<Self> {
        let places = capacity / 8 / stripes::number();
        Some(Self {
            stripes: Stripes::new(Part::default),
            places: (1 << places.checked_ilog2()?).min(MOST),
        })
    }

    /// Returns the copy of an entry. The caller checks that it is still valid.
    #[inline]
    pub(super) fn get(&self, sought: Sought<'_>) -> Option<Entry<C, O>> {
        let place = place(self.stripes.of_thread().places.get()?, sought)?;
        if place.hash.load(Relaxed) != sought.hash() {
            return None;
        }
        // If another thread holds the lock, the shared part has the entry, too.
        let copy = place.copy.try_lock().ok()?;
        let copy = copy.as_ref().filter(|copy| *copy.name == *sought.bytes())?;
        Some(copy.entry.clone())
    }

    /// Records that a token was found in the shared part. The second time in succession its entry is
    /// copied: a frequent token soon comes twice, and tokens that take turns cause no copies.
    #[inline]
    pub(super) fn found(&self, sought: Sought<'_>, entry: &Entry<C, O>) {
        let part = self.stripes.of_thread();
        if part.last_found.load(Relaxed) == sought.hash() {
            self.copy(part, sought, entry);
        } else {
            part.last_found.store(sought.hash(), Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    fn copy(&self, part: &Part<C, O>, sought: Sought<'_>, entry: &Entry<C, O>) {
        if sought.token_bytes() > LONGEST {
            return;
        }
        let create = || (0..self.places).map(|_| Place::default()).collect();
        if let Some(place) = place(part.places.get_or_init(create), sought) {
            place.copy(sought, entry);
        }
    }
}

impl<C, O: Clone> Place<C, O> {
    fn copy(&self, sought: Sought<'_>, entry: &Entry<C, O>) {
        let Ok(mut copy) = self.copy.try_lock() else {
            return;
        };
        // Another thread of the stripe may have made the copy.
        let is_copy = |copy: &Copied<C, O>| copy.entry.verified.is_separate_of(&entry.verified);
        if copy.as_ref().is_some_and(is_copy) {
            return;
        }
        let entry = Entry {
            verified: entry.verified.separate(),
            owner: entry.owner.clone(),
        };
        let name = sought.bytes().into();
        let replaced = copy.replace(Copied { name, entry });
        self.hash.store(sought.hash(), Relaxed);
        // The claims of the application may take long to drop.
        drop(copy);
        drop(replaced);
    }
}

impl<C, O> Default for Part<C, O> {
    fn default() -> Self {
        Self {
            last_found: AtomicU64::new(0),
            places: OnceLock::new(),
        }
    }
}

impl<C, O> Default for Place<C, O> {
    fn default() -> Self {
        Self {
            hash: AtomicU64::new(0),
            copy: Mutex::new(None),
        }
    }
}

#[inline]
fn place<'f, C, O>(places: &'f [Place<C, O>], sought: Sought<'_>) -> Option<&'f Place<C, O>> {
    places.get(sought.hash() as usize & (places.len() - 1))
}

/// Few tokens are frequent enough for threads to meet at them.
const MOST: usize = 32;
/// The length of the longest token that has a copy.
const LONGEST: usize = 2 * 1024;

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{super::name::Seed, *};
    use crate::{principal::Facts, verify::Verified};

    fn entry(number: u32) -> Entry<u32, ()> {
        Entry {
            verified: Verified::new(number, Facts::default()),
            owner: (),
        }
    }

    fn front() -> (Front<u32, ()>, Seed) {
        let front = Front::new(8 * stripes::number()).unwrap();
        assert_eq!(front.places, 1);
        (front, Seed::new())
    }

    fn claims(front: &Front<u32, ()>, sought: Sought<'_>) -> Option<u32> {
        front.get(sought).map(|entry| *entry.verified)
    }

    #[test]
    fn a_token_that_is_found_twice_in_succession_is_copied() {
        let (front, seed) = front();
        let token = |text: &'static str| Sought::new(text.as_bytes(), text.len(), &seed);
        let (one, two) = (token("the first token"), token("the second token"));
        assert_eq!(claims(&front, one), None);
        for _ in 0..3 {
            front.found(one, &entry(1));
            assert_eq!(claims(&front, one), None);
            front.found(two, &entry(2));
            assert_eq!(claims(&front, two), None);
        }
        front.found(two, &entry(2));
        assert_eq!(claims(&front, two), Some(2));
        assert_eq!(claims(&front, one), None);
        // The entry in the shared part is a newer one.
        front.found(two, &entry(3));
        assert_eq!(claims(&front, two), Some(3));
    }

    #[test]
    fn a_copy_is_found_by_the_whole_token_only() {
        let (front, seed) = front();
        // The hash covers the last 16 bytes.
        let (one, two) = (b"one of two tokens, one end", b"two of two tokens, one end");
        let (one, two) = (Sought::new(one, 26, &seed), Sought::new(two, 26, &seed));
        assert_eq!(one.hash(), two.hash());
        front.found(one, &entry(1));
        front.found(one, &entry(1));
        assert_eq!(claims(&front, one), Some(1));
        assert_eq!(claims(&front, two), None);
    }

    #[test]
    fn a_place_whose_lock_is_held_has_no_copy_and_accepts_none() {
        let (front, seed) = front();
        let token = Sought::new(b"a token of two stripes", 22, &seed);
        front.found(token, &entry(1));
        front.found(token, &entry(1));
        let places = front.stripes.of_thread().places.get().unwrap();
        let place = place(places, token).unwrap();
        let held = place.copy.lock().unwrap();
        front.found(token, &entry(2));
        assert_eq!(claims(&front, token), None);
        drop(held);
        assert_eq!(claims(&front, token), Some(1));
    }

    #[test]
    fn long_tokens_are_not_copied() {
        let (front, seed) = front();
        let token = vec![b'a'; LONGEST + 1];
        let token = Sought::new(&token, token.len(), &seed);
        for _ in 0..3 {
            front.found(token, &entry(1));
        }
        assert_eq!(claims(&front, token), None);
    }

    #[test]
    fn a_front_holds_an_eighth_of_the_capacity_at_most() {
        for capacity in [0, 1, 8, 100, 1_000, 10_000, 1_000_000] {
            let all = Front::<(), ()>::new(capacity).map_or(0, |front| {
                assert!(front.places.is_power_of_two() && front.places <= MOST);
                front.places * stripes::number()
            });
            assert!(all <= capacity / 8, "{capacity}");
        }
        assert!(Front::<(), ()>::new(usize::MAX).is_some());
    }

    #[test]
    fn threads_have_separate_copies() {
        let (front, seed) = front();
        let token = Sought::new(b"the token of a service", 22, &seed);
        let shared = entry(1);
        let use_it = || {
            front.found(token, &shared);
            front.found(token, &shared);
            assert_eq!(claims(&front, token), Some(1));
        };
        for _ in 0..4 {
            thread::scope(|scope| scope.spawn(use_it).join().unwrap());
        }
    }
}
