//! Sign-in with an OpenID Connect provider, by the crate `openidconnect`.
//!
//! The login server does the rest: `state`, `nonce` and PKCE, bound to the browser that began and used once, and
//! the decision whose account it is.

use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, IssuerUrl, Nonce, PkceCodeVerifier, RedirectUrl,
    TokenResponse,
    core::{CoreClient, CoreProviderMetadata},
    reqwest,
};
use tower_jwt_auth::server::login::{
    AuthorizationRequest as Request, Identity, IdentityError as Error, IdentityProvider,
};

/// A provider, and this application as its client.
#[derive(Debug)]
pub struct Provider {
    /// The issuer, below which the metadata of the provider is found.
    pub issuer: IssuerUrl,
    /// The identifier of this application.
    pub client_id: ClientId,
    /// The secret of this application.
    pub client_secret: ClientSecret,
    /// A client that follows no redirects.
    pub http: reqwest::Client,
}

impl Provider {
    /// Reads the metadata and the keys at every step, so that a rotated key is known immediately.
    async fn discover(&self) -> Result<CoreProviderMetadata, Error> {
        let found = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http);
        found.await.map_err(Error::unavailable)
    }
}

impl IdentityProvider for Provider {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    async fn authorization_url(&self, request: &Request) -> Result<String, Error> {
        let found = self.discover().await?;
        let endpoint = found.authorization_endpoint().as_str();
        Ok(request.url(endpoint, &self.client_id, "openid email"))
    }

    async fn identify(&self, request: &Request, code: &str) -> Result<Identity, Error> {
        let (id, secret) = (self.client_id.clone(), self.client_secret.clone());
        let redirect = RedirectUrl::new(request.redirect_uri().to_owned())?;
        let verifier = PkceCodeVerifier::new(request.code_verifier().to_owned());
        let nonce = Nonce::new(request.nonce().to_owned());
        let client = CoreClient::from_provider_metadata(self.discover().await?, id, Some(secret));
        let client = client.set_redirect_uri(redirect);
        let code = client.exchange_code(AuthorizationCode::new(code.to_owned()))?;
        let code = code.set_pkce_verifier(verifier);
        let tokens = code.request_async(&self.http).await?;
        let token = tokens.id_token().ok_or(Error::refused("no ID token"))?;
        let claims = token.claims(&client.id_token_verifier(), &nonce)?;
        let who = Identity::new(claims.issuer().as_str(), claims.subject().as_str());
        let email = claims.email().map_or("", |email| email.as_str());
        Ok(who.email(email, claims.email_verified() == Some(true)))
    }
}
