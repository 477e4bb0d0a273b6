//! A hash as a store keeps it: read, judged, and compared with a password.

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

/// A password's hash as a store keeps it: a [PHC string] of Argon2, or bcrypt's own form.
///
/// Nothing is checked before it is used: whatever a store holds can be put in here.
///
/// [PHC string]: https://github.com/P-H-C/phc-string-format/blob/master/phc-sf-spec.md
#[derive(Clone)]
pub struct PasswordHash(Secret<String>);

impl PasswordHash {
    /// Takes what a store kept.
    #[must_use]
    pub fn new(stored: impl Into<Secret<String>>) -> Self {
        Self(stored.into())
    }

    /// The text to be stored.
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

/// A hash that was read and found bearable: what it costs is known and bounded.
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
    /// Reads a hash. Allocates nothing that depends on what it says.
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

    /// A hash that no password has, as expensive as those that are made now.
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

    /// Whether this is the password's hash. Takes as long as a hash takes.
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
            // The library compares in constant time and cuts at 72 bytes, as whoever made it did.
            Self::Bcrypt(parts) => bcrypt::verify(password.typed(), &parts.to_string())
                .map_err(|_| PasswordError::UnusableHash),
        }
    }

    /// Whether a new hash of this password, which it has, should take its place.
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
            // What bcrypt did not look at was never verified: after the 72nd byte, and, as it
            // repeats its key with a zero in between, after a zero.
            Self::Bcrypt(_) => password.typed().len() <= 72 && !password.typed().contains(&0),
        }
    }
}

/// Makes a hash. Takes as long as a hash takes.
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
    let hash = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(|_| PasswordError::Failed)?,
        salt: Some(salt),
        hash: Some(Output::new(&*output).map_err(failed)?),
    };
    Ok(PasswordHash::new(hash.to_string()))
}

fn argon2_parts(text: &str) -> Option<ReadHash> {
    let hash = phc::PasswordHash::new(text).ok()?;
    let params = Params::try_from(&hash).ok()?;
    // What is left out would be guessed, and what stands there twice read twice.
    let canonical = ParamsString::try_from(&params).ok()?;
    if !cost_of(&params).is_bearable() || canonical.as_str() != hash.params.as_str() {
        return None;
    }
    Some(ReadHash::Argon2 {
        algorithm: Algorithm::try_from(hash.algorithm.as_str()).ok()?,
        version: match hash.version {
            // The reference implementation's first strings had none.
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

/// The pepper is Argon2's own secret input `K` (RFC 9106 §3.1).
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
/// The longest string that the format's own limits allow is shorter.
const MAX_STORED: usize = 512;
