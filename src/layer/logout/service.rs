//! The service, and its walk from a request to a revocation.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Method, Request, Response, header::CONTENT_TYPE, request::Parts};
use http_body::Body;
use tower_service::Service;

use super::answer;
use crate::{
    erased::Boxed,
    error::{AuthError, AuthErrorKind, ConfigError},
    event::{AuthEvent, EventSink, Events},
    layer::{request_body::RequestBody, response::Whole},
    revocation::{Revocation, RevocationSet, RevocationTarget},
    verify::{LogoutToken, Verifier},
};
#[cfg(feature = "server")]
use crate::{erased::erased, error::StoreError, revocation::RevocationLog};

/// A service that receives the logout tokens of an identity provider. Cheap to clone.
///
/// See the [module](super) for the rules. The service accepts every path: the router decides.
#[derive(Clone)]
pub struct BackChannelLogout {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    verifier: Arc<dyn LogoutVerifier>,
    client: Arc<str>,
    revoked: RevocationSet,
    #[cfg(feature = "server")]
    log: Option<Arc<dyn ErasedLog>>,
    token_lifetime: Duration,
    body_timeout: Duration,
    events: Events,
}

/// A verifier of any claims type.
trait LogoutVerifier: Send + Sync {
    fn verify<'a>(
        &'a self,
        token: &'a [u8],
        client: &'a str,
    ) -> Boxed<'a, Result<LogoutToken, AuthError>>;
}

impl<C: Send + Sync + 'static> LogoutVerifier for Verifier<C> {
    fn verify<'a>(
        &'a self,
        token: &'a [u8],
        client: &'a str,
    ) -> Boxed<'a, Result<LogoutToken, AuthError>> {
        Box::pin(self.verify_logout(token, client))
    }
}

#[cfg(feature = "server")]
erased! {
    trait ErasedLog: RevocationLog {
        async fn append(&self, revocation: Revocation) -> Result<(), StoreError>;
    }
}

impl BackChannelLogout {
    /// Creates the service for the logout tokens of the verifier's issuer, whose audience is this client.
    /// The tokens that they end are added to the set, which the layers must check
    /// ([`JwtAuthLayer::revocation`](crate::JwtAuthLayer::revocation)).
    ///
    /// # Errors
    ///
    /// - [`ConfigError::IssuerRequired`] if the verifier accepts any issuer.
    /// - [`ConfigError::Invalid`] if the client is empty, if the verifier reads the subject from another
    ///   claim than `sub`, which is the claim of logout tokens, or if the verifier accepts several issuers
    ///   and the set is not limited to one of them.
    pub fn new<C>(
        verifier: &Verifier<C>,
        client_id: impl Into<String>,
        revoked: &RevocationSet,
    ) -> Result<Self, ConfigError>
    where
        C: Send + Sync + 'static,
    {
        let client = client_id.into();
        if client.is_empty() {
            return Err(ConfigError::invalid("client_id", "must not be empty"));
        }
        if verifier.accepts_any_issuer() {
            return Err(ConfigError::IssuerRequired);
        }
        if verifier.chooses_subject() {
            return Err(ConfigError::invalid(
                "subject_claim",
                "logout tokens identify the subject by `sub`",
            ));
        }
        if revoked.issuer().is_none() && verifier.accepts_several_issuers() {
            return Err(ConfigError::invalid(
                "revoked",
                "one issuer would end the sessions of another: limit the set by `of_issuer`",
            ));
        }
        let inner = Inner {
            verifier: Arc::new(verifier.clone()),
            client: client.into(),
            revoked: revoked.clone(),
            #[cfg(feature = "server")]
            log: None,
            token_lifetime: DEFAULT_TOKEN_LIFETIME,
            body_timeout: DEFAULT_BODY_TIMEOUT,
            events: Events::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Writes the revocations to a store as well, so that the sets of all nodes receive them.
    ///
    /// The response is sent after the store has them. If the store fails, it is 503, and this node
    /// revokes nothing either.
    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[must_use]
    pub fn log(self, log: impl RevocationLog) -> Self {
        self.with(|inner| inner.log = Some(Arc::new(log)))
    }

    /// Sets the longest lifetime of the provider's access tokens, for which a revocation is kept. The
    /// default is 24 hours.
    #[must_use]
    pub fn max_token_lifetime(self, lifetime: Duration) -> Self {
        self.with(|inner| inner.token_lifetime = lifetime)
    }

    /// Sets the time for which a body is read: 10 seconds by default. A slower one is refused with 400.
    #[must_use]
    pub fn body_timeout(self, limit: Duration) -> Self {
        self.with(|inner| inner.body_timeout = limit)
    }

    /// Sets the event sink. It receives one event for each logout, and one for each refused logout token.
    #[must_use]
    pub fn events(self, sink: impl EventSink) -> Self {
        self.with_events(Events::to(sink))
    }

    pub(crate) fn with_events(self, events: Events) -> Self {
        self.with(|inner| inner.events = events)
    }

    fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.inner);
        change(&mut inner);
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl Inner {
    async fn answer<B>(self: Arc<Self>, parts: Parts, body: B) -> Response<Whole>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut body = pin!(RequestBody::new(body, MAX_BODY, self.body_timeout));
        let mut answer = self.answer_unfinished(&parts, body.as_mut()).await;
        body.finish(&parts, answer.headers_mut()).await;
        answer
    }

    async fn answer_unfinished<B>(
        self: Arc<Self>,
        parts: &Parts,
        body: Pin<&mut RequestBody<B>>,
    ) -> Response<Whole>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if parts.method != Method::POST {
            return answer::wrong_method();
        }
        let Some(token) = read_token(&parts.headers, body).await else {
            return answer::malformed();
        };
        let logout = match self.verify(token.as_bytes()).await {
            Ok(logout) => logout,
            Err(error) => {
                self.events.emit(|| AuthEvent::Denied {
                    error: &error,
                    caller: None,
                    method: Some(&parts.method),
                    path: Some(parts.uri.path()),
                });
                return answer::refused(&error);
            }
        };
        match self.revoke(&logout).await {
            true => answer::done(),
            false => answer::unavailable(None),
        }
    }

