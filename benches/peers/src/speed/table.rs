//! Candidates side by side, and the Markdown that says how they did.

use std::time::Duration;

use super::{FIRST, FLOOR, NO_LAYER, REPEATED};
use crate::{harness::Rounds, peer::Missing};

/// Candidates for one column, or for one question.
#[derive(Default)]
pub(crate) struct Field {
    candidates: Vec<Candidate>,
    rounds: Rounds,
}

struct Candidate {
    name: &'static str,
    work: Result<Box<dyn FnMut(u64)>, Missing>,
    allocations: u64,
}

impl Field {
    pub(crate) fn add(&mut self, name: &'static str, mut work: impl FnMut() + 'static) {
        self.add_loop(
            name,
            Box::new(move |times| {
                for _ in 0..times {
                    work();
                }
            }),
        );
    }

    /// A candidate that repeats its work itself.
    pub(crate) fn add_loop(&mut self, name: &'static str, work: Box<dyn FnMut(u64)>) {
        self.candidates.push(Candidate {
            name,
            work: Ok(work),
            allocations: 0,
        });
    }

    pub(crate) fn miss(&mut self, name: &'static str, missing: Missing) {
        self.candidates.push(Candidate {
            name,
            work: Err(missing),
            allocations: 0,
        });
    }

    pub(crate) fn measured(self, rounds: usize) -> Self {
        self.measured_for(Duration::from_micros(250), rounds)
    }

    /// Measures everybody in interleaved samples of this length.
    pub(crate) fn measured_for(mut self, sample: Duration, rounds: usize) -> Self {
        for candidate in &mut self.candidates {
            if let Ok(work) = &mut candidate.work {
                work(3);
                candidate.allocations = allocation_counter::measure(|| work(1)).count_total;
            }
        }
        let candidates = self.candidates.iter_mut();
        let work = candidates.filter_map(|one| one.work.as_mut().ok());
        let mut measured = Rounds::default();
        allocation_counter::opt_out(|| {
            measured = Rounds::run_for(sample, work.collect(), rounds);
        });
        self.rounds = measured;
        self
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.candidates.iter().map(|one| one.name)
    }

    /// Where a candidate is among those that were measured.
    fn place(&self, name: &str) -> Option<usize> {
        let measured = self.candidates.iter().filter(|one| one.work.is_ok());
        measured.map(|one| one.name).position(|one| one == name)
    }

    pub(crate) fn ratio(&self, over: &str, under: &str) -> Option<f64> {
        let ratio = self.rounds.ratio(self.place(over)?, self.place(under)?);
        Some(ratio.median)
    }

    pub(crate) fn nanoseconds(&self, name: &str) -> Option<f64> {
        Some(self.rounds.nanoseconds(self.place(name)?))
    }

    fn find(&self, name: &str) -> Option<&Candidate> {
        self.candidates.iter().find(|one| one.name == name)
    }

    /// Whether a peer takes less time than this crate does, by the ratio within each round.
    pub(crate) fn is_ahead(&self, peer: &str, ours: &str) -> bool {
        !NO_PEERS.contains(&peer) && self.ratio(peer, ours).is_some_and(|ratio| ratio < 1.0)
    }
}

/// A row for each candidate, a column for each field: times a base, and how long.
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) ratios: Vec<Option<f64>>,
    nanoseconds: Vec<Option<f64>>,
    /// Where a peer is ahead of this crate.
    ahead: Vec<bool>,
    /// Of the first column that there is.
    allocations: Option<u64>,
    /// Why a column is empty.
    missing: Option<&'static str>,
}

impl Table {
    pub(crate) fn over(base: &str, fields: &[Field], columns: &[&str]) -> Self {
        let rows = fields[0].names().map(|name| {
            let all = || fields.iter().filter_map(|field| field.find(name));
            Row {
                name,
                ratios: fields.iter().map(|field| field.ratio(name, base)).collect(),
                nanoseconds: fields.iter().map(|field| field.nanoseconds(name)).collect(),
                // What remembers nothing is compared with a first request.
                ahead: fields.iter().map(|field| field.is_ahead(name, FIRST)).collect(),
                allocations: all()
                    .find(|one| one.work.is_ok())
                    .map(|one| one.allocations),
                missing: all().find_map(|one| Some(one.work.as_ref().err()?.0)),
            }
        });
        Self {
            rows: rows.collect(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        }
    }

    pub(crate) fn print_with_allocations(&self) {
        println!("| | {} | allocations |", self.columns.join(" | "));
        println!("|---|{}---|", "---|".repeat(self.columns.len()));
        for row in &self.rows {
            let allocations = row.allocations.map(|count| count.to_string());
            println!(
                "| {} | {} | {} |",
                row.name,
                row.cells(),
                allocations.unwrap_or_else(|| "–".into()),
            );
        }
        self.print_missing();
    }

    fn print_missing(&self) {
        let missing = self.rows.iter().filter_map(|row| {
            let why = row.missing?;
            Some(format!("{} {why}", row.name))
        });
        let missing: Vec<_> = missing.collect();
        if !missing.is_empty() {
            println!("\n–: {}.", missing.join("; "));
        }
    }
}

impl Row {
    fn cells(&self) -> String {
        let cells = self.ratios.iter().zip(&self.nanoseconds).zip(&self.ahead);
        cells
            .map(|((ratio, time), ahead)| cell(*ratio, *time, *ahead))
            .collect::<Vec<_>>()
            .join(" | ")
    }
}

/// `2.47 (5.3)`: the ratio, and microseconds. Bold where a peer is ahead of this crate.
pub(crate) fn cell(ratio: Option<f64>, nanoseconds: Option<f64>, ahead: bool) -> String {
    let (Some(ratio), Some(time)) = (ratio, nanoseconds) else {
        return "–".into();
    };
    let text = format!("{} ({})", figures(ratio), figures(time / 1000.0));
    if ahead { format!("**{text}**") } else { text }
}

/// Stands above each table.
pub(crate) const BOLD: &str = "Bold: a peer takes less time than this crate.";
/// What is measured for comparison, and this crate itself.
const NO_PEERS: [&str; 4] = [NO_LAYER, FLOOR, FIRST, REPEATED];

/// Two decimals, and where there is little, two digits.
pub(crate) fn figures(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 0.1 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}
