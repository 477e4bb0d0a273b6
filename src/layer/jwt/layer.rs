//! The layer and its settings.

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderName;
use tower_layer::Layer;

use super::{JwtAuthService, config::Config, forward::ForwardedClaim, unseen::Unseen};
#[cfg(feature = "server")]
use crate::layer::confirmations::Confirmations;
use crate::{
    error::{ConfigError, KeyProblem},
    event::{EventSink, Events},
    layer::{
        dpop::Dpop,
        extract::{Bearer, RequestHead, TokenExtractor},
        mtls::Mtls,
        openapi::SecuritySchemes,
        resource::{ProtectedResource, ResourceMetadata},
        response::{Answers, ErrorResponder},
    },
    principal::Claims,
    revocation::{Both, NoRevocation, RevocationCheck},
    verify::Verifier,
};

/// A layer that authenticates requests by a JWT.
///
/// See the [module](super) for the rules. All settings are behind one `Arc`, so that a clone for every
/// request is cheap.
///
/// The parameters are the claims' type, the type of the revocation checks, and `true` after
/// [`forward_as`](Self::forward_as), which changes the body of the request.
#[must_use = "a layer does nothing before it is put around a service"]
pub struct JwtAuthLayer<C = Claims, R = NoRevocation, const FORWARDS: bool = false> {
    pub(super) config: Arc<Config<C, R>>,
}

impl<C: Send + Sync + 'static> JwtAuthLayer<C> {
    /// Creates a layer that requires a token in the `Authorization` header which this verifier accepts.
    pub fn new(verifier: Verifier<C>) -> Self {
        Self {
            config: Arc::new(Config::new(verifier, NoRevocation, Arc::new(Bearer::new()))),
        }
    }
}

#[cfg(feature = "server")]
impl<C: Send + Sync + 'static, R> JwtAuthLayer<C, R> {
    /// Creates a layer with this revocation check.
    pub(crate) fn with_check(verifier: Verifier<C>, check: R) -> Self {
        Self {
            config: Arc::new(Config::new(verifier, check, Arc::new(Bearer::new()))),
        }
    }
}

impl<C, R, const FORWARDS: bool> JwtAuthLayer<C, R, FORWARDS> {
    /// Adds a revocation check that runs on every request: a
    /// [`RevocationSet`](crate::revocation::RevocationSet) or a custom check.
    ///
    /// A revoked token is refused with 401 `invalid_token`. An unavailable check is 503. May be called
    /// repeatedly, in any order: a token must pass all checks, each with its own requirement of
    /// freshness.
    ///
    /// - Revoked: at least one check returns revoked, even if another check is unavailable.
    /// - Unavailable: at least one check is unavailable, and none returns revoked.
    /// - Valid: all checks return valid.
    ///
    /// Pending checks run concurrently.
    pub fn revocation<T: RevocationCheck>(self, check: T) -> JwtAuthLayer<C, Both<R, T>, FORWARDS> {
        let config = Arc::unwrap_or_clone(self.config);
        JwtAuthLayer {
            config: Arc::new(config.with_revocation(check)),
        }
    }

