//! Stored hashes: parsing, validation and verification.

use std::fmt;

use argon2::{
    Algorithm, Argon2, KeyId, Params, ParamsBuilder, Version,
    password_hash::phc::{self, Output, ParamsString, Salt},
};
use bcrypt::HashParts;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    Argon2Cost, Password, PasswordError,
    pepper::{Pepper, Peppers},
};
use crate::secret::{Secret, random};

/// A stored password hash: a [PHC string] of Argon2, or a bcrypt hash.
///
/// The text is not validated before use, so any text in a store is accepted here.
///
/// [PHC string]: https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md
#[derive(Clone)]
pub struct PasswordHash(Secret<String>);

impl PasswordHash {
    /// Creates a hash from the text in a store.
    #[must_use]
    pub fn new(stored: impl Into<Secret<String>>) -> Self {
        Self(stored.into())
    }

    /// Returns the text for a store.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// A parsed hash whose cost is within the limits.
pub(super) enum ReadHash {
    Argon2 {
        algorithm: Algorithm,
        version: Version,
        params: Params,
        salt: Salt,
        output: Output,
    },
    Bcrypt(HashParts),
}

impl ReadHash {
    /// Parses a hash. No allocation depends on the cost in the text.
    pub(super) fn parse(stored: &PasswordHash) -> Result<Self, PasswordError> {
        let text = stored.expose();
        if text.len() > MAX_STORED {
            return Err(PasswordError::UnusableHash);
        }
        let read = match text.get(..4) {
            Some("$2a$" | "$2b$" | "$2y$") => bcrypt_parts(text),
            _ => argon2_parts(text),
        };
        read.ok_or(PasswordError::UnusableHash)
    }

    /// Creates a hash that matches no password, with the cost of new hashes.
    pub(super) fn dummy(cost: Argon2Cost, pepper: Option<&Pepper>) -> Result<Self, PasswordError> {
        let unusable = |_| PasswordError::Failed;
        Ok(Self::Argon2 {
            algorithm: Algorithm::Argon2id,
            version: Version::V0x13,
            params: params(cost, pepper)?,
            salt: Salt::new(&random::<SALT>()).map_err(unusable)?,
            output: Output::new(&random::<OUTPUT>()).map_err(unusable)?,
        })
    }

    /// Returns `true` if the password matches. Takes the time of one hash.
    pub(super) fn verifies(
        &self,
        password: &Password,
        peppers: &Peppers,
    ) -> Result<bool, PasswordError> {
        match self {
            Self::Argon2 {
                algorithm,
                version,
                params,
                salt,
                output,
            } => {
                let pepper = match params.keyid() {
                    [] => None,
                    id => Some(peppers.named(id).ok_or(PasswordError::UnusableHash)?),
                };
                let argon2 = context(*algorithm, *version, params.clone(), pepper)?;
                let mut made = Zeroizing::new(vec![0; output.len()]);
                argon2
                    .hash_password_into(password.normalised(), salt, &mut made)
                    .map_err(|_| PasswordError::Failed)?;
                Ok(made.ct_eq(output.as_bytes()).into())
            }
            // The library compares in constant time. It truncates at 72 bytes, as the creator of
            // the hash did.
            Self::Bcrypt(parts) => bcrypt::verify(password.typed(), &parts.to_string())
                .map_err(|_| PasswordError::UnusableHash),
        }
    }

