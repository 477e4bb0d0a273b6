//! A client with a key, for tests of bound tokens.

use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header::AUTHORIZATION, request};
use serde_json::{Map, Value, json};
use tower_service::Service;

use super::{TestIssuer, TestKeys};
use crate::{
    key::{Algorithm, SigningKey, sha256_of},
    time::{Clock, SystemClock},
};

/// A client that signs proofs of possession (RFC 9449 §4), for tests.
///
/// All clones have one key and one nonce.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_jwt_auth::{
///     key::Algorithm,
///     test_util::{DpopClient, TestIssuer},
/// };
///
/// let client = DpopClient::new(Algorithm::Es256);
/// let token = TestIssuer::new(Algorithm::Es256).bound_token(&client, |_| ());
/// let request = client
///     .sign(Request::post("/notes"), "https://api.example/notes", &token)
///     .body(())?;
/// assert!(request.headers().contains_key("dpop"));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone)]
pub struct DpopClient {
    key: Arc<SigningKey>,
    clock: Arc<dyn Clock>,
    nonce: Arc<Mutex<Option<String>>>,
}

impl DpopClient {
    /// Creates a client with a new key. An RSA key is one of [`TestKeys`], because generating one is slow.
    ///
    /// # Panics
    ///
    /// If this build cannot sign with the algorithm, or if it is an HMAC.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        let name = algorithm.as_str();
        let key = match name.starts_with("RS") || name.starts_with("PS") {
            true => TestKeys::new().signing_key(algorithm),
            false => SigningKey::generate(algorithm),
        };
        Self::with_key(key.expect("this build signs with the algorithm"))
    }

    /// Creates a client with this key.
    ///
    /// # Panics
    ///
    /// If the key is a secret.
    #[must_use]
    pub fn with_key(key: SigningKey) -> Self {
        assert!(!key.algorithm().is_hmac(), "a proof needs a public key");
        Self {
            key: Arc::new(key),
            clock: Arc::new(SystemClock::new()),
            nonce: Arc::default(),
        }
    }

    /// Sets the clock from which `iat` is computed.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Returns the thumbprint of the key (RFC 7638), the value of `cnf.jkt` in a token.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        self.key.thumbprint().unwrap_or_default()
    }

    /// Returns the public key as a JWK.
    ///
    /// # Panics
    ///
    /// Never: the key has a public part.
    #[must_use]
    pub fn public_jwk(&self) -> Value {
        let jwk = self.key.public_jwk().expect("the key has a public part");
        let mut jwk: Value = serde_json::from_str(&jwk).expect("a JWK is JSON");
        // Only what defines the key, as most clients send it.
        for member in ["kid", "alg", "use"] {
            jwk.as_object_mut()
                .and_then(|members| members.remove(member));
        }
        jwk
    }

    /// Sets the nonce of later proofs.
    pub fn set_nonce(&self, nonce: Option<&str>) {
        *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = nonce.map(str::to_owned);
    }

    /// Takes the nonce of a response, if it has one. Returns `true` if it has.
    #[must_use]
    pub fn take_nonce(&self, response: &HeaderMap) -> bool {
        let nonce = response
            .get("dpop-nonce")
            .and_then(|nonce| nonce.to_str().ok());
        if nonce.is_some() {
            self.set_nonce(nonce);
        }
        nonce.is_some()
    }

    /// Returns a proof for a request.
    #[must_use]
    pub fn proof(&self, method: &str, uri: &str, token: &str) -> String {
        self.edited_proof(method, uri, token, |_, _| ())
    }

    /// Returns a proof for a request without an access token, such as one for tokens (RFC 9449 §5).
    #[must_use]
    pub fn proof_without_token(&self, method: &str, uri: &str) -> String {
        self.edited_proof(method, uri, "", |_, claims| claims.remove("ath"))
    }

    /// Returns a proof, after the closure has edited its header and its claims. The signature is valid.
    ///
    /// # Panics
    ///
    /// If the cryptographic library fails, which no input causes.
    #[must_use]
    pub fn edited_proof<R>(
        &self,
        method: &str,
        uri: &str,
        token: &str,
        edit: impl FnOnce(&mut Map<String, Value>, &mut Map<String, Value>) -> R,
    ) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(1);

        let mut header = Map::new();
        header.insert("alg".into(), self.key.algorithm().as_str().into());
        header.insert("typ".into(), "dpop+jwt".into());
        header.insert("jwk".into(), self.public_jwk());
        let digest = sha256_of(&[token.as_bytes()]).expect("this build has a hash");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut claims = Map::new();
        claims.insert("jti".into(), format!("proof-{number}").into());
        claims.insert("htm".into(), method.into());
        claims.insert("htu".into(), uri.into());
        claims.insert("iat".into(), self.clock.now().as_secs().into());
        claims.insert("ath".into(), URL_SAFE_NO_PAD.encode(digest).into());
        let nonce = self.nonce.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(nonce) = &*nonce {
            claims.insert("nonce".into(), nonce.as_str().into());
        }
        drop(nonce);
        edit(&mut header, &mut claims);
        self.raw_proof(
            &Value::Object(header).to_string(),
            &Value::Object(claims).to_string(),
        )
    }

    /// Returns a signed proof with exactly this header and these claims, which need not be JSON.
    ///
    /// # Panics
    ///
    /// As [`edited_proof`](Self::edited_proof).
    #[must_use]
    pub fn raw_proof(&self, header: &str, claims: &str) -> String {
        let (header, claims) = (
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims),
        );
        let message = format!("{header}.{claims}");
        let signature = self.key.sign(message.as_bytes()).expect("signing works");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Adds a token and a proof to a request. `uri` is the address of the server, without which the target
    /// of the request is only a path.
    pub fn sign(&self, request: request::Builder, uri: &str, token: &str) -> request::Builder {
        let method = request.method_ref().map_or("GET", |method| method.as_str());
        let proof = self.proof(method, uri, token);
        request
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", proof)
    }
}

