//! Issuers that are known at run time only.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use http::StatusCode;
use tower_jwt_auth::{
    Verifier,
    error::AuthErrorKind,
    key::{KeyNews, KeyWait},
    test_util::{TestClock, TestIssuer, TestKeys},
    verify::{IssuerResolver, Resolution, Tenants},
};

use crate::support::{ALGORITHM, kind, seconds, settle, status};

type Answer = dyn Fn(&str, &TestClock) -> Resolution<tower_jwt_auth::Claims> + Send + Sync;

/// Counts how often it is asked, and answers as it is told to.
#[derive(Clone)]
struct Directory {
    clock: TestClock,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Arc<Answer>>>,
}

impl Directory {
    fn new() -> Self {
        Self {
            clock: TestClock::new(),
            asked: Arc::default(),
            answer: Arc::new(Mutex::new(Arc::new(|issuer, clock| {
                if issuer.starts_with("https://tenant-") {
                    Resolution::Trusted(expecting(issuer, clock))
                } else {
                    Resolution::Untrusted
                }
            }))),
        }
    }

    fn answer(
        &self,
        answer: impl Fn(&str, &TestClock) -> Resolution<tower_jwt_auth::Claims> + Send + Sync + 'static,
    ) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    fn tenants(&self) -> Tenants<tower_jwt_auth::Claims> {
        Tenants::new(self.clone()).clock(self.clock.clone())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn token(&self, issuer: &str) -> String {
        TestIssuer::new(ALGORITHM)
            .clock(self.clock.clone())
            .issuer(issuer)
            .token(|_| ())
    }
}

impl IssuerResolver<tower_jwt_auth::Claims> for Directory {
    fn resolve(&self, issuer: &str) -> Resolution<tower_jwt_auth::Claims> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = Arc::clone(&self.answer.lock().unwrap());
        answer(issuer, &self.clock)
    }
}

fn expecting(issuer: &str, clock: &TestClock) -> Verifier {
    Verifier::key(TestKeys::new().verifying_key(ALGORITHM))
        .issuer(issuer)
        .audience("https://api.example")
        .clock(clock.clone())
        .build()
        .unwrap()
}

#[test]
fn e14_an_issuer_that_the_resolver_does_not_know_is_refused() {
    let directory = Directory::new();
    let verifier = Verifier::tenants(directory.tenants());
    let foreign = directory.token("https://evil.example");
    assert_eq!(kind(&verifier, &foreign), Err(AuthErrorKind::WrongIssuer));
    let ours = directory.token("https://tenant-1.example");
    assert_eq!(kind(&verifier, &ours), Ok(()));
}

#[test]
fn a_tenant_is_resolved_once_and_again_when_it_is_old() {
    let directory = Directory::new();
    let verifier = Verifier::tenants(directory.tenants().max_age(seconds(300)));
    let token = directory.token("https://tenant-1.example");
    for _ in 0..10 {
        assert_eq!(kind(&verifier, &token), Ok(()));
    }
    assert_eq!(directory.asked(), 1);

    directory.answer(|_, _| Resolution::Untrusted);
    directory.clock.advance(seconds(299));
    assert_eq!(kind(&verifier, &token), Ok(()));
    directory.clock.advance(seconds(1));
    assert_eq!(kind(&verifier, &token), Err(AuthErrorKind::WrongIssuer));
    assert_eq!(directory.asked(), 2);
}

#[test]
fn no_more_tenants_are_remembered_than_there_is_room_for() {
    let directory = Directory::new();
    let verifier = Verifier::tenants(directory.tenants().capacity(3));
    let tokens: Vec<_> = (0..4)
        .map(|number| directory.token(&format!("https://tenant-{number}.example")))
        .collect();
    for token in &tokens {
        assert_eq!(kind(&verifier, token), Ok(()));
    }
    assert_eq!(directory.asked(), 4);
    // The oldest is forgotten, the others are not.
    for token in &tokens[1..] {
        assert_eq!(kind(&verifier, token), Ok(()));
    }
    assert_eq!(directory.asked(), 4);
    assert_eq!(kind(&verifier, &tokens[0]), Ok(()));
    assert_eq!(directory.asked(), 5);
}

#[test]
fn issuers_that_anybody_makes_up_take_no_memory() {
    let directory = Directory::new();
    let verifier = Verifier::tenants(directory.tenants());
    let mut number = 0;
    let mut flood = |count| {
        for _ in 0..count {
            number += 1;
            let token = directory.token(&format!("https://evil-{number}.example"));
            assert!(verifier.verify_now(token).is_err());
        }
    };
    flood(10);
    let counted = allocation_counter::measure(|| flood(1000));
    assert!(counted.bytes_current < 4096, "{counted:?}");
}

#[test]
fn a_verifier_of_another_issuer_or_of_several_is_not_used() {
    let directory = Directory::new();
    let verifier = Verifier::tenants(directory.tenants());
    let token = directory.token("https://tenant-1.example");
    directory.answer(|_, clock| Resolution::Trusted(expecting("https://tenant-2.example", clock)));
    assert_eq!(kind(&verifier, &token), Err(AuthErrorKind::WrongIssuer));
    directory.answer(|issuer, clock| {
        let members = [
            expecting(issuer, clock),
            expecting("https://b.example", clock),
        ];
        Resolution::Trusted(Verifier::any_issuer(members).unwrap())
    });
    assert_eq!(kind(&verifier, &token), Err(AuthErrorKind::WrongIssuer));
    directory.answer(|issuer, clock| Resolution::Trusted(expecting(issuer, clock)));
    assert_eq!(kind(&verifier, &token), Ok(()));
}

#[tokio::test]
async fn d31_a_tenant_that_cannot_be_resolved_now_is_503() {
    let directory = Directory::new();
    let verifier = Verifier::tenants(directory.tenants());
    directory.answer(|_, _| Resolution::Unavailable { retry_after: 7 });
    let token = directory.token("https://tenant-1.example");
    let answer = status(&verifier, &token).await;
    assert_eq!(answer, (StatusCode::SERVICE_UNAVAILABLE, Some(7)));
    directory.answer(|issuer, clock| Resolution::Trusted(expecting(issuer, clock)));
    assert_eq!(status(&verifier, &token).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_request_waits_while_its_tenant_is_looked_up_and_asks_once_more() {
    let directory = Directory::new();
    let verifier = Verifier::tenants(directory.tenants());
    let news = Arc::new(Mutex::new(Vec::<KeyNews>::new()));
    directory.answer({
        let news = Arc::clone(&news);
        move |_, _| {
            let (sender, wait) = KeyWait::new();
            news.lock().unwrap().push(sender);
            Resolution::Wait(wait)
        }
    });
    let token = directory.token("https://tenant-1.example");
    let request = tokio::spawn(async move { status(&verifier, &token).await });
    settle().await;
    assert_eq!(directory.asked(), 1);
    directory.answer(|issuer, clock| Resolution::Trusted(expecting(issuer, clock)));
    news.lock().unwrap().pop().unwrap().announce();
    assert_eq!(request.await.unwrap().0, StatusCode::OK);
    assert_eq!(directory.asked(), 2);
}
