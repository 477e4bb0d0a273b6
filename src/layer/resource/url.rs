//! The URLs of a resource and of its authorization servers.

use std::net::IpAddr;

use http::Uri;

use crate::error::ConfigError;

/// The identifier of a resource, with the positions of its parts.
#[derive(Clone, Debug)]
pub(super) struct Identifier {
    text: String,
    /// The end of the authority.
    origin: usize,
}

impl Identifier {
    /// Parses an identifier: an https URL without a fragment (RFC 9728 §1.2), or an http URL on
    /// loopback. Scheme and host are converted to lower case (RFC 3986 §6.2.2.1).
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let refuse =
            |problem: &str| ConfigError::invalid("resource", format!("{text:?} {problem}"));
        let origin = check(text).map_err(refuse)?;
        let (start, rest) = text.split_at_checked(origin).unwrap_or((text, ""));
        Ok(Self {
            text: format!("{}{rest}", start.to_ascii_lowercase()),
            origin,
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn origin(&self) -> &str {
        self.text.get(..self.origin).unwrap_or_default()
    }

    /// Returns the path and the query of the metadata document: the well-known part is inserted between
    /// the host and the path (RFC 9728 §3.1).
    pub(super) fn document(&self) -> String {
        let rest = self.text.get(self.origin..).unwrap_or_default();
        // A slash directly behind the host is removed.
        let rest = match rest.strip_prefix('/') {
            Some(query) if query.is_empty() || query.starts_with('?') => query,
            _ => rest,
        };
        format!("{WELL_KNOWN}{rest}")
    }
}

/// Checks the URL of an authorization server, its issuer identifier: https without query and fragment
/// (RFC 8414 §2), or http on loopback.
pub(super) fn check_issuer(text: &str) -> Result<(), ConfigError> {
    let problem = match check(text) {
        Ok(_) if !text.contains('?') => return Ok(()),
        Ok(_) => "has a query",
        Err(problem) => problem,
    };
    let name = "authorization_server";
    Err(ConfigError::invalid(name, format!("{text:?} {problem}")))
}

/// Returns the end of the authority, or the problem with the URL.
fn check(text: &str) -> Result<usize, &'static str> {
    // RFC 3986 §2. The remaining characters need no escaping in a challenge.
    let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    if !text.bytes().all(allowed) {
        return Err("contains a character that a URL cannot have");
    }
    if text.contains('#') {
        return Err("has a fragment");
    }
    let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("is not an absolute URL");
    };
    if authority.as_str().contains('@') {
        return Err("contains user information");
    }
    if authority.host().is_empty() {
        return Err("has no host");
    }
    let secure = scheme.eq_ignore_ascii_case("https");
    let local = scheme.eq_ignore_ascii_case("http") && is_loopback(authority.host());
    match secure || local {
        true => Ok(scheme.len() + "://".len() + authority.as_str().len()),
        false => Err("is not an https URL; http is accepted on loopback only"),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// RFC 9728 §3.
pub(crate) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

#[cfg(test)]
mod tests {
    use super::Identifier;

    #[test]
    fn j2_the_well_known_part_is_inserted_after_the_host() {
        for (identifier, document) in [
            ("https://api.example", ""),
            ("https://api.example/", ""),
            ("https://api.example:8443", ""),
            ("https://api.example/mcp", "/mcp"),
            ("https://api.example/mcp/", "/mcp/"),
            ("https://api.example/a/b", "/a/b"),
            ("https://api.example//a", "//a"),
            ("https://api.example/a?x=1", "/a?x=1"),
            ("https://api.example?x=1", "?x=1"),
            ("https://api.example/?x=1", "?x=1"),
            ("http://[::1]:3000/mcp", "/mcp"),
        ] {
            let parsed = Identifier::parse(identifier).unwrap();
            assert_eq!(parsed.as_str(), identifier);
            let expected = format!("/.well-known/oauth-protected-resource{document}");
            assert_eq!(parsed.document(), expected, "{identifier}");
        }
    }

    #[test]
    fn j25_scheme_and_host_are_lowered_and_nothing_else() {
        let parsed = Identifier::parse("HTTPS://Api.Example:8443/MCP?Q=A").unwrap();
        assert_eq!(parsed.as_str(), "https://api.example:8443/MCP?Q=A");
        assert_eq!(parsed.origin(), "https://api.example:8443");
    }
}
