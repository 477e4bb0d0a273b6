//! What a token is made of: the compact form, the header, a scope.

pub(crate) mod compact;
pub(crate) mod date;
pub(crate) mod header;
pub mod scope;

pub use self::scope::Scope;
