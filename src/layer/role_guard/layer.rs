//! The layer: a rule, and the response to refused requests.

use std::{borrow::Borrow, fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    decide::{Decide, NoPolicy},
    hierarchy::{RoleHierarchy, ScopeHierarchy},
    rule::Rule,
    service::RoleGuardService,
};
use crate::{
    error::ConfigError,
    event::EventSink,
    layer::{
        middleware::PATIENCE,
        response::{ErrorResponder, InnerAnswers},
    },
};

/// A layer that lets only callers through who satisfy a [`Rule`].
///
/// The guard reads the [`Principal`] in the request's extensions, which an authenticating layer around
/// it inserts for any kind of credential. It never reads a header. A caller who does not satisfy the
/// rule gets 403. An anonymous request gets 401. Without an authenticating layer the response is 500.
/// If guards are stacked, a request must pass all of them.
///
/// By default, refusals look like those of the authenticating layer. After [`realm`](Self::realm),
/// [`responder`](Self::responder) or [`terse`](Self::terse) the guard uses only its own settings.
///
/// A layer is cheap to clone, and one value may be used for many services. The parameter is the type of
/// the [policy engine](Self::policy), if the guard has one.
///
/// [`Principal`]: crate::principal::Principal
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::layer::role_guard::{RoleGuardLayer, Rule};
///
/// let admins = RoleGuardLayer::any_of(["admin", "ops"]);
/// let writers = RoleGuardLayer::scope("orders:read orders:write");
/// let nested = RoleGuardLayer::new(Rule::any_of(["admin"]).or(Rule::scope("orders:write")));
/// # let _ = (admins, writers, nested);
/// ```
#[must_use = "a layer guards nothing before it is put around a service"]
pub struct RoleGuardLayer<D = NoPolicy> {
    pub(super) config: Arc<Config<D>>,
}

impl RoleGuardLayer {
    /// Creates a guard with this rule.
    pub fn new(rule: Rule) -> Self {
        Self {
            config: Arc::new(Config {
                rule,
                answers: InnerAnswers::default(),
                engine: Arc::new(NoPolicy),
                patience: PATIENCE,
            }),
        }
    }

    /// Requires a signed-in caller. A guest counts as one: [`Rule::authenticated`].
    pub fn authenticated() -> Self {
        Self::new(Rule::authenticated())
    }

    /// Requires at least one of these roles: [`Rule::any_of`].
    ///
    /// An empty list is an error at compile time:
    ///
    /// ```compile_fail,E0080
    /// use tower_jwt_auth::layer::role_guard::RoleGuardLayer;
    ///
    /// let guard = RoleGuardLayer::any_of::<&str, 0>([]);
    /// # let _ = guard;
    /// ```
    pub fn any_of<R: AsRef<str>, const N: usize>(roles: [R; N]) -> Self {
        Self::new(Rule::any_of(roles))
    }

    /// Requires every one of these roles: [`Rule::all_of`].
    pub fn all_of<R: AsRef<str>, const N: usize>(roles: [R; N]) -> Self {
        Self::new(Rule::all_of(roles))
    }

    /// Refuses callers who hold one of these roles: [`Rule::none_of`].
    pub fn none_of<R: AsRef<str>, const N: usize>(roles: [R; N]) -> Self {
        Self::new(Rule::none_of(roles))
    }

    /// Requires every one of these scope tokens, which are separated by spaces: [`Rule::scope`].
    pub fn scope(scope: &str) -> Self {
        Self::new(Rule::scope(scope))
    }

    /// Requires at least one of these roles, as [`any_of`](Self::any_of) does, for roles known only at
    /// run time.
    ///
    /// # Errors
    ///
    /// Those of [`Rule::try_any_of`].
    pub fn try_any_of<I>(roles: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Rule::try_any_of(roles).map(Self::new)
    }

    /// Requires every one of these roles, as [`all_of`](Self::all_of) does, for roles known only at run
    /// time.
    ///
    /// # Errors
    ///
    /// Those of [`Rule::try_all_of`].
    pub fn try_all_of<I>(roles: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Rule::try_all_of(roles).map(Self::new)
    }

    /// Refuses callers who hold one of these roles, as [`none_of`](Self::none_of) does, for roles known
    /// only at run time.
    ///
    /// # Errors
    ///
    /// Those of [`Rule::try_none_of`].
    pub fn try_none_of<I>(roles: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Rule::try_none_of(roles).map(Self::new)
    }

    /// Requires every one of these scope tokens, as [`scope`](Self::scope) does, for tokens known only
    /// at run time.
    ///
    /// # Errors
    ///
    /// Those of [`Rule::try_scope`].
    pub fn try_scope(scope: &str) -> Result<Self, ConfigError> {
        Rule::try_scope(scope).map(Self::new)
    }

