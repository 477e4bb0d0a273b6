//! The cost of a refresh at a real login server: the example `auth_server` as a process, on each of its stores.
//! Its settings are the defaults, except for the policy `strict`, under which every refresh is a write.
//!
//! Clients with one connection each send three kinds of requests in turn, in every round: the exchange of the
//! refresh token of the previous response, a protected request whose access token is in the cache, and
//! `/health`, which authenticates nobody. For each kind, the processor time that the server took, kernel
//! included, is divided by the requests that it answered. The time of the clients, of PostgreSQL and of Redis does
//! not count. Times are compared within their round.
//!
//! The databases belong to the bench: private ports on loopback, temporary folders, the durability of the table
//! in the chapter on sessions. They end with it.

mod auth_server;
mod client;
mod redis;

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use self::{auth_server::AuthServer, client::Client};
use crate::{median, postgres};

pub(crate) fn measure(quick: bool) {
    let (rounds, slice) = match quick {
        true => (1, Duration::from_millis(300)),
        false => (7, Duration::from_secs(2)),
    };
    let suffix = if quick { " --quick" } else { "" };
    println!("`benches/http/run.sh refresh{suffix}`\n");
    println!(
        "| store of auth_server | clients | refresh / cached request | cached request / `/health` | \
         refresh, µs of the server | refreshes per s |"
    );
    println!("|---|---|---|---|---|---|");
    of_store("memory", "memory:", rounds, slice);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = format!("sqlite:{}", folder.path().join("auth.db").display());
    of_store("SQLite", &file, rounds, slice);
    // As a database is run whose commits survive the loss of power.
    let database = postgres::Server::with(&[]);
    of_store("PostgreSQL", &database.url(), rounds, slice);
    drop(database);
    let redis = redis::Server::start();
    of_store("Redis", &redis.url(), rounds, slice);
}

fn of_store(name: &str, store: &str, rounds: usize, slice: Duration) {
    let server = AuthServer::start(store);
    for count in [1, 16] {
        let mut clients: Vec<_> = (0..count).map(|_| Client::sign_in(&server)).collect();
        let mut turns = Vec::new();
        // The first round warms up.
        for round in 0..=rounds {
            let mut turn = |kind: Kind| turn(&server, &mut clients, slice / kind.parts(), kind);
            // No kind always follows the same one.
            let costs = match round % 2 {
                0 => Kind::ALL.map(&mut turn),
                _ => {
                    let [health, cached, refresh] = Kind::ALL;
                    let [refresh, cached, health] = [refresh, cached, health].map(&mut turn);
                    [health, cached, refresh]
                }
            };
            if round > 0 {
                turns.push(costs);
            }
        }
        let middle = |of: &dyn Fn(&[Turn; 3]) -> f64| {
            let mut values: Vec<_> = turns.iter().map(of).collect();
            median(&mut values)
        };
        println!(
            "| {name} | {count} | {:.1} | {:.2} | {:.0} | {:.0} |",
            middle(&|[_, cached, refresh]| refresh.cost / cached.cost),
            middle(&|[health, cached, _]| cached.cost / health.cost),
            middle(&|[.., refresh]| refresh.cost / 1e3),
            middle(&|[.., refresh]| refresh.rate),
        );
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Health,
    Cached,
    Refresh,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Health, Self::Cached, Self::Refresh];

    /// The part of a slice that suffices, because there are many more requests in the same time.
    fn parts(self) -> u32 {
        match self {
            Self::Health | Self::Cached => 2,
            Self::Refresh => 1,
        }
    }
}

/// The requests of all clients in a slice of time.
struct Turn {
    /// Requests per second.
    rate: f64,
    /// Nanoseconds of the server's processor time per request.
    cost: f64,
}

/// Has every client send requests until the slice is over.
fn turn(server: &AuthServer, clients: &mut [Client], slice: Duration, kind: Kind) -> Turn {
    let send = match kind {
        Kind::Health => Client::health,
        Kind::Cached => Client::cached,
        Kind::Refresh => Client::refresh,
    };
    let over = AtomicBool::new(false);
    let start = Barrier::new(clients.len() + 1);
    thread::scope(|scope| {
        let (over, start) = (&over, &start);
        let turns: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    start.wait();
                    let mut count = 0_u32;
                    while !over.load(Ordering::Relaxed) {
                        send(client);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let before = server.processor_time();
        let begun = Instant::now();
        start.wait();
        thread::sleep(slice);
        over.store(true, Ordering::Relaxed);
        let counts = turns.into_iter().map(|turn| turn.join().expect("answers"));
        let requests: f64 = counts.map(f64::from).sum();
        let elapsed = begun.elapsed().as_secs_f64();
        Turn {
            rate: requests / elapsed,
            cost: (server.processor_time() - before) / requests,
        }
    })
}
