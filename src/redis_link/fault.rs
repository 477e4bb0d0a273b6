//! Classification of errors: may a write have happened?

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::StoreError;

/// Classifies an error that came after the command was sent.
pub(crate) fn store_error(error: RedisError) -> StoreError {
    match error.kind() {
        ErrorKind::Io => StoreError::interrupted(error),
        ErrorKind::Server(
            ServerErrorKind::ResponseError | ServerErrorKind::CrossSlot | ServerErrorKind::NoPerm,
        ) => StoreError::invalid(error),
        // Read-only, moved, loading, down: the server did nothing.
        ErrorKind::Server(_) => StoreError::unavailable(error),
        // Codes unknown to the client. All except `WRONGTYPE` mean that the server is too busy, too
        // full or not allowed to write (`BUSY`, `OOM`, `MISCONF`, `NOREPLICAS`).
        ErrorKind::Extension if error.code() != Some("WRONGTYPE") => StoreError::unavailable(error),
        ErrorKind::AuthenticationFailed => StoreError::unavailable(error),
        _ => StoreError::invalid(error),
    }
}