    /// Verifies a logout token of the issuer whose tokens the set revokes. Subjects and sessions of
    /// different issuers may have the same names.
    async fn verify(&self, token: &[u8]) -> Result<LogoutToken, AuthError> {
        let logout = self.verifier.verify(token, &self.client).await?;
        match self.revoked.issuer() {
            Some(ours) if ours != logout.issuer => Err(AuthErrorKind::WrongIssuer.into()),
            _ => Ok(logout),
        }
    }

    /// Returns `false` if the revocations could not be written.
    async fn revoke(self: &Arc<Self>, logout: &LogoutToken) -> bool {
        let until = logout.issued.max(logout.now).plus(self.token_lifetime);
        let revocations: Vec<_> = targets(logout)
            .map(|target| Revocation::of(target, until.plus(LEEWAY)))
            .collect();
        if !self.write(&revocations).await {
            return false;
        }
        for revocation in &revocations {
            self.revoked.insert(revocation);
        }
        self.events.emit(|| AuthEvent::LoggedOut {
            issuer: &logout.issuer,
            subject: logout.subject.as_deref(),
            session: logout.session.as_deref(),
        });
        true
    }

    #[cfg(feature = "server")]
    async fn write(&self, revocations: &[Revocation]) -> bool {
        let Some(log) = self.log.clone() else {
            return true;
        };
        let revocations = revocations.to_vec();
        // A provider that disconnects may not try again.
        let written = tokio::spawn(async move {
            for revocation in revocations {
                log.append(revocation).await?;
            }
            Ok::<(), StoreError>(())
        });
        matches!(written.await, Ok(Ok(())))
    }

    #[cfg(not(feature = "server"))]
    #[expect(clippy::unused_async, reason = "with a store it waits")]
    async fn write(&self, _: &[Revocation]) -> bool {
        true
    }
}

/// Returns the targets of a logout token.
fn targets(logout: &LogoutToken) -> impl Iterator<Item = RevocationTarget> {
    let session = logout.session.clone().map(RevocationTarget::Session);
    let tokens = logout.subject.clone();
    let tokens = tokens.map(|subject| RevocationTarget::SubjectTokens {
        subject,
        issued_until: logout.issued,
        // The subject's other sessions continue.
        without_session: logout.session.is_some(),
    });
    session.into_iter().chain(tokens)
}

/// Returns the logout token of a form that contains exactly one.
async fn read_token<B>(headers: &HeaderMap, body: Pin<&mut RequestBody<B>>) -> Option<String>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next()?.trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return None;
    }
    let form = body.read().await.ok()?;
    let mut tokens = form_urlencoded::parse(&form)
        .filter(|(name, _)| name == "logout_token")
        .map(|(_, token)| token.into_owned());
    let token = tokens.next()?;
    match tokens.next() {
        None => Some(token),
        Some(_) => None,
    }
}

impl<B> Service<Request<B>> for BackChannelLogout
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Whole>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { Ok(inner.answer(parts, body).await) })
    }
}

impl fmt::Debug for BackChannelLogout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackChannelLogout")
            .field("client", &self.inner.client)
            .finish_non_exhaustive()
    }
}

/// A token of the default maximum length, escaped, and the form around it.
const MAX_BODY: usize = 64 * 1024;
const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest lifetime that common providers allow by default.
const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest leeway with which a verifier accepts an expired token.
const LEEWAY: Duration = Duration::from_secs(300);
