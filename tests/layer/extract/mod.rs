//! The places of a credential in a request.

mod cookies;
mod credentials;
