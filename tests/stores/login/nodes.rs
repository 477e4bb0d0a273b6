//! Two nodes of one service, each with a store of its own on the same data.

use std::net::IpAddr;

use tower_jwt_auth::{
    login::{
        Argon2Cost, Attempt, Identifier, Login, LoginOutcome, NewUser, Password, PasswordHasher,
        ThrottleStore, UserStore,
    },
    secret::SecretKey,
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
        Attempt::new(name, Password::new(password.to_owned()).unwrap()).from(network)
    };
    for name in ["ada@example.org", "nobody@example.org"] {
        for round in 0..5 {
            let outcome = nodes[round % 2].attempt(&guess(name, "wrong")).await;
            assert!(matches!(outcome, LoginOutcome::Refused), "{outcome:?}");
        }
        for node in &nodes {
            // The right password as well, within the second that the first wait lasts. A machine that
            // takes longer finds the next wait, which is twice as long.
            let outcome = wait_of(node, &guess(name, "wrong"), &guess(name, "right")).await;
            assert!(matches!(outcome, LoginOutcome::Wait { .. }), "{outcome:?}");
        }
    }
    let elsewhere: IpAddr = "198.51.100.1".parse().unwrap();
    let outcome = nodes[1]
        .attempt(&guess("ada@example.org", "right").from(elsewhere))
        .await;
    assert!(
        matches!(outcome, LoginOutcome::Accepted(_)),
        "nobody else has to wait: {outcome:?}"
    );
}

/// What the right password gets where a wrong one has to wait.
async fn wait_of<S>(node: &Login<S, S>, wrong: &Attempt, right: &Attempt) -> LoginOutcome
where
    S: UserStore + ThrottleStore,
{
    loop {
        let outcome = node.attempt(wrong).await;
        if let LoginOutcome::Wait { .. } = outcome {
            let outcome = node.attempt(right).await;
            if !matches!(outcome, LoginOutcome::Refused) {
                return outcome;
            }
        }
    }
}
