//! The port to a policy engine.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::action::Action;
use crate::{
    layer::{extract::RequestHead, middleware::Wait},
    principal::Principal,
};

/// A policy engine that decides about requests, for [`RoleGuardLayer::policy`].
///
/// The guard calls it last, for a caller who satisfies the guard's rule, and on every request: no
/// decision is cached. A decision that is [`Ready`](Decided::Ready) adds no wait. A
/// [`Pending`](Decided::Pending) one suspends the request until its future completes. The future is an
/// associated type, so that no request allocates a box for it.
///
/// [`decide_fn`] makes a policy engine from an asynchronous function. [The
/// manual](crate::manual::recipes::policy_engine) has examples with Cedar and with the AuthZEN API.
///
/// [`RoleGuardLayer::policy`]: super::RoleGuardLayer::policy
///
/// # Examples
///
/// An engine that decides immediately:
///
/// ```
/// use std::future::Ready;
/// use tower_jwt_auth::layer::role_guard::{Decide, Decided, Decision, Question, RoleGuardLayer, Rule};
///
/// struct OwnTenant;
///
/// impl Decide for OwnTenant {
///     type Future = Ready<Decision>;
///
///     fn decide(&self, question: &Question<'_>) -> Decided<Ready<Decision>> {
///         let tenant = question.head().headers().get("x-tenant");
///         let own = tenant.is_some_and(|tenant| question.caller().has_role(&format!(
///             "tenant:{}",
///             tenant.to_str().unwrap_or_default(),
///         )));
///         Decided::Ready(match own {
///             true => Decision::Allow,
///             false => Decision::deny().because("another tenant"),
///         })
///     }
/// }
///
/// let guard = RoleGuardLayer::new(Rule::scope("orders:read").action("list")).policy(OwnTenant);
/// # let _ = guard;
/// ```
pub trait Decide: Send + Sync + 'static {
    /// The future of a decision that is not available immediately.
    type Future: Future<Output = Decision> + Send + 'static;

    /// Returns the decision about a request. It must not block.
    ///
    /// A panic here or in the future counts as [`Decision::Unavailable`].
    fn decide(&self, question: &Question<'_>) -> Decided<Self::Future>;
}

impl<T: Decide + ?Sized> Decide for Arc<T> {
    type Future = T::Future;

    fn decide(&self, question: &Question<'_>) -> Decided<Self::Future> {
        (**self).decide(question)
    }
}

/// A decision that is available now or later.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "complete by nature")]
pub enum Decided<F> {
    /// The decision is available immediately.
    Ready(Decision),
    /// The decision is the output of this future.
    Pending(F),
}

/// The decision of a policy engine.
///
/// The reason of a refusal goes to the event sink and never to the client
/// ([`AuthError::decision_reason`](crate::AuthError::decision_reason)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The request passes.
    Allow,
    /// The request is refused with 403.
    #[non_exhaustive]
    Deny {
        /// The reason, such as the name of a policy.
        reason: Option<Box<str>>,
    },
    /// The engine cannot decide now. The response is 503, not 403, because the same request may be
    /// allowed later.
    #[non_exhaustive]
    Unavailable {
        /// The time after which the client should try again, in seconds.
        retry_after: u32,
        /// The reason, such as the error of a connection.
        reason: Option<Box<str>>,
    },
}

impl Decision {
    /// Creates a refusal without a reason.
    #[must_use]
    pub fn deny() -> Self {
        Self::Deny { reason: None }
    }

    /// Creates the decision [`Unavailable`](Self::Unavailable). `retry_after` is in seconds.
    #[must_use]
    pub fn unavailable(retry_after: u32) -> Self {
        Self::Unavailable {
            retry_after,
            reason: None,
        }
    }

    /// Sets the reason of a refusal. [`Allow`](Self::Allow) has none and stays as it is.
    #[must_use]
    pub fn because(mut self, because: impl Into<String>) -> Self {
        if let Self::Deny { reason } | Self::Unavailable { reason, .. } = &mut self {
            *reason = Some(because.into().into());
        }
        self
    }
}

