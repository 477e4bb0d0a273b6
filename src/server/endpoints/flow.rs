//! The state of a sign-in by other means, which one browser carries from its start to its end.

use std::{error::Error, fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use http::{HeaderValue, StatusCode, request::Parts};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::Sha256;

use super::{AuthEndpoints, answer::Refusal, service::Inner};
use crate::{
    layer::response::Whole,
    secret::{DerivedKey, SecretKey},
    store::port::{NewOneTime, OneTimePurpose, OneTimeToken},
};

impl AuthEndpoints {
    /// Begins a flow of several requests of one browser, such as a sign-in with an OIDC provider. Returns
    /// the value of a `Set-Cookie` header, which carries `state` to the request that finishes the flow.
    ///
    /// [`finish_flow`](Self::finish_flow) returns the state once, within ten minutes, and only to the
    /// browser that began. The cookie is `HttpOnly` and `SameSite=Lax`: a redirect from another site
    /// sends it. Of two flows with one name in one browser, the later one replaces the earlier.
    ///
    /// `name` is 1 to 32 letters, digits, `-` and `_`. The state has room for about 2500 bytes of JSON.
    ///
    /// # Errors
    ///
    /// [`FlowError`]: the client has begun too many flows, there is no
    /// [public origin](super::AuthEndpointsBuilder::public_origin), the name or the state does not fit,
    /// or the store of one-time tokens is missing or failed.
    ///
    /// # Security
    ///
    /// The browser can read the state. It cannot change it.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{HeaderValue, request::Parts};
    /// use tower_jwt_auth::server::endpoints::{AuthEndpoints, FlowError};
    ///
    /// async fn start(
    ///     endpoints: &AuthEndpoints,
    ///     request: &Parts,
    ///     (state, nonce): (String, String), // two random values
    /// ) -> Result<HeaderValue, FlowError> {
    ///     endpoints.begin_flow(request, "oidc", &(state, nonce)).await
    /// }
    ///
    /// async fn callback(endpoints: &AuthEndpoints, request: &Parts) -> Result<bool, FlowError> {
    ///     let (state, _nonce): (String, String) = endpoints.finish_flow(request, "oidc").await?;
    ///     Ok(request.uri.query().unwrap_or_default().contains(&state))
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A dropped future may leave a row, which expires.
    pub async fn begin_flow<T>(
        &self,
        parts: &Parts,
        name: &str,
        state: &T,
    ) -> Result<HeaderValue, FlowError>
    where
        T: Serialize + Sync + ?Sized,
    {
        Ok(self.inner.begin_flow(parts, name, state).await?)
    }

    /// Finishes the flow of this name that the browser of the request has [begun](Self::begin_flow), and
    /// returns its state. A flow is finished once, whether the step after it succeeds or not.
    ///
    /// # Errors
    ///
    /// [`FlowError`] with the code `invalid_flow`: this browser has no such flow, it is over, or it was
    /// finished before. A store failure is `temporarily_unavailable`, and the flow may be spent.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the flow may be spent.
    pub async fn finish_flow<T>(&self, parts: &Parts, name: &str) -> Result<T, FlowError>
    where
        T: DeserializeOwned,
    {
        Ok(self.inner.finish_flow(parts, name).await?)
    }
}

/// The error of a flow that does not begin or does not finish.
///
/// With the feature `axum` it is a response. `Display` is a fixed text, for logs.
pub struct FlowError(Box<Refusal>);

impl FlowError {
    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// Returns the error code of the response: `invalid_flow`, `slow_down`, `temporarily_unavailable`,
    /// `invalid_request` or `server_error`.
    #[must_use]
    pub fn error(&self) -> &'static str {
        self.0.error()
    }

    /// Returns the response, in the form of the other endpoints.
    #[must_use]
    pub fn to_response(&self) -> http::Response<Whole> {
        self.0.answer()
    }
}

impl From<Refusal> for FlowError {
    fn from(refusal: Refusal) -> Self {
        Self(Box::new(refusal))
    }
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.error())
    }
}

impl fmt::Debug for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FlowError").field(&self.error()).finish()
    }
}

impl Error for FlowError {}

impl Inner {
    pub(super) async fn begin_flow<T>(
        &self,
        parts: &Parts,
        name: &str,
        state: &T,
    ) -> Result<HeaderValue, Refusal>
    where
        T: Serialize + Sync + ?Sized,
    {
        let cookies = self.cookies.as_ref().ok_or_else(no_origin)?;
        if !is_name(name) {
            return Err(unusable("the name of a flow is not valid"));
        }
        self.flow_limit.take(parts)?;
        let token = OneTimeToken::mint();
        let text = self.flows.seal(&Content {
            token: token.expose(),
            name,
            state,
        });
        let text = text.ok_or_else(|| unusable("the state of a flow is not JSON"))?;
        if text.len() > MAX_VALUE {
            return Err(unusable("the state of a flow does not fit into a cookie"));
        }
        let row = NewOneTime::new(&token, OneTimePurpose::Flow, name, LIFETIME);
        self.login.issue_token(row).await?;
        let value = cookies.flow(name, &text, LIFETIME);
        value.ok_or_else(|| unusable("the cookie of a flow is not a header"))
    }

