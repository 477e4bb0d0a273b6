//! How many passwords may be tried, by whom.
//!
//! Counters, each under a keyed digest, so that a store holds neither names nor addresses:
//!
//! | counter | free | then | forgotten |
//! |---|---|---|---|
//! | name and network | 5 | waits of 1, 2, 4 … s up to 15 min | by a success, or 15 min after the last wait |
//! | name | 50 in 15 min | one attempt in 30 s | 15 min after the first |
//! | trusted device, instead of both | 5 | as the first | as the first |
//! | subject, for changes of the password | 5 | as the first | as the first |
//!
//! An attempt is counted when it has a place to be hashed at, *before* its password is hashed, and given
//! back if it was right: however many guesses run side by side, no more are checked than were free. While
//! attempts are open that decide about the next one, that one waits, so that right passwords never stand
//! in each other's way. What arrives during a wait is refused, and neither counts nor makes the wait
//! longer.

mod gate;
mod key;
mod lock;
mod row;
mod rule;
mod store;
mod turnstile;

pub(super) use self::{
    key::ThrottleKeys,
    lock::HardLock,
    turnstile::{Admission, Denied, Turnstile},
};
pub use self::{
    key::{Network, ThrottleKey},
    lock::UnlockHook,
    row::ThrottleRow,
    rule::ThrottleRule,
    store::{AttemptOutcome, Reservation, Reserve, Settled, ThrottleStore},
};
