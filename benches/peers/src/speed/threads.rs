//! One token again and again or always another one, on one thread and on two.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use tower_jwt_auth::key::Algorithm;

use super::{
    FIRST, FLOOR, REPEATED,
    table::{BOLD, Field, cell, figures},
    token_with,
};
use crate::{
    floor::{Handler, calls, floor},
    harness::{Token, User},
    peer::Peer,
    peers::{self, Ours, OursUncached, Visitor},
    setup::{Setup, jwks_of},
};

pub(crate) fn print(quick: bool) {
    // Far more than are remembered, so that hardly one comes again while it is.
    let (count, rounds) = if quick { (2000, 10) } else { (8000, 60) };
    for algorithm in [Algorithm::Hs256, Algorithm::Rs256] {
        let mut setup = Setup::here(algorithm, jwks_of(algorithm, 1));
        setup.remembered = Some(400);
        let unique =
            (0..count).map(|number| token_with(algorithm, &format!(r#""sid":"{number:08}""#)));
        let unique: Vec<Token> = unique.collect();
        println!("## Repeated and unique tokens, one and two threads ({algorithm})\n");
        println!("{EXPLANATION} {BOLD}\n");
        println!("| | one token | two threads | unique tokens | two threads |");
        println!("|---|---|---|---|---|");
        let mut all = Meeting {
            fields: [(); 2].map(|()| Field::default()),
            names: Vec::new(),
            setup: &setup,
            tokens: [&unique[..1], &unique],
        };
        all.floor();
        all.add::<Ours>(REPEATED);
        all.add::<OursUncached>(FIRST);
        peers::visit(&mut all);
        let names = all.names;
        let fields = all.fields.map(|field| field.measured_for(SAMPLE, rounds));
        for (name, on_two) in names {
            let cells = fields.iter().map(|field| {
                let ahead = field.is_ahead(name, REPEATED);
                let one = cell(field.ratio(name, FLOOR), field.nanoseconds(name), ahead);
                let two = field.ratio(on_two, name).map_or("–".into(), figures);
                format!("{one} | {two}")
            });
            // With tokens that never come again nothing can be remembered.
            let name = if name == REPEATED {
                "**this crate**"
            } else {
                name
            };
            println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        println!();
    }
}

struct Meeting<'m> {
    /// With one token, and with always another.
    fields: [Field; 2],
    names: Vec<(&'static str, &'static str)>,
    setup: &'m Setup,
    tokens: [&'m [Token]; 2],
}

impl Meeting<'_> {
    fn floor(&mut self) {
        let two = self.name(FLOOR);
        for (field, tokens) in self.fields.iter_mut().zip(self.tokens) {
            field.add(FLOOR, floor(tokens));
            let [here, there] = halves(tokens).map(floor);
            field.add_loop(two, on_two(here, there));
        }
    }

    fn add<P: Peer>(&mut self, name: &'static str) {
        // One service for both tables: each warms its own memory.
        let services = [(); 2].map(|()| P::around::<User, _>(self.setup.clone(), Handler(P::body)));
        let two = self.name(name);
        for ((field, tokens), service) in self.fields.iter_mut().zip(self.tokens).zip(services) {
            match service {
                Ok(service) => {
                    field.add(name, calls(service.clone(), tokens));
                    let work = |tokens| calls(service.clone(), tokens);
                    let [here, there] = halves(tokens).map(work);
                    field.add_loop(two, on_two(here, there));
                }
                Err(missing) => {
                    field.miss(name, missing);
                    field.miss(two, missing);
                }
            }
        }
    }

    /// The name of the same on two threads.
    fn name(&mut self, name: &'static str) -> &'static str {
        let two = String::leak(format!("{name}, two threads"));
        self.names.push((name, two));
        two
    }
}

impl Visitor for Meeting<'_> {
    fn meet<P: Peer, G: Peer>(&mut self) {
        self.add::<P>(P::NAME);
    }
}

/// Two threads have one token in common, or half of many each.
fn halves(tokens: &[Token]) -> [&[Token]; 2] {
    match tokens {
        [_] => [tokens, tokens],
        _ => tokens.split_at(tokens.len() / 2).into(),
    }
}

/// The work here, and as much of it on a thread of its own at the same time.
fn on_two(
    mut here: impl FnMut() + 'static,
    mut there: impl FnMut() + Send + 'static,
) -> Box<dyn FnMut(u64)> {
    let (start, orders): (Sender<u64>, Receiver<u64>) = channel();
    let (done, finished) = channel();
    thread::spawn(move || {
        // As where they are measured: nothing is counted here. It ends with the candidate.
        allocation_counter::opt_out(|| {
            for times in orders {
                (0..times).for_each(|_| there());
                let _ = done.send(());
            }
        });
    });
    Box::new(move |times| {
        start.send(times).expect("the thread lives");
        for _ in 0..times {
            here();
        }
        finished.recv().expect("the thread lives");
    })
}

const EXPLANATION: &str = "Times the floor with the same tokens, and microseconds; then what a \
    request takes while a second thread does the same. Where the floor's own is not about 1, the \
    machine had no second core to give.";
/// Long against what it takes to wake a thread.
const SAMPLE: Duration = Duration::from_millis(4);
