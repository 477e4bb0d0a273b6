//! Keys: documents, files, certificates, the choice of a key for a token, and keys from the network.

// It makes certificates by the library that brings TLS.
#[cfg(feature = "jwks")]
mod certificates;
mod jwks;
mod loading;
#[cfg(feature = "jwks")]
mod remote;
mod selection;
mod several;
