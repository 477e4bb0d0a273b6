//! Rounds of interleaved samples, and what can be said of them.

use std::time::{Duration, Instant};

/// The time of one call, by candidate and round, in nanoseconds.
#[derive(Default)]
pub(crate) struct Rounds {
    samples: Vec<Vec<f64>>,
}

pub(crate) struct Quartiles {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Rounds {
    /// Samples of at least this length.
    pub(crate) fn run_for(
        sample: Duration,
        mut work: Vec<&mut Box<dyn FnMut(u64)>>,
        rounds: usize,
    ) -> Self {
        let times = work.iter_mut().map(|run| times_for(sample, run));
        let times: Vec<_> = times.collect();
        Self::run_times(&times, work, rounds)
    }

    /// As many calls of each: of candidates that cost about the same, one that had to wait for a
    /// processor meanwhile would be given too few.
    pub(crate) fn run_equally(
        sample: Duration,
        mut work: Vec<&mut Box<dyn FnMut(u64)>>,
        rounds: usize,
    ) -> Self {
        let times = work.iter_mut().map(|run| times_for(sample, run));
        let most = times.max().unwrap_or(1);
        Self::run_times(&vec![most; work.len()], work, rounds)
    }

    fn run_times(times: &[u64], mut work: Vec<&mut Box<dyn FnMut(u64)>>, rounds: usize) -> Self {
        let mut samples = vec![Vec::with_capacity(rounds); work.len()];
        let mut order: Vec<usize> = (0..work.len()).collect();
        let mut dice = Dice::new();
        for _ in 0..rounds {
            dice.shuffle(&mut order);
            for &one in &order {
                let start = Instant::now();
                work[one](times[one]);
                samples[one].push(start.elapsed().as_nanos() as f64 / times[one] as f64);
            }
        }
        Self { samples }
    }

    /// The ratio of two candidates, taken within each round.
    pub(crate) fn ratio(&self, over: usize, under: usize) -> Quartiles {
        let pairs = self.samples[over].iter().zip(&self.samples[under]);
        quartiles(pairs.map(|(over, under)| over / under).collect())
    }

    pub(crate) fn nanoseconds(&self, candidate: usize) -> f64 {
        quartiles(self.samples[candidate].clone()).median
    }
}

/// Calls that take long enough for the clock, and warm everything up on the way.
fn times_for(sample: Duration, run: &mut dyn FnMut(u64)) -> u64 {
    let mut times = 1;
    loop {
        let start = Instant::now();
        run(times);
        if start.elapsed() >= sample {
            return times;
        }
        times *= 2;
    }
}

fn quartiles(mut values: Vec<f64>) -> Quartiles {
    values.sort_by(f64::total_cmp);
    let at = |part: f64| values[((values.len() - 1) as f64 * part).round() as usize];
    Quartiles {
        low: at(0.25),
        median: at(0.5),
        high: at(0.75),
    }
}

/// A xorshift: the order has to vary, not to surprise.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    /// A number from zero to just below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn shuffle(&mut self, order: &mut [usize]) {
        for last in (1..order.len()).rev() {
            order.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// Long enough for the clock.
pub(crate) const SHORT: Duration = Duration::from_micros(250);
