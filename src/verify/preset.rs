//! What is special about the tokens of well-known providers.

/// The issuer's form and the places of the roles for a well-known provider.
///
/// A preset names no keys and no audience; those stay decisions of the application. Scopes are
/// read from `scope` and `scp` with or without a preset.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")] {
/// # use tower_jwt_auth::{ConfigError, key::KeySet};
/// # fn example(keys: KeySet) -> Result<(), ConfigError> {
/// use tower_jwt_auth::verify::{Preset, Verifier};
///
/// let verifier = Verifier::key_set(keys)
///     .preset(Preset::keycloak("https://sso.example/realms/shop", "orders"))
///     .audience("orders")
///     .build()?;
/// # Ok(()) } }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preset {
    pub(crate) issuer: String,
    pub(crate) roles: Vec<String>,
}

impl Preset {
    /// Auth0: `https://<domain>/` as issuer, with its slash; roles from `permissions`.
    ///
    /// `domain` is `tenant.eu.auth0.com` or a domain of one's own.
    #[must_use]
    pub fn auth0(domain: &str) -> Self {
        Self::new(format!("https://{domain}/"), ["permissions"])
    }

    /// Keycloak: the realm's URL as issuer; roles of the realm, and of this one client.
    ///
    /// `realm` is the whole URL, `https://sso.example/realms/shop`.
    #[must_use]
    pub fn keycloak(realm: &str, client: &str) -> Self {
        let client = client.replace('~', "~0").replace('/', "~1");
        Self::new(
            realm.trim_end_matches('/').to_owned(),
            [
                "/realm_access/roles".to_owned(),
                format!("/resource_access/{client}/roles"),
            ],
        )
    }

    /// Microsoft Entra ID, tokens of version 2.0: roles from `roles`.
    ///
    /// `tenant` is the tenant's identifier, a UUID; `common` is not an issuer.
    #[must_use]
    pub fn entra(tenant: &str) -> Self {
        Self::new(
            format!("https://login.microsoftonline.com/{tenant}/v2.0"),
            ["roles"],
        )
    }

    /// Amazon Cognito: roles from `cognito:groups`. Name the app with
    /// [`client_ids`](super::VerifierBuilder::client_ids): access tokens have no `aud`.
    #[must_use]
    pub fn cognito(region: &str, user_pool: &str) -> Self {
        Self::new(
            format!("https://cognito-idp.{region}.amazonaws.com/{user_pool}"),
            ["cognito:groups"],
        )
    }

    /// Okta: roles from `groups`.
    ///
    /// `authorization_server` is `default`, or the identifier of a custom one.
    #[must_use]
    pub fn okta(domain: &str, authorization_server: &str) -> Self {
        Self::new(
            format!("https://{domain}/oauth2/{authorization_server}"),
            ["groups"],
        )
    }

    /// The issuer that tokens must name.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    fn new<R: Into<String>>(issuer: String, roles: impl IntoIterator<Item = R>) -> Self {
        Self {
            issuer,
            roles: roles.into_iter().map(Into::into).collect(),
        }
    }
}
