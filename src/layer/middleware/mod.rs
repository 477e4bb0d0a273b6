//! The service and the future behind the layers.

mod gate;

pub use self::gate::GateFuture;
