//! What each costs, in process and without a runtime.

mod growth;
mod picture;
mod table;
mod threads;

use std::fs;

use tower_jwt_auth::key::Algorithm;

use self::table::{BOLD, Field, Table};
use crate::{
    floor::{Handler, calls, floor},
    harness::{Token, User, now},
    peer::Peer,
    peers::{self, Ours, OursUncached, Visitor},
    setup::{Setup, jwks_of},
};

/// All of it, or only the part that is named.
pub(crate) fn main(quick: bool, svg: Option<String>, part: Option<String>) {
    let rounds = if quick { 20 } else { 300 };
    let wanted = |name| part.as_deref().is_none_or(|part| part == name);
    if wanted("accepted") {
        let table = accepted(rounds);
        if let Some(file) = svg {
            fs::write(&file, picture::draw(&table)).expect("the picture can be written");
        }
    }
    if wanted("growth") {
        growth::print(rounds);
    }
    if wanted("threads") {
        threads::print(quick);
    }
}

fn accepted(rounds: usize) -> Table {
    println!("## A request with a good token\n");
    println!("Times the floor, and microseconds; allocations with the first algorithm. {BOLD}\n");
    let fields = ALGORITHMS.map(|algorithm| field(algorithm).measured(rounds));
    let table = Table::over(FLOOR, &fields, &ALGORITHMS.map(|one| one.as_str()));
    table.print_with_allocations();
    println!();
    table
}

fn field(algorithm: Algorithm) -> Field {
    let token = [Token::new(algorithm)];
    let setup = Setup::here(algorithm, jwks_of(algorithm, 1));
    let mut all = Meeting {
        field: Field::default(),
        setup: &setup,
        tokens: &token,
    };
    all.field.add(NO_LAYER, calls(Handler(|| ()), &token));
    all.field.add(FLOOR, floor(&token));
    all.add::<Ours>(REPEATED);
    all.add::<OursUncached>(FIRST);
    peers::visit(&mut all);
    all.field
}

/// Everybody with the same tokens.
struct Meeting<'m> {
    field: Field,
    setup: &'m Setup,
    tokens: &'m [Token],
}

impl Meeting<'_> {
    fn add<P: Peer>(&mut self, name: &'static str) {
        match P::around::<User, _>(self.setup.clone(), Handler(P::body)) {
            Ok(service) => self.field.add(name, calls(service, self.tokens)),
            Err(missing) => self.field.miss(name, missing),
        }
    }
}

impl Visitor for Meeting<'_> {
    fn meet<P: Peer, G: Peer>(&mut self) {
        self.add::<P>(P::NAME);
    }
}

/// Another claim in the usual token, so that it is a different one.
fn token_with(algorithm: Algorithm, claim: &str) -> Token {
    let mut claims = crate::harness::claims(now() + 3600, 1);
    claims.truncate(claims.len() - 1);
    Token::of(algorithm, &format!("{claims},{claim}}}"))
}

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Hs256,
    Algorithm::Rs256,
    Algorithm::Es256,
    Algorithm::EdDsa,
];
pub(crate) const NO_LAYER: &str = "no layer";
pub(crate) const FLOOR: &str = "floor";
pub(crate) const FIRST: &str = "**this crate**, first request";
pub(crate) const REPEATED: &str = "**this crate**, cached token";
