//! The layer: a rule, and how its refusals are answered.

use std::{borrow::Borrow, sync::Arc};

use tower_layer::Layer;

use super::{hierarchy::RoleHierarchy, rule::Rule, service::RoleGuardService};
use crate::{
    deny::{InnerAnswers, Responder},
    error::ConfigError,
    event::EventSink,
};

/// Lets only callers through who satisfy a [`Rule`].
///
/// It reads the [`Principal`] that an authenticating layer around it left in the request's
/// extensions, whatever the credential was, and never a header. Whoever is signed in and not
/// allowed is answered 403; where nobody is signed in, 401; where no authenticating layer ran, 500.
/// Guards that are stacked must all agree.
///
/// Refusals are answered as the authenticating layer answers its own, unless the guard was told
/// otherwise: after [`realm`](Self::realm), [`respond`](Self::respond) or
/// [`no_details`](Self::no_details) it uses its own answers only.
///
/// A layer is cheap to clone, and one value may be used for many services.
///
/// [`Principal`]: crate::principal::Principal
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::role_guard::{RoleGuardLayer, Rule};
///
/// let admins = RoleGuardLayer::any_of(["admin", "ops"]);
/// let writers = RoleGuardLayer::scope(["orders:read", "orders:write"]);
/// let nested = RoleGuardLayer::new(Rule::any_of(["admin"]).or(Rule::scope(["orders:write"])));
/// # let _ = (admins, writers, nested);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer guards nothing before it is put around a service"]
pub struct RoleGuardLayer {
    config: Arc<Config>,
}

impl RoleGuardLayer {
    /// A guard with this rule.
    pub fn new(rule: Rule) -> Self {
        Self {
            config: Arc::new(Config {
                rule,
                answers: InnerAnswers::default(),
            }),
        }
    }

    /// Demands that somebody is signed in, a guest included: [`Rule::authenticated`].
    pub fn authenticated() -> Self {
        Self::new(Rule::authenticated())
    }

    /// Demands at least one of these roles: [`Rule::any_of`].
    ///
    /// No roles at all is a mistake, and does not compile:
    ///
    /// ```compile_fail,E0080
    /// use tower_jwt_auth::role_guard::RoleGuardLayer;
    ///
    /// let guard = RoleGuardLayer::any_of::<&str, 0>([]);
    /// # let _ = guard;
    /// ```
    pub fn any_of<R: AsRef<str>, const N: usize>(roles: [R; N]) -> Self {
        Self::new(Rule::any_of(roles))
    }

    /// Demands every one of these roles: [`Rule::all_of`].
    pub fn all_of<R: AsRef<str>, const N: usize>(roles: [R; N]) -> Self {
        Self::new(Rule::all_of(roles))
    }

    /// Refuses whoever holds one of these roles: [`Rule::none_of`].
    pub fn none_of<R: AsRef<str>, const N: usize>(roles: [R; N]) -> Self {
        Self::new(Rule::none_of(roles))
    }

    /// Demands every one of these scope tokens: [`Rule::scope`].
    pub fn scope<T: AsRef<str>, const N: usize>(tokens: [T; N]) -> Self {
        Self::new(Rule::scope(tokens))
    }

    /// [`any_of`](Self::any_of) for roles known at run time only.
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

    /// [`all_of`](Self::all_of) for roles known at run time only.
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

    /// [`none_of`](Self::none_of) for roles known at run time only.
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

    /// [`scope`](Self::scope) for scope tokens known at run time only, separated by spaces.
    ///
    /// # Errors
    ///
    /// Those of [`Rule::try_scope`].
    pub fn try_scope(scope: &str) -> Result<Self, ConfigError> {
        Rule::try_scope(scope).map(Self::new)
    }

    /// Lets roles count as those that they imply, wherever the rule names one.
    ///
    /// The hierarchy set last counts; it may be given by value or by reference.
    pub fn hierarchy(mut self, hierarchy: impl Borrow<RoleHierarchy>) -> Self {
        self.config_mut().rule.apply(hierarchy.borrow());
        self
    }

    /// The realm named in challenges (RFC 9110 §11.5).
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.config_mut().answers.realm(realm.into());
        self
    }

    /// Answers refusals with `responder`.
    pub fn respond(mut self, responder: impl Responder) -> Self {
        self.config_mut().answers.responder(responder);
        self
    }

    /// Answers the authentication requests of a gateway: nginx `auth_request`, Caddy `forward_auth`,
    /// Envoy `ext_authz`, Traefik ForwardAuth.
    ///
    /// A gateway reads the status of the answer and nothing else, and its request carries headers that
    /// the client chose. So no request gets the framing of gRPC or gRPC-Web, 400 becomes 401 with the
    /// challenge, and 429 and 500 become 503. A [`Responder`] that answers 2xx keeps its body, and gets
    /// the status of the refusal. See [the manual](crate::manual::gateways).
    ///
    /// Inside a layer in gateway mode it is on already, also beside a custom realm or responder.
    pub fn gateway(mut self) -> Self {
        self.config_mut().answers.gateway();
        self
    }

    /// Answers refused gRPC and gRPC-Web calls in their own framing, `true` by default; otherwise with
    /// their HTTP status. It stays off inside a layer that has it off, and in
    /// [gateway mode](Self::gateway).
    pub fn grpc(mut self, framing: bool) -> Self {
        self.config_mut().answers.grpc(framing);
        self
    }

    /// Leaves the human-readable explanation out of refusals; the error code stays.
    pub fn no_details(mut self) -> Self {
        self.config_mut().answers.no_details();
        self
    }

    /// Who is told of refusals; by default whom the authenticating layer tells.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.config_mut().answers.events(sink);
        self
    }

    fn config_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }
}

impl<S> Layer<S> for RoleGuardLayer {
    type Service = RoleGuardService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RoleGuardService::new(inner, Arc::clone(&self.config))
    }
}

/// All that a guard was told, shared by its services and their clones.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) rule: Rule,
    pub(super) answers: InnerAnswers,
}
