//! Guards: who may call a service, by role, by scope or by a condition of one's own.

mod condition;
mod hierarchy;
mod rule;

pub use self::{
    hierarchy::{RoleHierarchy, RoleHierarchyBuilder},
    rule::Rule,
};