    /// Sets the policy engine, which decides about every request of a caller who satisfies the rule.
    ///
    /// | the decision | response |
    /// |---|---|
    /// | [`Allow`](super::Decision::Allow) | the inner service's |
    /// | [`Deny`](super::Decision::Deny) | 403 `insufficient_scope`, without a scope |
    /// | [`Unavailable`](super::Decision::Unavailable) | 503 with `Retry-After` |
    /// | none within the [limit](Self::wait_limit), or a panic | 503 with `Retry-After` |
    ///
    /// The engine is called last, so that it receives no request which the rule refuses. No decision is
    /// cached. The reason of a refusal goes to the event sink and never to the client. Put several
    /// guards around a service for several engines.
    ///
    /// A guard with an engine needs an inner service that is `Clone`: a request that waits holds a
    /// clone, so that it keeps no permit of a limit inside.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{Request, Response, StatusCode};
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_jwt_auth::{
    ///     Principal, RoleGuardLayer,
    ///     layer::role_guard::{Action, Decision, Rule, decide_fn},
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// async fn document(_: Request<()>) -> Result<Response<String>, std::convert::Infallible> {
    ///     Ok(Response::new("a document".to_owned()))
    /// }
    ///
    /// // For `/documents/{id}`.
    /// let read = Action::new("read")
    ///     .resource("document")
    ///     .resource_id(|head| Some(head.path_segments()?.get(1)?.to_string()));
    /// let engine = decide_fn(|question| {
    ///     let own = question.resource_id() == question.caller().subject();
    ///     async move { if own { Decision::Allow } else { Decision::deny().because("not the owner") } }
    /// });
    /// let guard = RoleGuardLayer::new(Rule::authenticated().action(read)).policy(engine);
    /// let service = guard.layer(service_fn(document));
    ///
    /// for (path, status) in [
    ///     ("/documents/alice", StatusCode::OK),
    ///     ("/documents/bob", StatusCode::FORBIDDEN),
    /// ] {
    ///     // An authenticating layer inserts the caller.
    ///     let mut request = Request::get(path).body(())?;
    ///     request.extensions_mut().insert(Principal::builder().subject("alice").build());
    ///     assert_eq!(service.clone().oneshot(request).await?.status(), status);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn policy<D: Decide>(self, engine: D) -> RoleGuardLayer<D> {
        let config = Arc::unwrap_or_clone(self.config);
        RoleGuardLayer {
            config: Arc::new(Config {
                rule: config.rule,
                answers: config.answers,
                engine: Arc::new(engine),
                patience: config.patience,
            }),
        }
    }
}

impl<D: Decide> RoleGuardLayer<D> {
    /// Sets the time for which a request may wait for the policy engine, 2 seconds by default. After
    /// this time, the response is 503.
    ///
    /// All waits of a request share one deadline: the time that the request waited in the
    /// authenticating layer, for keys or for a revocation check, counts here. The largest limit of the
    /// layers in which the request waits applies to the sum.
    pub fn wait_limit(mut self, limit: Duration) -> Self {
        self.config_mut().patience = limit;
        self
    }
}

impl<D> RoleGuardLayer<D> {
    /// Sets the role hierarchy. Each role that the rule names is then satisfied by the roles that imply
    /// it.
    ///
    /// A second call replaces the hierarchy. It may be passed by value or by reference.
    pub fn hierarchy(mut self, hierarchy: impl Borrow<RoleHierarchy>) -> Self {
        self.config_mut().rule.apply_roles(hierarchy.borrow());
        self
    }

    /// Sets the scope hierarchy. Each scope token that the rule names is then satisfied by the tokens
    /// that imply it. A refusal still names the token of the rule.
    ///
    /// A second call replaces the hierarchy. It may be passed by value or by reference.
    pub fn scope_hierarchy(mut self, hierarchy: impl Borrow<ScopeHierarchy>) -> Self {
        self.config_mut().rule.apply_scopes(hierarchy.borrow());
        self
    }

    /// Sets the realm in challenges (RFC 9110 §11.5).
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.config_mut().answers.realm(realm.into());
        self
    }

    /// Sets the responder for refusals.
    pub fn responder(mut self, responder: impl ErrorResponder) -> Self {
        self.config_mut().answers.responder(responder);
        self
    }

    /// Enables gateway mode, for the authentication requests of nginx `auth_request`, Caddy
    /// `forward_auth`, Envoy `ext_authz` and Traefik ForwardAuth.
    ///
    /// A gateway reads only the status of the response, and its request carries headers that the client
    /// chose. In gateway mode, no request gets the framing of gRPC or gRPC-Web, 400 becomes 401 with
    /// the challenge, and 429 and 500 become 503. If an [`ErrorResponder`] returns 2xx, its body is kept and
    /// the status is replaced by the status of the refusal. See [the manual](crate::manual::gateways).
    ///
    /// Inside a layer in gateway mode the guard is in gateway mode too, even with a custom realm or
    /// responder.
    pub fn gateway(mut self) -> Self {
        self.config_mut().answers.gateway();
        self
    }

    /// Sets whether refused gRPC and gRPC-Web calls are answered in their own framing, `true` by
    /// default. With `false` they get the HTTP status. The framing stays off inside a layer that has it
    /// off, and in [gateway mode](Self::gateway).
    pub fn grpc(mut self, framing: bool) -> Self {
        self.config_mut().answers.grpc(framing);
        self
    }

    /// Removes the explanation from refusals. The error code stays.
    pub fn terse(mut self) -> Self {
        self.config_mut().answers.terse();
        self
    }

    /// Sets the event sink for refusals. The default is the sink of the authenticating layer.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.config_mut().answers.events(sink);
        self
    }

    fn config_mut(&mut self) -> &mut Config<D> {
        Arc::make_mut(&mut self.config)
    }
}

impl<D> Clone for RoleGuardLayer<D> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
        }
    }
}

impl<D> fmt::Debug for RoleGuardLayer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleGuardLayer")
            .field("rule", &self.config.rule)
            .finish_non_exhaustive()
    }
}

impl<S, D> Layer<S> for RoleGuardLayer<D> {
    type Service = RoleGuardService<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        RoleGuardService::new(inner, self.clone())
    }
}

/// The guard's settings, shared by its services and their clones.
pub(super) struct Config<D> {
    pub(super) rule: Rule,
    pub(super) answers: InnerAnswers,
    pub(super) engine: Arc<D>,
    pub(super) patience: Duration,
}

impl<D> Clone for Config<D> {
    fn clone(&self) -> Self {
        Self {
            rule: self.rule.clone(),
            answers: self.answers.clone(),
            engine: Arc::clone(&self.engine),
            patience: self.patience,
        }
    }
}
