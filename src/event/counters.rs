//! An event sink that increments counters of the `metrics` facade.

#[cfg(feature = "jwks")]
use std::time::Duration;

use super::{AuthEvent, EventSink};
#[cfg(feature = "server")]
use super::{LoginEvent, MailEvent, SessionEvent};
#[cfg(feature = "server")]
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
/// | `jwt_introspections_total` | `result` (`ok`, `failed`); counts calls, not the answers from the cache |
/// | `jwt_introspection_seconds` | `result` as above; a histogram of the time of a call, with its time in the queue |
/// | `jwt_keys_skipped_total` | none; counts unusable entries of key sets |
/// | `jwt_key_rotations_total` | none |
/// | `jwt_key_ring_total` | `event` (`stale`, `recovered`) |
/// | `jwt_revocation_feed_total` | `event` (`stale`, `recovered`) |
/// | `jwt_backchannel_logouts_total` | none |
/// | `jwt_sessions_total` | `event` (`created`, `refreshed`, `reuse_detected`, `revoked`, `expired`, `not_proved`, `evicted`, `guest_created`, `guest_claimed`, `guest_promoted`), `outcome` |
/// | `jwt_housekeeping_failures_total` | none |
/// | `jwt_logins_total` | `event` (`succeeded`, `failed`, `throttled`, `locked`, `unlocked`, `password_changed`, `rehashed`, `email_verified`, `email_changed`, `taken_over`, `identity_linked`, `identity_unlinked`, `passkey_added`, `passkey_removed`, `second_factor_required`, `second_factor_used`, `second_factor_locked`, `second_factor_enrolled`, `second_factor_removed`, `recovery_codes_renewed`) |
/// | `jwt_mails_total` | `event` (`processed`, `failed`), `reason` (`refused`, `panicked`, `timed_out`, `store`, `queue_full`, `stopped`; otherwise empty) |
///
/// The cause of a failed login is in the event, but not in a label. Otherwise a reader of the
/// counters could find out with one attempt whether a name has an account. For the same reason a mail
/// that was sent and one that was not needed have the same label.
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
            AuthEvent::Denied { error, .. } => request("denied", error.as_str()),
            AuthEvent::KeysFetched { .. } => fetch("ok"),
            AuthEvent::KeyFetchFailed { .. } => fetch("failed"),
            #[cfg(feature = "jwks")]
            AuthEvent::Introspected { took } => introspection("ok", *took),
            #[cfg(feature = "jwks")]
            AuthEvent::IntrospectionFailed { took, .. } => introspection("failed", *took),
            AuthEvent::KeySkipped { .. } => {
                metrics::counter!("jwt_keys_skipped_total").increment(1);
            }
            #[cfg(feature = "server")]
            AuthEvent::KeyRotated { .. } => {
                metrics::counter!("jwt_key_rotations_total").increment(1);
            }
            #[cfg(feature = "server")]
            AuthEvent::KeyRingStale { .. } => ring("stale"),
            #[cfg(feature = "server")]
            AuthEvent::KeyRingRecovered { .. } => ring("recovered"),
            AuthEvent::RevocationsStale { .. } => feed("stale"),
            AuthEvent::RevocationsRecovered { .. } => feed("recovered"),
            #[cfg(feature = "jwks")]
            AuthEvent::LoggedOut { .. } => {
                metrics::counter!("jwt_backchannel_logouts_total").increment(1);
            }
            #[cfg(feature = "server")]
            AuthEvent::Session(event) => session(event),
            #[cfg(feature = "server")]
            AuthEvent::Login(event) => login(event),
            #[cfg(feature = "server")]
            AuthEvent::Mail(event) => mail(event),
            #[cfg(feature = "server")]
            AuthEvent::HousekeepingFailed { .. } => {
                metrics::counter!("jwt_housekeeping_failures_total").increment(1);
            }
            #[cfg(feature = "server")]
            AuthEvent::ApiKeyCreated { .. } => api_key("created"),
            #[cfg(feature = "server")]
            AuthEvent::ApiKeyRolled { .. } => api_key("rolled"),
            #[cfg(feature = "server")]
            AuthEvent::ApiKeyRevoked { .. } => api_key("revoked"),
            #[cfg(feature = "server")]
            AuthEvent::ApiKeyUsed { .. } => api_key("used"),
            #[cfg(feature = "server")]
            AuthEvent::ApiKeyNetwork { .. } => api_key("new_network"),
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

