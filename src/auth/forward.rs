//! Headers that tell a service behind a proxy who is calling.

use http::{HeaderMap, HeaderName, HeaderValue, header::CONNECTION};

use crate::principal::Principal;

/// What [`forward_as`](super::JwtAuthLayer::forward_as) writes into a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Claim {
    /// The subject (`sub`).
    Subject,
    /// The issuer (`iss`).
    Issuer,
    /// The OAuth client (`client_id`, else `azp`).
    ClientId,
    /// The session (`sid`).
    SessionId,
    /// The roles, separated by commas. A role that holds a comma is left out.
    Roles,
    /// The scope, separated by spaces.
    Scope,
}

#[derive(Clone, Default)]
pub(super) struct Forward {
    headers: Vec<(HeaderName, Claim)>,
}

impl Forward {
    pub(super) fn add(&mut self, header: HeaderName, claim: Claim) {
        self.headers.push((header, claim));
    }

    #[cfg(feature = "warp")]
    pub(super) fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }

    /// RFC 9700 §4.13: a proxy must remove such headers from what clients send.
    pub(super) fn clean(&self, headers: &mut HeaderMap) {
        if self.headers.is_empty() {
            return;
        }
        let forged: Vec<HeaderName> = headers
            .keys()
            .filter(|name| self.is_ours(name.as_str().as_bytes()))
            .cloned()
            .collect();
        for name in forged {
            headers.remove(name);
        }
        self.keep_from_being_dropped(headers);
    }

    /// RFC 9110 §7.6.1: a proxy drops what `Connection` names, so that a client could have it drop
    /// what this layer writes.
    fn keep_from_being_dropped(&self, headers: &mut HeaderMap) {
        let options = || {
            let lines = headers.get_all(CONNECTION).iter();
            lines
                .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
                .map(<[u8]>::trim_ascii)
        };
        if !options().any(|option| self.is_ours(option)) {
            return;
        }
        let kept: Vec<&[u8]> = options().filter(|option| !self.is_ours(option)).collect();
        match HeaderValue::try_from(kept.join(&b", "[..])) {
            Ok(value) => headers.insert(CONNECTION, value),
            Err(_) => headers.remove(CONNECTION),
        };
    }

    fn is_ours(&self, name: &[u8]) -> bool {
        let ours = |ours: &HeaderName| alike(ours.as_str().as_bytes(), name);
        self.headers.iter().any(|(name, _)| ours(name))
    }

    pub(super) fn write(&self, caller: &Principal, headers: &mut HeaderMap) {
        for (name, claim) in &self.headers {
            if let Some(value) = claim.of(caller) {
                headers.insert(name, value);
            }
        }
    }
}

impl Claim {
    fn of(self, caller: &Principal) -> Option<HeaderValue> {
        let value = |text: &str| {
            // Printable ASCII only: servers disagree about everything else.
            let plain = text.bytes().all(|byte| (0x20..0x7F).contains(&byte));
            plain.then(|| HeaderValue::from_str(text).ok()).flatten()
        };
        match self {
            Self::Subject => caller.subject().and_then(value),
            Self::Issuer => caller.issuer().and_then(value),
            Self::ClientId => caller.client_id().and_then(value),
            Self::SessionId => caller.session_id().and_then(value),
            Self::Roles => value(&join(caller.roles(), ",")),
            Self::Scope => value(&join(caller.scope(), " ")),
        }
    }
}

fn join<'a>(items: impl Iterator<Item = &'a str>, separator: &str) -> String {
    let plain = |item: &&str| {
        !item.contains(separator) && item.bytes().all(|byte| (0x20..0x7F).contains(&byte))
    };
    items.filter(plain).collect::<Vec<_>>().join(separator)
}

/// CGI and WSGI servers read `x_user` and `x-user` as one name.
fn alike(ours: &[u8], theirs: &[u8]) -> bool {
    let plain = |byte: &u8| match byte {
        b'_' => b'-',
        byte => byte.to_ascii_lowercase(),
    };
    ours.iter().map(plain).eq(theirs.iter().map(plain))
}
