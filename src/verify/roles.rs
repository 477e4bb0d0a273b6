//! Where in the claims the roles are.

use serde_json::Value;

use crate::{
    error::ConfigError,
    principal::{Facts, List},
    verify::witness::{Item, Seen},
};

/// The place of a role claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RolePath {
    /// The top-level claim.
    pub(crate) head: String,
    /// The way down from it; empty for a top-level claim.
    tail: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    /// Every member of an object.
    Each,
}

impl RolePath {
    /// A claim's name, or a JSON Pointer (RFC 6901) where it starts with `/`. So a name that is a
    /// URL or holds dots stands for itself.
    pub(crate) fn parse(path: &str) -> Result<Self, ConfigError> {
        let Some(pointer) = path.strip_prefix('/') else {
            if path.is_empty() {
                return Err(ConfigError::invalid("roles_at", "an empty claim name"));
            }
            return Ok(Self {
                head: path.to_owned(),
                tail: Vec::new(),
            });
        };
        let mut steps = pointer.split('/').map(|step| {
            // RFC 6901 §4: `~1` first, then `~0`.
            step.replace("~1", "/").replace("~0", "~")
        });
        let head = steps
            .next()
            .filter(|head| !head.is_empty())
            .ok_or_else(|| ConfigError::invalid("roles_at", "a JSON pointer must name a claim"))?;
        Ok(Self {
            head,
            tail: steps.map(Step::Member).collect(),
        })
    }

    /// `/resource_access/*/roles`: the roles of every client.
    pub(crate) fn all_clients() -> Self {
        Self {
            head: "resource_access".to_owned(),
            tail: vec![Step::Each, Step::Member("roles".to_owned())],
        }
    }

    /// Adds the roles found in the top-level claim `value`. A value of another type holds none.
    pub(crate) fn collect(&self, value: Seen<'_>, facts: &mut Facts) {
        match value {
            Seen::Text(role) if self.tail.is_empty() => facts.push(List::Roles, role),
            Seen::List(items) if self.tail.is_empty() => {
                for role in items.iter().filter_map(Item::as_text) {
                    facts.push(List::Roles, role);
                }
            }
            Seen::Other(value) => walk(value, &self.tail, facts),
            _ => {}
        }
    }
}

fn walk(value: &Value, tail: &[Step], facts: &mut Facts) {
    match (tail.split_first(), value) {
        (Some((Step::Member(name), rest)), _) => {
            if let Some(inner) = value.get(name) {
                walk(inner, rest, facts);
            }
        }
        (Some((Step::Each, rest)), Value::Object(members)) => {
            for inner in members.values() {
                walk(inner, rest, facts);
            }
        }
        (None, Value::String(role)) => facts.push(List::Roles, role),
        (None, Value::Array(items)) => {
            for role in items.iter().filter_map(Value::as_str) {
                facts.push(List::Roles, role);
            }
        }
        _ => {}
    }
}
