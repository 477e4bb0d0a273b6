//! What more keys, more roles and longer tokens cost.

use tower_jwt_auth::{key::Algorithm, test_util::JwksFixture};

use super::{
    FIRST, REPEATED,
    table::{BOLD, Field, cell},
    token_with,
};
use crate::{
    floor::{Handler, calls},
    harness::{Token, User, claims, now},
    peer::{Missing, Peer},
    peers::{self, AxumJwtAuth, Ours, OursUncached, Visitor},
    setup::{Keys, Setup, jwks_of},
};

pub(crate) fn print(rounds: usize) {
    println!("## Growth (HS256)\n");
    println!("Times the same one's first column, and microseconds. {BOLD}\n");
    let token = Token::new(ALGORITHM);
    let keys = [1, 10, 100, 1000].map(|count| Step {
        name: if count == 1 {
            "1 key".into()
        } else {
            format!("{count} keys")
        },
        keys: count,
        token: token.clone(),
    });
    table(&keys, rounds);
    let roles = [0, 10, 100].map(|count| Step {
        name: format!("{count} roles"),
        keys: 1,
        token: with_roles(count),
    });
    table(&roles, rounds);
    let sizes = [("0.6 KiB", 589), ("2 KiB", 2048), ("8 KiB", 8192)].map(|(name, bytes)| Step {
        name: name.into(),
        keys: 1,
        token: of_size(bytes),
    });
    table(&sizes, rounds);
}

struct Step {
    name: String,
    keys: usize,
    token: Token,
}

fn with_roles(count: usize) -> Token {
    let roles: Vec<String> = (0..count)
        .map(|number| format!("editor-{number:03}"))
        .collect();
    let roles = serde_json::to_string(&roles).expect("roles are JSON");
    let usual = r#"["orders-admin","editor","viewer"]"#;
    Token::of(ALGORITHM, &claims(now() + 3600, 1).replace(usual, &roles))
}

/// A token with a claim that nobody asked for.
fn of_size(bytes: usize) -> Token {
    let usual = Token::new(ALGORITHM);
    let more = bytes.saturating_sub(usual.text.len()) * 3 / 4;
    if more == 0 {
        return usual;
    }
    let claim = format!(r#""more":"{}""#, "x".repeat(more.saturating_sub(10)));
    token_with(ALGORITHM, &claim)
}

/// A row for each candidate that can do it, a column for each step.
fn table(steps: &[Step], rounds: usize) {
    let titles: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
    println!("| | {} |", titles.join(" | "));
    println!("|---|{}", "---|".repeat(steps.len()));
    let mut rows = Rows {
        steps,
        servers: Vec::new(),
        field: Field::default(),
        rows: Vec::new(),
    };
    rows.add::<Ours>(REPEATED);
    rows.add::<OursUncached>(FIRST);
    peers::visit(&mut rows);
    let field = rows.field.measured(rounds);
    let first = rows.rows.iter().find(|(name, _)| *name == FIRST);
    let first = first.and_then(|(_, places)| places.clone().ok());
    let first = first.expect("this crate can do it");
    for (name, places) in rows.rows {
        match places {
            Ok(places) => {
                let cells = places.iter().zip(&first).map(|(place, first)| {
                    let ahead = name != REPEATED && field.is_ahead(place, first);
                    let ratio = field.ratio(place, places[0]);
                    cell(ratio, field.nanoseconds(place), ahead)
                });
                println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
            }
            Err(missing) => println!("| {name} | – ({}) |", missing.0),
        }
    }
    println!();
}

struct Rows<'s> {
    steps: &'s [Step],
    /// They stop when they are dropped.
    servers: Vec<JwksFixture>,
    field: Field,
    /// Each candidate's names for its steps.
    rows: Vec<(&'static str, Result<Vec<&'static str>, Missing>)>,
}

impl Rows<'_> {
    fn add<P: Peer>(&mut self, name: &'static str) {
        let mut places = Vec::new();
        for step in self.steps {
            let jwks = jwks_of(ALGORITHM, step.keys);
            let mut setup = Setup::here(ALGORITHM, jwks.clone());
            // With keys in hand it tries one after the other; it looks a `kid` up where they come
            // from a URL.
            if P::NAME == AxumJwtAuth::NAME {
                let server = JwksFixture::start();
                server.serve(jwks);
                setup.keys = Keys::At(server.url());
                self.servers.push(server);
            }
            match P::around::<User, _>(setup, Handler(P::body)) {
                Ok(service) => {
                    let place = &*String::leak(format!("{name}, {}", step.name));
                    let token = std::slice::from_ref(&step.token);
                    self.field.add(place, calls(service, token));
                    places.push(place);
                }
                Err(missing) => return self.rows.push((name, Err(missing))),
            }
        }
        self.rows.push((name, Ok(places)));
    }
}

impl Visitor for Rows<'_> {
    fn meet<P: Peer, G: Peer>(&mut self) {
        self.add::<P>(P::NAME);
    }
}

const ALGORITHM: Algorithm = Algorithm::Hs256;
