//! A service that issues tokens: sessions, logins and their HTTP endpoints.

pub mod endpoints;
pub mod issue;
pub mod login;
pub mod refresh;
pub mod session;
