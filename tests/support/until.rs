//! Patience.

use std::{
    panic::Location,
    time::{Duration, Instant},
};

/// Polls until it holds. The bound only keeps a broken test from hanging.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let (caller, since) = (Location::caller(), Instant::now());
    async move {
        while !holds() {
            assert!(since.elapsed() < Duration::from_secs(60), "{caller}: never");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
