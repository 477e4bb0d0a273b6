//! The manual: one chapter per topic. These modules contain no items.

#[doc = include_str!("getting_started.md")]
pub mod getting_started {}

#[doc = include_str!("keys.md")]
pub mod keys {}

#[doc = include_str!("issuing.md")]
pub mod issuing {}

#[doc = include_str!("sessions.md")]
pub mod sessions {}

#[doc = include_str!("api_keys.md")]
pub mod api_keys {}

#[doc = include_str!("guests.md")]
pub mod guests {}

#[doc = include_str!("frameworks.md")]
pub mod frameworks {}

#[doc = include_str!("gateways.md")]
pub mod gateways {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("remembered.md")]
pub mod remembered {}

#[doc = include_str!("operation.md")]
pub mod operation {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("rules.md")]
pub mod rules {}

#[doc = include_str!("limits.md")]
pub mod limits {}

#[cfg(feature = "server")]
#[doc = include_str!("login.md")]
pub mod login {}