    pub(super) async fn finish_flow<T>(&self, parts: &Parts, name: &str) -> Result<T, Refusal>
    where
        T: DeserializeOwned,
    {
        let cookies = self.cookies.as_ref().ok_or_else(no_origin)?;
        let text = cookies.flow_value(&parts.headers, name)?;
        let json = text.and_then(|text| self.flows.open(&text));
        let json = json.ok_or_else(Refusal::invalid_flow)?;
        let content: Content<String, T> =
            serde_json::from_slice(&json).map_err(|_| Refusal::invalid_flow())?;
        let token = OneTimeToken::read(&content.token).filter(|_| content.name == name);
        let token = token.ok_or_else(Refusal::invalid_flow)?;
        let spent = self
            .login
            .redeem_token(&token, OneTimePurpose::Flow)
            .await?;
        spent.ok_or_else(Refusal::invalid_flow)?;
        Ok(content.state)
    }
}

/// The content of a cookie.
#[derive(Serialize, Deserialize)]
struct Content<S, T> {
    token: S,
    name: S,
    state: T,
}

/// Seals and opens the content of cookies.
///
/// ```text
/// value = "bf1_" || b64url( JSON || tag(32) )
/// tag   = HMAC-SHA-256(key, "bf1_" || JSON)
/// ```
#[derive(Clone, Debug)]
pub(super) struct FlowKeys(Vec<DerivedKey>);

impl FlowKeys {
    pub(super) fn new(secret: &SecretKey) -> Self {
        Self(secret.derive("browser flow"))
    }

    fn seal(&self, content: &impl Serialize) -> Option<String> {
        let mut value = serde_json::to_vec(content).ok()?;
        let tag = tag(self.0.first()?, &value)?.finalize().into_bytes();
        value.extend_from_slice(&tag);
        Some(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&value)))
    }

    fn open(&self, text: &str) -> Option<Vec<u8>> {
        let mut value = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (json, presented) = value.split_last_chunk::<32>()?;
        let fits = |key: &DerivedKey| {
            tag(key, json).is_some_and(|tag| tag.verify_slice(presented).is_ok())
        };
        if !self.0.iter().any(fits) {
            return None;
        }
        value.truncate(value.len() - 32);
        Some(value)
    }
}

fn tag(key: &DerivedKey, json: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.key.expose()).ok()?;
    mac.update(PREFIX.as_bytes());
    mac.update(json);
    Some(mac)
}

impl Refusal {
    fn invalid_flow() -> Self {
        let description = "The sign-in was not begun in this browser, or it is over";
        Self::new(StatusCode::BAD_REQUEST, "invalid_flow", description)
    }
}

fn no_origin() -> Refusal {
    unusable("a flow needs a public origin")
}

/// Refuses what only the application can correct, with a log line.
fn unusable(problem: &'static str) -> Refusal {
    #[cfg(feature = "tracing")]
    tracing::error!("{problem}");
    #[cfg(not(feature = "tracing"))]
    let _ = problem;
    Refusal::server_error()
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=32).contains(&name.len()) && name.bytes().all(plain)
}

const PREFIX: &str = "bf1_";
const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Leaves room for the name and the attributes within the 4096 bytes of a cookie.
const MAX_VALUE: usize = 3800;

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> FlowKeys {
        let mut keys = bytes
            .iter()
            .map(|byte| SecretKey::from_bytes([*byte; 32]).unwrap());
        let first = keys.next().unwrap();
        FlowKeys::new(&keys.fold(first, SecretKey::or_older))
    }

    #[test]
    fn u46_a_sealed_state_opens_with_its_secrets_and_is_not_changed() {
        let content = Content {
            token: "t",
            name: "oidc",
            state: ("a state", 7),
        };
        let sealed = keys(&[1]).seal(&content).unwrap();
        for (secrets, opens) in [(&[1][..], true), (&[2, 1], true), (&[2], false)] {
            assert_eq!(keys(secrets).open(&sealed).is_some(), opens);
        }
        let bytes = URL_SAFE_NO_PAD.decode(&sealed[4..]).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(changed));
            assert!(keys(&[1]).open(&changed).is_none(), "byte {place}");
        }
        for bad in ["", "bf1_", &sealed[1..], &sealed.replacen("bf1", "mf1", 1)] {
            assert!(keys(&[1]).open(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn u46_a_name_is_part_of_a_cookie_name() {
        for (name, valid) in [
            ("oidc", true),
            ("a-b_9", true),
            ("", false),
            ("a b", false),
            ("a;b", false),
            ("a=b", false),
        ] {
            assert_eq!(is_name(name), valid, "{name}");
        }
        assert!(!is_name(&"x".repeat(33)));
    }
}
