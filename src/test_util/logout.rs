//! A sender of logout tokens.

use http::{Request, header::CONTENT_TYPE};
use serde_json::{Map, Value, json};

use super::TestIssuer;

/// An identity provider that sends logout tokens ([OpenID Connect Back-Channel Logout 1.0]), for tests.
///
/// It signs with the key of a [`TestIssuer`]. By default a logout token names the subject `alice`, as the
/// issuer's access tokens do, and no session.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # #[cfg(feature = "aws-lc-rs")] {
/// use http::StatusCode;
/// use tower::ServiceExt;
/// use tower_jwt_auth::{
///     Verifier,
///     key::Algorithm,
///     layer::logout::BackChannelLogout,
///     revocation::RevocationSet,
///     test_util::{JwksFixture, LogoutSender},
/// };
///
/// let provider = JwksFixture::start();
/// let verifier = Verifier::oidc(&provider.issuer()).audience("https://api.example").build()?;
/// let revoked = RevocationSet::local();
/// let logout = BackChannelLogout::new(&verifier, "shop-web", &revoked)?;
///
/// let issuer = provider.issuer_for(Algorithm::Es256);
/// let sender = LogoutSender::new(&issuer, "shop-web").session("s1");
/// let response = logout.oneshot(sender.request("/backchannel-logout")).await?;
/// assert_eq!(response.status(), StatusCode::OK);
///
/// let token = issuer.token(|claims| claims.insert("sid".into(), "s1".into()));
/// let caller = verifier.verify(token).await?.principal();
/// assert!(revoked.contains(&caller));
/// # }
/// # Ok(())
/// # }
/// ```
///
/// [OpenID Connect Back-Channel Logout 1.0]: https://openid.net/specs/openid-connect-backchannel-1_0.html
#[derive(Clone, Debug)]
pub struct LogoutSender {
    issuer: TestIssuer,
    subject: Option<String>,
    session: Option<String>,
}

impl LogoutSender {
    /// Creates a sender of logout tokens by this issuer, whose audience is this client.
    #[must_use]
    pub fn new(issuer: &TestIssuer, client_id: impl Into<String>) -> Self {
        let issuer = issuer.clone().audience(client_id).typ(Some("logout+jwt"));
        Self {
            issuer,
            subject: Some("alice".to_owned()),
            session: None,
        }
    }

    /// Sets the claim `sub`.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Leaves the claim `sub` out. The receiver refuses a token that has no `sid` either.
    #[must_use]
    pub fn without_subject(mut self) -> Self {
        self.subject = None;
        self
    }

    /// Sets the claim `sid`: only this session ends, and the subject's tokens that name no session.
    #[must_use]
    pub fn session(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// Returns a new logout token, after the closure has edited its claims. The closure's return value is
    /// dropped.
    ///
    /// Without an edit it is valid for two minutes, and its `jti` is unique in this process.
    pub fn token<R>(&self, edit: impl FnOnce(&mut Map<String, Value>) -> R) -> String {
        self.issuer.token(|claims| {
            claims.remove("client_id");
            for (name, value) in [("sub", &self.subject), ("sid", &self.session)] {
                match value {
                    Some(value) => claims.insert(name.into(), value.as_str().into()),
                    None => claims.remove(name),
                };
            }
            let issued = claims.get("iat").and_then(Value::as_i64);
            claims.insert("exp".into(), json!(issued.unwrap_or_default() + LIFETIME));
            claims.insert("events".into(), json!({ EVENT: {} }));
            edit(claims);
        })
    }

    /// Returns the body of a request with a new logout token. Its media type is
    /// `application/x-www-form-urlencoded`.
    #[must_use]
    pub fn form(&self) -> String {
        // The characters of a token need no encoding.
        format!("logout_token={}", self.token(|_| ()))
    }

    /// Returns a request with a new logout token, for a service or a client.
    ///
    /// # Panics
    ///
    /// If this is not a URI.
    #[must_use]
    pub fn request(&self, uri: &str) -> Request<String> {
        Request::post(uri)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(self.form())
            .expect("a URI")
    }
}

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The seconds from `iat` to `exp` (§2.4).
const LIFETIME: i64 = 120;
