//! Detection of issuers that almost match the expected one.
//!
//! The usual causes are a trailing slash, a capital letter, or `localhost` instead of `127.0.0.1`.
//! Every token is then refused, and the refusal does not show the cause.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::time::{Clock, SystemClock};

/// Logs both issuers, at most once a minute.
pub(super) struct NearMisses {
    written: Mutex<Option<Instant>>,
    clock: SystemClock,
}

impl NearMisses {
    pub(super) fn new() -> Self {
        Self {
            written: Mutex::default(),
            clock: SystemClock::new(),
        }
    }

    /// Logs a warning if the token's issuer, which an attacker can choose, almost matches an
    /// expected one.
    #[cold]
    pub(super) fn note<'a>(&self, found: &str, expected: impl IntoIterator<Item = &'a str>) {
        let near = |ours: &&str| is_near(found, ours);
        let Some(expected) = expected.into_iter().find(near) else {
            return;
        };
        if !self.is_due() {
            return;
        }
        #[cfg(feature = "tracing")]
        tracing::warn!(
            ?expected,
            found = ?found.chars().take(LONGEST).collect::<String>(),
            "a token's issuer differs from the expected one only by a slash, case or its host; \
             issuers are compared exactly"
        );
        #[cfg(not(feature = "tracing"))]
        let _ = expected;
    }

    fn is_due(&self) -> bool {
        let now = self.clock.monotonic();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let early = written.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL);
        if !early {
            *written = Some(now);
        }
        !early
    }
}

/// Returns `true` if the two names differ only in a trailing slash, in case or in the host.
///
/// A name with credentials, a query or a fragment is not a valid issuer (RFC 8414 §2), and is not
/// logged.
fn is_near(found: &str, ours: &str) -> bool {
    if found == ours || found.contains(['@', '?', '#']) {
        return false;
    }
    let same = |a: &str, b: &str| {
        a.trim_end_matches('/')
            .eq_ignore_ascii_case(b.trim_end_matches('/'))
    };
    if same(found, ours) {
        return true;
    }
    let parts = |name| {
        let (scheme, rest) = str::split_once(name, "://")?;
        Some((scheme, rest.split_once('/').map_or("", |(_, path)| path)))
    };
    match (parts(found), parts(ours)) {
        (Some((scheme, path)), Some((our_scheme, our_path))) => {
            scheme.eq_ignore_ascii_case(our_scheme) && same(path, our_path)
        }
        _ => false,
    }
}

const INTERVAL: Duration = Duration::from_secs(60);
#[cfg(feature = "tracing")]
const LONGEST: usize = 200;

#[cfg(test)]
mod tests {
    use super::is_near;

    #[test]
    fn d55_a_slash_case_or_host_is_near_and_nothing_else() {
        let ours = "https://as.example/realms/shop";
        for near in [
            "https://as.example/realms/shop/",
            "https://AS.example/realms/Shop",
            "HTTPS://localhost:8080/realms/shop",
            "https:///realms/shop",
        ] {
            assert!(is_near(near, ours), "{near}");
        }
        for far in [
            ours,
            "https://as.example/realms/other",
            "https://as.example",
            "https://user:secret@as.example/realms/shop",
            "https://as.example/realms/shop?key=secret",
            "as.example",
            "",
        ] {
            assert!(!is_near(far, ours), "{far}");
        }
        assert!(is_near("Shop", "shop"));
    }
}
