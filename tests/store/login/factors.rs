//! Second factors on two nodes of one service: U24, U33.

use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tower_jwt_auth::{
    secret::SecretKey,
    server::login::{CodeAttempt, Login, SecondFactorError, SecondFactors, UsedFactor},
    store::port::{FactorStore, ThrottleStore, UserStore},
    time::Timestamp,
};

use crate::support::totp::App;

type Verified = Result<UsedFactor, SecondFactorError>;

/// Uses a code so many times on each node, at the same time. Repeats what was not decided.
async fn everywhere(nodes: &[SecondFactors; 2], code: &str, times: usize) -> Vec<Verified> {
    let mut tasks = JoinSet::new();
    for number in 0..2 * times {
        let node = nodes[number % 2].clone();
        let attempt = CodeAttempt::new(code.to_owned());
        tasks.spawn(async move {
            for _ in 0..1_000 {
                match node.verify("ada", &attempt).await {
                    Err(
                        SecondFactorError::Overloaded { .. } | SecondFactorError::Unavailable(_),
                    ) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    decided => return decided,
                }
            }
            panic!("the nodes never decide");
        });
    }
    tasks.join_all().await
}

fn accepted(verified: &[Verified]) -> usize {
    verified.iter().filter(|one| one.is_ok()).count()
}

fn wrong(verified: &[Verified]) -> usize {
    let is_wrong = |one: &&Verified| matches!(one, Err(SecondFactorError::WrongCode));
    verified.iter().filter(is_wrong).count()
}

/// A code works once on both nodes together, and both count the same wrong codes.
pub(super) async fn second_factors_hold_on_both<S>(stores: [S; 2])
where
    S: UserStore + ThrottleStore + FactorStore + Clone,
{
    let nodes = stores.map(|store| {
        let secret = SecretKey::from_bytes([7; 32]).unwrap();
        let login = Login::builder(store.clone(), store.clone(), secret);
        let login = login.factors(store).totp("Example").build();
        login.second_factors().unwrap()
    });
    let now = || Timestamp::from(SystemTime::now());
    let enrolled = nodes[0].enroll("ada", "ada@example.org").await.unwrap();
    let app = App::with(enrolled.secret().expose());
    let first = app.code(now());
    let codes = nodes[1].confirm("ada", &first).await.unwrap();
    let codes: Vec<_> = codes.expose().map(str::to_owned).collect();
    let mut counted = 0;

    let spent = everywhere(&nodes, &first, 1).await;
    assert_eq!((accepted(&spent), wrong(&spent)), (0, 2), "{spent:?}");
    counted += 2;
    // The code of the next step, which a clock that is ahead shows already.
    let next = app.code(now().plus(Duration::from_secs(30)));
    let used = everywhere(&nodes, &next, 5).await;
    assert_eq!((accepted(&used), wrong(&used)), (1, 9), "{used:?}");
    counted += 9;
    for code in &codes[..2] {
        let used = everywhere(&nodes, code, 5).await;
        assert_eq!((accepted(&used), wrong(&used)), (1, 9), "{used:?}");
    }

    let guess = app.wrong(now());
    let guesses = everywhere(&nodes, &guess, 75).await;
    counted += wrong(&guesses);
    assert_eq!(accepted(&guesses), 0, "{guesses:?}");
    assert_eq!(counted, 100, "{guesses:?}");
    for node in &nodes {
        let right = app.code(now().plus(Duration::from_secs(30)));
        let refused = node.verify("ada", &CodeAttempt::new(right)).await;
        let throttled = matches!(refused, Err(SecondFactorError::Throttled { .. }));
        assert!(throttled, "{refused:?}");
    }
    let recovered = nodes[0]
        .verify("ada", &CodeAttempt::new(codes[2].clone()))
        .await;
    assert!(
        matches!(recovered, Ok(UsedFactor::RecoveryCode { left: 7, .. })),
        "{recovered:?}"
    );
    nodes[1].reset("ada").await.unwrap();
    assert!(!nodes[0].status("ada").await.unwrap().totp);
}
