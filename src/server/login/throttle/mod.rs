//! The limits for password attempts.
//!
//! The counters. Each is stored under a keyed digest, so that a store contains neither names nor
//! addresses:
//!
//! | counter | free attempts | after that | reset |
//! |---|---|---|---|
//! | name and network | 5 | waits of 1, 2, 4 … s up to 15 min | by a success, or 15 min after the last wait |
//! | name | 50 in 15 min | one attempt in 30 s | 15 min after the first failure |
//! | trusted device, instead of both | 5 | as the first | as the first |
//! | subject, for password changes | 5 | as the first | as the first |
//! | address and purpose, for mails | 5 in an hour | none for the rest of the hour | an hour after the first mail |
//! | trusted device, for codes after that | 5 in an hour | none for the rest of the hour | an hour after the first mail |
//! | subject, for codes of a second factor | 100 in 24 h | none | 24 h after the first failure |
//! | device that has proved a second factor, instead | 5 | as the first | as the first |
//! | flow, for codes from mails | 5 | none | an hour after the first guess |
//!
//! An attempt is counted when it has a permit of the hashing queue, *before* its password is hashed,
//! and is given back if the password was correct. However many guesses run concurrently, no more
//! passwords are checked than there are free attempts. If the result of open attempts decides
//! whether the next one is allowed, that one waits for them, so that concurrent correct passwords
//! do not block each other. An attempt during a wait is refused. It is not counted and does not
//! extend the wait.

mod admission;
mod codes;
mod counters;
mod gate;
mod key;
mod lock;
mod requests;
mod row;
mod rule;

#[cfg(feature = "totp")]
pub(super) use self::codes::CodeCounter;
use self::counters::{Reservation, Unanswered};
pub(crate) use self::requests::MailCodeAttempt;
pub(super) use self::{
    admission::{Admission, AdmissionControl, Denied},
    key::ThrottleKeys,
    lock::HardLock,
    row::{AttemptOutcome, Reserve},
    rule::ThrottleRule,
};
pub use self::{
    key::{Network, ThrottleKey},
    lock::UnlockHook,
    row::ThrottleRow,
};
