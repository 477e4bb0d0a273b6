//! The front door of the issuing side: every part, wired.

mod builder;
mod seed;
mod start;
mod warnings;

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderValue, request::Parts};
use serde::{Serialize, de::DeserializeOwned};

pub use self::builder::AuthServerBuilder;
use crate::{
    error::ConfigError,
    event::EventSink,
    layer::{
        Confirmations,
        dpop::Dpop,
        extract::{Bearer, WebSocketProtocol},
        jwt::JwtAuthLayer,
        rate_limit::ClientIp,
        response::Whole,
        socket::SocketAuth,
    },
    principal::Claims,
    revocation::{RevocationCheck, RevocationChecks, RevocationSet},
    server::{
        endpoints::{AuthEndpoints, FlowError, WellKnown},
        issue::TokenIssuer,
        login::{Identities, Login, SignIn},
        mail::MailFlows,
        session::{ClaimWorker, Guests, Housekeeper, Sessions},
    },
    settings::resource::Announcement,
    store::port::AuthStore,
    verify::Verifier,
};

/// A login server: from settings and a store to layers, endpoints and background tasks. Cheap to
/// clone.
///
/// # Examples
///
/// A server with axum. In production the store is `AnyStore::open(…)` or
/// [`AuthSettings::open_store`](crate::AuthSettings::open_store).
///
/// ```
/// # #[cfg(not(all(feature = "aws-lc-rs", feature = "axum")))]
/// # fn main() {}
/// # #[cfg(all(feature = "aws-lc-rs", feature = "axum"))]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use tower_jwt_auth::{AuthServer, AuthSettings, Principal, store::MemoryStore};
///
/// async fn me(caller: Principal) -> String {
///     format!("hello {}", caller.subject().unwrap_or_default())
/// }
///
/// let auth = AuthServer::builder(MemoryStore::new())
///     .settings(AuthSettings::from_env()?)
///     .start()
///     .await?;
/// let app: Router = Router::new()
///     .route("/me", get(me))
///     .layer(auth.layer())
///     .nest_service(auth.path(), auth.endpoints().nested())
///     .route_service("/.well-known/{*document}", auth.well_known());
/// # Ok(())
/// # }
/// ```
///
/// Serve the router by `into_make_service_with_connect_info::<SocketAddr>()`. The login then knows the
/// client's address, on which its limits depend.
///
/// # Wiring
///
/// Each part can also be built by itself: [`Sessions`], [`Login`], [`Guests`], [`AuthEndpoints`],
/// [`JwtAuthLayer`], [`SocketAuth`]. The server adds what is easily left out then:
///
/// | wired | to | without it |
/// |---|---|---|
/// | the store's revocations | layer, sockets, sessions | a session that was ended is accepted until its token expires |
/// | a custom [revocation check](AuthServerBuilder::revocation) | layer, sockets | an open socket continues |
/// | confirmations | layer, sockets, endpoints, sessions | with [`balanced`](crate::server::refresh::RefreshPolicy::balanced) a spent refresh token works |
/// | roles and disabled accounts of the users | every refresh | a disabled user keeps the access until the session ends |
/// | the secret | refresh tokens, device tokens, counters, CSRF proofs, signing keys in the store | nodes refuse each other's tokens |
/// | one event sink | all parts | a part is missing in the audit log |
/// | one-time tokens | login | a password reset leaves older mails valid |
/// | the end of API keys in the store | [take-overs](crate::server::login::TakeOverHook) | a key of another person opens the account of its owner |
/// | housekeeping, and the worker for guest claims | background tasks | the store grows; a failed claim is never repeated |
///
/// # Background tasks
///
/// The tasks end when the last clone of the server and of its [endpoints](Self::endpoints) is dropped.
/// The revocations are followed as long as a layer, a socket or the sessions use them.
///
/// # Other hosts
///
/// Layers and endpoints are tower services, for hyper and any other host. Two values come from the
/// host: the path of a request, which [`endpoints`](Self::endpoints) expects as the client sent it, and
/// the peer's address, a [`PeerAddr`](crate::layer::rate_limit::PeerAddr) in the request's extensions.
#[derive(Clone)]
pub struct AuthServer {
    inner: Arc<Inner>,
}

struct Inner {
    sessions: Sessions,
    login: Login,
    guests: Guests,
    mail: Option<MailFlows>,
    endpoints: AuthEndpoints,
    verifier: Verifier,
    revocations: RevocationSet,
    /// The revocations, and the checks of the application.
    checks: RevocationChecks,
    confirmations: Confirmations,
    events: Option<Arc<dyn EventSink>>,
    announcement: Option<Announcement>,
    /// The rules for proofs at the API.
    dpop: Option<Dpop>,
    clients: ClientIp,
    path: String,
    warnings: Vec<String>,
}

