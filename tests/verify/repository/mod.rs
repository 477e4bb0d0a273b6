//! The source tree and the manual, as files.

mod architecture;
mod figures;
mod rules;
mod wiring;
