//! What is special about the tokens of well-known providers.

/// What is special about the tokens of a well-known provider: its issuer's form, the places of the
/// roles, and how it says that a client acts for itself.
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
    pub(crate) dialect: Dialect,
}

/// Whose claims are read in a way of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Common,
    Auth0,
    Entra,
    Keycloak,
    Okta,
}

impl Preset {
    /// Auth0: `https://<domain>/` as issuer, with its slash; roles from `permissions`. A subject
    /// `<client>@clients` is the client itself.
    ///
    /// `domain` is `tenant.eu.auth0.com` or a domain of one's own.
    #[must_use]
    pub fn auth0(domain: &str) -> Self {
        let issuer = format!("https://{domain}/");
        Self::new(issuer, ["permissions"], Dialect::Auth0)
    }

    /// Keycloak: the realm's URL as issuer; roles of the realm, and of this one client. Tokens of
    /// service accounts are known by `clientHost`, from the client scope `service_account`.
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
            Dialect::Keycloak,
        )
    }

    /// Microsoft Entra ID, access tokens of version 2.0: roles from `roles`, the client from `azp`,
    /// which is required because ID tokens do not have it. Without `scp` a client acts for itself.
    ///
    /// `tenant` is the tenant's identifier, a UUID; `common` is not an issuer.
    #[must_use]
    pub fn entra(tenant: &str) -> Self {
        let issuer = format!("https://login.microsoftonline.com/{tenant}/v2.0");
        Self::new(issuer, ["roles"], Dialect::Entra)
    }

    /// Amazon Cognito: roles from `cognito:groups`. Name the app with
    /// [`client_ids`](super::VerifierBuilder::client_ids): access tokens have no `aud`.
    #[must_use]
    pub fn cognito(region: &str, user_pool: &str) -> Self {
        let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{user_pool}");
        Self::new(issuer, ["cognito:groups"], Dialect::Common)
    }

    /// Okta: roles from `groups`, the client from `cid`.
    ///
    /// `authorization_server` is `default`, or the identifier of a custom one. The tokens of the
    /// organization's own authorization server are for Okta alone.
    #[must_use]
    pub fn okta(domain: &str, authorization_server: &str) -> Self {
        let issuer = format!("https://{domain}/oauth2/{authorization_server}");
        Self::new(issuer, ["groups"], Dialect::Okta)
    }

    /// The issuer that tokens must name.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    fn new<R: Into<String>>(
        issuer: String,
        roles: impl IntoIterator<Item = R>,
        dialect: Dialect,
    ) -> Self {
        Self {
            issuer,
            roles: roles.into_iter().map(Into::into).collect(),
            dialect,
        }
    }
}
