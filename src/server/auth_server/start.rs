//! The start of a login server.

use std::{sync::Arc, time::Duration};

use super::{AuthServer, AuthServerBuilder, Inner, Tasks, builder::Change, seed, warnings};
use crate::{
    error::{ConfigError, StoreError},
    event::{EventSink, sink_fn},
    layer::{Confirmations, dpop::Dpop, rate_limit::ClientIp},
    secret::SecretKey,
    server::{
        endpoints::{AuthEndpoints, CookieNames},
        issue::{KeyRing, TokenIssuer},
        login::{Login, TakeOverHook},
        mail::MailFlowsBuilder,
        session::{Guests, Housekeeping, Sessions},
        settings::{AuthSecrets, AuthSettings, SigningKeys},
    },
    store::port::{AuthStore, UserStore},
};

pub(super) async fn start<S, U>(builder: AuthServerBuilder<S, U>) -> Result<AuthServer, ConfigError>
where
    S: AuthStore,
    U: UserStore,
{
    let settings = builder.settings.as_ref();
    let is_in_code = settings.is_none();
    let started = assemble(builder).await;
    started.map_err(|error| match is_in_code {
        true => in_code(error),
        false => error,
    })
}

async fn assemble<S, U>(builder: AuthServerBuilder<S, U>) -> Result<AuthServer, ConfigError>
where
    S: AuthStore,
    U: UserStore,
{
    let AuthServerBuilder {
        store,
        users,
        settings,
        changes,
        events,
        ..
    } = builder;
    let settings = settings.as_ref();
    // The origin is checked first: a wrong one is a mistake in the settings, which needs no store.
    let origin = match (builder.public_origin, settings) {
        (Some(origin), _) => Some((ORIGIN, origin)),
        (None, Some(settings)) => Some((PUBLIC_URL, settings.public_url())),
        (None, None) => None,
    };
    let path = settings.map_or(DEFAULT_PATH, AuthSettings::base_path);
    if let Some((name, origin)) = &origin {
        CookieNames::new(origin, path).map_err(named(name))?;
    }
    let origin = origin.map(|(_, origin)| origin);

    let secret = builder.secret.as_ref();
    let secret = secret.or_else(|| settings.and_then(AuthSettings::secret));
    let secrets = AuthSecrets::load(secret, &store).await?;
    let signing = settings.map_or_else(SigningKeys::generated, AuthSettings::signing_keys);
    let are_keys_given = builder.keys.is_some();
    let keys = match builder.keys {
        Some(keys) => keys.map_err(named("signing_key"))?,
        None => open_keys(&signing, &store, secret, events.as_ref()).await?,
    };
    let tokens = match settings {
        Some(settings) => settings.token_issuer(keys),
        None => TokenIssuer::builder(keys),
    };
    let name = builder
        .issuer
        .or_else(|| settings.and_then(|settings| settings.issuer_name().map(str::to_owned)))
        .or_else(|| origin.clone())
        .ok_or_else(|| {
            let problem = "an issuer or a public origin is required";
            ConfigError::invalid("issuer", problem)
        })?;
    let audiences = match (
        builder.audiences,
        settings.and_then(AuthSettings::audiences),
    ) {
        (own, None) if own.is_empty() => vec![name.clone()],
        (own, Some(set)) if own.is_empty() => set.to_vec(),
        (own, _) => own,
    };
    let tokens = audiences
        .iter()
        .fold(tokens.issuer(name), |tokens, audience| {
            tokens.audience(audience)
        });
    let issuer = apply(tokens, changes.tokens).build()?;
    let verifier = issuer.verifier().build()?;

    let revocations = store.revocations()?;
    let revocations = match &events {
        Some(events) => revocations.events(Arc::clone(events)),
        None => revocations,
    };
    revocations.loaded(LOADED_WITHIN).await;
    let checks = builder.checks.and(revocations.clone());
    let confirmations = Confirmations::new(store.clone())?;

    let mut sessions = Sessions::builder(issuer, store.clone());
    if let Some(settings) = settings {
        sessions = sessions
            .policy(settings.refresh_policy())
            .idle(settings.refresh_idle())
            .max_sessions(settings.max_sessions());
        if let Some(acr) = settings.acr_mfa() {
            sessions = sessions.mfa_acr(acr);
        }
    }
    if let Some(policy) = builder.policy {
        sessions = sessions.policy(policy);
    }
    sessions = apply(sessions, changes.sessions)
        .secret(secrets.sessions().clone())
        .revocation(revocations.clone())
        .confirmations(confirmations.clone());
    if let Some(events) = &events {
        sessions = sessions.events(Arc::clone(events));
    }
    let sessions = sessions.build()?;

    let is_trial = settings.is_some_and(|settings| settings.trial_store().is_some());
    if builder.has_totp && !secrets.are_lasting() && store.keeps_key_ring() && !is_trial {
        let problem = "needs a secret that outlives the process, as its store does";
        return Err(ConfigError::invalid("totp", problem));
    }
    let mut login = Login::builder(users, store.clone(), secrets.login().clone());
    if let Some(policy) = settings.and_then(AuthSettings::password_policy) {
        login = login.password_policy(policy.clone());
    }
    if let Some(settings) = settings {
        login = login.email_claims(settings.email_claims());
        #[cfg(feature = "totp")]
        if let Some(lifetime) = settings.remember_devices() {
            login = login.remember_devices(lifetime);
        }
    }
    let login = apply(login, changes.login)
        .on_take_over(ApiKeysOf(store.clone()))
        .factors(store.clone())
        .credentials(store.clone());
    let mut login = login.one_time(store.clone());
    if let Some(events) = &events {
        login = login.events(Arc::clone(events));
    }
    let login = login.build();
    let guests = Guests::builder(sessions.clone(), store.clone());
    let guests = apply(guests, changes.guests).build()?;

    let needs_verified = settings.is_some_and(AuthSettings::requires_verified_email);
    let mail = match (builder.mailer, &origin) {
        (None, _) if needs_verified => {
            let problem = "needs a mailer, which sends the links";
            return Err(ConfigError::invalid(VERIFIED, problem));
        }
        (None, _) => None,
        (Some(_), None) => {
            let problem = "has no effect without a public origin";
            return Err(ConfigError::invalid("mailer", problem));
        }
        (Some(new), Some(origin)) => {
            let mail = new(login.clone(), sessions.clone(), origin);
            let mail = apply(mail.require_verified(needs_verified), changes.mail);
            Some(match &events {
                Some(events) => mail.events(Arc::clone(events)),
                None => mail,
            })
        }
    };

    let clients = builder.clients;
    let clients = clients.or_else(|| settings.map(AuthSettings::client_ip));
    let clients = clients.unwrap_or_else(ClientIp::peer);
    let mut endpoints =
        AuthEndpoints::builder(sessions.clone(), login.clone(), secrets.login().clone())
            .client_ip(clients.clone())
            .base_path(path);
    if let Some(origin) = &origin {
        endpoints = endpoints.public_origin(origin);
    }
    if let Some(settings) = settings {
        for origin in settings.trusted_origins() {
            endpoints = endpoints.trusted_origin(origin);
        }
        if let Some(prefix) = settings.cookie_prefix() {
            endpoints = endpoints.cookie_prefix(prefix);
        }
    }
    let is_open = builder.registration;
    let is_open = is_open.or_else(|| settings.map(AuthSettings::registration));
    endpoints = endpoints.registration(is_open.unwrap_or(false));
    if builder.has_guests {
        endpoints = endpoints.guests(guests.clone());
    }
    let dpop = match builder.dpop {
        Some(dpop) => Proofs::everywhere(dpop),
        None => Proofs::of(settings, origin.as_deref())?,
    };
    if let Some(dpop) = &dpop.endpoints {
        endpoints = endpoints.dpop(dpop.clone());
    }
    endpoints = apply(endpoints, changes.endpoints);
    if let Some(events) = &events {
        endpoints = endpoints.events(Arc::clone(events));
    }
    endpoints.check_origin()?;
    if let Some(settings) = settings {
        seed::create(settings.seed_users(), &login).await?;
    }
    let mail = mail.map(MailFlowsBuilder::build).transpose()?;
    if let Some(mail) = &mail {
        endpoints = endpoints.mail(mail.clone());
    }
    let warnings = warnings::of(&warnings::Facts {
        settings,
        secrets: &secrets,
        keys_end: !are_keys_given && signing.end_with_process(&store, secret),
    });

    // Last, so that a refused setting starts no task.
    let path = endpoints.path().to_owned();
    let endpoints = endpoints
        .keeping(Arc::new(Tasks {
            _housekeeping: Housekeeping::spawn(guests.housekeeping()),
            _claims: builder.has_guests.then(|| guests.spawn_claim_worker()),
        }))
        .build()?;
    warnings::log(&warnings);
    Ok(AuthServer {
        inner: Arc::new(Inner {
            sessions,
            login,
            guests,
            mail,
            endpoints,
            verifier,
            revocations,
            checks,
            confirmations,
            events,
            announcement: settings.and_then(AuthSettings::announcement),
            dpop: dpop.layer,
            clients,
            path,
            warnings,
        }),
    })
}

