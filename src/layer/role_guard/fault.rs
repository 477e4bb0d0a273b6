//! The reasons why a guard cannot use a rule.

/// A configuration error in a rule.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Broken(&'static str),
    /// The rule has an action, which only a guard with a policy engine can decide about.
    Undecided,
}

impl Fault {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Broken(fault) => fault,
            Self::Undecided => UNDECIDED,
        }
    }

    pub(super) fn is_undecided(&self) -> bool {
        matches!(self, Self::Undecided)
    }

    /// Returns the fault of a rule whose parts must both hold.
    pub(super) fn of_both(one: Option<Self>, two: Option<Self>) -> Option<Self> {
        match (one, two) {
            (Some(Self::Undecided), Some(Self::Undecided)) => Some(Self::Broken(TWO_ACTIONS)),
            (one, two) => Self::of_either(one, two),
        }
    }

    /// Returns the fault of two rules of which one applies to a request.
    pub(super) fn of_either(one: Option<Self>, two: Option<Self>) -> Option<Self> {
        match one {
            Some(Self::Broken(_)) => one,
            _ => two.or(one),
        }
    }

    /// Returns the fault of a rule in an alternative or under `!`.
    pub(super) fn in_alternative(self) -> Self {
        match self {
            Self::Undecided => Self::Broken(ALTERNATIVE_ACTION),
            broken => broken,
        }
    }
}

const UNDECIDED: &str = "the rule has an action, and the guard has no policy engine";
const TWO_ACTIONS: &str = "the rule has two actions";
const ALTERNATIVE_ACTION: &str = "the rule has an action in an alternative or under `!`";
