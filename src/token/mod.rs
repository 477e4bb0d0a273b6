//! Parts of a token: the compact form, dates, scopes and session identifiers.

pub(crate) mod base62;
pub(crate) mod compact;
pub(crate) mod date;
pub mod scope;
mod session_id;