/// A request that a policy engine decides about.
#[derive(Clone)]
pub struct Question<'a> {
    caller: &'a Principal,
    head: RequestHead<'a>,
    action: Option<&'a Action>,
    id: Option<String>,
}

impl<'a> Question<'a> {
    pub(super) fn new(
        caller: &'a Principal,
        head: RequestHead<'a>,
        action: Option<&'a Action>,
        id: Option<String>,
    ) -> Self {
        Self {
            caller,
            head,
            action,
            id,
        }
    }

    /// Returns the caller.
    #[must_use]
    pub fn caller(&self) -> &'a Principal {
        self.caller
    }

    /// Returns the head of the request. Its extensions hold what outer layers inserted, such as the
    /// verified claims and the template of a router's path.
    #[must_use]
    pub fn head(&self) -> RequestHead<'a> {
        self.head
    }

    /// Returns the name of the rule's [`Action`], if the rule has one.
    #[must_use]
    pub fn action(&self) -> Option<&'a str> {
        self.action.map(Action::name)
    }

    /// Returns the type of the resource, if the action has one.
    #[must_use]
    pub fn resource(&self) -> Option<&'a str> {
        self.action.and_then(Action::kind)
    }

    /// Returns the identifier of the resource, if the action reads one. The client chose it.
    #[must_use]
    pub fn resource_id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

impl fmt::Debug for Question<'_> {
    // The identifier of a resource may be personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("caller", &self.caller)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

/// Creates a policy engine from an asynchronous function, for example a query to a remote service.
///
/// The request waits until the function's future completes, at most for the guard's
/// [`wait_limit`](super::RoleGuardLayer::wait_limit). A shorter limit in the function keeps requests
/// from accumulating: let it return [`Decision::unavailable`] if the service does not respond.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tokio::time::timeout;
/// use tower_jwt_auth::layer::role_guard::{Decision, RoleGuardLayer, decide_fn};
///
/// # async fn query(subject: String, path: String) -> Result<bool, std::io::Error> {
/// #     Ok(subject == path)
/// # }
/// let engine = decide_fn(|question| {
///     let subject = question.caller().subject().unwrap_or_default().to_owned();
///     let path = question.head().uri().path().to_owned();
///     async move {
///         match timeout(Duration::from_millis(100), query(subject, path)).await {
///             Ok(Ok(true)) => Decision::Allow,
///             Ok(Ok(false)) => Decision::deny(),
///             Ok(Err(error)) => Decision::unavailable(1).because(error.to_string()),
///             Err(_) => Decision::unavailable(1).because("no response within 100 ms"),
///         }
///     }
/// });
/// let guard = RoleGuardLayer::authenticated().policy(engine);
/// # let _ = guard;
/// ```
#[must_use = "an engine decides nothing until a guard has it"]
pub fn decide_fn<F, A>(decide: F) -> impl Decide
where
    F: Fn(&Question<'_>) -> A + Send + Sync + 'static,
    A: Future<Output = Decision> + Send + 'static,
{
    DecideFn(decide)
}

struct DecideFn<F>(F);

impl<F, A> Decide for DecideFn<F>
where
    F: Fn(&Question<'_>) -> A + Send + Sync + 'static,
    A: Future<Output = Decision> + Send + 'static,
{
    type Future = A;

    fn decide(&self, question: &Question<'_>) -> Decided<A> {
        Decided::Pending((self.0)(question))
    }
}

/// The type parameter of a guard without a policy engine.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "complete by nature")]
pub struct NoPolicy;

pin_project! {
    /// A wait for the decision of a policy engine.
    pub(crate) struct DecisionWait<F> {
        #[pin]
        future: F,
    }
}

impl<F> DecisionWait<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F: Future<Output = Decision>> Future for DecisionWait<F> {
    type Output = Decision;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Decision> {
        self.project().future.poll(cx)
    }
}

impl<F: Future<Output = Decision>> Wait for DecisionWait<F> {
    fn ends_at(&self) -> Option<Instant> {
        None
    }
}
