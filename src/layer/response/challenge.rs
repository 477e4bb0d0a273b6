//! `WWW-Authenticate` values: [RFC 6750 §3], [RFC 9470 §3] and [RFC 9728 §5.1] in the syntax of [RFC 9110
//! §11].
//!
//! [RFC 6750 §3]: https://www.rfc-editor.org/rfc/rfc6750#section-3
//! [RFC 9110 §11]: https://www.rfc-editor.org/rfc/rfc9110#section-11
//! [RFC 9470 §3]: https://www.rfc-editor.org/rfc/rfc9470#section-3
//! [RFC 9728 §5.1]: https://www.rfc-editor.org/rfc/rfc9728#section-5.1

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderValue, StatusCode};
use smallvec::{SmallVec, smallvec};

use crate::error::{AuthError, ErrorCode, ROWS, Reason, Scheme};

/// The challenges of a refusal: one for each scheme, that of the refused credential first.
pub(super) type Values = SmallVec<[HeaderValue; 2]>;

/// The challenges of a layer, built once so that a refusal only clones one.
#[derive(Clone, Debug)]
pub(super) struct Challenges {
    setup: Setup,
    schemes: Vec<OfScheme>,
}

/// The settings that determine the challenges.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) realm: String,
    pub(super) details: bool,
    /// The scope that a token needs, for requests without an accepted one.
    pub(super) scope: Option<Box<str>>,
    pub(super) announced: Option<Arc<Announced>>,
    /// The accepted schemes, in the order of their challenges.
    pub(super) schemes: Vec<Offer>,
    /// The scheme of the credential in question, unless the error has another one.
    pub(super) used: Scheme,
}

/// An accepted scheme, and the parameters that only its challenge has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) scheme: Scheme,
    pub(crate) parameters: Vec<(&'static str, Box<str>)>,
}

/// The parts of a protected resource's metadata that occur in challenges.
#[derive(Debug)]
pub(crate) struct Announced {
    /// The URL of the document, for `resource_metadata`.
    pub(crate) url: Box<str>,
    /// The name under which clients request a scope, by its name in tokens.
    pub(crate) scopes: BTreeMap<Box<str>, Box<str>>,
}

/// The challenges in one scheme.
#[derive(Clone, Debug)]
struct OfScheme {
    scheme: Scheme,
    bare: HeaderValue,
    values: Vec<(Reason, HeaderValue)>,
}

impl Challenges {
    pub(super) fn new(setup: Setup) -> Self {
        let schemes = setup.schemes.iter();
        Self {
            schemes: schemes.map(|offer| OfScheme::new(&setup, offer)).collect(),
            setup,
        }
    }

    /// Returns the challenges with other settings.
    pub(super) fn with(&self, change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = self.setup.clone();
        change(&mut setup);
        Self::new(setup)
    }

    /// Returns these challenges with the schemes, the scope and the metadata of those of a layer around
    /// this one.
    pub(super) fn within(&self, outer: &Self) -> Self {
        self.with(|setup| {
            let outer = outer.setup.clone();
            setup.scope = outer.scope;
            setup.announced = outer.announced;
            setup.schemes = outer.schemes;
            setup.used = outer.used;
        })
    }

    /// Returns `true` if the challenges have a scope, metadata, or another scheme than Bearer.
    pub(super) fn say_more_than_a_realm(&self) -> bool {
        let setup = &self.setup;
        let plain = setup.scope.is_none() && setup.announced.is_none();
        !plain || setup.schemes != [Offer::bearer()]
    }

    pub(super) fn realm(&self) -> &str {
        &self.setup.realm
    }

    pub(super) fn details(&self) -> bool {
        self.setup.details
    }

    /// Returns the challenges without an error, which every 401 needs at least (RFC 9110 §15.5.2).
    pub(super) fn bare(&self) -> Values {
        self.schemes.iter().map(|own| own.bare.clone()).collect()
    }

    /// Returns the challenges for a refusal, none if no other credential would change it.
    ///
    /// Only the scheme of the refused credential names an error (RFC 9449 §7.2).
    pub(super) fn of(&self, error: &AuthError) -> Values {
        let used = error.scheme().unwrap_or(self.setup.used);
        let first = self.schemes.first();
        let refused = self.schemes.iter().find(|own| own.scheme == used);
        let with_error = |own: &OfScheme| own.of(error, self.scope(error).as_deref());
        let is_401 = error.status() == StatusCode::UNAUTHORIZED;
        match error.reason() {
            Reason::Missing => self.bare(),
            _ if error.code().is_none() => Values::new(),
            // A request with two credentials is malformed in every scheme.
            Reason::Multiple => self.schemes.iter().map(with_error).collect(),
            // Another token helps, in any scheme. After a step-up the scheme stays the same.
            reason if is_401 && reason != Reason::StepUp => {
                let others = self.schemes.iter().filter(|own| own.scheme != used);
                let others = others.map(|own| own.bare.clone());
                refused.map(with_error).into_iter().chain(others).collect()
            }
            _ => match refused.or(first) {
                Some(own) => smallvec![with_error(own)],
                None => Values::new(),
            },
        }
    }

    /// Returns the challenges for a refused gRPC call. A challenge that says no more than the status of
    /// the call is left out.
    pub(super) fn of_call(&self, error: &AuthError) -> Values {
        match self.say_more_than_a_realm() || error.reason() == Reason::StepUp {
            true => self.of(error),
            false => Values::new(),
        }
    }

