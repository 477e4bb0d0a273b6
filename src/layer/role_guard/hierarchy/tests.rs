use std::collections::BTreeSet;

use proptest::prelude::{ProptestConfig, Strategy, prop_assert, prop_assert_eq, proptest};

use super::{RoleHierarchy, RoleHierarchyBuilder, ScopeHierarchy};
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
fn j14_a_scope_implies_others_through_others() {
    let hierarchy = ScopeHierarchy::builder()
        .implies("files", ["files:write", "files:share"])
        .implies("files:write", ["files:read"])
        .build()
        .unwrap();
    assert!(hierarchy.implies("files", "files:read"));
    assert!(hierarchy.implies("files:read", "files:read"));
    assert!(!hierarchy.implies("files:read", "files:write"));
    assert!(!hierarchy.implies("files:share", "files:read"));
    let granting: Vec<_> = hierarchy.granting("files:read").collect();
    assert_eq!(granting, ["files", "files:write"]);
}

#[test]
fn j14_a_cycle_of_scopes_is_a_build_error_naming_the_cycle() {
    let cycle = ScopeHierarchy::builder()
        .implies("a", ["b"])
        .implies("b", ["c"])
        .implies("c", ["b"]);
    let Err(ConfigError::ScopeCycle(steps)) = cycle.build() else {
        panic!("expected a cycle");
    };
    assert_eq!(steps, "b > c > b");
}

#[test]
fn j14_a_name_that_is_not_one_scope_token_is_refused() {
    for name in ["", " ", "a b", " a", "a\"b", "a\\b", "\u{e9}", "a\n"] {
        for builder in [
            ScopeHierarchy::builder().implies(name, ["a"]),
            ScopeHierarchy::builder().implies("a", [name]),
        ] {
            let refused = builder.build();
            assert!(
                matches!(refused, Err(ConfigError::Invalid { .. })),
                "{name:?}"
            );
        }
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
