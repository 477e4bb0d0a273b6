//! The other tasks of a test.

/// Lets every other task of a current-thread runtime do what it can without I/O.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
