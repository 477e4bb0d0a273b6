//! The port of an identity provider.

use std::{error::Error, fmt, future::Future};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Identity;
use crate::{
    erased::erased,
    secret::{base62::base62, random},
};

/// An identity provider with which users sign in: a client of OpenID Connect, by a library of your choice.
///
/// The [endpoints](crate::server::endpoints#identity-providers) do the rest: `state`, `nonce` and PKCE, the
/// browser to which they are bound, and the decision whose account it is. The example `oidc` implements the
/// port with the crate `openidconnect`.
///
/// # Implementing
///
/// - Both methods get the same request.
/// - [`authorization_url`](Self::authorization_url) is usually [`AuthorizationRequest::url`] of the endpoint in
///   the provider's metadata.
/// - [`identify`](Self::identify) validates the ID token as OpenID Connect Core §3.1.3.7 describes: signature,
///   issuer, audience, expiry, and the `nonce` of the request.
/// - The HTTP client follows no redirects.
///
/// # Cancel safety
///
/// After ten seconds the future is dropped, and the user is asked to try again later.
pub trait IdentityProvider: Send + Sync + 'static {
    /// Returns the issuer. An identity of another issuer is refused, and so is a callback that names another
    /// one in the parameter `iss` (RFC 9207).
    fn issuer(&self) -> &str;

    /// Returns the URL of the authorization request, to which the browser is sent.
    ///
    /// # Errors
    ///
    /// [`IdentityError`], usually [`Unavailable`](IdentityError::Unavailable).
    fn authorization_url(
        &self,
        request: &AuthorizationRequest,
    ) -> impl Future<Output = Result<String, IdentityError>> + Send;

    /// Exchanges the code for an ID token, validates it, and returns the identity that it names.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]: the provider refused the code, the ID token is not valid, or the provider is
    /// unavailable.
    fn identify(
        &self,
        request: &AuthorizationRequest,
        code: &str,
    ) -> impl Future<Output = Result<Identity, IdentityError>> + Send;
}

erased! {
    pub(crate) trait ErasedIdentityProvider: IdentityProvider {
        async fn authorization_url(
            &self,
            request: &'a AuthorizationRequest,
        ) -> Result<String, IdentityError>;
        async fn identify(
            &self,
            request: &'a AuthorizationRequest,
            code: &'a str,
        ) -> Result<Identity, IdentityError>;
        fn issuer(&self) -> &str;
    }
}

/// The values of one authorization request. They are random, and bound to the browser that began.
#[derive(Clone, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    state: String,
    nonce: String,
    verifier: String,
    #[serde(skip)]
    redirect_uri: String,
}

impl AuthorizationRequest {
    pub(crate) fn new(redirect_uri: String) -> Self {
        let random = || base62(random::<32>());
        Self {
            state: random(),
            nonce: random(),
            verifier: random(),
            redirect_uri,
        }
    }

    /// Returns the request with this redirect URI, which the browser does not carry.
    pub(crate) fn returning_to(mut self, redirect_uri: String) -> Self {
        self.redirect_uri = redirect_uri;
        self
    }

    /// Returns the URL of the authorization request (OpenID Connect Core §3.1.2.1, RFC 7636 §4.3) at this
    /// endpoint of the provider. The scope contains `openid`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::server::login::AuthorizationRequest;
    ///
    /// fn at_the_provider(request: &AuthorizationRequest) -> String {
    ///     request.url("https://idp.example/authorize", "the-app", "openid email")
    /// }
    /// ```
    #[must_use]
    pub fn url(&self, endpoint: &str, client_id: &str, scope: &str) -> String {
        let separator = match endpoint.contains('?') {
            true => '&',
            false => '?',
        };
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", scope)
            .append_pair("state", &self.state)
            .append_pair("nonce", &self.nonce)
            .append_pair("code_challenge", &self.code_challenge())
            .append_pair("code_challenge_method", "S256")
            .finish();
        format!("{endpoint}{separator}{query}")
    }

    /// Returns the parameter `redirect_uri`: the public URL of the callback, which is registered at the
    /// provider.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Returns the parameter `state` (RFC 6749 §10.12).
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Returns the parameter `nonce`, which the ID token repeats (OpenID Connect Core §3.1.2.1).
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Returns the `code_verifier` of the token request (RFC 7636 §4.5).
    #[must_use]
    pub fn code_verifier(&self) -> &str {
        &self.verifier
    }

    /// Returns the `code_challenge` of the authorization request, by the method `S256` (RFC 7636 §4.2).
    #[must_use]
    pub fn code_challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))
    }
}

impl fmt::Debug for AuthorizationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationRequest")
            .field("redirect_uri", &self.redirect_uri)
            .finish_non_exhaustive()
    }
}

/// The error of an [`IdentityProvider`]. The cause is logged. The browser does not receive it.
#[derive(Debug)]
#[non_exhaustive]
pub enum IdentityError {
    /// The provider refused the code, or the ID token is not valid. The sign-in has failed.
    Refused(Box<dyn Error + Send + Sync>),
    /// The provider cannot be reached, or its response cannot be read. A later sign-in may succeed.
    Unavailable(Box<dyn Error + Send + Sync>),
}

impl IdentityError {
    /// Creates an error of a code or an ID token that is refused.
    pub fn refused(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Refused(cause.into())
    }

    /// Creates an error of a provider that cannot be reached.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(cause.into())
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(cause) => {
                write!(f, "the identity provider's response is refused: {cause}")
            }
            Self::Unavailable(cause) => write!(f, "the identity provider is unavailable: {cause}"),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for IdentityError {
    /// Creates [`Refused`](Self::Refused). For a provider that cannot be reached, call
    /// [`unavailable`](Self::unavailable).
    fn from(cause: E) -> Self {
        Self::refused(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u47_a_request_is_random_and_its_challenge_is_that_of_the_rfc() {
        let mut one = AuthorizationRequest::new("https://app.example/callback".to_owned());
        let other = AuthorizationRequest::new(String::new());
        let values = [one.state(), one.nonce(), one.code_verifier(), other.state()];
        for (place, value) in values.iter().enumerate() {
            // RFC 7636 §4.1: at least 43 characters.
            assert!(value.len() == 43 && !values[place + 1..].contains(value));
        }
        // RFC 7636, appendix B
        one.verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(one.code_challenge(), challenge);
        let url = one.url("https://idp.example/auth?a=b", "an app", "openid email");
        let (state, nonce) = (one.state(), one.nonce());
        assert_eq!(
            url,
            format!(
                "https://idp.example/auth?a=b&response_type=code&client_id=an+app\
                 &redirect_uri=https%3A%2F%2Fapp.example%2Fcallback&scope=openid+email&state={state}\
                 &nonce={nonce}&code_challenge={challenge}&code_challenge_method=S256"
            )
        );
        assert!(
            other
                .url("https://idp.example", "a", "openid")
                .contains("example?response_type")
        );
        assert!(!format!("{one:?}").contains(one.state()));
    }
}
