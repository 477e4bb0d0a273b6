//! What policies cost honest clients, and how fast they find a thief: a synthetic week of many
//! sessions whose clients have no locks of their own. The dice are the same on every run.
//!
//! `cargo test --all-features --test server -- refresh::simulation --nocapture` prints the table, which
//! stands in the manual's chapter about sessions.

mod servers;

use std::cmp::Reverse;

use fastrand::Rng;
use tower_jwt_auth::server::refresh::RefreshPolicy;

use self::servers::{
    Bound, Fork, NoDebounce, Ours, ParentUntilUsed, Remint, Server, SingleUse, Sliding, Theft,
};

const SESSIONS: u64 = 200;
const TTL: i64 = 15 * 60_000;
const WEEK: i64 = 7 * 24 * 3_600_000;
const HOUR: i64 = 3_600_000;

/// Nearly a third of the refreshes are made by several tabs within a second. Every tab sends what
/// the cookie jar holds when it sends. Says whether the session survives the week.
fn browser(mut server: impl Server, dice: &mut Rng) -> bool {
    let mut jar = 0;
    let mut start = 0;
    while start < WEEK {
        let tabs = if dice.u32(..100) < 30 {
            dice.usize(2..=5)
        } else {
            1
        };
        let round_trip = |dice: &mut Rng| (dice.i64(20..200), dice.i64(20..200));
        // (when, what was sent or None, what is answered)
        let mut events: Vec<(i64, Event)> = (0..tabs)
            .map(|_| (start + dice.i64(0..1000), Event::Send))
            .collect();
        while let Some(next) = earliest(&mut events) {
            let (now, event) = next;
            let (up, down) = round_trip(dice);
            match event {
                Event::Send => events.push((now + up, Event::Serve(jar))),
                Event::Serve(token) => match server.refresh(token, now) {
                    Some(answer) => events.push((now + down, Event::Arrive(token, answer))),
                    None => return false,
                },
                Event::Arrive(sent, answer) => {
                    if sent != answer {
                        jar = answer;
                    }
                    server.used(answer);
                }
            }
        }
        start += TTL;
    }
    true
}

#[derive(Clone, Copy)]
enum Event {
    Send,
    Serve(u64),
    Arrive(u64, u64),
}

fn earliest(events: &mut Vec<(i64, Event)>) -> Option<(i64, Event)> {
    events.sort_by_key(|(when, _)| Reverse(*when));
    events.pop()
}

/// One answer in 200 is lost. Half of those clients try again after 5 s, the others come back from
/// the background after hours.
fn mobile(mut server: impl Server, dice: &mut Rng) -> bool {
    let (mut token, mut now) = (0, 0);
    while now < WEEK {
        let Some(answer) = server.refresh(token, now) else {
            return false;
        };
        if dice.u32(..1000) >= 5 {
            token = answer;
            server.used(answer);
            now += TTL;
        } else if dice.bool() {
            now += 5_000;
        } else {
            now += dice.i64(HOUR..8 * HOUR);
        }
    }
    true
}

/// Somebody copies the client's token and refreshes as often as the client does. Says how long both
/// went on, in minutes; no time at all if the thief gets nothing.
fn theft(mut server: impl Server, dice: &mut Rng) -> Option<i64> {
    let stolen_at = dice.i64(HOUR..24 * HOUR);
    let mut token = 0;
    let mut next = 0;
    while next < stolen_at {
        token = server.refresh(token, next)?;
        server.used(token);
        next += TTL;
    }
    let mut parties = [(next, token), (stolen_at + dice.i64(0..TTL), token)];
    loop {
        let [client, thief] = parties;
        let party = &mut parties[usize::from(thief.0 < client.0)];
        let (now, token) = *party;
        if now > WEEK {
            return None;
        }
        let is_thief = thief.0 < client.0;
        let answered = match is_thief {
            true => server.stolen(token, now),
            false => server
                .refresh(token, now)
                .map_or(Theft::Over, Theft::Answered),
        };
        let answer = match answered {
            Theft::Answered(answer) => answer,
            Theft::Over => return Some((now - stolen_at) / 60_000),
            Theft::Refused => return Some(0),
        };
        server.used(answer);
        // The lifetimes of access tokens vary by a twentieth.
        *party = (now + TTL - dice.i64(0..TTL / 20), answer);
    }
}

struct Row {
    browser_killed: f64,
    mobile_killed: f64,
    found: f64,
    median: i64,
    percentile: i64,
}

fn measure<S: Server>(server: impl Fn() -> S) -> Row {
    let killed = |scenario: fn(S, &mut Rng) -> bool| {
        let lost = (0..SESSIONS).filter(|seed| !scenario(server(), &mut Rng::with_seed(*seed)));
        100.0 * lost.count() as f64 / SESSIONS as f64
    };
    let thefts = (0..SESSIONS).map(|seed| theft(server(), &mut Rng::with_seed(seed)));
    let mut found: Vec<_> = thefts.flatten().collect();
    found.sort_unstable();
    let at = |share: usize| found.get(found.len() * share / 100).copied().unwrap_or(-1);
    Row {
        browser_killed: killed(browser),
        mobile_killed: killed(mobile),
        found: 100.0 * found.len() as f64 / SESSIONS as f64,
        median: at(50),
        percentile: at(95),
    }
}

fn print(name: &str, row: &Row) {
    println!(
        "| {name} | {:.1} % | {:.1} % | {:.1} % | {} / {} min |",
        row.browser_killed, row.mobile_killed, row.found, row.median, row.percentile
    );
}

#[test]
fn simulation_of_a_week_under_every_policy() {
    println!(
        "| policy | browser: signed out | app: signed out | thief found | after: median / p95 |"
    );
    println!("|---|---|---|---|---|");
    print("single use", &measure(SingleUse::new));
    print(
        "fork in the grace window, 30 s",
        &measure(|| Fork::new(30_000)),
    );
    print("new random child, 30 s", &measure(|| Remint::new(30_000)));
    print(
        "parent until a child is used, random children",
        &measure(ParentUntilUsed::new),
    );
    print(
        "counter, the previous always, sliding 10 s",
        &measure(|| Sliding::new(10_000)),
    );
    print(
        "derived child, 30 s, the live one always rotates",
        &measure(|| NoDebounce::new(30_000)),
    );
    let ours = |policy, confirms| measure(move || Ours::new(policy, confirms));
    let strict = ours(RefreshPolicy::strict(), false);
    print("`strict`", &strict);
    let browser = ours(RefreshPolicy::browser(), false);
    print("`browser`", &browser);
    let alone = ours(RefreshPolicy::balanced(), false);
    print(
        "`balanced` without confirmations (refused by `build`)",
        &alone,
    );
    let balanced = ours(RefreshPolicy::balanced(), true);
    print("`balanced`", &balanced);
    let bound = measure(|| Bound::new(RefreshPolicy::strict()));
    print(
        "bound to a key, under any policy (the thief is refused)",
        &bound,
    );

    assert_eq!(browser.browser_killed, 0.0);
    assert_eq!(
        (balanced.browser_killed, balanced.mobile_killed),
        (0.0, 0.0)
    );
    assert!(strict.browser_killed > 99.0);
    assert_eq!((bound.browser_killed, bound.mobile_killed), (0.0, 0.0));
    assert_eq!((bound.found, bound.percentile), (100.0, 0));
    for policy in [&strict, &browser, &balanced] {
        assert!(policy.median <= 15, "{}", policy.median);
        assert!(policy.percentile <= 30, "{}", policy.percentile);
    }
    assert_eq!((browser.found, balanced.found), (100.0, 100.0));
}
