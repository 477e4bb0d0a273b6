//! Roles that imply other roles.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use crate::error::ConfigError;

/// A hierarchy of roles: an `admin` is an `editor`, an `editor` is a `viewer`.
///
/// Implication is transitive. It applies to every role that a guard's rule names: a rule that refuses
/// viewers refuses an `admin` too. The roles of the [`Principal`] do not change.
///
/// [`Principal`]: crate::principal::Principal
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::layer::role_guard::RoleHierarchy;
///
/// let hierarchy = RoleHierarchy::builder()
///     .implies("admin", ["editor", "auditor"])
///     .implies("editor", ["viewer"])
///     .build()?;
/// assert!(hierarchy.implies("admin", "viewer"));
/// assert!(!hierarchy.implies("viewer", "admin"));
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct RoleHierarchy {
    // The transitive closure: the roles that each role implies, without the role itself.
    implied: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
}

impl RoleHierarchy {
    /// Creates a builder for a hierarchy, at first without any implication.
    pub fn builder() -> RoleHierarchyBuilder {
        RoleHierarchyBuilder::default()
    }

    /// Returns `true` if `role` implies `other`, directly or through other roles.
    ///
    /// Every role implies itself.
    #[must_use]
    pub fn implies(&self, role: &str, other: &str) -> bool {
        role == other
            || self
                .implied
                .get(role)
                .is_some_and(|implied| implied.contains(other))
    }

    /// Returns the other roles that imply `role`, sorted.
    pub(super) fn granting<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a str> {
        self.implied
            .iter()
            .filter(move |(_, implied)| implied.contains(role))
            .map(|(granting, _)| granting.as_ref())
    }
}

impl fmt::Debug for RoleHierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.implied).finish()
    }
}

/// A builder for a [`RoleHierarchy`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is built before `build` is called"]
pub struct RoleHierarchyBuilder {
    direct: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
}

impl RoleHierarchyBuilder {
    /// Makes `role` imply `others`. May be called repeatedly: the implications are added.
    pub fn implies<I>(mut self, role: &str, others: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let implied = self.direct.entry(role.into()).or_default();
        implied.extend(others.into_iter().map(|other| other.as_ref().into()));
        self
    }

    /// Builds the hierarchy and computes its transitive closure.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::RoleCycle`] if a role implies itself. The error names the cycle (`a > b > a`).
    /// - [`ConfigError::Invalid`] if a role's name is empty.
    pub fn build(self) -> Result<RoleHierarchy, ConfigError> {
        let mut names = self
            .direct
            .iter()
            .flat_map(|(role, implied)| implied.iter().chain([role]));
        if names.any(|name| name.is_empty()) {
            return Err(ConfigError::invalid("hierarchy", "a role's name is empty"));
        }
        let implied = self
            .direct
            .keys()
            .map(|role| Ok((role.clone(), self.reachable(role)?)))
            .collect::<Result<_, ConfigError>>()?;
        Ok(RoleHierarchy { implied })
    }

