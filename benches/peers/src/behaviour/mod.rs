//! How each behaves: the same cases for everybody.
//!
//! The claims type asks for nothing, so that what is refused is refused by the middleware.

mod client;
mod credentials;
mod extras;
mod keys;
mod services;

use std::{
    panic,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, JoinHandle},
};

use tower_jwt_auth::key::Algorithm;

use crate::{
    floor::{Handler, calls},
    harness::{Token, User},
    peer::{Missing, Peer},
    peers::{self, Ours, Visitor},
    setup::{Setup, jwks_of},
};

pub(crate) fn main() {
    // A peer that calls an unready service makes it panic, which is a result.
    let loud = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !QUIET.load(Ordering::SeqCst) {
            loud(panic);
        }
    }));
    let mut everybody = Everybody::default();
    everybody.meet::<Ours, Ours>();
    peers::visit(&mut everybody);
    let mut report = Report::default();
    for (peer, cases) in everybody.at_work {
        report.peers.push(peer);
        report.add(cases.join().expect("the cases come to an end"));
    }
    report.print();
}

static QUIET: AtomicBool = AtomicBool::new(false);

/// What came of a case.
enum Outcome {
    Passed,
    Failed(String),
    /// Not offered, and so neither.
    Absent(&'static str),
    Counted(u64),
}

impl Outcome {
    fn of(passed: bool, seen: impl FnOnce() -> String) -> Self {
        match passed {
            true => Self::Passed,
            false => Self::Failed(seen()),
        }
    }
}

impl From<Missing> for Outcome {
    fn from(missing: Missing) -> Self {
        Self::Absent(missing.0)
    }
}

/// What is done, what should come of it, and what came.
type Case = (&'static str, &'static str, Outcome);

/// All at the same time: most of it is waiting for intervals.
#[derive(Default)]
struct Everybody {
    at_work: Vec<(&'static str, JoinHandle<Vec<Case>>)>,
}

impl Visitor for Everybody {
    fn meet<P: Peer, G: Peer>(&mut self) {
        let work = || {
            let mut cases = credentials::cases::<P>();
            cases.extend(services::cases::<P, G>());
            cases.extend(extras::cases::<P>());
            cases.extend(keys::cases::<P>());
            cases.push((ALLOCATIONS, "–", allocations::<P>()));
            cases
        };
        self.at_work.push((P::NAME, thread::spawn(work)));
    }
}

/// The same cases for everybody, and what came of each for whom.
#[derive(Default)]
struct Report {
    peers: Vec<&'static str>,
    rows: Vec<Row>,
}

struct Row {
    case: &'static str,
    expected: &'static str,
    outcomes: Vec<Outcome>,
}

impl Report {
    fn add(&mut self, cases: impl IntoIterator<Item = Case>) {
        for (case, expected, outcome) in cases {
            match self.rows.iter_mut().find(|row| row.case == case) {
                Some(row) => row.outcomes.push(outcome),
                None => self.rows.push(Row {
                    case,
                    expected,
                    outcomes: vec![outcome],
                }),
            }
        }
    }

    fn print(&self) {
        println!("## Behaviour\n");
        println!("| | expected | {} |", self.peers.join(" | "));
        println!("|---|---|{}", "---|".repeat(self.peers.len()));
        for row in &self.rows {
            let cells = row.outcomes.iter().map(|outcome| match outcome {
                Outcome::Passed => "✓".to_owned(),
                Outcome::Failed(_) => "**✗**".to_owned(),
                Outcome::Absent(_) => "–".to_owned(),
                Outcome::Counted(count) => count.to_string(),
            });
            let cells: Vec<_> = cells.collect();
            println!(
                "| {} | {} | {} |",
                row.case,
                row.expected,
                cells.join(" | ")
            );
        }
        println!("\nWhat was seen instead, and why a case does not apply (–):\n");
        for (number, peer) in self.peers.iter().enumerate() {
            let notes = self
                .rows
                .iter()
                .filter_map(|row| match row.outcomes.get(number)? {
                    Outcome::Failed(seen) => Some(format!("{}: {seen}", row.case)),
                    Outcome::Absent(why) => Some(format!("{}: – {why}", row.case)),
                    Outcome::Passed | Outcome::Counted(_) => None,
                });
            let notes: Vec<_> = notes.collect();
            if !notes.is_empty() {
                println!("- {peer}\n  - {}", notes.join("\n  - "));
            }
        }
    }
}

/// The usual request of the speed table, its token known already where tokens are remembered.
fn allocations<P: Peer>() -> Outcome {
    let token = [Token::new(Algorithm::Rs256)];
    let setup = Setup::here(Algorithm::Rs256, jwks_of(Algorithm::Rs256, 1));
    match P::around::<User, _>(setup, Handler(P::body)) {
        Ok(service) => {
            let mut call = calls(service, &token);
            call();
            Outcome::Counted(allocation_counter::measure(call).count_total)
        }
        Err(missing) => missing.into(),
    }
}

const ALLOCATIONS: &str = "allocations per accepted request (RS256)";
