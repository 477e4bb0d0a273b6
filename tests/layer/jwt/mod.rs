//! The layer that verifies tokens: its switches, revocation, waits, and the requests of gateways.

mod background;
mod dpop;
mod forwarded;
mod gateway;
mod mtls;
mod operation;
mod optional;
mod revocation;
mod several_checks;
mod switches;
mod waiting;
