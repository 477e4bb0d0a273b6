//! Responses that shared caches do not keep for others.

use http::{HeaderMap, HeaderName, HeaderValue, header::CACHE_CONTROL};

/// Makes a response one that shared caches do not store: RFC 9111 §3.5 protects the `Authorization`
/// header alone. `no-store` and `private` stay as they are. Fields for one kind of cache are removed,
/// because they count instead of `Cache-Control` where they are known.
pub(crate) fn keep_private(headers: &mut HeaderMap) {
    let targeted = headers.keys().filter(|name| is_targeted(name));
    for name in targeted.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    let mut kept = b"private".to_vec();
    for line in headers.get_all(CACHE_CONTROL) {
        for directive in directives(line.as_bytes()) {
            let name = directive.split(|byte| *byte == b'=').next();
            let name = name.unwrap_or_default().trim_ascii();
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            // `private="set-cookie"` protects that field alone (RFC 9111 §5.2.2.7).
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

/// Returns `true` for a field by which one kind of shared cache is told what to store: RFC 9213 §2,
/// and those of Edge Architecture and nginx before it.
fn is_targeted(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("-cache-control") || matches!(name, "surrogate-control" | "x-accel-expires")
}

/// The directives of one line, which commas separate outside of quoted strings (RFC 9110 §5.6.4).
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
