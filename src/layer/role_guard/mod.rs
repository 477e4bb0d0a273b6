//! Guards that restrict a service by role, by scope or by a custom condition.
//!
//! A [`RoleGuardLayer`] belongs inside a layer that authenticates. It decides on the [`Principal`] that
//! the authenticating layer inserts into the request's extensions. The guard has no claims type, so
//! that it works with every kind of credential.
//!
//! | the request's extensions hold | response |
//! |---|---|
//! | a [`Principal`] that satisfies the rule | the inner service's |
//! | a [`Principal`] that lacks a scope | 403 `insufficient_scope`; `scope` names all that are required |
//! | a [`Principal`] that lacks a role, is of another kind, or fails a condition | 403 `insufficient_scope` |
//! | a [`Principal`] whose [sign-in](Rule::acr) is too weak or too long ago | 401 `insufficient_user_authentication` (RFC 9470); `acr_values`, `max_age` and `scope` name all that lacks |
//! | a [`Principal`] whom the [policy engine](RoleGuardLayer::policy) refuses | 403 `insufficient_scope` |
//! | a [`Principal`], while the policy engine is unavailable | 503 |
//! | [`Anonymous`] | 401 without an error code (RFC 6750 §3.1) |
//! | neither, because no authenticating layer ran | 500 |
//!
//! If the caller lacks both a role and a scope, the refusal names the scope, because a new token can
//! add it. For a rule with alternatives, the refusal names the scopes of all alternatives. The log and
//! [`AuthError::missing`](crate::AuthError::missing) name what is missing: scopes, roles, the kind of
//! caller, or the [name of the rule](Rule::named). The client receives the scopes only.
//!
//! # Examples
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_jwt_auth::{
//!     Principal,
//!     layer::role_guard::{RoleGuardLayer, RoleHierarchy, Rule},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async fn publish(_: Request<()>) -> Result<Response<String>, std::convert::Infallible> {
//!     Ok(Response::new("published".to_owned()))
//! }
//!
//! let hierarchy = RoleHierarchy::builder().implies("admin", ["editor"]).build()?;
//! let rule = Rule::any_of(["editor"]).and(Rule::scope("docs:publish"));
//! let service = RoleGuardLayer::new(rule).hierarchy(hierarchy).layer(service_fn(publish));
//!
//! // An authenticating layer does this; here it is done by hand.
//! let call = |caller: Principal| {
//!     let mut request = Request::new(());
//!     request.extensions_mut().insert(caller);
//!     service.clone().oneshot(request)
//! };
//!
//! let admin = Principal::builder().roles(["admin"]).scope("docs:read docs:publish").build();
//! assert_eq!(call(admin).await?.status(), StatusCode::OK);
//!
//! let viewer = Principal::builder().roles(["viewer"]).scope("docs:publish").build();
//! assert_eq!(call(viewer).await?.status(), StatusCode::FORBIDDEN);
//! # Ok(())
//! # }
//! ```
//!
//! [`Principal`]: crate::principal::Principal
//! [`Anonymous`]: crate::principal::Anonymous

mod action;
mod condition;
mod decide;
mod fault;
mod hierarchy;
mod layer;
mod openapi;
mod rule;
mod service;
mod step_up;
mod unmet;

pub use self::{
    action::Action,
    decide::{Decide, Decided, Decision, NoPolicy, Question, decide_fn},
    hierarchy::{RoleHierarchy, RoleHierarchyBuilder, ScopeHierarchy, ScopeHierarchyBuilder},
    layer::RoleGuardLayer,
    rule::Rule,
};
// Named only to write down the type of a service.
#[doc(hidden)]
pub use self::service::RoleGuardService;
