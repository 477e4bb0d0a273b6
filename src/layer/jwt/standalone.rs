//! Authenticates requests for a host that is no tower service.

use bytes::Bytes;
use http::Response;
use serde::de::DeserializeOwned;

use super::JwtAuthLayer;
use crate::{
    error::{AuthError, AuthErrorKind},
    layer::{extract::RequestHead, middleware, response::Refuse},
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
        if self.config.strip {
            // The request is only borrowed here, so that the credential would stay in it.
            let error = AuthError::caused_by(
                AuthErrorKind::Misconfigured,
                "`strip_credential` needs the layer around a service",
            );
            return Err(Box::new(self.config.answers.refuse(error, head)));
        }
        let pass = middleware::decide(self, head).await?;
        Ok(pass.into_token())
    }

    /// Returns the response to an anonymous request for which a caller is required.
    pub(crate) fn refuse_anonymous(&self, head: RequestHead<'_>) -> Box<Response<Bytes>> {
        let error = AuthErrorKind::MissingCredential.into();
        Box::new(self.config.answers.refuse(error, head))
    }
}