impl DpopClient {
    /// Sends a request with a token and a proof to a service. If the service demands a nonce, the request is
    /// repeated with it and with a new proof, as other clients do (RFC 9449 §8, §9). `uri` is as for
    /// [`sign`](Self::sign).
    ///
    /// # Errors
    ///
    /// The errors of the service.
    ///
    /// # Panics
    ///
    /// If the token cannot be a part of a header.
    pub async fn call<S, B, R>(
        &self,
        service: &mut S,
        request: Request<B>,
        uri: &str,
        token: &str,
    ) -> Result<Response<R>, S::Error>
    where
        S: Service<Request<B>, Response = Response<R>>,
        B: Clone,
    {
        let response = self.call_once(service, request.clone(), uri, token).await?;
        // A nonce that comes with a success is for the next request.
        let is_refused =
            [StatusCode::UNAUTHORIZED, StatusCode::BAD_REQUEST].contains(&response.status());
        match self.take_nonce(response.headers()) && is_refused {
            true => {
                let response = self.call_once(service, request, uri, token).await?;
                let _ = self.take_nonce(response.headers());
                Ok(response)
            }
            false => Ok(response),
        }
    }

    async fn call_once<S, B, R>(
        &self,
        service: &mut S,
        mut request: Request<B>,
        uri: &str,
        token: &str,
    ) -> Result<Response<R>, S::Error>
    where
        S: Service<Request<B>, Response = Response<R>>,
    {
        let proof = self.proof(request.method().as_str(), uri, token);
        let value = |text: String| HeaderValue::try_from(text).expect("a header value");
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, value(format!("DPoP {token}")));
        headers.insert("dpop", value(proof));
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    }
}

impl TestIssuer {
    /// Returns a signed token that is bound to the key of a client (RFC 9449 §6.1), after the closure has
    /// edited its claims.
    pub fn bound_token<R>(
        &self,
        client: &DpopClient,
        edit: impl FnOnce(&mut Map<String, Value>) -> R,
    ) -> String {
        self.token(|claims| {
            claims.insert("cnf".into(), json!({ "jkt": client.thumbprint() }));
            edit(claims)
        })
    }
}

impl fmt::Debug for DpopClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopClient")
            .field("algorithm", &self.key.algorithm())
            .field("thumbprint", &self.thumbprint())
            .finish_non_exhaustive()
    }
}
