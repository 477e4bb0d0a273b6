//! The layer's decision about a request that it does not stand around.

use bytes::Bytes;
use http::Response;
use serde::de::DeserializeOwned;

use super::{JwtAuthLayer, config::Decision};
use crate::{
    error::{AuthError, AuthErrorKind},
    head::RequestHead,
    revoke::RevocationCheck,
    verify::Verified,
};

impl<C, R> JwtAuthLayer<C, R>
where
    C: DeserializeOwned + Send + Sync + 'static,
    R: RevocationCheck,
{
    /// Who is calling, or the response that refuses the request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; a fetch that it waits for goes on for the others.
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
            // Whoever relies on the change would believe what the client wrote.
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
            // It does not come a second time.
            Decision::Ask(..) => refuse(AuthError::unavailable(AuthErrorKind::KeysUnavailable, 1)),
        }
    }

    /// The response to a request that needs a caller and has none.
    pub(crate) fn refuse_nobody(&self, head: RequestHead<'_>) -> Box<Response<Bytes>> {
        let error = AuthErrorKind::MissingCredential.into();
        Box::new(self.config().answers.refuse(error, head))
    }
}
