//! What a crowd at the login does to everybody else.

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::client::{PASSWORD, SEEDS, USER};
use crate::support::process::Server;

const CROWD: usize = 200;

/// Password hashes take all the processors there are. The paths that take none must go on.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes the machine for some seconds"]
async fn two_hundred_logins_at_once_leave_the_rest_alive() {
    let server = std::sync::Arc::new(Server::start(&[SEEDS, ("AUTH_STORE", "memory:")]));
    let token = server.login(USER).await.access;
    let before = resident(&server);
    let idle = Asked::during(&server, &token, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
    })
    .await;

    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    let crowd = async {
        let mut logins = JoinSet::new();
        for one in 0..CROWD {
            let server = std::sync::Arc::clone(&server);
            // Half of them for the one name that there is.
            let name = match one % 2 {
                0 => USER.to_owned(),
                _ => format!("nobody-{one}@example.org"),
            };
            logins.spawn(async move { server.try_login(&name, PASSWORD).await });
        }
        while let Some(answer) = logins.join_next().await {
            let answer = answer.unwrap();
            if matches!(answer.status, 429 | 503) {
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
            }
            *statuses.entry(answer.status).or_default() += 1;
        }
    };
    let begun = Instant::now();
    let busy = Asked::during(&server, &token, crowd).await;
    let took = begun.elapsed();
    // Had the hashes their threads, they would be answered once or twice, between them.
    assert!(busy.me.len() >= 10, "{} in {took:?}", busy.me.len());

    let after = resident(&server);
    println!("{CROWD} logins in {took:?}: {statuses:?}");
    for (name, idle, busy) in [
        ("/health", &idle.health, &busy.health),
        ("/api/me", &idle.me, &busy.me),
    ] {
        let (still, loaded) = (middle(idle), middle(busy));
        let ratio = loaded.as_secs_f64() / still.as_secs_f64();
        let worst = busy.iter().max().unwrap();
        let count = busy.len();
        println!(
            "{name}: idle {still:?}, beside logins {loaded:?} ({ratio:.1}x), worst {worst:?} of {count}"
        );
    }
    println!("resident: {before} MiB, then {after} MiB");
    // Each hash takes 19 MiB while it runs, as many run as there are processors: not 200.
    let processors = std::thread::available_parallelism().unwrap().get() as u64;
    let most = before + 500 + 20 * processors;
    assert!(after < most, "{before} MiB, then {after} MiB");
    let answered = [200, 401, 429, 503];
    assert!(
        statuses.keys().all(|status| answered.contains(status)),
        "{statuses:?}"
    );
    assert!(
        statuses.contains_key(&200) && statuses.contains_key(&401),
        "{statuses:?}"
    );
    // And it is over when it is over.
    assert_eq!(server.try_login(USER, PASSWORD).await.status, 200);
}

/// How long those took who asked for something else.
#[derive(Default)]
struct Asked {
    health: Vec<Duration>,
    me: Vec<Duration>,
}

impl Asked {
    /// Asks one after the other, until this is over.
    async fn during(server: &Server, token: &str, over: impl Future<Output = ()>) -> Self {
        let mut asked = Self::default();
        let mut over = std::pin::pin!(over);
        let ask = async {
            loop {
                for (path, token, times) in [
                    ("/health", None, &mut asked.health),
                    ("/api/me", Some(token), &mut asked.me),
                ] {
                    let begun = Instant::now();
                    assert_eq!(server.get(path, token).await.status, 200, "{path}");
                    times.push(begun.elapsed());
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! { () = &mut over => {}, () = ask => {} }
        asked
    }
}

fn middle(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The most memory that the process ever had, in MiB.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() / 1024
}