/// The handles of the background tasks, which end when it is dropped.
struct Tasks {
    _housekeeping: Housekeeper,
    /// Only if guests are enabled.
    _claims: Option<ClaimWorker>,
}

impl AuthServer {
    /// Creates a builder of a server on this store.
    ///
    /// The store has all ports: a store of this crate, or a custom [`AuthStore`].
    pub fn builder<S: AuthStore>(store: S) -> AuthServerBuilder<S> {
        AuthServerBuilder::new(store)
    }

    /// Returns the layer that authenticates the requests of your API.
    ///
    /// It reads the token in the `Authorization` header and, if a public origin is set, in the cookies
    /// of the endpoints. It accepts [bound tokens](AuthServerBuilder::dpop). It checks the revocations, confirms refresh tokens and reports to the event
    /// sink. Change it as any other [`JwtAuthLayer`]:
    /// `auth.layer().`[`optional()`](JwtAuthLayer::optional).
    pub fn layer(&self) -> JwtAuthLayer<Claims, RevocationChecks> {
        self.layer_with(self.inner.verifier.clone())
    }

    /// Returns the layer with your type of claims, for handlers that take
    /// [`Verified<C>`](crate::Verified). Otherwise as [`layer`](Self::layer).
    ///
    /// # Errors
    ///
    /// Those of [`VerifierBuilder::build`](crate::verify::VerifierBuilder::build). A server that has
    /// started has usable keys, so an error is not expected.
    pub fn layer_of<C>(&self) -> Result<JwtAuthLayer<C, RevocationChecks>, ConfigError>
    where
        C: DeserializeOwned + Send + Sync + 'static,
    {
        let verifier = self.issuer().verifier().claims::<C>().build()?;
        Ok(self.layer_with(verifier))
    }

    /// Returns the layer for the handshake of sockets. It is [`layer`](Self::layer), optional, and it
    /// also reads the token in `Sec-WebSocket-Protocol: bearer, <token>`, because a browser sets no
    /// other header of a WebSocket.
    pub fn socket_layer(&self) -> JwtAuthLayer<Claims, RevocationChecks> {
        let protocol = WebSocketProtocol::new("bearer");
        let layer = self.layer().optional();
        match self.inner.endpoints.cookie() {
            Some(cookie) => layer.extractor((Bearer::new(), protocol, cookie)),
            None => layer.extractor((Bearer::new(), protocol)),
        }
    }

    /// Returns the authentication of sockets, with the checks and confirmations of the layer.
    pub fn sockets(&self) -> SocketAuth {
        SocketAuth::new(self.inner.verifier.clone())
            .revocation(self.inner.checks.clone())
            .confirmations(self.inner.confirmations.clone())
    }

    /// Returns the endpoints: login, refresh, logout and the others of
    /// [`endpoints`](crate::server::endpoints). They expect the path of a request as the client sent it,
    /// below [`path`](Self::path).
    ///
    /// `Router::nest_service` of axum removes that path: pass it
    /// `auth.endpoints().`[`nested()`](AuthEndpoints::nested).
    #[must_use]
    pub fn endpoints(&self) -> AuthEndpoints {
        self.inner.endpoints.clone()
    }

    /// Signs in a subject that your code has authenticated, and returns the response for its client.
    /// `parts` is the head of the request.
    ///
    /// See [`AuthEndpoints::sign_in`] for the responses, with an example.
    ///
    /// # Panics
    ///
    /// Panics outside a Tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// As for [`AuthEndpoints::sign_in`].
    pub async fn sign_in(&self, parts: &Parts, who: SignIn) -> http::Response<Whole> {
        self.inner.endpoints.sign_in(parts, who).await
    }

    /// Begins a flow of several requests of one browser: [`AuthEndpoints::begin_flow`].
    ///
    /// # Errors
    ///
    /// Those of [`AuthEndpoints::begin_flow`].
    ///
    /// # Cancel safety
    ///
    /// As for [`AuthEndpoints::begin_flow`].
    pub async fn begin_flow<T>(
        &self,
        parts: &Parts,
        name: &str,
        state: &T,
    ) -> Result<HeaderValue, FlowError>
    where
        T: Serialize + Sync + ?Sized,
    {
        self.inner.endpoints.begin_flow(parts, name, state).await
    }

