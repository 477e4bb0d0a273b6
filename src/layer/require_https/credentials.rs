//! Detection of credentials in a request.

use http::{
    HeaderName,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
};

use crate::layer::extract::{RequestHead, percent_decoded};

/// Detects credentials. A false positive prevents a redirect, a false negative exposes a
/// credential.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    headers: Vec<HeaderName>,
    parameters: Vec<Box<str>>,
}

impl Credentials {
    pub(super) fn add_header(&mut self, name: HeaderName) {
        self.headers.push(name);
    }

    pub(super) fn add_parameter(&mut self, name: &str) {
        self.parameters.push(name.into());
    }

    pub(super) fn are_in(&self, head: RequestHead<'_>) -> bool {
        const PLACES: [HeaderName; 4] = [
            AUTHORIZATION,
            PROXY_AUTHORIZATION,
            COOKIE,
            // Browser scripts put a token there, because the WebSocket API sets no other header.
            SEC_WEBSOCKET_PROTOCOL,
        ];
        let in_headers = head.headers().iter().any(|(name, value)| {
            PLACES.contains(name)
                || self.headers.contains(name)
                || is_named_as_one(name.as_str().as_bytes())
                || holds_a_jwt(value.as_bytes())
        });
        let query = head.uri().query().unwrap_or_default();
        // Some servers accept a semicolon as a separator too.
        in_headers || query.split(['&', ';']).any(|one| self.is_in(one))
    }

    /// Returns `true` if a parameter of the query may be a credential.
    fn is_in(&self, parameter: &str) -> bool {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        // The name that the server behind reads from a broken escape is unknown.
        let Some(name) = percent_decoded(name) else {
            return true;
        };
        let value = percent_decoded(value);
        self.parameters.iter().any(|ours| ours.as_bytes() == &*name)
            || is_named_as_one(&name)
            || holds_a_jwt(&name)
            || value.is_some_and(|value| holds_a_jwt(&value))
    }
}

/// Returns `true` for `X-API-Key`, `access_token`, `x-amzn-oidc-data`, and other names under which
/// clients and gateways send credentials.
fn is_named_as_one(name: &[u8]) -> bool {
    const WORDS: [&[u8]; 13] = [
        b"token",
        b"jwt",
        b"apikey",
        b"accesskey",
        b"authkey",
        b"secret",
        b"password",
        b"credential",
        b"assertion",
        b"signature",
        b"session",
        b"dpop",
        b"oidc",
    ];
    let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    let letters: Vec<u8> = letters.map(u8::to_ascii_lowercase).collect();
    let holds = |word: &&[u8]| letters.windows(word.len()).any(|part| *part == **word);
    WORDS.iter().any(holds)
}

/// Returns `true` if a part of the text has the form of a JWT, whose header begins with `{"`.
fn holds_a_jwt(text: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let mut words = text.split(|byte| !is_part(byte));
    words.any(|word| {
        word.starts_with(b"eyJ") && word.iter().filter(|byte| **byte == b'.').count() >= 2
    })
}
