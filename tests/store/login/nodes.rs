//! Nodes of one service, each with a separate store on the same data.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tower_jwt_auth::{
    error::StoreError,
    secret::SecretKey,
    server::login::{
        Argon2Cost, Identifier, Login, LoginAttempt, LoginOutcome, Password, PasswordHasher,
    },
    store::port::{LoadedThrottle, NewUser, ThrottleKey, ThrottleRow, ThrottleStore, UserStore},
};

/// Guesses on both nodes until neither looks at a password any more: what one counted holds on the
/// other, for a name that exists and for one that does not.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
pub(super) async fn lockout_holds_across_both<S>(stores: [S; 2])
where
    S: UserStore + ThrottleStore + Clone,
{
    let hasher = PasswordHasher::builder()
        .cost(Argon2Cost::dangerous_custom(8, 1, 1).unwrap())
        .build()
        .unwrap();
    let right = Password::new("right".to_owned()).unwrap();
    let ada = Identifier::new("ada@example.org").unwrap();
    let user = NewUser::new("user-1", ada, hasher.hash(&right).await.unwrap());
    assert!(UserStore::create(&stores[0], user).await.unwrap());
    let nodes = stores.map(|store| {
        let secret = SecretKey::from_bytes([7; 32]).unwrap();
        let login = Login::builder(store.clone(), store, secret);
        login.hasher(hasher.clone()).build()
    });
    let network: IpAddr = "192.0.2.1".parse().unwrap();
    let guess = |name: &str, password: &str| {
        let name = Identifier::new(name).unwrap();
        LoginAttempt::new(name, Password::new(password.to_owned()).unwrap()).from(network)
    };
    for name in ["ada@example.org", "nobody@example.org"] {
        let mut asked = Instant::now();
        for round in 0..5 {
            asked = Instant::now();
            let outcome = nodes[round % 2].attempt(&guess(name, "wrong")).await;
            assert!(
                matches!(outcome, LoginOutcome::InvalidCredentials),
                "{outcome:?}"
            );
        }
        for node in &nodes {
            // The right password as well, within the second that the first wait lasts. A machine that
            // takes longer finds the next wait, which is twice as long.
            let (wrong, right) = (guess(name, "wrong"), guess(name, "right"));
            let outcome = wait_of(node, asked, &wrong, &right).await;
            assert!(
                matches!(outcome, LoginOutcome::Throttled { .. }),
                "{outcome:?}"
            );
        }
    }
    let elsewhere: IpAddr = "198.51.100.1".parse().unwrap();
    let outcome = nodes[1]
        .attempt(&guess("ada@example.org", "right").from(elsewhere))
        .await;
    assert!(
        matches!(outcome, LoginOutcome::Success(_)),
        "nobody else has to wait: {outcome:?}"
    );
}

/// What the right password gets where a wrong one has to wait, the last of which was asked about at
/// this time.
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
async fn wait_of(
    node: &Login,
    mut asked: Instant,
    wrong: &LoginAttempt,
    right: &LoginAttempt,
) -> LoginOutcome {
    for _ in 0..1000 {
        let now = Instant::now();
        if !matches!(node.attempt(wrong).await, LoginOutcome::Throttled { .. }) {
            asked = now;
            continue;
        }
        let outcome = node.attempt(right).await;
        // What comes when the wait may be over proves nothing.
        let in_time = asked.elapsed() < FIRST_WAIT;
        if in_time || matches!(outcome, LoginOutcome::Throttled { .. }) {
            return outcome;
        }
    }
    panic!("no wait outlasts two attempts");
}

/// Counts the swaps of all nodes.
#[derive(Clone)]
struct Swaps<S> {
    store: S,
    won: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
}

impl<S: ThrottleStore> ThrottleStore for Swaps<S> {
    async fn load(&self, key: &ThrottleKey) -> Result<LoadedThrottle, StoreError> {
        self.store.load(key).await
    }

    async fn swap(
        &self,
        key: &ThrottleKey,
        from: Option<&ThrottleRow>,
        to: Option<&ThrottleRow>,
    ) -> Result<bool, StoreError> {
        let swapped = self.store.swap(key, from, to).await?;
        let count = if swapped { &self.won } else { &self.lost };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(swapped)
    }

    async fn clear(&self, key: &ThrottleKey) -> Result<(), StoreError> {
        self.store.clear(key).await
    }
}

/// 1 000 wrong guesses at one name from four networks, and 40 correct logins from a fifth one, all of
/// them at the same time and spread over the nodes.
///
/// U3: no network gets more guesses checked than are free. U4: every correct login succeeds. The
/// number of tries is bounded: a node is one contender, so a swap makes at most three others fail.
pub(super) async fn guesses_leave_room_for_the_owner<S>(stores: [S; 4])
where
    S: UserStore + ThrottleStore + Clone,
{
    const NAME: &str = "owner@example.org";
    let hashers = || {
        let hasher = PasswordHasher::builder()
            .cost(Argon2Cost::dangerous_custom(8, 1, 1).unwrap())
            .queue(10_000)
            .wait(PATIENCE);
        hasher.build().unwrap()
    };
    let right = Password::new("right".to_owned()).unwrap();
    let name = Identifier::new(NAME).unwrap();
    let hash = hashers().hash(&right).await.unwrap();
    let user = NewUser::new("owner", name.clone(), hash);
    assert!(UserStore::create(&stores[0], user).await.unwrap());
    let (won, lost) = (Arc::default(), Arc::default());
    let nodes = stores.map(|store| {
        let secret = SecretKey::from_bytes([8; 32]).unwrap();
        let swaps = Swaps {
            store: store.clone(),
            won: Arc::clone(&won),
            lost: Arc::clone(&lost),
        };
        let login = Login::builder(store, swaps, secret);
        login.hasher(hashers()).patience(PATIENCE).build()
    });

    let start = Instant::now();
    let mut logins = JoinSet::new();
    for number in 0..1040_usize {
        let node = nodes[number % 4].clone();
        let is_owner = number % 26 == 25;
        let network = if is_owner { 4 } else { number / 4 % 4 };
        let address: IpAddr = format!("192.0.2.{network}").parse().unwrap();
        let password = if is_owner { "right" } else { "wrong" };
        let password = Password::new(password.to_owned()).unwrap();
        let attempt = LoginAttempt::new(name.clone(), password).from(address);
        logins.spawn(async move { (network, node.attempt(&attempt).await) });
    }
    let (mut checked, mut refused, mut welcome) = ([0_u32; 4], 0, 0);
    while let Some(login) = logins.join_next().await {
        match login.unwrap() {
            (4, LoginOutcome::Success(_)) => welcome += 1,
            (network @ 0..4, LoginOutcome::InvalidCredentials) => checked[network] += 1,
            (0..4, LoginOutcome::Throttled { .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    // After the free guesses come waits of 1, 2, 4 … s, each of which allows one guess.
    let waits = (start.elapsed().as_secs() + 1).ilog2();
    for guesses in checked {
        assert!((5..=5 + waits).contains(&guesses), "{checked:?}, {waits}");
    }
    assert_eq!((checked.iter().sum::<u32>() + refused, welcome), (1000, 40));
    let [won, lost] = [won, lost].map(|count| count.load(Ordering::Relaxed));
    assert!(lost <= 3 * won, "{lost} lost, {won} won");
}

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longer than any machine takes: the test is about what is counted.
const PATIENCE: Duration = Duration::from_secs(60);