#[cfg(feature = "jwks")]
fn introspection(result: &'static str, took: Duration) {
    metrics::counter!("jwt_introspections_total", "result" => result).increment(1);
    metrics::histogram!("jwt_introspection_seconds", "result" => result).record(took);
}

#[cfg(feature = "server")]
fn api_key(event: &'static str) {
    metrics::counter!("jwt_api_keys_total", "event" => event).increment(1);
}

#[cfg(feature = "server")]
fn session(event: &SessionEvent) {
    let (name, outcome) = match event {
        SessionEvent::Started {
            kind: PrincipalKind::Guest,
            ..
        } => ("guest_created", ""),
        SessionEvent::Started { .. } => ("created", ""),
        SessionEvent::Refreshed { outcome, .. } => ("refreshed", outcome.as_str()),
        SessionEvent::ReuseDetected { reuse, .. } => ("reuse_detected", reuse.as_str()),
        SessionEvent::Expired { .. } => ("expired", ""),
        SessionEvent::NotProved { .. } => ("not_proved", ""),
        SessionEvent::Evicted { .. } => ("evicted", ""),
        SessionEvent::Revoked { scope, .. } => ("revoked", scope.as_str()),
        SessionEvent::GuestClaimed { .. } => ("guest_claimed", ""),
        SessionEvent::GuestPromoted { .. } => ("guest_promoted", ""),
    };
    metrics::counter!("jwt_sessions_total", "event" => name, "outcome" => outcome).increment(1);
}

fn feed(event: &'static str) {
    metrics::counter!("jwt_revocation_feed_total", "event" => event).increment(1);
}

#[cfg(feature = "server")]
fn ring(event: &'static str) {
    metrics::counter!("jwt_key_ring_total", "event" => event).increment(1);
}

#[cfg(feature = "server")]
fn login(event: &LoginEvent) {
    let name = match event {
        LoginEvent::Succeeded { .. } => "succeeded",
        LoginEvent::Failed { .. } => "failed",
        LoginEvent::Throttled { .. } => "throttled",
        LoginEvent::Locked { .. } => "locked",
        LoginEvent::Unlocked => "unlocked",
        LoginEvent::SecondStepRequired { .. } => "second_factor_required",
        LoginEvent::SecondFactorUsed { .. } => "second_factor_used",
        LoginEvent::SecondFactorLocked { .. } => "second_factor_locked",
        LoginEvent::SecondFactorEnrolled { .. } => "second_factor_enrolled",
        LoginEvent::SecondFactorRemoved { .. } => "second_factor_removed",
        LoginEvent::RecoveryCodesRenewed { .. } => "recovery_codes_renewed",
        LoginEvent::PasswordChanged { .. } => "password_changed",
        LoginEvent::PasswordRehashed { .. } => "rehashed",
        LoginEvent::EmailVerified { .. } => "email_verified",
        LoginEvent::EmailChanged { .. } => "email_changed",
        LoginEvent::TakenOver { .. } => "taken_over",
        LoginEvent::IdentityLinked { .. } => "identity_linked",
        LoginEvent::IdentityUnlinked { .. } => "identity_unlinked",
        LoginEvent::PasskeyAdded { .. } => "passkey_added",
        LoginEvent::PasskeyRemoved { .. } => "passkey_removed",
    };
    metrics::counter!("jwt_logins_total", "event" => name).increment(1);
}

#[cfg(feature = "server")]
fn mail(event: &MailEvent) {
    let (name, reason) = match event {
        MailEvent::Sent { .. } | MailEvent::Skipped { .. } => ("processed", ""),
        MailEvent::Failed { reason, .. } => ("failed", reason.as_str()),
    };
    metrics::counter!("jwt_mails_total", "event" => name, "reason" => reason).increment(1);
}
