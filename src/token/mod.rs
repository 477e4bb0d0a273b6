//! What a token is made of: the compact form, dates, a scope, the name of its session.

pub(crate) mod base62;
pub(crate) mod compact;
pub(crate) mod date;
pub mod scope;
mod session_id;

pub use self::{
    scope::Scope,
    session_id::{ParseSessionIdError, SessionId},
};
