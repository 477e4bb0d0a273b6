//! The comparison of target URIs (RFC 9449 §4.3): without query and fragment, normalized by RFC 3986
//! §6.2.2 and §6.2.3.

use std::{borrow::Cow, fmt};

use crate::error::ConfigError;

/// The scheme, host and port of this server, as its clients address it.
#[derive(Clone)]
pub(crate) struct Origin {
    /// The usual spelling, with which a URI of this server starts.
    text: String,
    host: String,
    port: u16,
    secure: bool,
}

impl Origin {
    /// Parses the origin of an `http` or `https` URL. A path is ignored.
    pub(crate) fn parse(url: &str) -> Result<Self, ConfigError> {
        let parts = Parts::parse(url).ok_or_else(|| {
            let problem = "not an http or https URL without user information";
            ConfigError::invalid("the public URL", problem)
        })?;
        let scheme = if parts.secure { "https" } else { "http" };
        let host = parts.host.into_owned();
        let port = match parts.port == default_port(parts.secure) {
            true => String::new(),
            false => format!(":{}", parts.port),
        };
        Ok(Self {
            text: format!("{scheme}://{host}{port}"),
            host,
            port: parts.port,
            secure: parts.secure,
        })
    }

    /// Returns the usual spelling.
    #[cfg(feature = "server")]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns `true` for https, and for http on loopback.
    pub(crate) fn is_safe(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let address = host.parse::<std::net::IpAddr>();
        let is_loopback = address.is_ok_and(|address| address.is_loopback());
        self.secure || is_loopback || host == "localhost" || host.ends_with(".localhost")
    }

    /// Returns `true` if a URI names this path of this server.
    pub(crate) fn is_target(&self, uri: &str, path: &str) -> bool {
        // The usual spelling needs no normalization. A path that differs may still be the same.
        let usual = uri.strip_prefix(&*self.text);
        if path.starts_with('/') && usual == Some(path) {
            return true;
        }
        Parts::parse(uri).is_some_and(|parts| {
            self.is_origin_of(&parts)
                && normal_path(parts.path).is_some_and(|found| normal_path(path) == Some(found))
        })
    }

    /// Returns `true` if a URI of this server has a path that ends with this one, with more in front of
    /// it, as if a router had removed a prefix.
    pub(crate) fn is_target_with_prefix(&self, uri: &str, path: &str) -> bool {
        Parts::parse(uri).is_some_and(|parts| {
            let found = normal_path(parts.path);
            let (Some(found), Some(path)) = (found, normal_path(path)) else {
                return false;
            };
            self.is_origin_of(&parts) && found.len() > path.len() && found.ends_with(&*path)
        })
    }

    fn is_origin_of(&self, parts: &Parts<'_>) -> bool {
        self.secure == parts.secure && self.port == parts.port && *self.host == *parts.host
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns `true` if both are spellings of one target.
pub(crate) fn is_same_target(one: &str, other: &str) -> bool {
    if one == other {
        return Parts::parse(one).is_some();
    }
    match (Parts::parse(one), Parts::parse(other)) {
        (Some(one), Some(other)) => {
            (one.secure, one.port) == (other.secure, other.port)
                && one.host == other.host
                && normal_path(one.path).is_some_and(|path| normal_path(other.path) == Some(path))
        }
        _ => false,
    }
}

/// A URI without its query and its fragment.
struct Parts<'a> {
    secure: bool,
    /// In lower case.
    host: Cow<'a, str>,
    port: u16,
    path: &'a str,
}

impl<'a> Parts<'a> {
    fn parse(uri: &'a str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ => return None,
        };
        let rest = rest.split(['?', '#']).next()?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // An IPv6 address has colons within brackets (RFC 3986 §3.2.2).
        let end_of_host = authority.find(']').map_or(0, |end| end + 1);
        let (host, port) = match authority.get(end_of_host..)?.find(':') {
            None => (authority, ""),
            Some(colon) => {
                let (host, port) = authority.split_at_checked(end_of_host + colon)?;
                (host, port.get(1..)?)
            }
        };
        // RFC 3986 §6.2.3: the default port may be left out, and so may its digits.
        let port = match port {
            "" => default_port(secure),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            _ => return None,
        };
        // RFC 9110 §4.2.4: user information is not used.
        if host.is_empty() || host.contains('@') {
            return None;
        }
        let host = match unescaped(host)? {
            host if host.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                Cow::Owned(host.to_ascii_lowercase())
            }
            host => host,
        };
        Some(Self {
            secure,
            host,
            port,
            path,
        })
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Returns a path with its escapes in one spelling and without dot segments. Returns `None` if an escape
/// is malformed.
fn normal_path(path: &str) -> Option<Cow<'_, str>> {
    let path = match path {
        // RFC 3986 §6.2.3: an empty path is the same as `/`.
        "" => Cow::Borrowed("/"),
        path => unescaped(path)?,
    };
    let has_dots = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if !has_dots {
        return Some(path);
    }
    // RFC 3986 §5.2.4.
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    Some(Cow::Owned(format!("/{}", kept.join("/"))))
}

