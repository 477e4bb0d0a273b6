//! Classification of errors: may a write have happened?

use sqlx::Error;

use crate::error::StoreError;

/// Returns `true` if the server undid the transaction because of a conflict with another one.
pub(super) fn is_conflict(error: &Error) -> bool {
    // serialization_failure, deadlock_detected
    matches!(code(error).as_deref(), Some("40001" | "40P01"))
}

/// Classifies an error that came after the statement was sent.
pub(super) fn store_error(error: Error) -> StoreError {
    match &error {
        Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnDecode { .. }
        | Error::Decode(_)
        | Error::Encode(_)
        | Error::TypeNotFound { .. } => StoreError::invalid(error),
        Error::Database(_) => match code(&error).as_deref() {
            // The server shuts down, perhaps between the commit and its response; a broken connection.
            Some("57P01" | "57P02" | "57P05" | "08000" | "08003" | "08006" | "08007") => {
                StoreError::interrupted(error)
            }
            // Data, constraints, names, permissions, unsupported features.
            Some(code) if ["0A", "22", "23", "28", "3D", "3F", "42"].contains(&class(code)) => {
                StoreError::invalid(error)
            }
            // Any other error undid the statement: overload, a full disk, read-only after a failover.
            _ => StoreError::unavailable(error),
        },
        _ => StoreError::interrupted(error),
    }
}

/// Returns `true` if a pool had no connection in time.
pub(super) fn is_waiting(error: &StoreError) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(Error::PoolTimedOut))
}

pub(super) fn is_undefined_table(error: &Error) -> bool {
    code(error).as_deref() == Some("42P01")
}

fn code(error: &Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

fn class(code: &str) -> &str {
    code.get(..2).unwrap_or_default()
}
