//! What is special about the tokens of well-known providers.

/// What is special about the tokens of a well-known provider: its issuer's form, the places of the
/// roles, and how it says that a client acts for itself.
///
/// A preset names no keys and no audience; those stay decisions of the application. Scopes are
/// read from `scope` and `scp` with or without a preset.
///
/// What cannot be the name of an issuer is refused by
/// [`build`](super::VerifierBuilder::build), [`ConfigError::Invalid`](crate::ConfigError::Invalid).
/// A domain may be pasted with `https://` before it and a slash after it.
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
    /// Why it is refused.
    pub(crate) problem: Option<&'static str>,
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
        let domain = bare(domain);
        let issuer = format!("https://{domain}/");
        Self::new(issuer, ["permissions"], Dialect::Auth0).demand(is_domain(&domain), DOMAIN)
    }

    /// Keycloak: the realm's URL as issuer; roles of the realm, and of this one client. Tokens of
    /// service accounts are known by `clientHost`, from the client scope `service_account`.
    ///
    /// `realm` is the whole URL, `https://sso.example/realms/shop`.
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

    /// Microsoft Entra ID, access tokens of version 2.0: roles from `roles`, the client from `azp`,
    /// which is required because ID tokens do not have it. Without `scp` a client acts for itself.
    ///
    /// `tenant` is the tenant's identifier, a UUID. Its domain is not: tokens name the UUID. Nor are
    /// `common`, `organizations` and `consumers`, which are no issuers.
    #[must_use]
    pub fn entra(tenant: &str) -> Self {
        let tenant = tenant.to_ascii_lowercase();
        let issuer = format!("https://login.microsoftonline.com/{tenant}/v2.0");
        Self::new(issuer, ["roles"], Dialect::Entra).demand(is_uuid(&tenant), TENANT)
    }

    /// Amazon Cognito: roles from `cognito:groups`. Name the app with
    /// [`client_ids`](super::VerifierBuilder::client_ids): access tokens have no `aud`.
    ///
    /// `user_pool` is the pool's identifier, which begins with its region: `eu-central-1_AbCdEf`.
    #[must_use]
    pub fn cognito(region: &str, user_pool: &str) -> Self {
        let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{user_pool}");
        let of_region = |(own, rest): (&str, &str)| own == region && is_name(rest);
        let fits = is_label(region) && user_pool.split_once('_').is_some_and(of_region);
        Self::new(issuer, ["cognito:groups"], Dialect::Common).demand(fits, POOL)
    }

    /// Okta: roles from `groups`, the client from `cid`.
    ///
    /// `authorization_server` is `default`, or the identifier of a custom one. The tokens of the
    /// organization's own authorization server are for Okta alone.
    #[must_use]
    pub fn okta(domain: &str, authorization_server: &str) -> Self {
        let domain = bare(domain);
        let issuer = format!("https://{domain}/oauth2/{authorization_server}");
        Self::new(issuer, ["groups"], Dialect::Okta)
            .demand(is_domain(&domain), DOMAIN)
            .demand(is_name(authorization_server), SERVER)
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

/// A domain without what a browser's address bar writes around it, in the case that tokens use.
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

/// Of 36 characters: 8-4-4-4-12 hexadecimal digits.
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
