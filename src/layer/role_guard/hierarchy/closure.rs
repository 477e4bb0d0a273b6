//! The transitive closure of an implication between names.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

/// Names that imply other names, closed under transitivity.
#[derive(Clone, Default)]
pub(super) struct Closure {
    // The names that each name implies, without the name itself.
    implied: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
}

impl Closure {
    /// Returns `true` if `name` implies `other`. Every name implies itself.
    pub(super) fn implies(&self, name: &str, other: &str) -> bool {
        name == other
            || self
                .implied
                .get(name)
                .is_some_and(|implied| implied.contains(other))
    }

    /// Returns the other names that imply `name`, sorted.
    pub(super) fn granting<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.implied
            .iter()
            .filter(move |(_, implied)| implied.contains(name))
            .map(|(granting, _)| granting.as_ref())
    }
}

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.implied).finish()
    }
}

/// The direct implications, as they were added.
#[derive(Clone, Debug, Default)]
pub(super) struct Implications {
    direct: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
}

/// A cycle, as in `a > b > a`.
pub(super) struct Cycle(pub(super) String);

impl Implications {
    pub(super) fn add<I>(&mut self, name: &str, others: I)
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let implied = self.direct.entry(name.into()).or_default();
        implied.extend(others.into_iter().map(|other| other.as_ref().into()));
    }

    /// Returns every name that was added, on either side.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.direct
            .iter()
            .flat_map(|(name, implied)| implied.iter().chain([name]))
            .map(AsRef::as_ref)
    }

    pub(super) fn close(&self) -> Result<Closure, Cycle> {
        let implied = self
            .direct
            .keys()
            .map(|name| Ok((name.clone(), self.reachable(name)?)))
            .collect::<Result<_, Cycle>>()?;
        Ok(Closure { implied })
    }

    // Breadth first and without recursion, so that a long chain cannot exhaust the stack.
    fn reachable(&self, start: &str) -> Result<BTreeSet<Box<str>>, Cycle> {
        let mut found_by: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(name) = queue.pop_front() {
            for next in self.direct.get(name).into_iter().flatten() {
                let next: &str = next;
                if next == start {
                    return Err(Cycle(circle(start, name, &found_by)));
                }
                if !found_by.contains_key(next) {
                    found_by.insert(next, name);
                    queue.push_back(next);
                }
            }
        }
        Ok(found_by.into_keys().map(Into::into).collect())
    }
}

/// Returns the cycle from `start` to `last` and back to `start`, as in `a > b > a`.
fn circle<'a>(start: &'a str, last: &'a str, found_by: &BTreeMap<&'a str, &'a str>) -> String {
    // Walked backwards: `start` has no predecessor.
    let mut steps = vec![start, last];
    let mut step = last;
    while let Some(previous) = found_by.get(step) {
        steps.push(previous);
        step = previous;
    }
    steps.reverse();
    steps.join(" > ")
}
