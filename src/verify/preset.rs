//! Presets for the tokens of well-known providers.

/// The specifics of a well-known provider's tokens: the form of the issuer, the places of the
/// roles, and the mark of a client that acts on its own behalf.
///
/// A preset sets neither keys nor an audience; the application does. Scopes are read from `scope`
/// and `scp` with or without a preset.
///
/// [`build`](super::VerifierBuilder::build) returns
/// [`ConfigError::Invalid`](crate::ConfigError::Invalid) if the values do not form a valid issuer.
/// A domain may have a leading `https://` and a trailing slash.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")] {
/// # use tower_jwt_auth::{ConfigError, key::KeySet};
/// # fn example(keys: KeySet) -> Result<(), ConfigError> {
/// use tower_jwt_auth::verify::{Provider, Verifier};
///
/// let verifier = Verifier::key_set(keys)
///     .provider(Provider::keycloak("https://sso.example/realms/shop", "orders"))
///     .audience("orders")
///     .build()?;
/// # Ok(()) } }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    pub(crate) issuer: String,
    pub(crate) roles: Vec<String>,
    pub(crate) dialect: Dialect,
    /// The reason for which the preset is invalid.
    pub(crate) problem: Option<&'static str>,
}

/// The provider whose claims need special rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Common,
    Auth0,
    Entra,
    Keycloak,
    Okta,
}

impl Provider {
    /// Auth0. The issuer is `https://<domain>/`, with the slash. Roles are read from `permissions`.
    /// A subject `<client>@clients` is the client itself.
    ///
    /// `domain` is `tenant.eu.auth0.com` or your custom domain.
    #[must_use]
    pub fn auth0(domain: &str) -> Self {
        let domain = bare(domain);
        let issuer = format!("https://{domain}/");
        Self::new(issuer, ["permissions"], Dialect::Auth0).demand(is_domain(&domain), DOMAIN)
    }

    /// Keycloak. The issuer is the URL of the realm. Roles are those of the realm and of this
    /// client. A token with `clientHost`, which the client scope `service_account` adds, is for a
    /// service account.
    ///
    /// `realm` is the complete URL, such as `https://sso.example/realms/shop`.
    #[must_use]
    pub fn keycloak(realm: &str, client: &str) -> Self {
        let realm = realm.trim_end_matches('/');
        let escaped = client.replace('~', "~0").replace('/', "~1");
        let roles = [
            "/realm_access/roles".to_owned(),
            format!("/resource_access/{escaped}/roles"),
        ];
        Self::new(realm.to_owned(), roles, Dialect::Keycloak)
            .demand(is_realm(realm), REALM)
            .demand(!client.is_empty(), "a client is needed")
    }

    /// Microsoft Entra ID, for access tokens of version 2.0. Roles are read from `roles`, the
    /// client from `azp`. `azp` is required, because ID tokens do not have it. A token without
    /// `scp` is for a client that acts on its own behalf.
    ///
    /// `tenant` is the identifier of the tenant, a UUID. A domain does not work, because tokens
    /// contain the UUID. `common`, `organizations` and `consumers` do not work, because they are
    /// not issuers.
    #[must_use]
    pub fn entra(tenant: &str) -> Self {
        let tenant = tenant.to_ascii_lowercase();
        let issuer = format!("https://login.microsoftonline.com/{tenant}/v2.0");
        Self::new(issuer, ["roles"], Dialect::Entra).demand(is_uuid(&tenant), TENANT)
    }

    /// Amazon Cognito. Roles are read from `cognito:groups`. Set the app with
    /// [`client_ids`](super::VerifierBuilder::client_ids), because access tokens have no `aud`.
    ///
    /// `user_pool` is the identifier of the pool, which starts with the region:
    /// `eu-central-1_AbCdEf`.
    #[must_use]
    pub fn cognito(region: &str, user_pool: &str) -> Self {
        let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{user_pool}");
        let of_region = |(own, rest): (&str, &str)| own == region && is_name(rest);
        let fits = is_label(region) && user_pool.split_once('_').is_some_and(of_region);
        Self::new(issuer, ["cognito:groups"], Dialect::Common).demand(fits, POOL)
    }

    /// Okta. Roles are read from `groups`, the client from `cid`.
    ///
    /// `authorization_server` is `default` or the identifier of a custom one. The tokens of the
    /// organization's authorization server are only for Okta itself.
    #[must_use]
    pub fn okta(domain: &str, authorization_server: &str) -> Self {
        let domain = bare(domain);
        let issuer = format!("https://{domain}/oauth2/{authorization_server}");
        Self::new(issuer, ["groups"], Dialect::Okta)
            .demand(is_domain(&domain), DOMAIN)
            .demand(is_name(authorization_server), SERVER)
    }

    /// Sets another issuer, for a provider behind another name: a national cloud, such as
    /// `https://login.microsoftonline.us/<tenant>/v2.0`, a proxy, or a key server in tests. The keys are
    /// discovered from this issuer. The places of the roles and the marks of the provider stay.
    #[must_use]
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = issuer.into();
        self.problem = self.problem.or(match self.issuer.as_str() {
            "" => Some("an issuer is needed"),
            _ => None,
        });
        self
    }

    /// Returns the issuer that tokens must name.
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
            problem: None,
        }
    }

    fn demand(mut self, fits: bool, problem: &'static str) -> Self {
        if !fits {
            self.problem.get_or_insert(problem);
        }
        self
    }
}

/// Returns a domain without a scheme and slash, as copied from a browser, in the case that tokens
/// use.
fn bare(domain: &str) -> String {
    let domain = domain.strip_prefix("https://").unwrap_or(domain);
    let domain = domain.strip_suffix('/').unwrap_or(domain);
    domain.to_ascii_lowercase()
}

fn is_domain(text: &str) -> bool {
    text.contains('.') && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|one| one.is_ascii_alphanumeric() || one == b'-')
}

fn is_name(text: &str) -> bool {
    let plain = |one: u8| one.is_ascii_alphanumeric() || b"-_".contains(&one);
    !text.is_empty() && text.bytes().all(plain)
}

/// Returns `true` for 36 characters of the form 8-4-4-4-12 hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|one| one.is_ascii_hexdigit());
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.split('-').all(digits)
}

fn is_realm(url: &str) -> bool {
    let rest = url.strip_prefix("https://");
    let rest = rest.or_else(|| url.strip_prefix("http://"));
    let parts = rest.and_then(|rest| rest.split_once("/realms/"));
    parts.is_some_and(|(host, realm)| {
        !host.is_empty() && !realm.is_empty() && !realm.contains(['/', '?', '#'])
    })
}

const DOMAIN: &str = "a domain is needed, such as tenant.eu.auth0.com or tenant.okta.com";
const REALM: &str = "the realm's URL is needed, such as https://sso.example/realms/shop";
const TENANT: &str = "the tenant's identifier is needed, a UUID; `common`, `organizations` and \
                      `consumers` are no issuers, and tokens do not name a domain";
const POOL: &str = "a region and a pool in it are needed, such as eu-central-1 and \
                    eu-central-1_AbCdEf";
const SERVER: &str = "an authorization server is needed: `default`, or the identifier of another";