/// The API keys in the store, which go with a take-over.
struct ApiKeysOf<S>(S);

impl<S: AuthStore> TakeOverHook for ApiKeysOf<S> {
    async fn on_take_over(&self, subject: &str) -> Result<(), StoreError> {
        self.0.revoke_api_keys(subject).await
    }
}

/// The rules for proofs.
struct Proofs {
    endpoints: Option<Dpop>,
    layer: Option<Dpop>,
}

impl Proofs {
    /// Creates the rules of a server whose API has the origin of its endpoints. A proof is then used once in
    /// both.
    fn everywhere(dpop: Option<Dpop>) -> Self {
        Self {
            layer: dpop.clone(),
            endpoints: dpop,
        }
    }

    fn of(settings: Option<&AuthSettings>, origin: Option<&str>) -> Result<Self, ConfigError> {
        let (Some(settings), Some(origin)) = (settings, origin) else {
            // A build without cryptography accepts none.
            let dpop = origin.and_then(|origin| Dpop::at(origin).build().ok());
            return Ok(Self::everywhere(dpop));
        };
        let endpoints = settings.dpop(origin)?;
        match settings.resource_url() {
            Some(url) if !Dpop::serves_both(url, origin) => Ok(Self {
                endpoints,
                layer: settings.dpop(url)?,
            }),
            _ => Ok(Self::everywhere(endpoints)),
        }
    }
}