    /// Returns the scopes that the request needed, under the names by which clients request them.
    pub(super) fn scope(&self, error: &AuthError) -> Option<String> {
        self.setup.requested(error.required_scope()?)
    }
}

impl Setup {
    /// Returns a scope as clients request it, or `None` if it is not one.
    fn requested(&self, scope: &str) -> Option<String> {
        if !is_scope(scope) {
            return None;
        }
        let tokens = scope.split(' ').filter(|token| *token != OFFLINE);
        let tokens: Vec<_> = tokens.map(|token| self.name_of(token)).collect();
        (!tokens.is_empty()).then(|| tokens.join(" "))
    }

    fn name_of<'a>(&'a self, token: &'a str) -> &'a str {
        let announced = self.announced.as_ref();
        let name = announced.and_then(|announced| announced.scopes.get(token));
        name.map_or(token, AsRef::as_ref)
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            realm: "api".to_owned(),
            details: true,
            scope: None,
            announced: None,
            schemes: vec![Offer::bearer()],
            used: Scheme::Bearer,
        }
    }
}

impl Offer {
    pub(crate) fn bearer() -> Self {
        Self {
            scheme: Scheme::Bearer,
            parameters: Vec::new(),
        }
    }
}

impl OfScheme {
    fn new(setup: &Setup, offer: &Offer) -> Self {
        let start = start(setup, offer);
        let scope = setup.scope.as_deref();
        let scope = scope.and_then(|scope| setup.requested(scope));
        let make = |reason: Reason, code: Option<ErrorCode>| {
            let mut text = start.clone();
            if let Some(code) = code {
                attribute(&mut text, "error", code.as_str());
            }
            let description = reason.text().filter(|_| setup.details && code.is_some());
            if let Some(description) = description {
                attribute(&mut text, "error_description", description);
            }
            if let Some(scope) = scope.as_deref().filter(|_| wants_scope(reason)) {
                attribute(&mut text, "scope", scope);
            }
            if let Some(announced) = &setup.announced {
                attribute(&mut text, "resource_metadata", &announced.url);
            }
            value(text, offer.scheme)
        };
        let mut values: Vec<(Reason, HeaderValue)> = Vec::new();
        for (_, code, reason) in ROWS {
            // All causes of a reason share its code.
            if code.is_some() && values.iter().all(|(other, _)| other != reason) {
                values.push((*reason, make(*reason, *code)));
            }
        }
        Self {
            scheme: offer.scheme,
            // RFC 6750 §3.1: no error information if the request lacks a credential.
            bare: make(Reason::Missing, None),
            values,
        }
    }

    /// Returns the challenge with the error, and with the scopes that were required.
    fn of(&self, error: &AuthError, scope: Option<&str>) -> HeaderValue {
        let reason = error.reason();
        let built = self.values.iter().find(|(other, _)| *other == reason);
        let built = built.map_or(&self.bare, |(_, value)| value);
        let (acr, max_age) = (error.required_acr(), error.required_max_age());
        if scope.is_none() && acr.is_none() && max_age.is_none() {
            return built.clone();
        }
        let mut text = built.as_bytes().to_vec();
        let max_age = max_age.map(|age| age.as_secs().to_string());
        let parameters = [
            ("acr_values", acr),
            ("max_age", max_age.as_deref()),
            ("scope", scope),
        ];
        for (name, parameter) in parameters {
            if let Some(parameter) = parameter {
                attribute(&mut text, name, parameter);
            }
        }
        value(text, self.scheme)
    }
}

/// Returns `true` if a client answers a refusal by a request for another token.
fn wants_scope(reason: Reason) -> bool {
    matches!(reason, Reason::Missing | Reason::Expired | Reason::Invalid)
}

fn start(setup: &Setup, offer: &Offer) -> Vec<u8> {
    let mut text = offer.scheme.as_str().as_bytes().to_vec();
    text.extend_from_slice(b" realm=\"");
    for character in setup.realm.chars() {
        match character {
            // RFC 9110 §5.6.4: quoted-pair.
            '"' | '\\' => text.extend([b'\\', character as u8]),
            ' '..='~' => text.push(character as u8),
            _ => text.push(b' '),
        }
    }
    text.push(b'"');
    for (name, parameter) in &offer.parameters {
        attribute(&mut text, name, parameter);
    }
    text
}

/// Appends an attribute whose value needs no escaping.
fn attribute(text: &mut Vec<u8>, name: &str, value: &str) {
    for part in [", ", name, "=\"", value, "\""] {
        text.extend_from_slice(part.as_bytes());
    }
}

fn value(text: Vec<u8>, scheme: Scheme) -> HeaderValue {
    // Everything above is printable ASCII. The fallback is a bare challenge.
    let fallback = match scheme {
        Scheme::Bearer => "Bearer realm=\"\"",
        Scheme::Dpop => "DPoP realm=\"\"",
    };
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(fallback))
}

/// Returns `true` if the text is a scope: `scope-token *( SP scope-token )` (RFC 6749 §3.3).
pub(crate) fn is_scope(text: &str) -> bool {
    text.split(' ').all(is_scope_token)
}

/// Returns `true` for a scope token, which needs no escaping in a challenge.
pub(crate) fn is_scope_token(token: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
    !token.is_empty() && token.bytes().all(allowed)
}

/// The scope for refresh tokens. A client decides whether it needs one, and a resource has no use for it.
pub(crate) const OFFLINE: &str = "offline_access";
