//! Challenges, bodies, headers and the framing of gRPC.

mod challenges;
pub(crate) mod grpc;
mod own_bodies;
mod private;
mod problem;
mod resource;
