//! An event sink that increments counters of the `metrics` facade.

use super::{AuthEvent, EventSink};
use crate::principal::PrincipalKind;

/// An event sink that increments counters of the `metrics` facade, with the recorder that the
/// application installs.
///
/// | counter | labels |
/// |---|---|
/// | `jwt_auth_requests_total` | `result` (`allowed`, `anonymous`, `preflight`, `skipped`, `denied`), `reason` (the cause of a refusal: `expired`, `unknown_key`, `revoked`, …; otherwise empty) |
/// | `jwt_cache_lookups_total` | `result` (`hit`, `miss`); counts accepted tokens only |
/// | `jwt_key_fetches_total` | `result` (`ok`, `failed`) |
/// | `jwt_api_keys_total` | `event` (`created`, `rolled`, `revoked`, `used`, `new_network`) |
/// | `jwt_keys_skipped_total` | none; counts unusable entries of key sets |
/// | `jwt_key_rotations_total` | none |
/// | `jwt_key_ring_total` | `event` (`stale`, `recovered`) |
/// | `jwt_revocation_feed_total` | `event` (`stale`, `recovered`) |
/// | `jwt_sessions_total` | `event` (`created`, `refreshed`, `reuse_detected`, `revoked`, `expired`, `guest_created`, `guest_claimed`, `guest_promoted`), `outcome` |
/// | `jwt_housekeeping_failures_total` | none |
/// | `jwt_logins_total` | `event` (`succeeded`, `failed`, `throttled`, `locked`, `unlocked`, `password_changed`, `rehashed`) |
///
/// The cause of a failed login is in the event, but not in a label. Otherwise a reader of the
/// counters could find out with one attempt whether a name has an account.
///
/// A request that passes the layer and is then refused by a guard is counted as `allowed` and as
/// `denied`. All label values come from fixed lists. No label contains input from a client.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct MetricsSink;

impl MetricsSink {
    /// Creates the sink.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl EventSink for MetricsSink {
    fn record(&self, event: &AuthEvent<'_>) {
        match event {
            AuthEvent::Allowed { remembered, .. } => {
                request("allowed", "");
                let result = if *remembered { "hit" } else { "miss" };
                metrics::counter!("jwt_cache_lookups_total", "result" => result).increment(1);
            }
            AuthEvent::Anonymous => request("anonymous", ""),
            AuthEvent::Preflight => request("preflight", ""),
            AuthEvent::Skipped => request("skipped", ""),
            AuthEvent::Denied { error } => request("denied", error.as_str()),
            AuthEvent::KeysFetched { .. } => fetch("ok"),
            AuthEvent::KeyFetchFailed { .. } => fetch("failed"),
            AuthEvent::KeySkipped { .. } => {
                metrics::counter!("jwt_keys_skipped_total").increment(1);
            }
            AuthEvent::KeyRotated { .. } => {
                metrics::counter!("jwt_key_rotations_total").increment(1);
            }
            AuthEvent::KeyRingStale { .. } => ring("stale"),
            AuthEvent::KeyRingRecovered { .. } => ring("recovered"),
            AuthEvent::RevocationsStale { .. } => feed("stale"),
            AuthEvent::RevocationsRecovered { .. } => feed("recovered"),
            AuthEvent::SessionStarted {
                kind: PrincipalKind::Guest,
                ..
            } => session("guest_created", ""),
            AuthEvent::SessionStarted { .. } => session("created", ""),
            AuthEvent::SessionExpired { .. } => session("expired", ""),
            AuthEvent::SessionEvicted { .. } => session("evicted", ""),
            AuthEvent::GuestClaimed { .. } => session("guest_claimed", ""),
            AuthEvent::GuestPromoted { .. } => session("guest_promoted", ""),
            AuthEvent::SessionRefreshed { outcome, .. } => session("refreshed", outcome),
            AuthEvent::ReuseDetected { reuse, .. } => session("reuse_detected", reuse),
            AuthEvent::SessionsRevoked { scope, .. } => session("revoked", scope),
            AuthEvent::HousekeepingFailed { .. } => {
                metrics::counter!("jwt_housekeeping_failures_total").increment(1);
            }
            AuthEvent::LoginSucceeded { .. } => login("succeeded"),
            AuthEvent::LoginFailed { .. } => login("failed"),
            AuthEvent::LoginThrottled { .. } => login("throttled"),
            AuthEvent::LoginLocked { .. } => login("locked"),
            AuthEvent::LoginUnlocked => login("unlocked"),
            AuthEvent::ApiKey { event, .. } => {
                metrics::counter!("jwt_api_keys_total", "event" => *event).increment(1);
            }
            AuthEvent::PasswordChanged { .. } => login("password_changed"),
            AuthEvent::PasswordRehashed { .. } => login("rehashed"),
        }
    }
}

fn request(result: &'static str, reason: &'static str) {
    let counter = metrics::counter!(
        "jwt_auth_requests_total", "result" => result, "reason" => reason
    );
    counter.increment(1);
}

fn fetch(result: &'static str) {
    metrics::counter!("jwt_key_fetches_total", "result" => result).increment(1);
}

fn session(event: &'static str, outcome: &'static str) {
    metrics::counter!("jwt_sessions_total", "event" => event, "outcome" => outcome).increment(1);
}

fn feed(event: &'static str) {
    metrics::counter!("jwt_revocation_feed_total", "event" => event).increment(1);
}

fn ring(event: &'static str) {
    metrics::counter!("jwt_key_ring_total", "event" => event).increment(1);
}

fn login(event: &'static str) {
    metrics::counter!("jwt_logins_total", "event" => event).increment(1);
}
