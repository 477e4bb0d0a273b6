//! The layer: what it is told.

use std::{fmt, marker::PhantomData, sync::Arc};

use http::HeaderName;
use tower_layer::Layer;

use super::{
    JwtAuthService,
    config::Config,
    forward::{Claim, Forwarding, Plain},
};
use crate::{
    claims::Claims,
    deny::{Answers, Responder},
    error::{ConfigError, KeyProblem},
    event::{EventSink, Events},
    extract::{Bearer, TokenExtractor},
    head::RequestHead,
    refresh::Confirmations,
    revoke::{Both, NoRevocation, RevocationCheck},
    verify::Verifier,
};

/// A layer that authenticates requests by a JWT.
///
/// See the [module](super) for what it does. All of its settings lie behind one `Arc`, so that
/// frameworks may clone it for every request.
///
/// Its type holds the claims' type, the revocation checks, and the mode: [`Plain`], or
/// [`Forwarding`] after [`forward_as`](Self::forward_as).
#[must_use = "a layer does nothing before it is put around a service"]
pub struct JwtAuthLayer<C = Claims, R = NoRevocation, M = Plain> {
    config: Arc<Config<C, R>>,
    mode: PhantomData<fn() -> M>,
}

impl<C: Send + Sync + 'static> JwtAuthLayer<C> {
    /// A layer that demands a token which this verifier accepts, in the `Authorization` header.
    pub fn new(verifier: Verifier<C>) -> Self {
        Self {
            config: Arc::new(Config::new(verifier, NoRevocation, Arc::new(Bearer::new()))),
            mode: PhantomData,
        }
    }
}

impl<C, R, M> JwtAuthLayer<C, R, M> {
    /// Checks on every request if its token was revoked, by a
    /// [`RevocationSet`](crate::revoke::RevocationSet) or a custom check.
    ///
    /// Revoked is 401 `invalid_token`, unknown is 503. May be called repeatedly: all checks count,
    /// in any order, each with its own demand of freshness. See [`Both`].
    pub fn revocation<T: RevocationCheck>(self, check: T) -> JwtAuthLayer<C, Both<R, T>, M> {
        let config = Arc::unwrap_or_clone(self.config);
        JwtAuthLayer {
            config: Arc::new(config.with_revocation(check)),
            mode: PhantomData,
        }
    }

    /// Lets the use of an access token prove that its refresh token has arrived: for a server whose
    /// sessions are refreshed by [`RefreshPolicy::balanced`](crate::refresh::RefreshPolicy::balanced).
    /// May be called repeatedly, for the sessions of several issuers.
    pub fn confirmations(self, confirmations: Confirmations) -> Self {
        self.with(|config| config.confirmations.push(confirmations))
    }

    /// Who is told what became of each request, also of those that a guard inside refuses.
    pub fn events(self, sink: impl EventSink) -> Self {
        let events = Events::to(sink);
        self.with(|config| config.change_answers(|answers| answers.with_events(events)))
    }

    /// Lets requests without a credential pass as [`Anonymous`](crate::Anonymous).
    ///
    /// A credential that is present and bad is still refused. One exception: a bad *cookie* counts
    /// as absent and is cleared, because a browser cannot help sending it. The deletion is left out
    /// where the inner service sets a cookie of that name, and the response is
    /// `Cache-Control: private`. While the keys are unavailable a request with a token is answered
    /// with 503; it never passes as anonymous.
    pub fn optional(self) -> Self {
        self.with(|config| config.optional = true)
    }

    /// The protection space that challenges name (RFC 9110 §11.5); `api` by default.
    ///
    /// Characters outside printable ASCII are replaced by spaces.
    pub fn realm(self, realm: impl Into<String>) -> Self {
        let realm = realm.into();
        self.with(|config| config.change_answers(|answers| answers.with_realm(realm)))
    }

    /// Where the credential is looked for, instead of the `Authorization` header: one extractor,
    /// or a tuple of them.
    pub fn extract(self, extractor: impl TokenExtractor) -> Self {
        self.with(|config| config.extractor = Arc::new(extractor))
    }

    /// How refusals are answered, instead of problem details (RFC 9457).
    ///
    /// gRPC and gRPC-Web calls are answered in their own framing instead: see [`deny`](crate::deny).
    pub fn respond(self, responder: impl Responder) -> Self {
        let responder = Arc::new(responder);
        self.with(|config| config.change_answers(|answers| answers.with_responder(responder)))
    }

