//! The settings of a server that issues tokens.

mod accounts;
mod browsers;
mod dpop;
mod secrets;
mod seeds;
mod signing;

use std::{fmt, net::IpAddr, sync::OnceLock, time::Duration};

pub(crate) use self::signing::SigningKeys;
use self::{
    accounts::{Accounts, Smtp, read_accounts, read_policy as read_passwords, read_smtp},
    browsers::{read_prefix, read_public_url, read_trusted},
    dpop::{Binding, read_binding},
    seeds::read_seeds,
    signing::{Key, read_key, read_rotation},
};
pub use self::{secrets::AuthSecrets, seeds::SeedUser};
use crate::{
    error::ConfigError,
    layer::rate_limit::ClientIp,
    secret::{Secret, SecretKey},
    server::{
        login::{EmailAddress, EmailClaims, PasswordPolicy},
        refresh::RefreshPolicy,
        session::DEFAULT_MAX_SESSIONS,
    },
    settings::{
        read_address,
        resource::{Announcement, Variables},
        vars::{Vars, refuse},
    },
};

/// The settings of a login server, read from the environment and checked.
///
/// | variable | meaning | default |
/// |---|---|---|
/// | `HOST`, `PORT` | the address to listen on | 127.0.0.1, 3000 |
/// | `AUTH_PUBLIC_URL` | the origin under which browsers reach the server; determines the names of cookies and the origin check; a default port is dropped, user information is refused | `http://HOST:PORT` |
/// | `AUTH_TRUSTED_ORIGINS` | comma list of further origins whose pages may sign in, including those of apps and extensions, such as `capacitor://localhost` | |
/// | `AUTH_COOKIE_PREFIX` | a prefix for the name of every cookie, see [`CookieNames::prefix`](crate::server::endpoints::CookieNames::prefix) | |
/// | `AUTH_ACR_MFA` | the claim `acr` of sessions with a second factor, see [`SessionsBuilder::mfa_acr`](crate::server::session::SessionsBuilder::mfa_acr) | none |
/// | `AUTH_DPOP` | `off`, `allowed` or `required`: [sessions that are bound to a key of the client](crate::server::endpoints#bound-tokens) | allowed |
/// | `JWT_DPOP_NONCE`, `JWT_DPOP_NONCE_SECONDS`, `JWT_DPOP_NONCE_KEY` | nonces in proofs, see [`JwtSettings`](crate::settings) | false, 300, a random key |
/// | `JWT_DPOP_REPLAY` | the memory of used proofs, see [`JwtSettings`](crate::settings) | `memory:` |
/// | `JWT_CLIENT_ID` | comma list of clients: the first is the `client_id` of tokens whose request names none, and a request may name any of them | `first-party` |
/// | `JWT_PRIVATE_KEY_FILE` | comma list of PEM files: the key of the first one signs, and all keys verify and are published | the keys are in the store, or one is generated, see [`issuer`](Self::issuer) |
/// | `JWT_SECRET_KEY` | an HMAC secret that signs instead of a private key | |
/// | `JWT_ALGORITHM` | the signing algorithm | the algorithm that the key allows, HS256 with a secret |
/// | `JWT_ISSUER` | the tokens' `iss` | the public URL |
/// | `JWT_AUDIENCE` | comma list, the tokens' `aud` | `JWT_RESOURCE` if it is set, else the issuer |
/// | `JWT_RESOURCE` | the identifier of the API behind the server's layer, see [`JwtSettings`](crate::settings) | the public URL |
/// | `JWT_AUTHORIZATION_SERVERS` | comma list of the issuers that clients get tokens from, usually the server's own; the layer then [announces](crate::layer::resource) the API | |
/// | `JWT_RESOURCE_SCOPES` | comma list of the scopes that clients can request; needs `JWT_AUTHORIZATION_SERVERS` | |
/// | `JWT_ACCESS_TOKEN_EXPIRE_MINUTES` | lifetime of access tokens: 1 to 30 | 10 |
/// | `JWT_REFRESH_TOKEN_EXPIRE_DAYS` | idle timeout of a session: 1 to 90 | 14 |
/// | `AUTH_TRUSTED_PROXIES` | comma list of addresses and networks of proxies that report the client address, see [`client_ip`](Self::client_ip) | none: the peer is the client |
/// | `AUTH_SECRET_KEY` | the server's secret, at least 32 random bytes in base64url (`openssl rand -base64 32 \| tr '+/' '-_'`), see [`SecretKey`], [`secrets`](Self::secrets) and [`issuer`](Self::issuer) | the secret of refresh tokens is stored in the store; the others are random in each process |
/// | `AUTH_KEY_ROTATION_DAYS` | the days for which a key in the store signs, such as `0.5`: at least twice the lifetime of an access token | 30 |
/// | `AUTH_REFRESH_POLICY` | `strict`, `browser`, `balanced`; with `balanced` every server that accepts the access tokens has to confirm them | browser |
/// | `AUTH_REFRESH_GRACE_SECONDS` | grace period for a used refresh token: 1 to 300 | 30 |
/// | `AUTH_MAX_SESSIONS` | the sessions that a user has at the same time: 1 to 99, or `none`, see [`SessionsBuilder::max_sessions`](crate::server::session::SessionsBuilder::max_sessions) | 50 |
/// | `AUTH_STORE` | `memory:`, `sqlite:PATH`, `postgres://…`, `redis://…` | see [`open_store`](Self::open_store) |
/// | `AUTH_REGISTRATION` | `true` enables registration | false |
/// | `AUTH_PASSWORD_MIN_CHARS` | the minimum length of new passwords: 8 to 64, see [`PasswordPolicy`] | 8 |
/// | `AUTH_COMMON_PASSWORDS_FILE` | a file with one password a line; these are refused in addition to the built-in list | |
/// | `AUTH_SMTP_URL` | a mail server, `smtps://USER:PASSWORD@HOST` or `smtp://…`, for your [mailer](crate::server::AuthServerBuilder::mailer); `auth_server` uses it | |
/// | `AUTH_REQUIRE_VERIFIED_EMAIL` | `true` lets only users with a verified address sign in, see [`MailFlowsBuilder::require_verified`](crate::server::mail::MailFlowsBuilder::require_verified); needs a mailer | false |
/// | `AUTH_EMAIL_CLAIMS` | claims about the address in access tokens: `verified` (`email_verified`), `address` (`email` as well) or `none` | none |
/// | `AUTH_REMEMBER_DEVICE_DAYS` | 1 to 90: users may remember a device on which they have proved a second factor | off |
/// | `AUTH_MAIL_FROM` | the sender of mails; required with `AUTH_SMTP_URL` | |
/// | `JWT_TOKEN_URL` | the path of the token endpoint; the other endpoints have the same parent | `/api/auth/token` |
/// | `JWT_TOKEN_TYPE` | only `Bearer` | Bearer |
/// | `AUTH_SEED_USER` | `name:password:role+role`, several separated by commas; none of them may contain a colon or a comma | |
///
/// Without a key file and without `JWT_SECRET_KEY`, the keys are generated, for `JWT_ALGORITHM` or for
/// `EdDSA` by default.
#[derive(Clone)]
pub struct AuthSettings {
    host: String,
    port: u16,
    public_url: Option<String>,
    trusted_origins: Vec<String>,
    cookie_prefix: Option<String>,
    acr_mfa: Option<String>,
    binding: Binding,
    client_ids: Vec<String>,
    key: Key,
    rotate_every: Option<Duration>,
    issuer: Option<String>,
    audiences: Option<Vec<String>>,
    resource: Variables,
    access_lifetime: Duration,
    refresh_idle: Duration,
    secret: Option<SecretKey>,
    clients: ClientIp,
    proxied: bool,
    policy: RefreshPolicy,
    max_sessions: Option<usize>,
    store: Option<String>,
    registration: bool,
    passwords: Option<PasswordPolicy>,
    smtp: Option<Smtp>,
    accounts: Accounts,
    mount: String,
    seeds: Vec<SeedUser>,
    ignored: Vec<String>,
    /// The store that was opened because none is configured.
    trial_store: OnceLock<String>,
}

