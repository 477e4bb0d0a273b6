//! Responses that shared caches must not store.

use http::{HeaderMap, HeaderName, HeaderValue, header::CACHE_CONTROL};

/// Makes a response one that shared caches do not store. RFC 9111 §3.5 protects only responses to
/// requests with an `Authorization` header. `no-store` and `private` are kept. Fields for one kind of
/// cache are removed, because caches that support them ignore `Cache-Control`.
pub(crate) fn keep_private(headers: &mut HeaderMap) {
    remove_targeted(headers);
    let mut kept = b"private".to_vec();
    for line in headers.get_all(CACHE_CONTROL) {
        for directive in directives(line.as_bytes()) {
            let name = directive.split(|byte| *byte == b'=').next();
            let name = name.unwrap_or_default().trim_ascii();
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            // `private="set-cookie"` protects only that field (RFC 9111 §5.2.2.7).
            if is(b"no-store") || (is(b"private") && name.len() == directive.len()) {
                return;
            }
            if !is(b"private") && !is(b"public") && !is(b"s-maxage") {
                kept.extend_from_slice(b", ");
                kept.extend_from_slice(directive);
            }
        }
    }
    let private = const { HeaderValue::from_static("private") };
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::try_from(kept).unwrap_or(private),
    );
}

/// Makes a response one that no cache stores, whatever its cache directives are.
pub(crate) fn never_store(headers: &mut HeaderMap) {
    remove_targeted(headers);
    let no_store = const { HeaderValue::from_static("no-store") };
    headers.insert(CACHE_CONTROL, no_store);
}

/// Makes a response one that no cache stores, or that shared caches do not store if it has cache
/// directives.
pub(super) fn forbid_storing(headers: &mut HeaderMap) {
    if headers.contains_key(CACHE_CONTROL) {
        return keep_private(headers);
    }
    remove_targeted(headers);
    let no_store = const { HeaderValue::from_static("no-store") };
    headers.insert(CACHE_CONTROL, no_store);
}

fn remove_targeted(headers: &mut HeaderMap) {
    let targeted = headers.keys().filter(|name| is_targeted(name));
    for name in targeted.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Returns `true` for a field with cache directives for one kind of shared cache: RFC 9213 §2, and the
/// older fields of Edge Architecture and nginx.
fn is_targeted(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control") || matches!(name, "surrogate-control" | "x-accel-expires")
}

/// Splits a line into its directives at commas outside of quoted strings (RFC 9110 §5.6.4).
fn directives(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let split = line.split(move |byte| {
        let was_escaped = std::mem::take(&mut escaped);
        match byte {
            b'"' if !was_escaped => quoted = !quoted,
            b'\\' if quoted && !was_escaped => escaped = true,
            _ => {}
        }
        *byte == b',' && !quoted
    });
    let trimmed = split.map(<[u8]>::trim_ascii);
    trimmed.filter(|directive| !directive.is_empty())
}
