//! The pages of the application to which links lead.

use crate::{error::ConfigError, secret::Secret};

/// A path of the site with a place for a token.
#[derive(Clone, Debug)]
pub(super) struct Page {
    before: String,
    after: String,
}

impl Page {
    /// Reads a path such as `/reset-password#token={token}`.
    pub(super) fn new(path: &str) -> Result<Self, ConfigError> {
        let refused = |problem| Err(ConfigError::invalid("the page of a mail", problem));
        // `//host` and `/\host` are other sites.
        if !path.starts_with('/') || path.starts_with("//") || path.starts_with("/\\") {
            return refused("it must be a path of this site, such as `/reset#token={token}`");
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refused("only printable ASCII characters are allowed, without spaces");
        }
        match path.split_once(PLACE) {
            Some((before, after)) if !after.contains(PLACE) => Ok(Self {
                before: before.to_owned(),
                after: after.to_owned(),
            }),
            _ => refused("it must contain `{token}` once"),
        }
    }

    /// Returns the link to this page. Tokens need no escaping.
    pub(super) fn link(&self, origin: &str, token: &str) -> Secret<String> {
        let Self { before, after } = self;
        Secret::new(format!("{origin}{before}{token}{after}"))
    }
}

const PLACE: &str = "{token}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_path_of_the_site_with_one_place() {
        let link = |page: &str| Page::new(page).unwrap().link("https://app.example", "t0");
        assert_eq!(
            link("/r#token={token}").expose(),
            "https://app.example/r#token=t0"
        );
        assert_eq!(
            link("/r/{token}?x=1").expose(),
            "https://app.example/r/t0?x=1"
        );
        for bad in [
            "",
            "r#{token}",
            "/r",
            "/r#{token}{token}",
            "//evil.example/{token}",
            "/\\evil.example/{token}",
            "https://evil.example/{token}",
            "/r {token}",
            "/r\n{token}",
            "/é{token}",
        ] {
            assert!(Page::new(bad).is_err(), "{bad:?}");
        }
    }
}