impl AuthSettings {
    /// Reads the environment of the process, and the file that it names.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] with the variable as its name, for the first value that is invalid or
    /// contradicts another one.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(Vars::of_server_from_env()?)
    }

    /// Reads variables from a source other than the environment.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env), and if a variable occurs twice.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::read(Vars::of_server(vars)?)
    }

    fn read(mut vars: Vars) -> Result<Self, ConfigError> {
        let (host, port) = read_address(&mut vars)?;
        let public_url = read_public_url(&mut vars)?;
        let issuer = vars.text("JWT_ISSUER")?;
        // A verifying server accepts a list, but a token has one issuer.
        if issuer.as_deref().is_some_and(|one| one.contains(',')) {
            return Err(refuse("JWT_ISSUER", "tokens have one issuer, not a list"));
        }
        let audiences = vars.list("JWT_AUDIENCE")?;
        let resource = Variables::read(&mut vars)?;
        let minutes = vars.number(ACCESS, 1..=30)?.unwrap_or(10);
        let days = vars.number(REFRESH, 1..=90)?.unwrap_or(14);
        let proxies = vars.list(PROXIES)?;
        let access_lifetime = Duration::from_secs(u64::from(minutes) * 60);
        let settings = Self {
            key: read_key(&mut vars)?,
            rotate_every: read_rotation(&mut vars, access_lifetime)?,
            secret: match vars.secret(SECRET)? {
                Some(text) => Some(
                    text.expose()
                        .parse()
                        .map_err(|error: ConfigError| refuse(SECRET, error.to_string()))?,
                ),
                None => None,
            },
            proxied: proxies.is_some(),
            clients: read_clients(proxies)?,
            policy: read_policy(&mut vars)?,
            max_sessions: read_max_sessions(&mut vars)?,
            store: vars.text("AUTH_STORE")?,
            registration: vars.switch("AUTH_REGISTRATION")?.unwrap_or(false),
            passwords: read_passwords(&mut vars)?,
            smtp: read_smtp(&mut vars)?,
            accounts: read_accounts(&mut vars)?,
            mount: read_mount(&mut vars)?,
            seeds: read_seeds(&mut vars)?,
            access_lifetime,
            refresh_idle: Duration::from_secs(u64::from(days) * 24 * 3600),
            host,
            port,
            public_url,
            trusted_origins: read_trusted(&mut vars)?,
            cookie_prefix: read_prefix(&mut vars)?,
            acr_mfa: vars.text("AUTH_ACR_MFA")?,
            binding: read_binding(&mut vars)?,
            client_ids: vars.list("JWT_CLIENT_ID")?.unwrap_or_default(),
            issuer,
            audiences,
            resource,
            ignored: vars.into_ignored(),
            trial_store: OnceLock::new(),
        };
        settings.check_keys()?;
        settings.with_resource()
    }

    /// Checks the resource, and makes it the audience unless another one is set.
    fn with_resource(mut self) -> Result<Self, ConfigError> {
        let announcement = self.resource.or_named(&self.public_url())?;
        if let (true, None, Some(own)) = (
            self.resource.identifier().is_some(),
            &self.audiences,
            announcement,
        ) {
            self.audiences = Some(vec![own.resource().identifier().to_owned()]);
        }
        Ok(self)
    }

    /// Returns the resource of the layer, with the port that the server listens on. `None` if nothing
    /// is set and the public URL cannot be an identifier.
    pub(crate) fn announcement(&self) -> Option<Announcement> {
        // The port changes nothing about the check.
        self.resource.or_named(&self.public_url()).ok().flatten()
    }

    /// Returns host and port, as a listener expects them.
    #[must_use]
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Replaces the port, for a server with `PORT` 0 whose port the system chose.
    #[must_use]
    pub fn listening_on(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Returns the origin under which browsers reach the server.
    #[must_use]
    pub fn public_url(&self) -> String {
        let own = || format!("http://{}:{}", bracketed(&self.host), self.port);
        self.public_url.clone().unwrap_or_else(own)
    }

    /// Returns the further origins whose pages may sign in.
    pub fn trusted_origins(&self) -> impl Iterator<Item = &str> {
        self.trusted_origins.iter().map(String::as_str)
    }

    /// Returns the prefix of cookie names, if one is set.
    #[must_use]
    pub fn cookie_prefix(&self) -> Option<&str> {
        self.cookie_prefix.as_deref()
    }

    /// Returns the `acr` of sessions with a second factor, if one is set.
    #[must_use]
    pub fn acr_mfa(&self) -> Option<&str> {
        self.acr_mfa.as_deref()
    }

    /// Returns the source of a request's client address: the `X-Forwarded-For` of the proxies in
    /// `AUTH_TRUSTED_PROXIES`, or the peer of the connection if there are none. If the host keeps the
    /// peer's address elsewhere, set that place with [`ClientIp::peer_from`].
    ///
    /// # Security
    ///
    /// List only the proxies: a client that connects from a listed address can claim any address, and
    /// evade the login throttle that way.
    #[must_use]
    pub fn client_ip(&self) -> ClientIp {
        self.clients.clone()
    }

    /// Returns `true` if the server seems to be behind a proxy that is not listed: browsers reach it
    /// over https, which a proxy must then terminate. Without `AUTH_TRUSTED_PROXIES` all clients appear
    /// as one network and share its limit of login attempts.
    #[must_use]
    pub fn is_behind_an_unnamed_proxy(&self) -> bool {
        let secure = |url: &String| url.starts_with("https:");
        !self.proxied && self.public_url.as_ref().is_some_and(secure)
    }

    /// Returns `true` if neither a store, nor users, nor a public URL is configured and only this
    /// machine can reach the server, as in a first trial.
    #[must_use]
    pub fn is_a_first_try(&self) -> bool {
        let loopback = self
            .host
            .parse::<IpAddr>()
            .is_ok_and(|host| host.is_loopback());
        let nothing = self.store.is_none() && self.seeds.is_empty() && self.public_url.is_none();
        nothing && (loopback || self.host == "localhost")
    }

    /// Returns the server's secret, if it is set.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretKey> {
        self.secret.as_ref()
    }

    /// Returns the refresh policy.
    #[must_use]
    pub fn refresh_policy(&self) -> RefreshPolicy {
        self.policy
    }

    /// Returns the idle timeout of a session.
    #[must_use]
    pub fn refresh_idle(&self) -> Duration {
        self.refresh_idle
    }

    /// Returns the maximum number of sessions of a user, for
    /// [`SessionsBuilder::max_sessions`](crate::server::session::SessionsBuilder::max_sessions).
    #[must_use]
    pub fn max_sessions(&self) -> Option<usize> {
        self.max_sessions
    }

    /// Returns the URL of the store for sessions and users, if it is set.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        self.store.as_deref()
    }

    /// Records the store that was opened because none is configured.
    pub(crate) fn use_trial_store(&self, url: String) {
        // A second call opens another store, and the first one stays in use.
        let _ = self.trial_store.set(url);
    }

    pub(crate) fn trial_store(&self) -> Option<&str> {
        self.trial_store.get().map(String::as_str)
    }

    /// Returns `true` if registration is enabled.
    #[must_use]
    pub fn registration(&self) -> bool {
        self.registration
    }

    /// Returns the rules for new passwords, if one is set.
    #[must_use]
    pub fn password_policy(&self) -> Option<&PasswordPolicy> {
        self.passwords.as_ref()
    }

    /// Returns `true` if only users with a verified address may sign in.
    #[must_use]
    pub fn requires_verified_email(&self) -> bool {
        self.accounts.requires_verified
    }

    /// Returns the claims about the user's address in access tokens.
    #[must_use]
    pub fn email_claims(&self) -> EmailClaims {
        self.accounts.email_claims
    }

    /// Returns the time for which a device is remembered, if users may do so.
    #[must_use]
    pub fn remember_devices(&self) -> Option<Duration> {
        self.accounts.remember
    }

    /// Returns the URL of the mail server, which contains its password, and the sender of mails, if they
    /// are set.
    #[must_use]
    pub fn smtp(&self) -> Option<(&Secret<String>, &EmailAddress)> {
        self.smtp.as_ref().map(|smtp| (&smtp.url, &smtp.from))
    }

    /// Returns the public path of the endpoints, the parent of `JWT_TOKEN_URL`. The default is
    /// `/api/auth`.
    #[must_use]
    pub fn base_path(&self) -> &str {
        &self.mount
    }

    /// Adds a user that [`AuthServer`](crate::AuthServer) creates when it starts, unless the name is
    /// taken. The user's subject is random.
    #[must_use]
    pub fn seed(mut self, user: SeedUser) -> Self {
        self.seeds.push(user);
        self
    }

    /// Returns the users that are created at the start of the server.
    #[must_use]
    pub fn seed_users(&self) -> &[SeedUser] {
        &self.seeds
    }

    /// Returns the names of variables that are set and have no effect here.
    pub fn ignored(&self) -> impl Iterator<Item = &str> {
        self.ignored.iter().map(String::as_str)
    }
}

