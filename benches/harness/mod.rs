//! What the benchmarks share: paired measurements, their table, and the token that they read.
//!
//! Candidates run interleaved, in rounds of shuffled order, and are compared within each round: on
//! a shared machine absolute times drift by far more than the differences that are asked for. So
//! the results are ratios, and nothing ever fails on time.

#![allow(dead_code, unused_imports, reason = "each benchmark uses its part")]

mod rounds;
mod service;
mod token;

use std::{env, hint::black_box, time::Duration};

use self::rounds::SHORT;
pub(crate) use self::{
    rounds::{Dice, Quartiles, Rounds},
    service::{Handler, call, credential, request, response},
    token::{AUDIENCE, ISSUER, KID, Prepared, Token, User, claims, decoding, now},
};

/// One way to do the work: named, and called in a loop.
pub(crate) struct Candidate {
    name: &'static str,
    run: Box<dyn FnMut(u64)>,
}

/// Candidates for one question, and which of them are set against each other.
pub(crate) struct Group {
    name: String,
    candidates: Vec<Candidate>,
    comparisons: Vec<Comparison>,
    /// Allocations that belong to the claims' own type, or to no candidate in particular.
    given: u64,
    sample: Duration,
}

struct Comparison {
    over: &'static str,
    under: &'static str,
    target: String,
}

impl Group {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            candidates: Vec::new(),
            comparisons: Vec::new(),
            given: 0,
            sample: SHORT,
        }
    }

    pub(crate) fn candidate<T>(
        self,
        name: &'static str,
        mut work: impl FnMut() -> T + 'static,
    ) -> Self {
        self.looping(name, move |times| {
            for _ in 0..times {
                black_box(work());
            }
        })
    }

    /// A candidate that brings its own loop.
    pub(crate) fn looping(mut self, name: &'static str, run: impl FnMut(u64) + 'static) -> Self {
        let run = Box::new(run);
        self.candidates.push(Candidate { name, run });
        self
    }

    /// Longer samples of equally many calls, for work that wakes threads.
    pub(crate) fn sample(mut self, sample: Duration) -> Self {
        self.sample = sample;
        self
    }

    /// Asks for `over / under`.
    pub(crate) fn compare(
        mut self,
        over: &'static str,
        under: &'static str,
        target: impl Into<String>,
    ) -> Self {
        self.comparisons.push(Comparison {
            over,
            under,
            target: target.into(),
        });
        self
    }

    /// Allocations that are not counted as a candidate's: the claims' own, the request's.
    pub(crate) fn given(mut self, mut work: impl FnMut()) -> Self {
        work();
        self.given += allocation_counter::measure(work).count_total;
        self
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.candidates.iter().position(|one| one.name == name)
    }
}

/// Measures the groups as the command line says, and prints a table.
pub(crate) fn main(bench: &str, groups: Vec<fn() -> Vec<Group>>) {
    let arguments = Arguments::read();
    let mut groups: Vec<Group> = groups.into_iter().flat_map(|make| make()).collect();
    if let Some((name, times)) = &arguments.repeat {
        return repeat(&mut groups, name, *times);
    }
    groups.retain(|group| {
        let filter = arguments.filter.as_deref();
        filter.is_none_or(|filter| group.name.contains(filter))
    });
    let command = format!("cargo bench --features test-util,server --bench {bench}");
    println!("`{command}{}`\n", arguments.shown());
    println!("| what | ratio | median | quartiles | target | ns | allocations | given | more |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for mut group in groups {
        // As much time for long samples as for short ones, within reason.
        let shorter = (group.sample.as_micros() / 2_500).max(1) as usize;
        measure(&mut group, if arguments.quick { 20 } else { 300 } / shorter);
    }
}

fn measure(group: &mut Group, rounds: usize) {
    let allocations: Vec<u64> = group
        .candidates
        .iter_mut()
        .map(|one| {
            (one.run)(3);
            allocation_counter::measure(|| (one.run)(1)).count_total
        })
        .collect();
    // The counting allocator stays in place; told not to count, it costs about a nanosecond a call.
    let mut measured = Rounds::default();
    allocation_counter::opt_out(|| {
        let work = group.candidates.iter_mut().map(|one| &mut one.run);
        measured = match group.sample > SHORT {
            true => Rounds::run_equally(group.sample, work.collect(), rounds),
            false => Rounds::run_for(group.sample, work.collect(), rounds),
        };
    });
    for comparison in &group.comparisons {
        let (Some(over), Some(under)) = (
            group.position(comparison.over),
            group.position(comparison.under),
        ) else {
            continue;
        };
        let Quartiles { low, median, high } = measured.ratio(over, under);
        let (mut count, mut more) = (String::from("–"), String::from("–"));
        if let Some(allocations) = allocations.get(over) {
            count = allocations.to_string();
            more = format!("{:+}", *allocations as i64 - group.given as i64);
        }
        println!(
            "| {} | {} / {} | {median:.3} | {low:.3}–{high:.3} | {} | {:.0} / {:.0} | {count} | {} | {more} |",
            group.name,
            comparison.over,
            comparison.under,
            comparison.target,
            measured.nanoseconds(over),
            measured.nanoseconds(under),
            group.given,
        );
    }
}

/// `--loop <group>/<candidate> <times>`, for profilers that count instructions:
/// `valgrind --tool=callgrind --toggle-collect='*repeat*' …`.
#[inline(never)]
fn repeat(groups: &mut [Group], name: &str, times: u64) {
    for group in groups {
        for candidate in &mut group.candidates {
            if format!("{}/{}", group.name, candidate.name) == name {
                return (candidate.run)(times);
            }
        }
    }
    println!("nothing is named `{name}`");
}

struct Arguments {
    quick: bool,
    filter: Option<String>,
    repeat: Option<(String, u64)>,
}

impl Arguments {
    fn read() -> Self {
        let mut read = Self {
            quick: false,
            filter: None,
            repeat: None,
        };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => read.quick = true,
                "--loop" => {
                    let times = |text: String| text.parse().ok();
                    read.repeat = arguments.next().zip(arguments.next().and_then(times));
                }
                // Cargo says `--bench` to every benchmark.
                other if other.starts_with("--") => {}
                filter => read.filter = Some(filter.to_owned()),
            }
        }
        read
    }

    /// What comes after the name of the benchmark in the command.
    fn shown(&self) -> String {
        let words = [self.filter.as_deref(), self.quick.then_some("--quick")];
        let words: Vec<_> = words.into_iter().flatten().collect();
        if words.is_empty() {
            return String::new();
        }
        format!(" -- {}", words.join(" "))
    }
}
