//! The path of a request, as the client sent it.

use http::request::Parts;

/// Returns `true` unless the host has removed a slash together with the base path: axum passes on
/// `/api/auth//login` as `/login`.
pub(super) fn is_sent_path(parts: &Parts, path: &str) -> bool {
    #[cfg(feature = "axum")]
    if let Some(sent) = parts.extensions.get::<::axum::extract::OriginalUri>() {
        let before = sent.0.path().strip_suffix(path);
        return before.is_some_and(|before| before.ends_with('/') && !before.ends_with("//"));
    }
    let _ = (parts, path);
    true
}

/// Returns `true` if the host keeps the path that the client sent.
pub(super) fn knows_sent_path(parts: &Parts) -> bool {
    #[cfg(feature = "axum")]
    if parts
        .extensions
        .get::<::axum::extract::OriginalUri>()
        .is_some()
    {
        return true;
    }
    let _ = parts;
    false
}
