//! The reason why a second factor was not accepted or not changed.

use std::{error::Error, fmt, time::Duration};

use crate::{error::StoreError, server::login::throttle::Denied};

/// The reason why a second factor was not accepted or not changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum SecondFactorError {
    /// The code is wrong, was used before, or has expired; or the subject has no second factor.
    WrongCode,
    /// The subject has enrolled before. Disable the authenticator first.
    AlreadyEnrolled,
    /// No enrolment waits for its first code, or the code came too late.
    NothingToConfirm,
    /// The first step has completed a sign-in before.
    Spent,
    /// The session of the caller has ended, because the owner of the address has taken the account over.
    /// The HTTP status is 401.
    Ended,
    /// Too many wrong codes. The HTTP status is 429. Recovery codes are still accepted.
    Throttled {
        /// The time until the next code is accepted; at least 1 s.
        retry_after: Duration,
    },
    /// Other nodes keep changing the same row. Nothing was changed. The HTTP status is 503.
    Overloaded {
        /// The time after which a new attempt may succeed; at least 1 s.
        retry_after: Duration,
    },
    /// A store failed. The HTTP status is 503.
    Unavailable(StoreError),
}

impl From<StoreError> for SecondFactorError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error)
    }
}

impl From<Denied> for SecondFactorError {
    fn from(denied: Denied) -> Self {
        let second = Duration::from_secs(1);
        match denied {
            Denied::Wait(wait) => Self::Throttled {
                retry_after: wait.max(second),
            },
            Denied::Store(error) => Self::Unavailable(error),
            _ => Self::Overloaded {
                retry_after: second,
            },
        }
    }
}

impl fmt::Display for SecondFactorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongCode => "the code is wrong",
            Self::AlreadyEnrolled => "the subject has an authenticator",
            Self::NothingToConfirm => "no authenticator waits for its first code",
            Self::Spent => "the first step has completed a sign-in",
            Self::Ended => "the session has ended",
            Self::Throttled { .. } => "too many wrong codes",
            Self::Overloaded { .. } => "the second factors of the subject keep changing",
            Self::Unavailable(_) => "the store of second factors is unavailable",
        })
    }
}

impl Error for SecondFactorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unavailable(error) => Some(error),
            _ => None,
        }
    }
}
