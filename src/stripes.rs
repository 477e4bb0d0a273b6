//! Values that many threads use without sharing memory.

use std::{
    cell::Cell,
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

/// Several instances of a value, of which each thread uses one.
///
/// A lock or a reference count that all threads write to is slow even if no thread ever waits: its
/// cache line moves from processor to processor. Here a thread always uses the same instance, and
/// another thread rarely uses that one too.
pub(crate) struct Stripes<T> {
    first: Stripe<T>,
    /// One less than a power of two.
    others: Box<[Stripe<T>]>,
}

/// Aligned to two cache lines, because processors load pairs of them.
#[repr(align(128))]
struct Stripe<T>(T);

impl<T> Stripes<T> {
    pub(crate) fn new(mut create: impl FnMut() -> T) -> Self {
        Self {
            first: Stripe(create()),
            others: (1..number()).map(|_| Stripe(create())).collect(),
        }
    }

    /// Returns the instance of the current thread.
    #[inline]
    pub(crate) fn of_thread(&self) -> &T {
        let position = thread_number() & self.others.len();
        let stripe = self.others.get(position).unwrap_or(&self.first);
        &stripe.0
    }
}

impl<T> fmt::Debug for Stripes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripes").finish_non_exhaustive()
    }
}

/// Returns the number of instances, a power of two.
///
/// With four for each processor, two busy threads seldom have the same one.
pub(crate) fn number() -> usize {
    static NUMBER: OnceLock<usize> = OnceLock::new();

    *NUMBER.get_or_init(|| {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        (4 * processors.min(MAX / 4)).next_power_of_two()
    })
}

/// Returns the number of the current thread. Threads are numbered in the order of their first call.
#[inline]
fn thread_number() -> usize {
    thread_local! {
        // Zero before the first call.
        static OURS: Cell<usize> = const { Cell::new(0) };
    }
    static LAST: AtomicUsize = AtomicUsize::new(0);

    OURS.with(|ours| {
        if ours.get() == 0 {
            ours.set(LAST.fetch_add(1, Relaxed) + 1);
        }
        ours.get()
    })
}

const MAX: usize = 128;

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, ptr};

    use super::*;

    #[test]
    fn a_thread_keeps_its_instance_and_another_thread_has_another_one() {
        let stripes = Stripes::new(|| 0_u8);
        assert!(number().is_power_of_two() && number() <= MAX);
        assert_eq!(stripes.others.len() + 1, number());
        let address = || ptr::from_ref(stripes.of_thread()).addr();
        assert_eq!(address(), address());
        let all: HashSet<_> = (0..4 * number())
            .map(|_| thread::scope(|scope| scope.spawn(address).join().unwrap()))
            .collect();
        // Threads of other tests take some of the numbers.
        assert!(all.len() > 1 && all.len() <= number());
        assert!(all.iter().all(|address| address % 128 == 0));
    }
}