    /// Answers the authentication requests of a gateway: nginx `auth_request`, Caddy `forward_auth`,
    /// Envoy `ext_authz`, Traefik ForwardAuth.
    ///
    /// A gateway reads the status of the answer and nothing else, and its request carries headers that
    /// the client chose. So no request gets the framing of gRPC or gRPC-Web, 400 becomes 401 with the
    /// challenge, and 429 and 500 become 503. A [`Responder`] that answers 2xx keeps its body, and gets
    /// the status of the refusal. See [the manual](crate::manual::gateways).
    ///
    /// [`optional`](Self::optional), [`skip`](Self::skip) or
    /// [`allow_preflight`](Self::allow_preflight) beside it is a contradiction that
    /// [`build`](Self::build) reports. A layer that was never built refuses every request then, with 503.
    /// Set gateway mode on every layer of the stack that can refuse; a guard inside takes it from this
    /// layer.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(not(feature = "aws-lc-rs"))]
    /// # fn main() {}
    /// # #[cfg(feature = "aws-lc-rs")]
    /// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
    /// use tower_jwt_auth::{JwtAuthLayer, Verifier};
    ///
    /// let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
    /// let layer = JwtAuthLayer::new(verifier).gateway().build()?;
    /// assert!(layer.optional().build().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn gateway(self) -> Self {
        self.with(|config| config.change_answers(Answers::for_gateway))
    }

    /// Answers refused gRPC and gRPC-Web calls in their own framing, `true` by default; otherwise with
    /// their HTTP status. It stays off in [gateway mode](Self::gateway).
    pub fn grpc(self, framing: bool) -> Self {
        self.with(|config| config.change_answers(|answers| answers.with_grpc(framing)))
    }

    /// Tells clients the error code and nothing more.
    pub fn no_details(self) -> Self {
        self.with(|config| config.change_answers(Answers::without_details))
    }

    /// Lets requests that the predicate names pass as [`Anonymous`](crate::Anonymous) without
    /// looking at their credential: health checks and reflection under a layer around a whole
    /// server. Said twice, both count.
    ///
    /// # Security
    ///
    /// Compare the whole path, or its [segments](RequestHead::path_segments). A server behind a proxy
    /// takes `/public/../admin` for `/admin`, which starts with `/public/` here.
    pub fn skip<F>(self, names: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.with(|config| config.skips.push(Arc::new(names)))
    }

    /// Lets CORS preflight requests pass as [`Anonymous`](crate::Anonymous): `OPTIONS` with
    /// `Origin` and `Access-Control-Request-Method`, which browsers send without credentials.
    ///
    /// Off by default. A CORS layer outside this one answers them before they get here.
    pub fn allow_preflight(self) -> Self {
        self.with(|config| config.preflight = true)
    }

    /// Removes the credential from the request before the inner service sees it: for proxies.
    pub fn strip_credential(self) -> Self {
        self.with(|config| config.strip = true)
    }

    /// Writes a claim of the caller into a header for the inner service: for proxies.
    ///
    /// The header is always removed from what the client sent, also from requests that pass without
    /// a token. So are other spellings of the name, which some servers take for the same: case does
    /// not count, and any character that is neither a letter nor a digit counts as `-`. `Connection`
    /// cannot name it, so that no proxy drops it again (RFC 9110 §7.6.1), and no trailer of the
    /// request carries it: the inner service gets the body as a
    /// [`ForwardedBody`](super::ForwardedBody).
    ///
    /// A value that would not survive the hop exactly is left out: see [`Claim`].
    pub fn forward_as(self, header: HeaderName, claim: Claim) -> JwtAuthLayer<C, R, Forwarding> {
        let layer = self.with(|config| Arc::make_mut(&mut config.forward).add(header, claim));
        JwtAuthLayer {
            config: layer.config,
            mode: PhantomData,
        }
    }

    /// Checks the settings against each other. Without [gateway mode](Self::gateway) there is nothing to
    /// contradict.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`]: gateway mode beside a setting that lets requests without a credential
    /// pass.
    pub fn build(self) -> Result<Self, ConfigError> {
        self.config.answers.validate(&self.config.openings())?;
        Ok(self)
    }

    /// Whether there are keys, and knowledge of what is revoked: for readiness probes.
    #[must_use]
    pub fn is_ready(&self) -> bool
    where
        R: RevocationCheck,
    {
        self.config.verifier.is_ready() && self.config.revocation.is_ready()
    }

    /// Returns the reason why there are no keys, for readiness probes: see
    /// [`Verifier::key_problem`].
    #[must_use]
    pub fn key_problem(&self) -> Option<KeyProblem> {
        self.config.verifier.key_problem()
    }

    #[cfg(feature = "warp")]
    pub(super) fn config(&self) -> &Config<C, R> {
        &self.config
    }

    fn with(mut self, change: impl FnOnce(&mut Config<C, R>)) -> Self {
        let mut config = Arc::unwrap_or_clone(self.config);
        change(&mut config);
        self.config = Arc::new(config);
        self
    }
}

impl<C, R, M> Clone for JwtAuthLayer<C, R, M> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            mode: PhantomData,
        }
    }
}

impl<S, C, R, M> Layer<S> for JwtAuthLayer<C, R, M> {
    type Service = JwtAuthService<S, C, R, M>;

    fn layer(&self, inner: S) -> Self::Service {
        JwtAuthService::new(inner, Arc::clone(&self.config))
    }
}

impl<C, R, M> fmt::Debug for JwtAuthLayer<C, R, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthLayer").finish_non_exhaustive()
    }
}
