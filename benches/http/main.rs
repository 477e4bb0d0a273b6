//! What a request costs a server over HTTP: its own processor time, with and without authentication.
//!
//! Four servers (hyper, HTTP/1.1 with keep-alive, one thread) answer the same request, which
//! brings a token to each of them: without looking at it, by hand with jsonwebtoken, and behind the
//! layer without and with its cache. [wrk] asks them in turn, in rounds of shuffled order; of each turn
//! the processor time that the server took, kernel included, is divided by the requests it
//! answered. What the load generator takes, and what else the machine does, does not count.
//!
//! `benches/http/run.sh`, optionally with `--quick`. `benches/http/run.sh refresh` measures a refresh at a
//! login server instead: see `refresh/mod.rs`.
//!
//! [wrk]: https://github.com/wg/wrk

#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "../harness/token.rs"]
mod token;

#[path = "../../tests/support/port.rs"]
mod port;
#[allow(dead_code, reason = "the tests of stores use the rest")]
#[path = "../../tests/support/postgres.rs"]
mod postgres;
mod processor;
mod refresh;
mod server;

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use tower_jwt_auth::key::Algorithm;

use self::{server::Kind, token::Token};

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--serve", kind, algorithm] => {
            let kind = Kind::ALL.into_iter().find(|one| one.name() == kind);
            server::run(kind.expect("a kind of server"), named(algorithm));
        }
        ["refresh", "--quick"] => refresh::measure(true),
        ["refresh"] => refresh::measure(false),
        ["--quick"] => measure(1, &ALGORITHMS[..2]),
        [] => measure(11, &ALGORITHMS),
        _ => panic!("the arguments are `[refresh] [--quick]`"),
    }
}

fn measure(rounds: usize, algorithms: &[Algorithm]) {
    let quick = if rounds == 1 { " --quick" } else { "" };
    println!("`benches/http/run.sh{quick}`\n");
    println!("Bold: it takes less time by hand than in a first request with this crate.\n");
    println!(
        "| server CPU over no authentication | by hand | first request | cached token | µs, no authentication |"
    );
    println!("|---|---|---|---|---|");
    for &algorithm in algorithms {
        let token = Token::new(algorithm);
        let mut servers = Kind::ALL.map(|kind| Server::start(kind, algorithm));
        let mut costs = vec![];
        for round in 0..rounds {
            let mut cost = [0.0; Kind::ALL.len()];
            // Who comes first has no advantage: every round begins with another one, and every
            // second one goes the other way round.
            let mut order: Vec<_> = (0..servers.len()).collect();
            order.rotate_left(round % servers.len());
            if round % 2 == 1 {
                order.reverse();
            }
            for one in order {
                cost[one] = servers[one].cost_of_a_request(&token);
            }
            costs.push(cost);
        }
        let none = Kind::ALL
            .map(Kind::name)
            .map(|name| name == Kind::NoAuthentication.name());
        let none = none.iter().position(|is| *is).expect("it is one of them");
        let ratio = |kind: usize| {
            let mut ratios: Vec<_> = costs.iter().map(|cost| cost[kind] / cost[none]).collect();
            median(&mut ratios)
        };
        let mut alone: Vec<_> = costs.iter().map(|cost| cost[none] / 1000.0).collect();
        let [hand, first, cached] = [1, 2, 3].map(ratio);
        let bold = if hand < first { "**" } else { "" };
        println!(
            "| {algorithm} | {bold}{hand:.2}{bold} | {first:.2} | {cached:.2} | {:.1} |",
            median(&mut alone)
        );
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A server in a process of its own, ended with its owner.
struct Server {
    process: Child,
    _output: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start(kind: Kind, algorithm: Algorithm) -> Self {
        let program = env::current_exe().expect("a program has a name");
        let mut process = Command::new(program)
            .args(["--serve", kind.name(), algorithm.as_str()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server starts");
        let output = process.stdout.take().expect("it was piped");
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output
            .read_line(&mut line)
            .expect("the server says its port");
        let port = line.trim().parse().expect("a port");
        let mut server = Self {
            process,
            _output: output,
            port,
        };
        // Connections, code and caches warm up.
        server.cost_of_a_request(&Token::new(algorithm));
        server
    }

    /// Nanoseconds of the server's processor time, kernel included.
    fn cost_of_a_request(&mut self, token: &Token) -> f64 {
        let before = processor::time_of(&self.process);
        let output = Command::new("wrk")
            .args(["-t1", "-c8", "-d1s", "-H"])
            .arg(format!("Authorization: Bearer {}", token.text))
            .arg(format!("http://127.0.0.1:{}/orders", self.port))
            .output()
            .expect("wrk runs");
        let spent = processor::time_of(&self.process) - before;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && !text.contains("Non-2xx"),
            "{text}"
        );
        let line = text.lines().find(|line| line.contains(" requests in "));
        let count = line.and_then(|line| line.split_whitespace().next());
        let count: f64 = count.and_then(|count| count.parse().ok()).expect("a count");
        assert!(count > 0.0, "{text}");
        spent / count
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn named(algorithm: &str) -> Algorithm {
    let one = ALGORITHMS.into_iter().find(|one| one.as_str() == algorithm);
    one.expect("one of the algorithms")
}

const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::Hs256,
    Algorithm::Rs256,
    Algorithm::Es256,
    Algorithm::EdDsa,
];
