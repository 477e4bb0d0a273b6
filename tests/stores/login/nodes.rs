//! Two nodes of one service, each with a store of its own on the same data.

use std::{net::IpAddr, time::Instant};

use tower_jwt_auth::{
    secret::SecretKey,
    server::login::{
        Argon2Cost, Identifier, Login, LoginAttempt, LoginOutcome, Password, PasswordHasher,
        ThrottleRule,
    },
    store::port::{NewUser, ThrottleStore, UserStore},
};

/// Guesses on both nodes until neither looks at a password any more: what one counted holds on the
/// other, for a name that exists and for one that does not.
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
async fn wait_of<S>(
    node: &Login<S, S>,
    mut asked: Instant,
    wrong: &LoginAttempt,
    right: &LoginAttempt,
) -> LoginOutcome
where
    S: UserStore + ThrottleStore,
{
    for _ in 0..1000 {
        let now = Instant::now();
        if !matches!(node.attempt(wrong).await, LoginOutcome::Throttled { .. }) {
            asked = now;
            continue;
        }
        let outcome = node.attempt(right).await;
        // What comes when the wait may be over proves nothing.
        let in_time = asked.elapsed() < ThrottleRule::PAIR.first_wait;
        if in_time || matches!(outcome, LoginOutcome::Throttled { .. }) {
            return outcome;
        }
    }
    panic!("no wait outlasts two attempts");
}