    /// Records that an access token was used, which confirms that its client received the refresh token
    /// issued with it. Needed on servers whose sessions are refreshed by
    /// [`RefreshPolicy::balanced`](crate::server::refresh::RefreshPolicy::balanced). May be called repeatedly,
    /// for the sessions of several issuers.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    pub fn confirmations(self, confirmations: Confirmations) -> Self {
        self.with(|config| config.confirmations.push(confirmations))
    }

    /// Sets the event sink. It receives one event per request, including requests that a guard inside
    /// this layer refuses.
    pub fn events(self, sink: impl EventSink) -> Self {
        self.with_events(Events::to(sink))
    }

    pub(crate) fn with_events(self, events: Events) -> Self {
        self.with(|config| config.change_answers(|answers| answers.with_events(events)))
    }

    /// Lets requests without a credential pass as [`Anonymous`](crate::Anonymous).
    ///
    /// A bad credential is still refused, with one exception: a bad *cookie* counts as absent and is
    /// deleted, because a browser always sends it. The response is then `Cache-Control: private`. The
    /// deletion is left out if the inner service sets a cookie of that name.
    ///
    /// While the keys are unavailable, a request with a token is answered with 503. It never passes as
    /// anonymous.
    pub fn optional(self) -> Self {
        self.with(|config| config.optional = true)
    }

    /// Sets the realm in challenges (RFC 9110 §11.5). The default is `api`.
    ///
    /// Characters outside printable ASCII are replaced by spaces.
    pub fn realm(self, realm: impl Into<String>) -> Self {
        let realm = realm.into();
        self.with(|config| config.change_answers(|answers| answers.with_realm(realm)))
    }

    /// Announces the protected resource (RFC 9728). Every challenge of this layer and of the guards inside
    /// it names the metadata, and the layer answers requests for the document, without a token. See
    /// [`resource`](crate::layer::resource).
    ///
    /// A later call replaces the resource. Requests for the document emit no event. In [gateway
    /// mode](Self::gateway) the layer does not answer them, because a gateway would take the response for
    /// a permission: route the document to [`metadata`](Self::metadata).
    ///
    /// For an [MCP server](crate::layer::resource::ProtectedResourceBuilder::mcp) the layer also removes
    /// the token from requests that pass.
    pub fn resource(self, resource: &ProtectedResource) -> Self {
        self.with(|config| config.announce(resource))
    }

    /// Returns the metadata of the [resource](Self::resource), if one is set: for a router in which this
    /// layer does not see requests for the document.
    #[must_use]
    pub fn metadata(&self) -> Option<ResourceMetadata> {
        let metadata = self.config.metadata()?;
        Some(metadata.document().clone())
    }

    /// Sets the scope in the challenges to requests without an accepted token: the scope tokens that a
    /// client needs for its first request, separated by spaces. Guards inside the layer name the scopes of
    /// their rules themselves.
    ///
    /// By default these challenges name no scope.
    pub fn challenge_scope(self, scope: &str) -> Self {
        self.with(|config| config.set_challenge_scope(scope))
    }

    /// Sets the places from which the credential is read: one extractor, or a tuple of extractors. The
    /// default is the `Authorization` header. See [`extract`](crate::layer::extract).
    pub fn extractor(self, extractor: impl TokenExtractor) -> Self {
        self.with(|config| {
            config.set_extractor(Arc::new(extractor));
            config.announce_again();
        })
    }

    /// Accepts tokens that are bound to a key of the client, with a proof of possession (RFC 9449). See
    /// [`layer::dpop`](crate::layer::dpop).
    ///
    /// A bound token is read from `Authorization: DPoP <token>` only, and its proof from the header `DPoP`.
    /// Other tokens are accepted as before, unless the rules [require](crate::layer::dpop::DpopBuilder::required)
    /// a proof.
    pub fn dpop(self, rules: Dpop) -> Self {
        self.with(|config| {
            config.set_dpop(rules);
            config.announce_again();
        })
    }

    /// Accepts tokens that are bound to the certificate of the client (RFC 8705 §3). See
    /// [`layer::mtls`](crate::layer::mtls).
    ///
    /// Other tokens are accepted as before, unless the rules
    /// [require](crate::layer::mtls::MtlsBuilder::required) a certificate. A token that is bound to a key, too,
    /// needs a [proof](Self::dpop) and the certificate.
    pub fn mtls(self, rules: Mtls) -> Self {
        self.with(|config| {
            config.set_mtls(rules);
            config.announce_again();
        })
    }

    /// Sets the responder, which builds the responses to refused requests. The default is problem
    /// details (RFC 9457). Guards inside this layer use it too.
    ///
    /// # Examples
    ///
    /// A custom JSON body. The crate adds the challenge and the headers about caching.
    ///
    /// ```
    /// # #[cfg(not(feature = "aws-lc-rs"))]
    /// # fn main() {}
    /// # #[cfg(feature = "aws-lc-rs")]
    /// # fn main() -> Result<(), tower_jwt_auth::ConfigError> {
    /// use serde_json::json;
    /// use tower_jwt_auth::{JwtAuthLayer, Verifier, layer::response::json_body};
    ///
    /// let verifier = Verifier::hs256("a secret of at least thirty-two bytes").build()?;
    /// let layer = JwtAuthLayer::new(verifier).responder(json_body(|refusal| {
    ///     (refusal.status(), json!({ "message": refusal.detail() }))
    /// }));
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// gRPC and gRPC-Web calls are answered in their own framing: see [`response`](crate::layer::response).
    pub fn responder(self, responder: impl ErrorResponder) -> Self {
        let responder = Arc::new(responder);
        self.with(|config| config.change_answers(|answers| answers.with_responder(responder)))
    }

    /// Enables gateway mode, for the authentication requests of nginx `auth_request`, Caddy
    /// `forward_auth`, Envoy `ext_authz` and Traefik ForwardAuth.
    ///
    /// A gateway reads only the status of the response, and its request carries headers that the client
    /// chose. In gateway mode, no request gets the framing of gRPC or gRPC-Web, 400 becomes 401 with
    /// the challenge, and 429 and 500 become 503. If an [`ErrorResponder`] returns 2xx, its body is kept and
    /// the status is replaced by the status of the refusal. See [the manual](crate::manual::gateways).
    ///
    /// Gateway mode contradicts [`optional`](Self::optional), [`skip_if`](Self::skip_if) and
    /// [`allow_preflight`](Self::allow_preflight): [`build`](Self::build) returns an error, and a layer
    /// that was not built refuses every request with 503. Enable gateway mode on every layer of the
    /// stack that can refuse. A guard inside this layer inherits it.
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

    /// Sets whether refused gRPC and gRPC-Web calls are answered in their own framing, `true` by
    /// default. With `false` they get the HTTP status. In [gateway mode](Self::gateway) the framing
    /// stays off.
    pub fn grpc(self, framing: bool) -> Self {
        self.with(|config| config.change_answers(|answers| answers.with_grpc(framing)))
    }

    /// Removes the explanation from refusals. The error code stays.
    pub fn terse(self) -> Self {
        self.with(|config| config.change_answers(Answers::without_details))
    }

    /// Skips authentication for requests that match the predicate, and lets them pass as
    /// [`Anonymous`](crate::Anonymous). Use it for health checks and reflection if the layer is around
    /// a whole server. May be called repeatedly: a request is skipped if any predicate matches.
    ///
    /// # Security
    ///
    /// Compare the whole path, or its [segments](RequestHead::path_segments). A server behind a proxy
    /// may resolve `/public/../admin` to `/admin`, although the path starts with `/public/` here.
    pub fn skip_if<F>(self, names: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        self.with(|config| config.unseen.push(Unseen::skip(names)))
    }

    /// Lets CORS preflight requests pass as [`Anonymous`](crate::Anonymous): `OPTIONS` with `Origin`
    /// and `Access-Control-Request-Method`. Browsers send them without credentials.
    ///
    /// Off by default. A CORS layer outside this one answers preflight requests itself.
    pub fn allow_preflight(self) -> Self {
        self.with(|config| config.preflight = true)
    }

    /// Removes the credential from the request before the inner service is called, for proxies.
    pub fn strip_credential(self) -> Self {
        self.with(|config| config.strip = true)
    }

    /// Writes a claim of the caller into a header for the inner service, for proxies.
    ///
    /// The header is always removed from the client's request, also if the request passes without a
    /// token. Other spellings of the name are removed too, because some servers treat them as the same
    /// header: case is ignored, and any character that is neither a letter nor a digit equals `-`. The
    /// name is removed from `Connection`, so that no proxy drops the header (RFC 9110 §7.6.1). It is
    /// removed from the request's trailers too: the inner service receives the body as a
    /// [`ForwardedBody`](super::ForwardedBody).
    ///
    /// A value that a recipient could read differently is left out: see [`ForwardedClaim`].
    pub fn forward_as(self, header: HeaderName, claim: ForwardedClaim) -> JwtAuthLayer<C, R, true> {
        let layer = self.with(|config| Arc::make_mut(&mut config.forward).add(header, claim));
        JwtAuthLayer {
            config: layer.config,
        }
    }

    /// Sets the time for which a request may wait, 2 seconds by default. All waits of a request share
    /// it: for keys, and for revocation checks that are not ready immediately. After this time, the
    /// response to a request whose decision is still open is 503.
    ///
    /// If remote keys have a longer
    #[cfg_attr(
        feature = "jwks",
        doc = "[`wait`](crate::key::remote::RemoteKeySetBuilder::wait), it counts instead."
    )]
    #[cfg_attr(not(feature = "jwks"), doc = "`wait`, it counts instead.")]
    pub fn wait_limit(self, limit: Duration) -> Self {
        self.with(|config| config.patience = limit)
    }

    /// Validates the settings. A layer with an invalid setting that was not built refuses every request.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if
    ///
    /// - [gateway mode](Self::gateway) is combined with a setting that lets requests without a credential
    ///   pass.
    /// - gateway mode is combined with [proofs](Self::dpop) for the request that the gateway sends, or with
    ///   the [certificate](Self::mtls) of its connection.
    /// - the [scope in challenges](Self::challenge_scope) is not one, or contains `offline_access`.
    /// - the [resource](Self::resource) is an MCP server, and the verifier expects no audience.
    pub fn build(self) -> Result<Self, ConfigError> {
        self.config.fault()?;
        if self.config.answers.is_for_gateway() {
            self.config.senders.check_gateway()?;
        }
        self.config.answers.validate(&self.config.openings())?;
        Ok(self)
    }

    /// Returns the verifier, for tokens that do not come from a request, and to
    /// [wait for keys](Verifier::ready) at start.
    #[must_use]
    pub fn verifier(&self) -> &Verifier<C> {
        &self.config.verifier
    }

    /// Returns the OpenAPI security schemes of this layer: the places from which it reads a token, the
    /// URL of the issuer's metadata if the keys are found through them, and tokens with a
    /// [proof](Self::dpop).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if OpenAPI can express none of the places: the only one is the
    /// subprotocol of a WebSocket, or a custom extractor does not implement
    /// [`TokenExtractor::places`].
    pub fn openapi(&self) -> Result<SecuritySchemes, ConfigError> {
        let proofs = self.config.senders.dpop.as_ref().map(|dpop| &dpop.rules);
        let schemes = if proofs.is_some_and(Dpop::is_required) {
            SecuritySchemes::of_proofs()
        } else {
            let (issuers, has_others) = self.config.verifier.discovered();
            let places = self.config.extractor.places();
            let schemes = SecuritySchemes::of_tokens(&places, &issuers, has_others)?;
            match proofs {
                Some(_) => schemes.and_proofs(),
                None => schemes,
            }
        };
        Ok(schemes.optional(self.config.optional))
    }

    /// Returns `true` if the keys and the revocation data are available, for readiness probes.
    #[must_use]
    pub fn is_ready(&self) -> bool
    where
        R: RevocationCheck,
    {
        self.config.verifier.is_ready() && self.config.revocation.is_ready()
    }

    /// Returns the reason why no keys are available, for readiness probes: see
    /// [`Verifier::key_problem`].
    #[must_use]
    pub fn key_problem(&self) -> Option<KeyProblem> {
        self.config.verifier.key_problem()
    }

    fn with(mut self, change: impl FnOnce(&mut Config<C, R>)) -> Self {
        let mut config = Arc::unwrap_or_clone(self.config);
        change(&mut config);
        self.config = Arc::new(config);
        self
    }
}

impl<C, R, const FORWARDS: bool> Clone for JwtAuthLayer<C, R, FORWARDS> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
        }
    }
}

impl<S, C, R, const FORWARDS: bool> Layer<S> for JwtAuthLayer<C, R, FORWARDS> {
    type Service = JwtAuthService<S, C, R, FORWARDS>;

    fn layer(&self, inner: S) -> Self::Service {
        JwtAuthService::new(inner, self.clone())
    }
}

impl<C, R, const FORWARDS: bool> fmt::Debug for JwtAuthLayer<C, R, FORWARDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthLayer").finish_non_exhaustive()
    }
}
