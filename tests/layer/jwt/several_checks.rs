//! Q12: several revocation checks on one layer.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tower_jwt_auth::{
    JwtAuthLayer, Principal, Verifier,
    error::AuthErrorKind,
    key::Algorithm,
    revocation::{CheckResult, Revocation, RevocationCheck, RevocationSet, RevocationStatus},
    test_util::TestIssuer,
};

use super::revocation::{Slow, later};
use crate::support::{
    answer::send,
    fixture::{AUDIENCE, Fixture, ISSUER, bearer, keys},
};

const OTHER: &str = "https://other.example";

#[tokio::test]
async fn q12_two_revocation_checks_both_count() {
    let fixture = Fixture::new();
    let others = TestIssuer::new(Algorithm::Es256).clock(fixture.clock.clone());
    let of = |issuer: &str| {
        let builder = Verifier::key_set(keys()).clock(fixture.clock.clone());
        builder.issuer(issuer).audience(AUDIENCE).build().unwrap()
    };
    let layer = || JwtAuthLayer::new(Verifier::by_issuer([of(ISSUER), of(OTHER)]).unwrap());
    let set = || RevocationSet::local_with_clock(fixture.clock.clone());
    let (ours, theirs) = (set(), set());
    for set in [&ours, &theirs] {
        set.insert(&Revocation::session("revoked", later(&fixture.clock)));
    }
    let (a, b) = (ours.of_issuer(ISSUER), theirs.of_issuer(OTHER));
    let both = [
        layer().revocation(a.clone()).revocation(b.clone()),
        layer().revocation(b).revocation(a),
    ];
    for layer in both {
        assert!(layer.is_ready());
        for (issuer, sid, passes) in [
            (ISSUER, "revoked", false),
            (OTHER, "revoked", false),
            (ISSUER, "live", true),
            (OTHER, "live", true),
        ] {
            let token = others.token(|claims| {
                claims.insert("iss".into(), json!(issuer));
                claims.insert("sid".into(), json!(sid));
            });
            // The second time the token is remembered.
            for _ in 0..2 {
                let answer = send(layer.clone(), bearer(&token)).await;
                match passes {
                    true => drop(answer.passes(sid)),
                    false => drop(answer.invalid_token(sid).because(AuthErrorKind::Revoked)),
                }
            }
        }
    }
}

#[tokio::test]
async fn q12_each_check_keeps_its_own_demand_of_freshness() {
    let fixture = Fixture::new();
    let clock = fixture.clock.clone();
    let old = RevocationSet::follow_with_clock(Slow(clock.clone()), clock.clone()).unwrap();
    assert!(old.loaded(Duration::from_secs(60)).await);
    let local = RevocationSet::local_with_clock(clock.clone());
    let (fresh, token) = (old.clone().require_fresh(), fixture.with("sid", json!("s")));
    // 20 seconds are old enough for the one handle, and too old for the other.
    for layer in [
        fixture
            .layer()
            .revocation(local.clone())
            .revocation(old.clone()),
        fixture
            .layer()
            .revocation(old.clone())
            .revocation(local.clone()),
    ] {
        assert!(layer.is_ready());
        send(layer, bearer(&token)).await.passes("20 s old");
    }
    for layer in [
        fixture
            .layer()
            .revocation(local.clone())
            .revocation(fresh.clone()),
        fixture
            .layer()
            .revocation(fresh.clone())
            .revocation(local.clone()),
    ] {
        assert!(!layer.is_ready());
        let answer = send(layer, bearer(&token)).await.unavailable("fresh");
        answer.because(AuthErrorKind::RevocationUnavailable);
    }
    // The same set twice: the stricter handle counts in both orders.
    for layer in [
        fixture
            .layer()
            .revocation(old.clone())
            .revocation(fresh.clone()),
        fixture
            .layer()
            .revocation(fresh.clone())
            .revocation(old.clone()),
    ] {
        send(layer, bearer(&token))
            .await
            .unavailable("both handles");
    }
    // What is known to be revoked is 401, whatever the other check cannot say.
    local.insert(&Revocation::session("s", later(&clock)));
    for layer in [
        fixture
            .layer()
            .revocation(local.clone())
            .revocation(fresh.clone()),
        fixture.layer().revocation(fresh).revocation(local),
    ] {
        send(layer, bearer(&token)).await.invalid_token("revoked");
    }
}

/// A check that gives this answer, immediately or after it was polled once.
#[derive(Clone)]
struct Says {
    status: RevocationStatus,
    waits: bool,
    asked: Arc<AtomicUsize>,
}

impl Says {
    fn new(status: RevocationStatus, waits: bool) -> Self {
        let asked = Arc::default();
        Self {
            status,
            waits,
            asked,
        }
    }
}

impl RevocationCheck for Says {
    type Future = Pin<Box<dyn Future<Output = RevocationStatus> + Send>>;

    fn check(&self, _: &Principal) -> CheckResult<Self::Future> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let status = self.status;
        if !self.waits {
            return CheckResult::Ready(status);
        }
        CheckResult::Pending(Box::pin(async move {
            tokio::task::yield_now().await;
            status
        }))
    }
}

#[tokio::test]
async fn q12_the_verdict_does_not_depend_on_the_order_nor_on_who_waits() {
    let fixture = Fixture::new();
    let token = fixture.token();
    let valid = RevocationStatus::Valid;
    let revoked = RevocationStatus::Revoked;
    let (short, long) = (
        RevocationStatus::unavailable(3),
        RevocationStatus::unavailable(7),
    );
    for (first, second, expected) in [
        (valid, valid, "200"),
        (valid, revoked, "401"),
        (valid, short, "503 3"),
        (revoked, short, "401"),
        (revoked, revoked, "401"),
        (short, long, "503 7"),
    ] {
        for (one, two) in [(first, second), (second, first)] {
            for waits in [(false, false), (false, true), (true, false), (true, true)] {
                let case = format!("{one:?} and {two:?}, {waits:?}");
                let (one, two) = (Says::new(one, waits.0), Says::new(two, waits.1));
                let layer = fixture.layer().revocation(one).revocation(two.clone());
                // A third one that has no objection changes nothing.
                let third = layer.clone().revocation(Says::new(valid, waits.0));
                for answer in [
                    send(layer, bearer(&token)).await,
                    send(third, bearer(&token)).await,
                ] {
                    let retry = answer
                        .header("retry-after")
                        .map(|after| format!(" {after}"));
                    let verdict =
                        format!("{}{}", answer.status.as_u16(), retry.unwrap_or_default());
                    assert_eq!(verdict, expected, "{case}");
                    assert_eq!(answer.ran(), expected == "200", "{case}");
                }
                if first == valid && second == valid {
                    assert_eq!(two.asked.load(Ordering::SeqCst), 2, "{case}");
                }
            }
        }
    }
}