    /// Returns `true` if a new hash of this password, which has been verified, should replace the
    /// stored one.
    pub(super) fn is_outdated(
        &self,
        password: &Password,
        cost: Argon2Cost,
        pepper: Option<&Pepper>,
    ) -> bool {
        match self {
            Self::Argon2 {
                algorithm,
                version,
                params: used,
                salt,
                output,
            } => {
                *algorithm != Algorithm::Argon2id
                    || *version != Version::V0x13
                    || cost_of(used) != cost
                    || salt.len() < SALT
                    || output.len() < OUTPUT
                    || *used.keyid() != *pepper.map_or(&[][..], |pepper| &pepper.id)
            }
            // bcrypt verifies no bytes after the 72nd. It also repeats its key with a zero byte in
            // between, so bytes after a zero are not verified either.
            Self::Bcrypt(_) => password.typed().len() <= 72 && !password.typed().contains(&0),
        }
    }
}

/// Creates a hash. Takes the time of one hash.
pub(super) fn make(
    password: &Password,
    cost: Argon2Cost,
    pepper: Option<&Pepper>,
) -> Result<PasswordHash, PasswordError> {
    let failed = |_| PasswordError::Failed;
    let params = params(cost, pepper)?;
    let salt = Salt::new(&random::<SALT>()).map_err(failed)?;
    let mut output = Zeroizing::new([0; OUTPUT]);
    let argon2 = context(Algorithm::Argon2id, Version::V0x13, params.clone(), pepper)?;
    argon2
        .hash_password_into(password.normalised(), &salt, &mut *output)
        .map_err(|_| PasswordError::Failed)?;
    written(&params, salt, &*output)
}

/// Creates a hash that no password matches: its output is random. It is verified in the time of any other.
pub(super) fn unmatched(
    cost: Argon2Cost,
    pepper: Option<&Pepper>,
) -> Result<PasswordHash, PasswordError> {
    let mut salt = random::<SALT>();
    let (mark, _) = salt.split_at_mut(UNMATCHED.len());
    mark.copy_from_slice(UNMATCHED);
    let salt = Salt::new(&salt).map_err(|_| PasswordError::Failed)?;
    written(&params(cost, pepper)?, salt, &random::<OUTPUT>())
}

impl PasswordHash {
    /// Returns `true` for a hash that was made so that no password matches. The random salt of any other hash
    /// begins in this way once in 2^64.
    pub(crate) fn is_unmatched(&self) -> bool {
        let hash = phc::PasswordHash::new(self.expose()).ok();
        let salt = hash.and_then(|hash| hash.salt);
        salt.is_some_and(|salt| salt.starts_with(UNMATCHED))
    }
}

fn written(params: &Params, salt: Salt, output: &[u8]) -> Result<PasswordHash, PasswordError> {
    let hash = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).map_err(|_| PasswordError::Failed)?,
        salt: Some(salt),
        hash: Some(Output::new(output).map_err(|_| PasswordError::Failed)?),
    };
    Ok(PasswordHash::new(hash.to_string()))
}

fn argon2_parts(text: &str) -> Option<ReadHash> {
    let hash = phc::PasswordHash::new(text).ok()?;
    let params = Params::try_from(&hash).ok()?;
    // Refuses omitted parameters, which would get defaults, and repeated ones.
    let canonical = ParamsString::try_from(&params).ok()?;
    if !cost_of(&params).is_bearable() || canonical.as_str() != hash.params.as_str() {
        return None;
    }
    Some(ReadHash::Argon2 {
        algorithm: Algorithm::try_from(hash.algorithm.as_str()).ok()?,
        version: match hash.version {
            // The first strings of the reference implementation have no version.
            None => Version::V0x10,
            Some(version) => Version::try_from(version).ok()?,
        },
        params,
        salt: hash.salt?,
        output: hash.hash?,
    })
}

fn bcrypt_parts(text: &str) -> Option<ReadHash> {
    let parts: HashParts = text.parse().ok()?;
    (4..=15)
        .contains(&parts.get_cost())
        .then_some(ReadHash::Bcrypt(parts))
}

fn cost_of(params: &Params) -> Argon2Cost {
    Argon2Cost {
        memory_kib: params.m_cost(),
        passes: params.t_cost(),
        lanes: params.p_cost(),
    }
}

fn params(cost: Argon2Cost, pepper: Option<&Pepper>) -> Result<Params, PasswordError> {
    let mut builder = ParamsBuilder::new();
    builder
        .m_cost(cost.memory_kib)
        .t_cost(cost.passes)
        .p_cost(cost.lanes)
        .output_len(OUTPUT);
    if let Some(pepper) = pepper {
        builder.keyid(KeyId::new(&pepper.id).map_err(|_| PasswordError::Failed)?);
    }
    builder.build().map_err(|_| PasswordError::Failed)
}

/// Creates the Argon2 context. The pepper is Argon2's secret input `K` (RFC 9106 §3.1).
fn context<'a>(
    algorithm: Algorithm,
    version: Version,
    params: Params,
    pepper: Option<&'a Pepper>,
) -> Result<Argon2<'a>, PasswordError> {
    match pepper {
        None => Ok(Argon2::new(algorithm, version, params)),
        Some(pepper) => Argon2::new_with_secret(pepper.key.expose(), algorithm, version, params)
            .map_err(|_| PasswordError::Failed),
    }
}

/// RFC 9106 §4.
const SALT: usize = 16;
const OUTPUT: usize = 32;
/// The beginning of the salt of a hash that no password matches.
const UNMATCHED: &[u8; 8] = b"no match";
/// Longer than any string within the limits of the format.
const MAX_STORED: usize = 512;
