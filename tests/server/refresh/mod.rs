//! The decision about a refresh token: every line of its table, every short history by a model checker, and
//! what the policies cost, by a simulation.

mod codec;
mod crossing;
mod model;
mod simulation;
mod table;
