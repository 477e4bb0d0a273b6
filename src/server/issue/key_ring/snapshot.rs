//! Data derived from the keys of a ring, computed once per change instead of once per request.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Timing, phases::Phases};
use crate::{
    error::ConfigError,
    key::{Algorithm, KeySet, SigningKey, VerifyingKey},
    server::issue::IssueError,
    verify::{ACCESS_TOKEN, CONVERSATION_TOKEN},
};

/// The keys of a ring at one moment.
pub(super) struct Snapshot {
    pub(super) signer: Signer,
    pub(super) set: KeySet,
    pub(super) generation: u64,
    pub(super) document: Document,
    pub(super) statuses: Vec<KeyStatus>,
    /// The time of the next change.
    pub(super) due: Option<Instant>,
}

/// The active key, with the base64url JOSE headers of its tokens.
#[derive(Clone)]
pub(in crate::server::issue) struct Signer {
    pub(in crate::server::issue) key: Arc<SigningKey>,
    access: String,
    conversation: String,
}

impl Signer {
    pub(in crate::server::issue) fn new(key: &Arc<SigningKey>) -> Self {
        Self {
            access: header(key, ACCESS_TOKEN),
            conversation: header(key, CONVERSATION_TOKEN),
            key: Arc::clone(key),
        }
    }

    /// Signs the claims of an access token or a conversation token.
    pub(in crate::server::issue) fn sign(
        &self,
        conversation: bool,
        claims: &[u8],
    ) -> Result<String, IssueError> {
        let header = match conversation {
            true => &self.conversation,
            false => &self.access,
        };
        let mut token = String::with_capacity(header.len() + claims.len() * 4 / 3 + 704);
        token.push_str(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.key.sign(token.as_bytes());
        let signature = signature.map_err(|_| IssueError::SigningFailed)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

/// The published key set with its HTTP headers.
#[derive(Clone)]
pub(in crate::server::issue) struct Document {
    pub(in crate::server::issue) json: Bytes,
    pub(in crate::server::issue) etag: HeaderValue,
    pub(in crate::server::issue) cache_control: HeaderValue,
}

impl Snapshot {
    pub(super) fn of(
        phases: &Phases,
        timing: &Timing,
        generation: u64,
    ) -> Result<Self, ConfigError> {
        let signing = |key: &SigningKey, state| Shown {
            jwk: key.jwk(),
            status: KeyStatus::new(key.kid(), key.algorithm(), state),
            verifying: key.verifying_key(),
        };
        let active = &phases.active.key;
        let mut keys = vec![signing(active, KeyState::Active)];
        if let Some(next) = &phases.next {
            keys.push(signing(&next.key, KeyState::Next));
        }
        keys.extend(phases.retiring.iter().map(|one| Shown {
            jwk: one.jwk.clone(),
            status: KeyStatus::new(one.verifying.kid(), one.algorithm, KeyState::Retiring),
            verifying: one.verifying.clone(),
        }));
        let (set, json) = key_set(&keys)?;
        Ok(Self {
            signer: Signer::new(active),
            statuses: keys.into_iter().map(|key| key.status).collect(),
            set,
            generation,
            document: Document::of(json, timing.max_age)?,
            due: phases.due(timing),
        })
    }
}

/// A key of a set, in all forms in which it is shown.
pub(in crate::server::issue) struct Shown {
    pub(in crate::server::issue) jwk: Option<Map<String, Value>>,
    pub(in crate::server::issue) status: KeyStatus,
    pub(in crate::server::issue) verifying: VerifyingKey,
}

/// Returns the set that verifies, and the JSON document that is published.
pub(in crate::server::issue) fn key_set(keys: &[Shown]) -> Result<(KeySet, String), ConfigError> {
    one_key_per_name(keys)?;
    let published = keys.iter().filter_map(|key| key.jwk.as_ref());
    let json = json!({ "keys": published.collect::<Vec<_>>() }).to_string();
    let set = KeySet::new(keys.iter().map(|key| key.verifying.clone()))?;
    Ok((set, json))
}

impl Document {
    pub(in crate::server::issue) fn of(
        json: String,
        max_age: Duration,
    ) -> Result<Self, ConfigError> {
        let header = |text: String| {
            HeaderValue::try_from(text)
                .map_err(|_| ConfigError::KeySet("cannot create an HTTP header".into()))
        };
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(&json));
        Ok(Self {
            json: Bytes::from(json),
            etag: header(format!("\"{digest}\""))?,
            cache_control: cache_for(max_age),
        })
    }
}

pub(in crate::server::issue) fn cache_for(max_age: Duration) -> HeaderValue {
    let text = format!("public, max-age={}", max_age.as_secs());
    // Digits and the text above are valid in a header.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("no-store"))
}

/// RFC 7517 §4.5: keys of a set should have distinct `kid` values. Verifiers of this ring's tokens
/// need them to select the key.
fn one_key_per_name(keys: &[Shown]) -> Result<(), ConfigError> {
    let mut names = HashSet::new();
    let named = keys.iter().filter_map(|key| key.status.kid());
    for kid in named {
        if !names.insert(kid) {
            return Err(ConfigError::KeySet("two keys have the same `kid`".into()));
        }
    }
    Ok(())
}

fn header(key: &SigningKey, typ: &str) -> String {
    let mut header = Map::new();
    header.insert("alg".into(), key.algorithm().as_str().into());
    header.insert("typ".into(), typ.into());
    if let Some(kid) = key.kid() {
        header.insert("kid".into(), kid.into());
    }
    URL_SAFE_NO_PAD.encode(Value::Object(header).to_string())
}

/// A key of a ring and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    kid: Option<String>,
    algorithm: Algorithm,
    state: KeyState,
}

impl KeyStatus {
    pub(in crate::server::issue) fn new(
        kid: Option<&str>,
        algorithm: Algorithm,
        state: KeyState,
    ) -> Self {
        Self {
            kid: kid.map(str::to_owned),
            algorithm,
            state,
        }
    }

    /// Returns the key's `kid`; `None` for a secret without one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns the algorithm with which the key signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the state of the key.
    #[must_use]
    pub fn state(&self) -> KeyState {
        self.state
    }
}

/// The state of a key in a [`KeyRing`](super::KeyRing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// The key is published, but does not sign yet.
    Next,
    /// The key signs.
    Active,
    /// The key verifies the tokens that it signed before.
    Retiring,
}
