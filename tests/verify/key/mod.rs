//! Keys: documents, files, certificates, the choice of a key for a token, and keys from the network.

mod certificates;
mod jwks;
mod loading;
#[cfg(feature = "jwks")]
mod remote;
mod selection;
mod several;
