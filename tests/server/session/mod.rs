//! Sessions through the public API: start, refresh, list, end, guests.

mod background;
mod claims;
mod confirmations;
mod ending;
mod events;
mod faults;
#[cfg(feature = "axum")]
mod guests;
mod housekeeping;
mod lifetimes;
mod refreshing;
