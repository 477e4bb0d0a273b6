//! One-time tokens.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{Handles, SECOND, new_name};
use crate::{
    server::login::EmailAddress,
    store::port::{NewOneTime, OneTimePurpose, OneTimeStore, OneTimeToken},
};

/// Creates a `#[tokio::test]` for every rule of a [`OneTimeStore`](crate::store::port::OneTimeStore).
///
/// Takes an expression that creates a [`Handles`](crate::store::contract::Handles), as
/// [`session_store_contract!`](crate::session_store_contract) does.
#[macro_export]
macro_rules! one_time_store_contract {
    (#[$meta:meta] $fixture:expr) => {
        $crate::one_time_store_contract!([#[$meta]] $fixture);
    };
    ([$($metas:tt)*] $fixture:expr) => {
        $crate::__session_store_contract! {
            [$($metas)*] $fixture;
            a_token_is_good_for_one_use_and_one_purpose
            one_of_many_uses_of_a_token_succeeds
            a_token_keeps_the_address_that_it_proves_and_its_epoch
            a_token_that_is_over_is_good_for_nothing
            forgotten_tokens_are_good_for_nothing
        }
    };
    ($fixture:expr) => {
        $crate::one_time_store_contract!([] $fixture);
    };
}

/// A redemption for another purpose does not spend the token.
pub async fn a_token_is_good_for_one_use_and_one_purpose<F>(fixture: &F)
where
    F: Handles<Store: OneTimeStore>,
{
    let store = fixture.store();
    let subject = new_name("O'Reilly {auth}:*");
    let digest = *issue(&store, &subject, OneTimePurpose::Reset, HOUR)
        .await
        .digest();
    let redeem = |purpose| {
        let store = fixture.store();
        async move { store.redeem(&digest, purpose).await.expect("redeem") }
    };
    assert_eq!(redeem(OneTimePurpose::Unlock).await, None);
    assert_eq!(redeem(OneTimePurpose::Verification).await, None);
    let spent = redeem(OneTimePurpose::Reset).await.expect("a good token");
    assert_eq!(
        (spent.subject, spent.email, spent.epoch),
        (subject, None, None)
    );
    assert_eq!(redeem(OneTimePurpose::Reset).await, None, "it is spent");
    let unknown = *OneTimeToken::mint().digest();
    let unknown = store.redeem(&unknown, OneTimePurpose::Reset).await;
    assert_eq!(unknown.expect("redeem"), None);
}

/// Of concurrent redemptions exactly one returns the subject.
pub async fn one_of_many_uses_of_a_token_succeeds<F>(fixture: &F)
where
    F: Handles<Store: OneTimeStore>,
{
    for _ in 0..5 {
        let subject = new_name("subject");
        let purpose = OneTimePurpose::Verification;
        let digest = *issue(&fixture.store(), &subject, purpose, HOUR)
            .await
            .digest();
        let mut tasks = JoinSet::new();
        for _ in 0..20 {
            let store = fixture.store();
            tasks.spawn(async move { store.redeem(&digest, purpose).await.expect("redeem") });
        }
        let mut redeemed = Vec::new();
        while let Some(task) = tasks.join_next().await {
            redeemed.extend(task.expect("the store does not panic"));
        }
        let redeemed: Vec<_> = redeemed.into_iter().map(|spent| spent.subject).collect();
        assert_eq!(redeemed, [subject]);
    }
}

/// A redemption returns the address and the epoch for which the token was issued.
pub async fn a_token_keeps_the_address_that_it_proves_and_its_epoch<F>(fixture: &F)
where
    F: Handles<Store: OneTimeStore>,
{
    let store = fixture.store();
    let subject = new_name("subject");
    let address = EmailAddress::new("o'hara+news@bücher.example").expect("an address");
    for (purpose, epoch) in [
        (OneTimePurpose::Verification, 0),
        (OneTimePurpose::EmailChange, 1),
        (OneTimePurpose::SignIn, u32::MAX),
    ] {
        let token = OneTimeToken::mint();
        let new = NewOneTime::new(&token, purpose, &subject, HOUR).email(&address);
        let new = new.epoch(epoch);
        store.issue(new).await.expect("issue");
        let spent = store.redeem(token.digest(), purpose).await.expect("redeem");
        let spent = spent.expect("a good token");
        assert_eq!(spent.subject, subject);
        assert_eq!(spent.email.as_deref(), Some(address.as_str()));
        assert_eq!(spent.epoch, Some(epoch));
    }
}

/// A token expires by the store's clock.
pub async fn a_token_that_is_over_is_good_for_nothing<F>(fixture: &F)
where
    F: Handles<Store: OneTimeStore>,
{
    let store = fixture.store();
    let subject = new_name("subject");
    let over = issue(&store, &subject, OneTimePurpose::Reset, Duration::ZERO).await;
    let alive = issue(&store, &subject, OneTimePurpose::Reset, 60 * SECOND).await;
    let redeemed = store.redeem(over.digest(), OneTimePurpose::Reset).await;
    assert_eq!(redeemed.expect("redeem"), None);
    let redeemed = store.redeem(alive.digest(), OneTimePurpose::Reset).await;
    let redeemed = redeemed.expect("redeem");
    assert_eq!(redeemed.map(|spent| spent.subject), Some(subject));
}

/// `forget` spends all tokens of one subject for one purpose, and no others.
pub async fn forgotten_tokens_are_good_for_nothing<F>(fixture: &F)
where
    F: Handles<Store: OneTimeStore>,
{
    let store = fixture.store();
    let (subject, other) = (new_name("subject"), new_name("other"));
    let (reset, unlock) = (OneTimePurpose::Reset, OneTimePurpose::Unlock);
    let mut tokens = Vec::new();
    for (whose, purpose, kept) in [
        (&subject, reset, false),
        (&subject, reset, false),
        (&subject, unlock, true),
        (&other, reset, true),
    ] {
        tokens.push((
            issue(&store, whose, purpose, HOUR).await,
            whose,
            purpose,
            kept,
        ));
    }
    store.forget(&subject, reset).await.expect("forget");
    let next = issue(&store, &subject, reset, HOUR).await;
    tokens.push((next, &subject, reset, true));
    store
        .forget(&new_name("unknown"), reset)
        .await
        .expect("forget");
    for (token, whose, purpose, kept) in tokens {
        let redeemed = store.redeem(token.digest(), purpose).await.expect("redeem");
        assert_eq!(
            redeemed.map(|spent| spent.subject),
            kept.then(|| whose.clone())
        );
    }
}

async fn issue(
    store: &impl OneTimeStore,
    subject: &str,
    purpose: OneTimePurpose,
    lifetime: Duration,
) -> OneTimeToken {
    let token = OneTimeToken::mint();
    let new = NewOneTime::new(&token, purpose, subject, lifetime);
    store.issue(new).await.expect("issue");
    token
}

const HOUR: Duration = Duration::from_secs(3600);
