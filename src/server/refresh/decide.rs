//! The state machine of a family of refresh tokens, as pure functions: no store, no clock, no
//! cryptography.
//!
//! A family is a counter. Its live generation is the token that the next rotation expects. The
//! parent is the token whose use created the live generation.

#![cfg_attr(
    not(any(test, feature = "test-util")),
    allow(unreachable_pub, reason = "public for the tests of stores only")
)]

use std::time::Duration;

use super::policy::RefreshPolicy;
use crate::{
    event::{RefreshOutcome, ReuseKind},
    store::port::Family,
    time::Timestamp,
};

/// Returns the decision about a presented generation. The first matching branch applies.
#[must_use]
pub fn decide(
    family: &Family,
    presented: u64,
    policy: &RefreshPolicy,
    now: Timestamp,
) -> RefreshOutcome {
    // A clock that was set back a little leaves the window open. A clock that was an hour ahead
    // when the parent was used must not keep the window open for an hour.
    let since_rotation = |window: Duration| {
        family
            .rotated_at
            .is_some_and(|rotated| now <= rotated.plus(window) && rotated <= now.plus(window))
    };
    // Without a grace window every repetition is reuse, even within the same millisecond.
    let in_grace = !policy.grace_window().is_zero() && since_rotation(policy.grace_window());
    let late = policy.late_parent_window();
    // A client with the key may present a parent although another one of its processes used the child.
    let unconfirmed = !policy.needs_confirmations()
        || family
            .confirmed
            .is_none_or(|confirmed| confirmed < family.generation);
    let parent = family.parent;
    if family.revoked {
        RefreshOutcome::Revoked
    } else if now >= family.expires_at {
        RefreshOutcome::Expired
    } else if now >= family.used_at.plus(family.idle) {
        RefreshOutcome::Idle
    } else if presented == family.generation {
        if in_grace {
            RefreshOutcome::Fresh
        } else {
            RefreshOutcome::Rotated
        }
    } else if presented > family.generation {
        RefreshOutcome::Ahead
    } else if parent == Some(presented) {
        if in_grace {
            RefreshOutcome::Retried
        } else if !late.is_zero()
            && since_rotation(late)
            && unconfirmed
            && family.reissues < policy.max_reissues()
        {
            RefreshOutcome::Reissued
        } else {
            RefreshOutcome::Reused(ReuseKind::LateParent)
        }
    } else if parent.is_some_and(|parent| presented > parent) {
        RefreshOutcome::Reused(ReuseKind::DisplacedChild)
    } else {
        RefreshOutcome::Reused(ReuseKind::StaleLineage)
    }
}

/// Returns the family after an outcome.
#[must_use]
pub fn apply(family: &Family, presented: u64, outcome: RefreshOutcome, now: Timestamp) -> Family {
    let moved = Family {
        rotated_at: Some(now),
        used_at: now,
        ..family.clone()
    };
    match outcome {
        RefreshOutcome::Rotated | RefreshOutcome::Ahead => Family {
            generation: presented.saturating_add(1),
            parent: Some(presented),
            // `reissues` keeps counting until a confirmation proves that an answer arrived.
            ..moved
        },
        RefreshOutcome::Reissued => Family {
            generation: family.generation.saturating_add(1),
            reissues: family.reissues.saturating_add(1),
            ..moved
        },
        RefreshOutcome::Reused(_) => Family {
            revoked: true,
            ..family.clone()
        },
        _ => family.clone(),
    }
}

/// Returns the family after the use of an access token has proved that `generation` reached the
/// client.
///
/// The family is unchanged if `generation` is not the live one.
#[must_use]
pub fn confirm(family: &Family, generation: u64) -> Family {
    if generation != family.generation {
        return family.clone();
    }
    Family {
        confirmed: Some(generation),
        reissues: 0,
        ..family.clone()
    }
}