    /// Finishes the flow of this name that the browser of the request has begun:
    /// [`AuthEndpoints::finish_flow`].
    ///
    /// # Errors
    ///
    /// Those of [`AuthEndpoints::finish_flow`].
    ///
    /// # Cancel safety
    ///
    /// As for [`AuthEndpoints::finish_flow`].
    pub async fn finish_flow<T>(&self, parts: &Parts, name: &str) -> Result<T, FlowError>
    where
        T: DeserializeOwned,
    {
        self.inner.endpoints.finish_flow(parts, name).await
    }

    /// Returns the service of the key set and the metadata, for `/.well-known/` at the root of the
    /// site. It also serves the metadata of the [resource](crate::layer::resource), if the settings
    /// announce one.
    #[must_use]
    pub fn well_known(&self) -> WellKnown {
        let resource = self.layer().metadata();
        self.inner.endpoints.well_known().with_resource(resource)
    }

    /// Returns the public path of the endpoints, `/api/auth` by default.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.inner.path
    }

    /// Returns the verifier of the access tokens.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.inner.verifier
    }

    /// Returns the issuer of the access tokens, to issue tokens without a session.
    #[must_use]
    pub fn issuer(&self) -> &TokenIssuer {
        self.inner.sessions.issuer()
    }

    /// Returns the sessions: to start one for a subject that your code has authenticated, to list them,
    /// to end them.
    ///
    /// A subject that is not among the [users](AuthServerBuilder::users) needs a
    /// [`claims_source`](AuthServerBuilder::claims_source). Otherwise it counts as deleted.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    /// Returns the login: to change and reset passwords.
    #[must_use]
    pub fn login(&self) -> &Login {
        &self.inner.login
    }

    /// Returns the identities of the users at identity providers: to sign in with one, to link one to the
    /// signed-in user, to list them.
    #[must_use]
    pub fn identities(&self) -> Identities {
        self.inner.login.identities(&self.inner.sessions)
    }

    /// Returns the guests. Their endpoint exists only after [`AuthServerBuilder::on_claim`] or
    /// [`AuthServerBuilder::guests`].
    #[must_use]
    pub fn guests(&self) -> &Guests {
        &self.inner.guests
    }

    /// Returns the mails, if a [mailer](AuthServerBuilder::mailer) is set: to request and notify from your
    /// code.
    #[must_use]
    pub fn mail(&self) -> Option<&MailFlows> {
        self.inner.mail.as_ref()
    }

    /// Waits until every queued mail was sent or reported: [`MailFlows::flush`]. Returns `true`
    /// immediately without a mailer.
    pub async fn flush_mail(&self, within: Duration) -> bool {
        match &self.inner.mail {
            Some(mail) => mail.flush(within).await,
            None => true,
        }
    }

    /// Returns the set of revocations. [`require_fresh`](RevocationSet::require_fresh) of a clone makes
    /// a stricter check for some routes.
    #[must_use]
    pub fn revocations(&self) -> &RevocationSet {
        &self.inner.revocations
    }

    /// Returns the source of a request's client address, for your own
    /// [rate limits](crate::layer::rate_limit::RateLimitLayer).
    #[must_use]
    pub fn client_ip(&self) -> ClientIp {
        self.inner.clients.clone()
    }

    /// Returns `true` if the server can serve: keys can sign and verify, and the revocations are known.
    /// For readiness probes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.inner.verifier.is_ready() && self.inner.checks.is_ready()
    }

    /// Returns one sentence for each setting that works and is not fit for production, or has no
    /// effect. With the feature `tracing` they are logged when the server starts.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.inner.warnings.iter().map(String::as_str)
    }

    fn layer_with<C>(&self, verifier: Verifier<C>) -> JwtAuthLayer<C, RevocationChecks>
    where
        C: Send + Sync + 'static,
    {
        let inner = &*self.inner;
        let layer = JwtAuthLayer::with_check(verifier, inner.checks.clone())
            .confirmations(inner.confirmations.clone());
        let layer = match inner.endpoints.cookie() {
            Some(cookie) => layer.extractor((Bearer::new(), cookie)),
            None => layer,
        };
        let layer = match &inner.dpop {
            Some(dpop) => layer.dpop(dpop.clone()),
            None => layer,
        };
        let layer = match &inner.announcement {
            Some(announcement) => announcement.apply(layer),
            None => layer,
        };
        match &inner.events {
            Some(events) => layer.events(Arc::clone(events)),
            None => layer,
        }
    }
}

impl fmt::Debug for AuthServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthServer")
            .field("issuer", self.issuer())
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}
