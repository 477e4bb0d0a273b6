//! The cost of a refresh at a real login server: the example `auth_server` as a process, on a SQLite
//! file and on PostgreSQL, with its default settings.
//!
//! Clients with one connection each exchange the token of the previous response. For each number of
//! clients, the refreshes per second are printed, and the processor time of the server per refresh,
//! kernel included. The time of the clients and of PostgreSQL does not count. For comparison between
//! machines, the time is also divided by that of a request to `/health` in the same round.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{median, postgres};

pub(crate) fn measure(quick: bool) {
    let (rounds, slice) = match quick {
        true => (1, Duration::from_millis(300)),
        false => (7, Duration::from_secs(2)),
    };
    let suffix = if quick { " --quick" } else { "" };
    println!("`benches/http/run.sh refresh{suffix}`\n");
    println!(
        "| store of auth_server | clients | refreshes per s | server CPU per refresh, µs | over /health |"
    );
    println!("|---|---|---|---|---|");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = format!("sqlite:{}", folder.path().join("auth.db").display());
    of_store("SQLite", &file, rounds, slice);
    // As a database is run whose commits survive the loss of power.
    let database = postgres::Server::with(&[]);
    of_store("PostgreSQL", &database.url(), rounds, slice);
}

fn of_store(name: &str, store: &str, rounds: usize, slice: Duration) {
    let server = Server::start(store);
    for count in [1, 16] {
        let mut clients: Vec<_> = (0..count).map(|_| Client::sign_in(&server)).collect();
        let mut turns = Vec::new();
        // The first round warms up.
        for round in 0..=rounds {
            let health = server.turn(&mut clients, slice / 4, Client::health);
            let refresh = server.turn(&mut clients, slice, Client::refresh);
            if round > 0 {
                turns.push((refresh, health));
            }
        }
        let middle = |of: &dyn Fn(&(Turn, Turn)) -> f64| {
            let mut values: Vec<_> = turns.iter().map(of).collect();
            median(&mut values)
        };
        println!(
            "| {name} | {count} | {:.0} | {:.1} | {:.1} |",
            middle(&|(refresh, _)| refresh.rate),
            middle(&|(refresh, _)| refresh.cost),
            middle(&|(refresh, health)| refresh.cost / health.cost),
        );
    }
}

/// The requests of all clients in a slice of time.
struct Turn {
    /// Requests per second.
    rate: f64,
    /// Microseconds of the server's processor time per request.
    cost: f64,
}

/// The process of the example. It ends when this value is dropped.
struct Server {
    process: Child,
    _output: BufReader<ChildStdout>,
    address: String,
    _folder: TempDir,
}

impl Server {
    fn start(store: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = env::var_os("AUTH_SERVER").expect("AUTH_SERVER is the path of the example");
        let mut process = Command::new(program)
            .env_clear()
            .envs([("PORT", "0"), ("AUTH_STORE", store)])
            .env("AUTH_SEED_USER", format!("{NAME}:{PASSWORD}:editor"))
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let output = process.stdout.take().expect("it is piped");
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let address = loop {
            line.clear();
            let read = output.read_line(&mut line).expect("it prints text");
            assert!(read > 0, "the example ended");
            if let Some(address) = line.trim().strip_prefix("listening on http://") {
                break address.to_owned();
            }
        };
        Self {
            process,
            _output: output,
            address,
            _folder: folder,
        }
    }

    /// Has every client send requests until the slice is over.
    fn turn(&self, clients: &mut [Client], slice: Duration, request: fn(&mut Client)) -> Turn {
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
                            request(client);
                            count += 1;
                        }
                        count
                    })
                })
                .collect();
            let before = self.processor_time();
            let begun = Instant::now();
            start.wait();
            thread::sleep(slice);
            over.store(true, Ordering::Relaxed);
            let counts = turns.into_iter().map(|turn| turn.join().expect("answers"));
            let requests: f64 = counts.map(f64::from).sum();
            let elapsed = begun.elapsed().as_secs_f64();
            Turn {
                rate: requests / elapsed,
                cost: (self.processor_time() - before) / requests,
            }
        })
    }

    /// Microseconds, of all threads and of those that have ended: `utime` and `stime` of `proc_pid_stat(5)`,
    /// in hundredths of a second.
    fn processor_time(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.process.id());
        let text = fs::read_to_string(path).expect("Linux counts");
        // The name of the program is in parentheses and may contain spaces.
        let (_, fields) = text.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks
            .map(|tick| tick.parse::<f64>().expect("a number") * 10_000.0)
            .sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client with one connection, which waits for each response.
struct Client {
    connection: BufReader<TcpStream>,
    held: String,
}

impl Client {
    fn sign_in(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.address).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let mut client = Self {
            connection: BufReader::new(stream),
            held: String::new(),
        };
        let login = json!({ "email": NAME, "password": PASSWORD });
        client.exchange("login", &login);
        client
    }

    fn refresh(&mut self) {
        let spent = std::mem::take(&mut self.held);
        self.exchange("refresh", &json!({ "refresh_token": spent }));
        assert_ne!(self.held, spent, "every refresh is a write");
    }

    fn exchange(&mut self, endpoint: &str, body: &Value) {
        let answer = self.send("POST", &format!("/api/auth/{endpoint}"), &body.to_string());
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let token = answer["refresh_token"].as_str();
        token.expect("a refresh token").clone_into(&mut self.held);
    }

    fn health(&mut self) {
        self.send("GET", "/health", "");
    }

    /// Sends a request, and returns the body of the response, which must be 200.
    fn send(&mut self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = self.connection.get_mut();
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut head = String::new();
        let mut length = 0;
        loop {
            let begin = head.len();
            self.connection.read_line(&mut head).expect("it answers");
            let line = head.get(begin..).unwrap_or_default().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        let mut body = vec![0; length];
        self.connection.read_exact(&mut body).expect("a body");
        body
    }
}

const NAME: &str = "bench@example.org";
const PASSWORD: &str = "a password of the bench";
