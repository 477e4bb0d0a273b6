//! The text form of a ring: a JSON document whose keys are sealed one by one.

use std::{collections::HashSet, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{
    error::Unreadable,
    ring::{Entry, Ring},
    seal::{Bound, FORMAT, Seals},
};
use crate::{
    key::{Algorithm, SigningKey, VerifyingKey},
    store::port::StoredKeyRing,
    time::Timestamp,
};

/// The key of an entry.
#[derive(Clone)]
pub(super) enum Material {
    Signing(Arc<SigningKey>),
    /// The published form of a key whose private part was dropped.
    Public(Box<Public>),
}

#[derive(Clone)]
pub(super) struct Public {
    pub(super) jwk: Map<String, Value>,
    pub(super) verifying: VerifyingKey,
}

/// A ring that was read, and the index of the secret under which it is sealed.
pub(super) struct Read {
    pub(super) ring: Ring<Material>,
    pub(super) secret: usize,
}

#[derive(Serialize, Deserialize)]
struct Document<'a> {
    format: u8,
    #[serde(borrow)]
    keys: Vec<Record<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    kid: &'a str,
    alg: &'a str,
    state: State,
    activates_at: i64,
    /// Nonce, encrypted content and tag, in base64url.
    sealed: String,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Signing,
    Retired,
}

/// Writes a ring as its store keeps it, sealed under the secret with this index. `None` if the
/// cryptographic library fails.
pub(super) fn write(
    ring: &Ring<Material>,
    revision: u64,
    seals: &Seals,
    secret: usize,
) -> Option<String> {
    let entries = ring.entries();
    let records = entries.iter().map(|entry| {
        let content = entry.key.content()?;
        let sealed = seals.seal(&bound(entry, revision, entries.len()), &content, secret)?;
        Some(Record {
            kid: &entry.kid,
            alg: entry.algorithm.as_str(),
            state: match entry.retired {
                true => State::Retired,
                false => State::Signing,
            },
            activates_at: entry.activates_at.as_millis(),
            sealed: URL_SAFE_NO_PAD.encode(sealed),
        })
    });
    let document = Document {
        format: FORMAT,
        keys: records.collect::<Option<_>>()?,
    };
    serde_json::to_string(&document).ok()
}

/// Reads a stored ring. Everything in the result was protected by a seal.
pub(super) fn read(stored: &StoredKeyRing, seals: &Seals) -> Result<Read, Unreadable> {
    let document: Document<'_> =
        serde_json::from_str(&stored.keys).map_err(|_| Unreadable::Malformed)?;
    if document.format != FORMAT {
        return Err(Unreadable::Format);
    }
    // Not a ring of this crate: nothing proves that it was sealed.
    if document.keys.is_empty() {
        return Err(Unreadable::Malformed);
    }
    let count = document.keys.len();
    let (mut entries, mut kids, mut secret) = (Vec::new(), HashSet::new(), 0);
    for record in document.keys {
        let unsealed = || Unreadable::Sealed(record.kid.chars().take(SHOWN).collect());
        let algorithm = Algorithm::from_name(record.alg).ok_or_else(unsealed)?;
        let entry = Entry {
            kid: record.kid.to_owned(),
            algorithm,
            activates_at: Timestamp::from_millis(record.activates_at),
            retired: record.state == State::Retired,
            key: (),
        };
        let sealed = URL_SAFE_NO_PAD.decode(&record.sealed);
        let bound = bound(&entry, stored.revision, count);
        let opened = sealed.ok().and_then(|sealed| seals.open(&bound, &sealed));
        let opened = opened.ok_or_else(unsealed)?;
        secret = opened.secret.max(secret);
        let key = Material::parse(&entry, &opened.content).ok_or_else(unsealed)?;
        // A record in the place of another one.
        if !kids.insert(record.kid) {
            return Err(unsealed());
        }
        entries.push(entry.with_key(key));
    }
    Ok(Read {
        ring: Ring::new(entries),
        secret,
    })
}

fn bound<K>(entry: &Entry<K>, revision: u64, records: usize) -> Bound<'_> {
    Bound {
        revision,
        records,
        kid: &entry.kid,
        algorithm: entry.algorithm,
        retired: entry.retired,
        activates_at: entry.activates_at,
    }
}

impl Material {
    /// Returns the content of the key's record.
    fn content(&self) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Signing(key) => key.to_pkcs8(),
            Self::Public(public) => serde_json::to_vec(&public.jwk).ok().map(Zeroizing::new),
        }
    }

    fn parse<K>(entry: &Entry<K>, content: &[u8]) -> Option<Self> {
        let (kid, key) = match entry.retired {
            false => {
                let key = SigningKey::from_pkcs8_der(content).ok()?;
                let key = key.with_algorithm(entry.algorithm).ok()?;
                (key.kid()?.to_owned(), Self::Signing(Arc::new(key)))
            }
            true => {
                let jwk = serde_json::from_slice(content).ok()?;
                let verifying = VerifyingKey::from_jwk(content).ok()?;
                let kid = verifying.kid()?.to_owned();
                (kid, Self::Public(Box::new(Public { jwk, verifying })))
            }
        };
        (kid == entry.kid).then_some(key)
    }

    /// Drops the private part.
    pub(super) fn retire(&mut self) {
        let Self::Signing(key) = self else {
            return;
        };
        if let Some(jwk) = key.jwk() {
            let verifying = key.verifying_key();
            *self = Self::Public(Box::new(Public { jwk, verifying }));
        }
    }

    pub(super) fn verifying(&self) -> VerifyingKey {
        match self {
            Self::Signing(key) => key.verifying_key(),
            Self::Public(public) => public.verifying.clone(),
        }
    }

    pub(super) fn jwk(&self) -> Option<Map<String, Value>> {
        match self {
            Self::Signing(key) => key.jwk(),
            Self::Public(public) => Some(public.jwk.clone()),
        }
    }
}

/// The longest part of a stored name in an error text.
const SHOWN: usize = 64;
