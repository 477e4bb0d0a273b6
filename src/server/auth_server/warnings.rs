//! Sentences about settings that work and are not fit for production.

use crate::server::settings::{AuthSecrets, AuthSettings};

/// The facts on which the warnings depend.
pub(super) struct Facts<'a> {
    pub(super) settings: Option<&'a AuthSettings>,
    pub(super) secrets: &'a AuthSecrets,
    /// `true` if the signing keys end with the process.
    pub(super) keys_end: bool,
}

pub(super) fn of(facts: &Facts<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let settings = facts.settings;
    let name = |variable, method| match settings {
        Some(_) => variable,
        None => method,
    };
    if let Some(store) = settings.and_then(AuthSettings::trial_store) {
        warnings.push(format!("AUTH_STORE is not set: the store is {store}"));
    }
    if !facts.secrets.are_lasting() {
        let secret = name("AUTH_SECRET_KEY", "the secret");
        warnings.push(format!(
            "{secret} is not set: CSRF proofs, trusted devices and the counters of guesses end with \
             the process, and no other process shares them"
        ));
    }
    if facts.keys_end {
        let remedy = name(
            "AUTH_SECRET_KEY and a store other than memory:, or JWT_PRIVATE_KEY_FILE",
            "a secret and a store that keeps keys, or a signing key",
        );
        warnings.push(format!(
            "the signing key ends with the process, and its tokens with it: set {remedy}"
        ));
    }
    if settings.is_some_and(AuthSettings::is_behind_an_unnamed_proxy) {
        warnings.push(
            "AUTH_TRUSTED_PROXIES is not set: if there is a proxy in front of this server, all clients \
             appear as one"
                .to_owned(),
        );
    }
    let ignored = settings.into_iter().flat_map(AuthSettings::ignored);
    warnings.extend(ignored.map(|name| format!("{name} is not a known variable; ignored")));
    warnings
}

pub(super) fn log(warnings: &[String]) {
    #[cfg(feature = "tracing")]
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    #[cfg(not(feature = "tracing"))]
    let _ = warnings;
}