impl fmt::Debug for AuthSettings {
    // The store's URL may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSettings")
            .field("public_url", &self.public_url())
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

fn read_clients(proxies: Option<Vec<String>>) -> Result<ClientIp, ConfigError> {
    let Some(proxies) = proxies else {
        return Ok(ClientIp::peer());
    };
    // Compared in the form in which it is read: all of IPv4 has a spelling in IPv6.
    let names_all = |network: &&String| {
        let alone = ClientIp::behind([network.as_str()]);
        alone.is_ok_and(|alone| alone.trusts_everyone())
    };
    if let Some(all) = proxies.iter().find(names_all) {
        let all = all.escape_debug();
        return Err(refuse(
            PROXIES,
            format!("`{all}` lets every client choose its own address"),
        ));
    }
    let clients = ClientIp::behind(proxies.iter().map(String::as_str));
    clients.map_err(|error| match error {
        ConfigError::Invalid { problem, .. } => refuse(PROXIES, problem),
        other => other,
    })
}

fn read_policy(vars: &mut Vars) -> Result<RefreshPolicy, ConfigError> {
    let policy = match vars.text(POLICY)?.as_deref() {
        Some("strict") => RefreshPolicy::strict(),
        None | Some("browser") => RefreshPolicy::browser(),
        Some("balanced") => RefreshPolicy::balanced(),
        Some(_) => return Err(refuse(POLICY, "must be strict, browser or balanced")),
    };
    match vars.number(GRACE, 1..=300)? {
        Some(seconds) => policy
            .grace(Duration::from_secs(seconds.into()))
            .map_err(|error| refuse(GRACE, error.to_string())),
        None => Ok(policy),
    }
}

fn read_max_sessions(vars: &mut Vars) -> Result<Option<usize>, ConfigError> {
    match vars.text(MAX_SESSIONS)?.as_deref() {
        None => Ok(Some(DEFAULT_MAX_SESSIONS)),
        Some("none") => Ok(None),
        Some(number) => match number.parse() {
            Ok(most) if (1..=99).contains(&most) => Ok(Some(most)),
            _ => Err(refuse(
                MAX_SESSIONS,
                "must be a number from 1 to 99, or none",
            )),
        },
    }
}

/// Reads the base path from the path of the token endpoint.
fn read_mount(vars: &mut Vars) -> Result<String, ConfigError> {
    let kind = vars.text(TOKEN_TYPE)?;
    if kind.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(refuse(TOKEN_TYPE, "must be Bearer"));
    }
    let Some(path) = vars.text(TOKEN_URL)? else {
        return Ok("/api/auth".to_owned());
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    match path.strip_suffix("/token") {
        Some(mount) if mount.starts_with('/') && mount.len() > 1 && mount.bytes().all(plain) => {
            Ok(mount.to_owned())
        }
        _ => Err(refuse(
            TOKEN_URL,
            "must be a path that ends in /token, such as /api/auth/token",
        )),
    }
}

/// Puts an IPv6 address into brackets, because a port follows.
fn bracketed(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

const PROXIES: &str = "AUTH_TRUSTED_PROXIES";
const SECRET: &str = "AUTH_SECRET_KEY";
const POLICY: &str = "AUTH_REFRESH_POLICY";
const GRACE: &str = "AUTH_REFRESH_GRACE_SECONDS";
const MAX_SESSIONS: &str = "AUTH_MAX_SESSIONS";
const TOKEN_TYPE: &str = "JWT_TOKEN_TYPE";
const TOKEN_URL: &str = "JWT_TOKEN_URL";
const ACCESS: &str = "JWT_ACCESS_TOKEN_EXPIRE_MINUTES";
const REFRESH: &str = "JWT_REFRESH_TOKEN_EXPIRE_DAYS";
