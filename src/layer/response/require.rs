//! Requirements of a handler for its caller.

use std::{error::Error, fmt};

use bytes::Bytes;
use http::{Request, Response};

use super::{Refuse, answers::UnknownRequest, answers_in};
use crate::{
    error::{AuthError, AuthErrorKind, Reason},
    layer::extract::RequestHead,
    principal::{Principal, PrincipalKind, Scope},
};

impl Principal {
    /// Requires every one of these scope tokens, which are separated by spaces (RFC 6749 §3.3). A scope
    /// hierarchy is not applied; a [`RoleGuardLayer`](crate::RoleGuardLayer) applies one.
    ///
    /// # Errors
    ///
    /// [`AuthErrorKind::MissingScope`]. The response names the required scopes (RFC 6750 §3.1). A text
    /// without a scope token, or with an invalid one, is [`AuthErrorKind::Misconfigured`].
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_jwt_auth::{Principal, layer::response::AccessDenied};
    ///
    /// fn cancel(caller: &Principal) -> Result<&'static str, AccessDenied> {
    ///     caller.require_scope("orders:read orders:write")?;
    ///     Ok("cancelled")
    /// }
    ///
    /// let reader = Principal::builder().scope("orders:read").build();
    /// let denied = cancel(&reader).unwrap_err();
    /// assert_eq!(denied.error().required_scope(), Some("orders:read orders:write"));
    /// assert_eq!(
    ///     denied.to_response().headers()["www-authenticate"],
    ///     "Bearer realm=\"api\", error=\"insufficient_scope\", error_description=\"The access token \
    ///      does not grant a scope that is needed here\", scope=\"orders:read orders:write\"",
    /// );
    /// ```
    pub fn require_scope(&self, scope: &str) -> Result<(), AccessDenied> {
        let required = scope.parse::<Scope>().ok();
        let Some(required) = required.filter(|required| !required.is_empty()) else {
            return self.deny(misconfigured("`require_scope` needs valid scope tokens"));
        };
        match required.iter().all(|token| self.has_scope(token)) {
            true => Ok(()),
            false => self.deny(AuthError::missing_scope(required.to_string())),
        }
    }

    /// Requires this role. A role hierarchy is not applied, as in [`has_role`](Self::has_role); a
    /// [`RoleGuardLayer`](crate::RoleGuardLayer) applies one.
    ///
    /// # Errors
    ///
    /// [`AuthErrorKind::Forbidden`]. An empty name is [`AuthErrorKind::Misconfigured`].
    pub fn require_role(&self, role: &str) -> Result<(), AccessDenied> {
        match role {
            "" => self.deny(misconfigured("`require_role` needs the name of a role")),
            role if self.has_role(role) => Ok(()),
            role => {
                let requirement = format!("the role `{}`", role.escape_debug());
                self.deny(AuthError::forbidden(Reason::Role, requirement))
            }
        }
    }

    /// Requires a caller of this kind.
    ///
    /// # Errors
    ///
    /// [`AuthErrorKind::Forbidden`].
    ///
    /// # Security
    ///
    /// An API key is never the user or the guest of the same name, and neither is a token for a single
    /// conversation: this is the rule of [`UserPrincipal`](crate::principal::UserPrincipal) and
    /// [`GuestPrincipal`](crate::principal::GuestPrincipal).
    pub fn require_kind(&self, kind: PrincipalKind) -> Result<(), AccessDenied> {
        let is_service = kind == PrincipalKind::Service;
        let in_person = self.is_person() && self.conversation().is_none();
        match self.kind() == kind && (is_service || in_person) {
            true => Ok(()),
            false => {
                let requirement = format!("a caller of the kind `{}`", kind.as_str());
                self.deny(AuthError::forbidden(Reason::Caller, requirement))
            }
        }
    }

    fn deny(&self, error: AuthError) -> Result<(), AccessDenied> {
        Err(AccessDenied::of(self, error))
    }
}

fn misconfigured(problem: &'static str) -> AuthError {
    AuthError::caused_by(AuthErrorKind::Misconfigured, problem)
}

/// The error of a caller who does not meet a requirement of the handler: see
/// [`Principal::require_scope`], [`require_role`](Principal::require_role) and
/// [`require_kind`](Principal::require_kind). Also the error of a caller whose token has ended:
/// [`CloseReason::denied`](crate::layer::socket::CloseReason::denied).
///
/// The conversion to a response uses the settings of the layer that authenticated the caller: its
/// realm, its responder, and its event sink, which receives the refusal.
///
/// | framework | conversion |
/// |---|---|
/// | axum (feature `axum`) | it is a response: return it as the error of a handler |
/// | tonic (feature `tonic`) | `?` converts it to a `Status` with `PERMISSION_DENIED` |
/// | warp (feature `warp`) | `?` converts it to a `Rejection`, which `tower_jwt_auth::warp::recover` answers |
/// | hyper, tower | [`to_response`](Self::to_response) |
#[derive(Clone)]
pub struct AccessDenied {
    caller: Principal,
    error: AuthError,
}

impl AccessDenied {
    pub(crate) fn of(caller: &Principal, error: AuthError) -> Self {
        Self {
            caller: caller.clone(),
            error,
        }
    }

    /// Returns the cause.
    #[must_use]
    pub fn error(&self) -> &AuthError {
        &self.error
    }

    /// Returns the response: 403 with a challenge (RFC 6750 §3.1), or 401 if the token has ended, in the
    /// form of the layer that authenticated the caller. It is logged and reported as the refusal of a guard
    /// is.
    ///
    /// The handler's request is unknown here. A custom
    /// [`ErrorResponder`](crate::layer::response::ErrorResponder) receives the head of `GET /`.
    #[must_use]
    pub fn to_response(&self) -> Response<Bytes> {
        let request = self.request();
        let answers = answers_in(request.extensions()).unwrap_or_default();
        answers.refuse(self.error.clone(), RequestHead::of(&request))
    }

    /// Returns the outcome of a gRPC call. The refusal is logged and reported.
    #[cfg(feature = "tonic")]
    pub(crate) fn to_outcome(&self) -> super::Outcome {
        let request = self.request();
        let answers = answers_in(request.extensions()).unwrap_or_default();
        answers.report(&self.error, RequestHead::of(&request));
        super::outcome(&self.error, Some(&answers))
    }

    fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(self.caller.clone());
        request.extensions_mut().insert(UnknownRequest);
        request
    }
}

impl From<AccessDenied> for AuthError {
    fn from(denied: AccessDenied) -> Self {
        denied.error
    }
}

impl fmt::Display for AccessDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for AccessDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessDenied")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl Error for AccessDenied {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
