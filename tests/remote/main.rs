//! Keys from the network, against a key server that misbehaves on demand.

mod discovery;
mod documents;
mod faults;
mod issuers;
mod life;
mod lookups;
mod support;
mod tls;
mod unknown_kids;
