//! Discovery of an issuer's key set and of its introspection endpoint: [OpenID Connect Discovery
//! §4](https://openid.net/specs/openid-connect-discovery-1_0.html) and [RFC 8414
//! §3](https://www.rfc-editor.org/rfc/rfc8414#section-3).

use http::Uri;
use serde::Deserialize;

use super::{
    error::FetchError,
    fetch::{Fetcher, get, is_safe},
};
use crate::{
    error::{ConfigError, KeyProblem},
    key::without_byte_order_mark,
};

/// An issuer and the possible URLs of its metadata.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    name: String,
    url: Uri,
    places: Vec<Uri>,
    allow_http: bool,
}

/// A URL in an issuer's metadata, and the place of the metadata that contain it.
#[derive(Clone, Debug)]
pub(crate) struct Discovered {
    pub(crate) url: Uri,
    pub(super) place: usize,
}

/// A member of the metadata that is a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// RFC 8414 §2, `jwks_uri`.
    Keys,
    /// RFC 8414 §2, `introspection_endpoint`.
    Introspection,
}

impl Wanted {
    fn of(self, metadata: &Metadata) -> Option<&str> {
        match self {
            Self::Keys => metadata.jwks_uri.as_deref(),
            Self::Introspection => metadata.introspection_endpoint.as_deref(),
        }
    }

    fn missing(self) -> FetchError {
        match self {
            Self::Keys => FetchError::plain(KeyProblem::JwksUri, "the metadata have no jwks_uri"),
            Self::Introspection => FetchError::plain(
                KeyProblem::Metadata,
                "the metadata have no introspection_endpoint",
            ),
        }
    }

    fn unusable(self) -> FetchError {
        match self {
            Self::Keys => FetchError::plain(
                KeyProblem::JwksUri,
                "the jwks_uri of the metadata is not an https URL",
            ),
            Self::Introspection => FetchError::plain(
                KeyProblem::Metadata,
                "the introspection_endpoint of the metadata is not an https URL",
            ),
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Option<String>,
    introspection_endpoint: Option<String>,
}

fn is_https(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

impl Issuer {
    pub(crate) fn new(name: &str, allow_http: bool) -> Result<Self, ConfigError> {
        let refuse = |problem: &'static str| ConfigError::invalid("issuer", problem);
        let url: Uri = name.parse().map_err(|_| refuse("not a URL"))?;
        // RFC 8414 §2: https, without a query or a fragment.
        if !is_safe(&url, allow_http) {
            return Err(refuse("not an https URL without credentials"));
        }
        if url.query().is_some() || name.contains('#') {
            return Err(refuse("a query or a fragment (RFC 8414 §2)"));
        }
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(refuse("not an https URL"));
        };
        let origin = format!("{scheme}://{authority}");
        let path = url.path().trim_end_matches('/');
        // OpenID Connect appends the well-known path. RFC 8414 §3.1 inserts it after the host, and
        // §5 allows the same for OpenID Connect. Some servers append the path of RFC 8414.
        let mut places = vec![
            format!("{origin}{path}/.well-known/openid-configuration"),
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
            format!("{origin}/.well-known/openid-configuration{path}"),
            format!("{origin}{path}/.well-known/oauth-authorization-server"),
        ];
        if path.is_empty() {
            places.truncate(2);
        }
        let places = places
            .iter()
            .map(|place| place.parse().map_err(|_| refuse("not a URL")))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: name.to_owned(),
            url,
            places,
            allow_http,
        })
    }

    #[cfg(feature = "tracing")]
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> &Uri {
        &self.url
    }

    /// Reads a URL from the issuer's metadata. The place where the metadata were found `last` is tried
    /// first.
    pub(crate) async fn discover<F: Fetcher>(
        &self,
        client: &F,
        last: Option<usize>,
        wanted: Wanted,
    ) -> Result<Discovered, FetchError> {
        let mut failure: Option<FetchError> = None;
        let last = last.filter(|last| *last < self.places.len());
        let others = (0..self.places.len()).filter(|place| Some(*place) != last);
        for place in last.into_iter().chain(others) {
            let Some(from) = self.places.get(place) else {
                continue;
            };
            match self.read(client, from, wanted).await {
                Ok(url) => return Ok(Discovered { url, place }),
                Err(error) => {
                    let ends = error.is_of_connection();
                    if failure
                        .as_ref()
                        .is_none_or(|first| is_more_specific(&error, first))
                    {
                        failure = Some(error);
                    }
                    // All places are on the same server, so the connection would fail again.
                    if ends {
                        break;
                    }
                }
            }
        }
        let none = || FetchError::plain(KeyProblem::Metadata, "no metadata found");
        Err(failure.unwrap_or_else(none))
    }

    async fn read<F: Fetcher>(
        &self,
        client: &F,
        place: &Uri,
        wanted: Wanted,
    ) -> Result<Uri, FetchError> {
        let response = get(client, place, None).await?;
        let metadata: Metadata = serde_json::from_slice(without_byte_order_mark(response.body()))
            .map_err(|_| {
            let what = "the response is not an issuer's metadata";
            FetchError::plain(KeyProblem::Metadata, what)
        })?;
        // RFC 8414 §3.3: the issuers must be identical, or the metadata must not be used.
        if metadata.issuer != self.name {
            return Err(FetchError::because(
                KeyProblem::IssuerMismatch,
                "the metadata name another issuer",
                format!(
                    "expected {}, found {}",
                    shown(&self.name),
                    shown(&metadata.issuer)
                ),
            ));
        }
        match wanted.of(&metadata).map(str::parse::<Uri>) {
            // A link from https to http would be a downgrade, even on loopback.
            Some(Ok(url)) if self.may_lead(place, &url) => Ok(url),
            None => Err(wanted.missing()),
            _ => Err(wanted.unusable()),
        }
    }

    fn may_lead(&self, place: &Uri, url: &Uri) -> bool {
        is_safe(url, self.allow_http) && (self.allow_http || is_https(url) || !is_https(place))
    }
}

/// Returns `true` if an error is more informative than another. Most issuers use one of the places,
/// so a status from the others is expected. The most informative error is that of metadata that
/// cannot be used.
fn is_more_specific(error: &FetchError, than: &FetchError) -> bool {
    let weight = |error: &FetchError| match error.problem() {
        KeyProblem::Status => 0,
        KeyProblem::Metadata | KeyProblem::Redirect => 1,
        KeyProblem::IssuerMismatch | KeyProblem::JwksUri => 3,
        _ => 2,
    };
    weight(error) > weight(than)
}

/// Returns an issuer for the log: without control characters and credentials, and truncated.
fn shown(issuer: &str) -> String {
    let end = issuer.find(['?', '#']).unwrap_or(issuer.len());
    let (plain, rest) = issuer.split_at(end);
    let plain = match (plain.split_once("://"), plain.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => plain.to_owned(),
    };
    let cut = plain.chars().take(LONGEST_SHOWN).collect::<String>();
    let more = if rest.is_empty() && cut.len() == plain.len() {
        ""
    } else {
        "…"
    };
    format!("{cut:?}{more}")
}

const LONGEST_SHOWN: usize = 200;
