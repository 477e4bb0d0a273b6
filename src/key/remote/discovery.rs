//! Finding an issuer's key set: [OpenID Connect Discovery §4](https://openid.net/specs/openid-connect-discovery-1_0.html)
//! and [RFC 8414 §3](https://www.rfc-editor.org/rfc/rfc8414#section-3).

use http::Uri;
use serde::Deserialize;

use super::fetch::{Fetch, FetchError, get, is_safe};
use crate::{error::ConfigError, key::without_byte_order_mark};

/// An issuer, and where its metadata may be.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    name: String,
    places: Vec<Uri>,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

fn is_https(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

impl Issuer {
    pub(super) fn new(name: &str) -> Result<Self, ConfigError> {
        let refuse = |problem: &'static str| ConfigError::invalid("issuer", problem);
        let url: Uri = name.parse().map_err(|_| refuse("not a URL"))?;
        // RFC 8414 §2: https, no query, no fragment.
        if !is_safe(&url) {
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
        // OpenID Connect appends the well-known part, RFC 8414 §3.1 puts it after the host.
        let places = [
            format!("{origin}{path}/.well-known/openid-configuration"),
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
        ];
        let places = places
            .iter()
            .map(|place| place.parse().map_err(|_| refuse("not a URL")))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: name.to_owned(),
            places,
        })
    }

    pub(super) fn is_https(&self) -> bool {
        self.places.iter().all(is_https)
    }

    /// Asks the issuer where its key set is.
    pub(super) async fn discover<F: Fetch>(&self, client: &F) -> Result<Uri, FetchError> {
        let mut failure: Option<FetchError> = None;
        for place in &self.places {
            match self.read(client, place).await {
                Ok(url) => return Ok(url),
                // Most issuers have one of the two: that the other is missing says nothing.
                Err(error) if failure.is_none() || !error.is_status() => failure = Some(error),
                Err(_) => {}
            }
        }
        Err(failure.unwrap_or_else(|| FetchError::plain("no metadata found")))
    }

    async fn read<F: Fetch>(&self, client: &F, place: &Uri) -> Result<Uri, FetchError> {
        let response = get(client, place, None).await?;
        let metadata: Metadata =
            serde_json::from_slice(without_byte_order_mark(response.body()))
                .map_err(|_| FetchError::plain("the metadata is no issuer's metadata"))?;
        // RFC 8414 §3.3: identical, or the metadata must not be used.
        if metadata.issuer != self.name {
            return Err(FetchError::plain("the metadata names another issuer"));
        }
        match metadata.jwks_uri.parse::<Uri>() {
            // Plain http from an issuer of https would be a downgrade, on loopback too.
            Ok(url) if is_safe(&url) && (is_https(&url) || !is_https(place)) => Ok(url),
            _ => Err(FetchError::plain("the metadata's jwks_uri is not https")),
        }
    }
}
