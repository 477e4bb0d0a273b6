//! Classification of errors: may a write have happened?

use sqlx::Error;

use crate::error::StoreError;

pub(super) fn store_error(error: Error) -> StoreError {
    match &error {
        Error::Database(_) => match primary(&error) {
            // SQLITE_IOERR: the disk failed, perhaps after the commit had reached it.
            Some(10) => StoreError::interrupted(error),
            // BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, FULL, CANTOPEN: the statement was undone.
            Some(5 | 6 | 7 | 8 | 9 | 13 | 14) => StoreError::unavailable(error),
            _ => StoreError::invalid(error),
        },
        Error::WorkerCrashed | Error::Io(_) => StoreError::interrupted(error),
        Error::PoolTimedOut | Error::PoolClosed => StoreError::unavailable(error),
        _ => StoreError::invalid(error),
    }
}

pub(super) fn is_busy(error: &Error) -> bool {
    matches!(primary(error), Some(5 | 6))
}

/// The primary result code, which is the lower byte.
fn primary(error: &Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
