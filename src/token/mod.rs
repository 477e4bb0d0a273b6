//! What a token is made of: the compact form, dates, a scope.

pub(crate) mod compact;
pub(crate) mod date;
pub mod scope;

pub use self::scope::Scope;