/// Returns a text in which escapes of unreserved characters are decoded, and the others have upper-case
/// digits (RFC 3986 §6.2.2.1, §6.2.2.2).
fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut normal = String::with_capacity(text.len());
    let mut parts = text.split('%');
    normal.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.get(..2)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            normal.push(char::from(byte));
        } else {
            normal.push('%');
            normal.push_str(&digits.to_ascii_uppercase());
        }
        normal.push_str(part.get(2..)?);
    }
    Some(Cow::Owned(normal))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(uri: &str, path: &str) -> bool {
        Origin::parse("https://api.example")
            .unwrap()
            .is_target(uri, path)
    }

    #[test]
    fn g11_spellings_of_one_target_are_the_same() {
        for (uri, path) in [
            ("https://api.example/a", "/a"),
            ("HTTPS://API.example:443/a", "/a"),
            ("https://api.example:/a", "/a"),
            ("https://api.example/%7Ea", "/~a"),
            ("https://api.example/~a", "/%7ea"),
            ("https://api.example/a%2fb", "/a%2Fb"),
            ("https://api.example", "/"),
            ("https://api.example/", ""),
            ("https://api.example/a?x=1#y", "/a"),
            ("https://api.example/x/../a/./b", "/a/b"),
            ("https://api.example/x/%2E%2E/a", "/a"),
            ("https://api.example/a/b/..", "/a/"),
            ("https://ap%69.example/a", "/a"),
        ] {
            assert!(matches(uri, path), "{uri} {path}");
        }
    }

    #[test]
    fn g9_another_scheme_host_port_or_path_is_another_target() {
        for uri in [
            "http://api.example/a",
            "https://api.example.evil/a",
            "https://evil/a",
            "https://api.example:8443/a",
            "https://api.example:443443/a",
            "https://api.example:+443/a",
            "https://user@api.example/a",
            "https://api.example@evil/a",
            "https://api.example/A",
            "https://api.example/a/",
            "https://api.example//a",
            "https://api.example/a/..;/a",
            "https://api.example/a%2",
            "https://api.example/%",
            "https://api.example/%+61",
            "https://api.example\\/a",
            "wss://api.example/a",
            "https:/api.example/a",
            "https:///a",
            "/a",
            "",
        ] {
            assert!(!matches(uri, "/a"), "{uri}");
        }
        assert!(!matches("https://api.example/a%2Fb", "/a/b"));
    }

    #[test]
    fn g11_an_address_keeps_its_brackets_and_a_port_its_number() {
        let v6 = Origin::parse("http://[::1]:3000/mcp").unwrap();
        assert!(v6.is_target("http://[::1]:3000/a", "/a"));
        assert!(!v6.is_target("http://[::1]/a", "/a"));
        assert_eq!(format!("{v6:?}"), "http://[::1]:3000");
        let named = Origin::parse("HTTPS://Api.Example:443").unwrap();
        assert_eq!(format!("{named:?}"), "https://api.example");
        for bad in [
            "api.example",
            "ftp://api.example",
            "https://",
            "https://u@h",
            "https://h:x",
        ] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn g38_a_path_in_front_of_the_request_is_a_prefix() {
        let origin = Origin::parse("https://api.example").unwrap();
        assert!(origin.is_target_with_prefix("https://api.example/v1/a", "/a"));
        assert!(!origin.is_target_with_prefix("https://api.example/a", "/a"));
        assert!(!origin.is_target_with_prefix("https://evil/v1/a", "/a"));
        assert!(!origin.is_target_with_prefix("https://api.example/v1/b", "/a"));
    }

    #[test]
    fn g11_whole_uris_are_compared_in_the_same_way() {
        assert!(is_same_target("https://a/b?c", "HTTPS://A:443/b"));
        assert!(!is_same_target("https://a/b", "https://a/c"));
        assert!(!is_same_target("nonsense", "nonsense"));
    }

    proptest! {
        #[test]
        fn g11_a_path_without_reserved_escapes_matches_itself_escaped(
            path in "(/[a-zA-Z0-9~._-]{1,8}){1,4}",
            upper in any::<bool>(),
        ) {
            let escaped: String = path
                .bytes()
                .map(|byte| match (byte, upper) {
                    (b'/', _) => "/".to_owned(),
                    (byte, true) => format!("%{byte:02X}"),
                    (byte, false) => format!("%{byte:02x}"),
                })
                .collect();
            let same = format!("https://api.example{escaped}");
            prop_assert!(matches(&same, &path));
            let other = format!("https://api.example{escaped}x");
            prop_assert!(!matches(&other, &path));
        }

        #[test]
        fn g9_no_text_makes_the_comparison_panic(uri in ".{0,40}", path in ".{0,20}") {
            let _ = matches(&uri, &path);
            let _ = matches(&format!("https://api.example{uri}"), &path);
        }
    }
}
