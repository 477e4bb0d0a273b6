//! Users that exist from the start.

use std::fmt;

use crate::{
    error::ConfigError,
    secret::Secret,
    settings::vars::{Vars, refuse},
};

/// A user that is created at the start of the server.
#[derive(Clone)]
pub struct SeedUser {
    name: String,
    password: Secret<String>,
    roles: Vec<String>,
}

impl SeedUser {
    /// Creates a user with this name, password and these roles, for [`AuthSettings::seed`].
    ///
    /// [`AuthSettings::seed`]: crate::AuthSettings::seed
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        password: impl Into<String>,
        roles: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            name: name.into(),
            password: Secret::new(password.into()),
            roles: roles.into_iter().map(Into::into).collect(),
        }
    }

    /// Returns the name with which the user signs in.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the user's password.
    #[must_use]
    pub fn password(&self) -> &Secret<String> {
        &self.password
    }

    /// Returns the user's roles.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (name, password) = (parts.next()?.trim(), parts.next()?);
        let roles = parts.next().unwrap_or_default().trim();
        // A colon in the password would end the password early without an error.
        if name.is_empty() || password.is_empty() || roles.contains(':') {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            password: Secret::new(password.to_owned()),
            roles: roles
                .split('+')
                .filter(|role| !role.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }
}

impl fmt::Debug for SeedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeedUser")
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

pub(super) fn read_seeds(vars: &mut Vars) -> Result<Vec<SeedUser>, ConfigError> {
    let Some(text) = vars.secret(SEED)? else {
        return Ok(Vec::new());
    };
    let seeds = text.expose().split(',').map(SeedUser::parse);
    let seeds = seeds.collect::<Option<_>>();
    seeds.ok_or_else(|| refuse(SEED, "each entry must be name:password:role+role"))
}

const SEED: &str = "AUTH_SEED_USER";
