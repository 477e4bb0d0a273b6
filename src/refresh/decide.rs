//! The state machine of a family, pure: no store, no clock, no cryptography.
//!
//! A family is a counter. Its live generation is the one token that rotates it; the parent is the
//! token whose use made the live one.

use std::time::Duration;

use super::policy::RefreshPolicy;
use crate::clock::Timestamp;

/// The state of one family of refresh tokens, which is to say of one session.
///
/// All times are the store's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a store must be able to write all of it"
)]
pub struct Family {
    /// The live generation; the first is 0.
    pub generation: u64,
    /// The generation whose use made the live one.
    pub parent: Option<u64>,
    /// The highest generation that is known to have reached the client.
    pub confirmed: Option<u64>,
    /// When the parent was first used. Further in the future than a window is long, it is outside of
    /// that window: the clock was wrong then.
    pub rotated_at: Option<Timestamp>,
    /// How often in a row a late parent was answered since a generation was last confirmed.
    pub reissues: u32,
    /// When the live generation was made.
    pub used_at: Timestamp,
    /// How long the family lives unused.
    pub idle: Duration,
    /// When it ends, whatever happens. Never moved.
    pub expires_at: Timestamp,
    /// Whether it was ended, or its subject's epoch is newer than it.
    pub revoked: bool,
}

/// What becomes of a presented generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The live one inside the window, as from a second tab: answered with itself.
    Fresh,
    /// The live one: it becomes the parent of a new one.
    Rotated,
    /// Newer than the store knows: the store lost a write. It becomes the parent of a new one.
    Ahead,
    /// The parent inside the window, as after a lost answer: answered with the live one.
    Retried,
    /// The parent, late, of a child that nobody confirmed: answered with another child.
    Reissued,
    /// The session was ended.
    Revoked,
    /// The session reached its end.
    Expired,
    /// The session was not used for too long.
    Idle,
    /// Somebody uses a spent token: the session is ended now.
    Reused(Reuse),
}

/// Which spent token was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reuse {
    /// The parent, later than the policy forgives.
    LateParent,
    /// A child that a reissue displaced.
    DisplacedChild,
    /// Older than the parent.
    StaleLineage,
}

impl Reuse {
    /// A stable name, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LateParent => "late_parent",
            Self::DisplacedChild => "displaced_child",
            Self::StaleLineage => "stale_lineage",
        }
    }
}

impl Outcome {
    /// Whether the family changes by it, so that the store has to write.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(
            self,
            Self::Rotated | Self::Ahead | Self::Reissued | Self::Reused(_)
        )
    }

    /// Whether the client gets new tokens.
    #[must_use]
    pub fn answers(self) -> bool {
        matches!(
            self,
            Self::Fresh | Self::Rotated | Self::Ahead | Self::Retried | Self::Reissued
        )
    }

    /// A stable name, in snake case; stores may keep it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Rotated => "rotated",
            Self::Ahead => "ahead",
            Self::Retried => "retried",
            Self::Reissued => "reissued",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Idle => "idle",
            Self::Reused(reuse) => reuse.as_str(),
        }
    }

    /// The outcome of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "fresh" => Self::Fresh,
            "rotated" => Self::Rotated,
            "ahead" => Self::Ahead,
            "retried" => Self::Retried,
            "reissued" => Self::Reissued,
            "revoked" => Self::Revoked,
            "expired" => Self::Expired,
            "idle" => Self::Idle,
            "late_parent" => Self::Reused(Reuse::LateParent),
            "displaced_child" => Self::Reused(Reuse::DisplacedChild),
            "stale_lineage" => Self::Reused(Reuse::StaleLineage),
            _ => return None,
        })
    }
}

/// Decides about a presented generation; the first line that fits counts.
///
/// Every store does exactly this, in its own language and in one atomic step.
#[must_use]
pub fn decide(family: &Family, presented: u64, policy: &RefreshPolicy, now: Timestamp) -> Outcome {
    // Set back a little, the clock leaves the window open. But one that was wrong by an hour when the
    // parent was used must not answer spent tokens for an hour.
    let since_rotation = |window: Duration| {
        family
            .rotated_at
            .is_some_and(|rotated| now <= rotated.plus(window) && rotated <= now.plus(window))
    };
    // Without a grace window nothing is forgiven, not even within the same millisecond.
    let in_grace = !policy.grace_window().is_zero() && since_rotation(policy.grace_window());
    let late = policy.late_parent_window();
    let unconfirmed = family
        .confirmed
        .is_none_or(|confirmed| confirmed < family.generation);
    let parent = family.parent;
    if family.revoked {
        Outcome::Revoked
    } else if now >= family.expires_at {
        Outcome::Expired
    } else if now >= family.used_at.plus(family.idle) {
        Outcome::Idle
    } else if presented == family.generation {
        if in_grace {
            Outcome::Fresh
        } else {
            Outcome::Rotated
        }
    } else if presented > family.generation {
        Outcome::Ahead
    } else if parent == Some(presented) {
        if in_grace {
            Outcome::Retried
        } else if !late.is_zero()
            && since_rotation(late)
            && unconfirmed
            && family.reissues < policy.max_reissues()
        {
            Outcome::Reissued
        } else {
            Outcome::Reused(Reuse::LateParent)
        }
    } else if parent.is_some_and(|parent| presented > parent) {
        Outcome::Reused(Reuse::DisplacedChild)
    } else {
        Outcome::Reused(Reuse::StaleLineage)
    }
}

/// The family after an outcome.
#[must_use]
pub fn apply(family: &Family, presented: u64, outcome: Outcome, now: Timestamp) -> Family {
    let moved = Family {
        rotated_at: Some(now),
        used_at: now,
        ..family.clone()
    };
    match outcome {
        Outcome::Rotated | Outcome::Ahead => Family {
            generation: presented.saturating_add(1),
            parent: Some(presented),
            // `reissues` counts on until a confirmation proves that an answer arrived.
            ..moved
        },
        Outcome::Reissued => Family {
            generation: family.generation.saturating_add(1),
            reissues: family.reissues.saturating_add(1),
            ..moved
        },
        Outcome::Reused(_) => Family {
            revoked: true,
            ..family.clone()
        },
        _ => family.clone(),
    }
}

/// The family once the use of an access token has proved that this generation arrived.
///
/// Of another generation than the live one it proves nothing.
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
