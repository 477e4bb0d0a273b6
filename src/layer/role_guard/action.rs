//! The action of a route, as a policy engine sees it.

use std::{fmt, sync::Arc};

use crate::{
    error::{AuthError, Reason},
    layer::extract::RequestHead,
};

/// The action of a route, for the policy engine of a guard: its name, and the resource that it
/// concerns.
///
/// A [`Rule`](super::Rule) gets it by [`Rule::action`](super::Rule::action). The names are those of the
/// policies.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::layer::role_guard::{Action, Rule};
///
/// // For `/documents/{id}`.
/// let edit = Action::new("edit")
///     .resource("document")
///     .resource_id(|head| Some(head.path_segments()?.get(1)?.to_string()));
/// let rule = Rule::scope("documents:write").action(edit);
/// # let _ = rule;
/// ```
#[derive(Clone)]
#[must_use = "an action has no effect before a rule has it"]
pub struct Action(Arc<Parts>);

#[derive(Clone)]
struct Parts {
    name: Box<str>,
    resource: Option<Box<str>>,
    id: Option<Arc<ReadId>>,
}

type ReadId = dyn Fn(RequestHead<'_>) -> Option<String> + Send + Sync;

impl Action {
    /// Creates an action with this name, without a resource.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Arc::new(Parts {
            name: name.into().into(),
            resource: None,
            id: None,
        }))
    }

    /// Sets the type of the resource, such as `document`.
    pub fn resource(mut self, kind: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).resource = Some(kind.into().into());
        self
    }

    /// Sets the function that reads the identifier of the resource from the request. A request from
    /// which it returns `None` is refused with 403, and the policy engine is not called.
    ///
    /// Use decoded [path segments](RequestHead::path_segments), as routers do. If the router removes a
    /// prefix before the guard runs, the path here has no prefix either.
    pub fn resource_id<F>(mut self, read: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> Option<String> + Send + Sync + 'static,
    {
        Arc::make_mut(&mut self.0).id = Some(Arc::new(read));
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn kind(&self) -> Option<&str> {
        self.0.resource.as_deref()
    }

    /// Returns the identifier of the request's resource, if the action reads one. A request without it
    /// is refused.
    pub(super) fn id(&self, head: RequestHead<'_>) -> Result<Option<String>, AuthError> {
        let Some(read) = &self.0.id else {
            return Ok(None);
        };
        let refusal = || AuthError::forbidden(Reason::Rule, "a resource in the request");
        read(head).map(Some).ok_or_else(refusal)
    }
}

impl From<&str> for Action {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Action")
            .field("name", &self.0.name)
            .field("resource", &self.0.resource)
            .finish_non_exhaustive()
    }
}