    // Breadth first and without recursion, so that a long chain cannot exhaust the stack.
    fn reachable(&self, start: &str) -> Result<BTreeSet<Box<str>>, ConfigError> {
        let mut found_by: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(role) = queue.pop_front() {
            for next in self.direct.get(role).into_iter().flatten() {
                let next: &str = next;
                if next == start {
                    return Err(ConfigError::RoleCycle(circle(start, role, &found_by)));
                }
                if !found_by.contains_key(next) {
                    found_by.insert(next, role);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{ProptestConfig, Strategy, prop_assert, prop_assert_eq, proptest};

    use super::{RoleHierarchy, RoleHierarchyBuilder};
    use crate::error::ConfigError;

    fn cycle_of(builder: RoleHierarchyBuilder) -> String {
        match builder.build() {
            Err(ConfigError::RoleCycle(circle)) => circle,
            other => panic!("expected a cycle, got {other:?}"),
        }
    }

    #[test]
    fn l7_implication_is_transitive_and_one_way() {
        let hierarchy = RoleHierarchy::builder()
            .implies("admin", ["editor"])
            .implies("editor", ["viewer"])
            .implies("viewer", ["guest"])
            .build()
            .unwrap();
        assert!(hierarchy.implies("admin", "guest"));
        assert!(hierarchy.implies("guest", "guest"));
        assert!(!hierarchy.implies("guest", "viewer"));
        assert!(!hierarchy.implies("admin", "stranger"));
        let granting: Vec<_> = hierarchy.granting("viewer").collect();
        assert_eq!(granting, ["admin", "editor"]);
    }

    #[test]
    fn l7_a_diamond_is_no_cycle() {
        let hierarchy = RoleHierarchy::builder()
            .implies("top", ["left", "right"])
            .implies("left", ["bottom"])
            .implies("right", ["bottom"])
            .build()
            .unwrap();
        assert!(hierarchy.implies("top", "bottom"));
    }

    #[test]
    fn l7_a_cycle_is_a_build_error_naming_the_cycle() {
        let two = RoleHierarchy::builder()
            .implies("a", ["b"])
            .implies("b", ["a"]);
        assert_eq!(cycle_of(two), "a > b > a");

        let own = RoleHierarchy::builder().implies("a", ["a"]);
        assert_eq!(cycle_of(own), "a > a");

        // The way into the circle is not part of it.
        let tail = RoleHierarchy::builder()
            .implies("a", ["x"])
            .implies("x", ["y"])
            .implies("y", ["z"])
            .implies("z", ["x", "leaf"]);
        assert_eq!(cycle_of(tail), "x > y > z > x");
    }

    #[test]
    fn l7_an_empty_name_is_refused() {
        for builder in [
            RoleHierarchy::builder().implies("", ["a"]),
            RoleHierarchy::builder().implies("a", [""]),
        ] {
            assert!(matches!(builder.build(), Err(ConfigError::Invalid { .. })));
        }
    }

    #[test]
    fn a_long_chain_does_not_exhaust_the_stack() {
        let mut builder = RoleHierarchy::builder();
        for link in 0..600 {
            builder = builder.implies(&format!("r{link}"), [format!("r{}", link + 1)]);
        }
        let hierarchy = builder.build().unwrap();
        assert!(hierarchy.implies("r0", "r600"));
    }

    type Edges = BTreeSet<(usize, usize)>;

    fn edges() -> impl Strategy<Value = Edges> {
        proptest::collection::btree_set((0..6_usize, 0..6_usize), 0..12)
    }

    fn builder_of(edges: &Edges) -> RoleHierarchyBuilder {
        let start = RoleHierarchy::builder();
        edges.iter().fold(start, |builder, (from, to)| {
            builder.implies(&from.to_string(), [to.to_string()])
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn l7_the_closure_is_transitive_and_holds_nothing_else(edges in edges()) {
            // Edges lead from the smaller to the larger number, so that there is no cycle.
            let edges: Edges = edges.into_iter().filter(|(from, to)| from < to).collect();
            let mut reach = edges.clone();
            for via in 0..6 {
                for from in 0..6 {
                    for to in 0..6 {
                        if reach.contains(&(from, via)) && reach.contains(&(via, to)) {
                            reach.insert((from, to));
                        }
                    }
                }
            }
            let hierarchy = builder_of(&edges).build().unwrap();
            for from in 0..6 {
                for to in 0..6 {
                    let expected = from == to || reach.contains(&(from, to));
                    let actual = hierarchy.implies(&from.to_string(), &to.to_string());
                    prop_assert_eq!(actual, expected);
                }
            }
        }

        #[test]
        fn l7_a_cycle_is_found_where_there_is_one_and_all_its_steps_exist(edges in edges()) {
            match builder_of(&edges).build() {
                Ok(hierarchy) => {
                    for role in (0..6).map(|role| role.to_string()) {
                        prop_assert!(!hierarchy.granting(&role).any(|by| by == role));
                    }
                }
                Err(ConfigError::RoleCycle(circle)) => {
                    let steps: Vec<usize> =
                        circle.split(" > ").map(|step| step.parse().unwrap()).collect();
                    prop_assert!(steps.len() > 1);
                    prop_assert_eq!(steps.first(), steps.last());
                    prop_assert!(steps.windows(2).all(|step| edges.contains(&(step[0], step[1]))));
                }
                Err(other) => panic!("expected a cycle, got {other}"),
            }
        }
    }
}
