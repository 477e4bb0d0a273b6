//! Every short history of rotations, restarts and cut connections.

use std::{sync::atomic::Ordering, time::Duration};

use proptest::prelude::*;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    server::issue::{AccessTokenClaims, IssueError},
    store::MemoryStore,
    test_util::TestClock,
    time::{Clock, Timestamp},
};

use super::{LEAD, Link, MINUTE, Node, reader};

const NODES: usize = 3;

#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    Load(usize),
    Cut(usize),
    Restart(usize),
    Rotate(usize),
    Sign(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let node = 0..NODES;
    prop_oneof![
        4 => (1_u64..900).prop_map(Event::Pass),
        1 => (900_u64..6000).prop_map(Event::Pass),
        4 => node.clone().prop_map(Event::Load),
        1 => node.clone().prop_map(Event::Cut),
        1 => node.clone().prop_map(Event::Restart),
        1 => node.clone().prop_map(Event::Rotate),
        6 => node.prop_map(Event::Sign),
    ]
}

/// A verifier elsewhere that fetches the set when its `max-age` has passed, and never because of a
/// `kid` that it does not know.
#[derive(Default)]
struct Laggard(Option<(Timestamp, Verifier)>);

impl Laggard {
    /// The set of the first node that serves one, as behind a balancer.
    async fn fetch(&mut self, nodes: &[Node], first: usize, clock: &TestClock) {
        if self
            .0
            .as_ref()
            .is_some_and(|(until, _)| clock.now() < *until)
        {
            return;
        }
        self.0 = None;
        for turn in 0..NODES {
            if let Some((age, set)) = nodes[(first + turn) % NODES].published().await {
                self.0 = Some((clock.now().plus(age), reader(&set, clock)));
                return;
            }
        }
    }
}

async fn live(events: Vec<Event>) {
    let clock = TestClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(Node::start(&store, &clock).await);
    }
    let mut read = [clock.now(); NODES];
    let mut laggards: [Laggard; NODES] = Default::default();
    let mut tokens = Vec::new();
    for (number, event) in events.into_iter().enumerate() {
        match event {
            Event::Pass(seconds) => clock.advance(Duration::from_secs(seconds)),
            Event::Load(node) => {
                nodes[node].link.up.store(true, Ordering::Relaxed);
                nodes[node].ring.refresh().await.unwrap();
                read[node] = clock.now();
            }
            Event::Cut(node) => nodes[node].link.up.store(false, Ordering::Relaxed),
            Event::Restart(node) => {
                nodes[node] = Node::open(Link::new(&store), &clock, "a").await.unwrap();
                read[node] = clock.now();
            }
            Event::Rotate(node) if nodes[node].link.is_up() => {
                nodes[node].ring.rotate().await.unwrap();
                read[node] = clock.now();
            }
            Event::Rotate(node) => assert!(nodes[node].ring.rotate().await.is_err()),
            Event::Sign(node) => {
                let token = AccessTokenClaims::for_subject("alice");
                let minted = nodes[node].issuer.issue_access_token(token);
                let age = clock.now().since(read[node]);
                match minted {
                    Ok(minted) => {
                        assert!(age <= LEAD, "signed {age:?} after the last load");
                        tokens.push((minted.expires_at(), minted.token().expose().clone()));
                    }
                    // The background task may have loaded the ring as well.
                    Err(IssueError::KeysUnavailable) => assert!(age > LEAD, "{age:?}"),
                    Err(error) => panic!("{error}"),
                }
            }
        }
        tokens.retain(|(until, _)| clock.now() < *until);
        for (node, laggard) in laggards.iter_mut().enumerate() {
            laggard.fetch(&nodes, node + number, &clock).await;
        }
        for (_, token) in &tokens {
            for (node, read) in nodes.iter().zip(read) {
                let age = clock.now().since(read);
                match node.verify(token) {
                    Ok(()) => {}
                    Err(AuthErrorKind::KeysUnavailable) if age > LEAD => {}
                    Err(kind) => panic!("a node that loaded {age:?} ago: {kind:?}"),
                }
            }
            for (_, verifier) in laggards.iter().filter_map(|one| one.0.as_ref()) {
                assert!(verifier.verify_now(token).is_ok(), "a reader of the set");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_time: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn s8_no_history_refuses_a_token_that_has_not_expired(events in prop::collection::vec(event(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(live(events));
    }
}

/// The same with times that a test of histories rarely meets.
#[test]
fn s8_a_node_that_serves_an_old_set_until_the_last_moment_misleads_no_reader() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let clock = TestClock::new();
        let store = MemoryStore::with_clock(clock.clone());
        let (late, other) = (
            Node::start(&store, &clock).await,
            Node::start(&store, &clock).await,
        );
        late.link.up.store(false, Ordering::Relaxed);
        other.ring.rotate().await.unwrap();
        let begun = clock.now();
        let mut ages = Vec::new();
        while let Some((age, _)) = late.published().await {
            let after = clock.now().since(begun);
            assert!(after + age <= LEAD, "{ages:?}");
            ages.push((after, age));
            clock.advance(MINUTE);
        }
        let full = Duration::from_secs(600);
        assert_eq!(ages[0], (Duration::ZERO, full));
        assert_eq!(ages[20], (LEAD - full, full));
        assert_eq!(ages[21], (LEAD - full + MINUTE, full - MINUTE));
        assert_eq!(ages.last().unwrap(), &(LEAD - MINUTE, MINUTE));
    });
}
