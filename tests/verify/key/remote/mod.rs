//! Keys from the network, against a key server that misbehaves on demand.

mod discovery;
mod documents;
mod faults;
mod hanging;
mod issuers;
mod life;
mod lookups;
mod moved;
mod reasons;
mod refetch;
mod stopped;
mod tls;
mod transport;
mod unknown_kids;
