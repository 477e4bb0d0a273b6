//! Authenticates requests for a host that is no tower service.

use bytes::Bytes;
use http::Response;
use serde::de::DeserializeOwned;

use super::{JwtAuthLayer, config::Decision};
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::extract::RequestHead,
    revocation::RevocationCheck,
    verify::Verified,
};

impl<C, R> JwtAuthLayer<C, R>
where
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    /// Returns the verified token, `None` for an anonymous request, or the response that refuses the
    /// request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is safe. A key fetch that it waits for continues for other requests.
    pub(crate) async fn authenticate(
        &self,
        head: RequestHead<'_>,
    ) -> Result<Option<Verified<C>>, Box<Response<Bytes>>> {
        let config = self.config();
        let refuse = |error| {
            let response = config.answers.refuse(error, head);
            Err(Box::new(response))
        };
        if config.strip {
            // The request is only borrowed here, so that the credential would stay in it.
            return refuse(AuthError::caused_by(
                AuthErrorKind::Misconfigured,
                "`strip_credential` needs the layer around a service",
            ));
        }
        let mut decision = config.decide(head);
        if let Decision::Wait(wait, _) = decision {
            wait.await;
            decision = config.decide(head);
        }
        if let Decision::Ask(future, asked) = decision {
            decision = config.conclude(future.await, asked);
        }
        match decision {
            Decision::Authenticated(caller, _) => Ok(Some(caller.into_token())),
            Decision::Anonymous(_) => Ok(None),
            Decision::Denied(error) => refuse(error),
            Decision::Wait(_, error) => refuse(error),
            // A revocation check is pending at most once.
            Decision::Ask(..) => refuse(AuthError::unavailable(AuthErrorKind::KeysUnavailable, 1)),
        }
    }

    /// Returns the response to an anonymous request for which a caller is required.
    pub(crate) fn refuse_anonymous(&self, head: RequestHead<'_>) -> Box<Response<Bytes>> {
        let error = AuthErrorKind::MissingCredential.into();
        Box::new(self.config().answers.refuse(error, head))
    }
}
