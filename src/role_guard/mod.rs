//! Guards: who may call a service, by role, by scope or by a condition of one's own.
//!
//! A [`RoleGuardLayer`] stands inside a layer that authenticates and decides on the [`Principal`]
//! which that layer left in the request's extensions. It has no claims type, so that it serves
//! every kind of credential.
//!
//! | the request's extensions hold | answer |
//! |---|---|
//! | a [`Principal`] that satisfies the rule | the inner service's |
//! | a [`Principal`] that lacks a scope | 403 `insufficient_scope`, `scope` naming all that are needed |
//! | a [`Principal`] that lacks a role, or fails a condition | 403 `insufficient_scope` |
//! | [`Anonymous`] | 401 without an error code (RFC 6750 §3.1) |
//! | neither: no authenticating layer ran | 500 |
//!
//! A caller who lacks both a role and a scope is told of the scope: that is what a new token may
//! cure. Of a rule with alternatives, the scopes of all of them are named.
//!
//! # Examples
//!
//! ```
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_jwt_auth::{
//!     Principal,
//!     role_guard::{RoleGuardLayer, RoleHierarchy, Rule},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async fn publish(_: Request<()>) -> Result<Response<String>, std::convert::Infallible> {
//!     Ok(Response::new("published".to_owned()))
//! }
//!
//! let hierarchy = RoleHierarchy::builder().implies("admin", ["editor"]).build()?;
//! let rule = Rule::any_of(["editor"]).and(Rule::scope(["docs:publish"]));
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

mod condition;
mod hierarchy;
mod layer;
mod rule;
mod service;

pub use self::{
    hierarchy::{RoleHierarchy, RoleHierarchyBuilder},
    layer::RoleGuardLayer,
    rule::Rule,
    service::RoleGuardService,
};