async fn open_keys<S: AuthStore>(
    keys: &SigningKeys,
    store: &S,
    secret: Option<&SecretKey>,
    events: Option<&Arc<dyn EventSink>>,
) -> Result<KeyRing, ConfigError> {
    match events {
        Some(events) => keys.open(store, secret, Arc::clone(events)).await,
        None => keys.open(store, secret, sink_fn(|_| {})).await,
    }
}

fn apply<B>(builder: B, changes: Vec<Change<B>>) -> B {
    changes
        .into_iter()
        .fold(builder, |builder, change| change(builder))
}

/// Replaces the name in an error by that of a setting.
fn named(name: &'static str) -> impl Fn(ConfigError) -> ConfigError {
    move |error| match error {
        ConfigError::Invalid { problem, .. } => ConfigError::invalid(name, problem),
        other => other,
    }
}

/// Replaces the name of a variable by that of a method, for a server without settings.
fn in_code(error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Invalid { name, problem } => {
            let variable = NAMES.iter().find(|(variable, _)| *variable == name);
            let name = variable.map_or(name, |(_, method)| (*method).into());
            ConfigError::Invalid { name, problem }
        }
        other => other,
    }
}

const NAMES: [(&str, &str); 3] = [
    (PUBLIC_URL, ORIGIN),
    ("AUTH_SECRET_KEY", "secret"),
    ("AUTH_STORE", "store"),
];
const PUBLIC_URL: &str = "AUTH_PUBLIC_URL";
const VERIFIED: &str = "AUTH_REQUIRE_VERIFIED_EMAIL";
const ORIGIN: &str = "public_origin";
const DEFAULT_PATH: &str = "/api/auth";
/// A server that has not loaded the revocations by then starts and is not ready.
const LOADED_WITHIN: Duration = Duration::from_secs(5);
