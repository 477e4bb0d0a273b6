//! A login over users in memory that hashes cheaply.

use std::{net::IpAddr, num::NonZeroUsize, time::Duration};

use tower_jwt_auth::{
    secret::SecretKey,
    server::login::{
        Argon2Cost, Identifier, Login, LoginAttempt, LoginBuilder, LoginOutcome, MemoryThrottle,
        Password, PasswordHash, PasswordHasher, PasswordHasherBuilder, PasswordPolicy,
    },
    store::port::UserRecord,
    test_util::TestClock,
};

use super::users::Users;

/// Eight KiB and one pass: a hash in microseconds.
pub(crate) fn cheap() -> PasswordHasherBuilder {
    PasswordHasher::builder()
        .cost(Argon2Cost::dangerous_custom(8, 1, 1).unwrap())
        .concurrency(NonZeroUsize::new(2).unwrap())
        .queue(10_000)
        .wait(Duration::from_secs(60))
}

pub(crate) struct Fixture {
    pub(crate) users: Users,
    pub(crate) clock: TestClock,
    pub(crate) throttle: MemoryThrottle,
    pub(crate) hasher: PasswordHasher,
}

impl Fixture {
    /// Ada and Bob, whose passwords are `right`.
    pub(crate) async fn new() -> Self {
        let clock = TestClock::new();
        let fixture = Self {
            users: Users::default(),
            throttle: MemoryThrottle::with_clock(clock.clone()),
            clock,
            hasher: cheap().build().unwrap(),
        };
        for (name, subject) in [("ada", "user-1"), ("bob", "user-2")] {
            let hash = fixture.hasher.hash(&password("right")).await.unwrap();
            fixture.users.put(
                name,
                UserRecord::new(subject).password(hash).roles(["admin"]),
            );
        }
        fixture
    }

    pub(crate) fn builder(&self) -> LoginBuilder {
        let secret = SecretKey::from_bytes([9; 32]).unwrap();
        Login::builder(self.users.clone(), self.throttle.clone(), secret)
            .hasher(self.hasher.clone())
            .password_policy(any_password())
            .clock(self.clock.clone())
            .patience(Duration::from_secs(60))
    }

    pub(crate) fn login(&self) -> Login {
        self.builder().build()
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

/// Short ones are easier to tell apart in a test.
pub(crate) fn any_password() -> PasswordPolicy {
    PasswordPolicy::new().dangerous_min_chars(1)
}

pub(crate) fn password(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

pub(crate) fn attempt(name: &str, text: &str) -> LoginAttempt {
    LoginAttempt::new(Identifier::new(name).unwrap(), password(text)).from(address("192.0.2.1"))
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What an HTTP answer could show of an outcome.
pub(crate) fn shown(outcome: &LoginOutcome) -> String {
    match outcome {
        LoginOutcome::Success(accepted) => format!("welcome {}", accepted.user().subject),
        LoginOutcome::InvalidCredentials => "no".to_owned(),
        LoginOutcome::Throttled { retry_after } => format!("wait {}", retry_after.as_secs_f64()),
        LoginOutcome::Overloaded { .. } => "busy".to_owned(),
        LoginOutcome::Unavailable => "unavailable".to_owned(),
        other => panic!("{other:?}"),
    }
}

/// A hash that keeps a pool's only place for far longer than a look at a queue takes.
pub(crate) struct Heavy {
    running: tokio::task::JoinHandle<()>,
}

impl Heavy {
    pub(crate) async fn start(hasher: &PasswordHasher) -> Self {
        // Of no password.
        let stored = PasswordHash::new(
            "$argon2id$v=19$m=32768,t=20,p=1$c29tZXNhbHQtMTZieXRlcw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        );
        let (hasher, (started, start)) = (hasher.clone(), tokio::sync::oneshot::channel());
        let running = tokio::spawn(async move {
            let text = password("anything");
            let mut work = Box::pin(hasher.verify(&text, Some(&stored)));
            let first = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(work.as_mut().poll(cx).is_pending())
            });
            assert!(first.await);
            started.send(()).unwrap();
            assert!(!work.await.unwrap().matches());
        });
        start.await.unwrap();
        Self { running }
    }

    pub(crate) async fn finish(self) {
        self.running.await.unwrap();
    }
}
