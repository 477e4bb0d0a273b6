//! The users that exist from the start.

use crate::{
    error::ConfigError,
    secret::{base62::base62, random},
    server::{
        login::{Identifier, Login, Password},
        settings::SeedUser,
    },
    store::port::NewUser,
};

/// Creates the users whose names are free. Existing users are not changed.
pub(super) async fn create(seeds: &[SeedUser], login: &Login) -> Result<(), ConfigError> {
    let users = login.users();
    if !seeds.is_empty() && !users.can_create() {
        let problem = "the user store does not create users (`UserStore::can_create`)";
        return Err(ConfigError::invalid(SEEDS, problem));
    }
    let refused = |problem: String| ConfigError::invalid(SEEDS, problem);
    for seed in seeds {
        let name = Identifier::new(seed.name()).map_err(|error| refused(error.to_string()))?;
        let password = Password::new(seed.password().expose().clone());
        let password = password.map_err(|error| refused(error.to_string()))?;
        let failed = |error: crate::error::StoreError| ConfigError::invalid(STORE, error.causes());
        if users.find(&name).await.map_err(failed)?.is_some() {
            continue;
        }
        // By the policy, as every password that is set.
        let hash = login.hash_new(&password, None).await;
        let hash = hash.map_err(|error| refused(error.to_string()))?;
        let subject = format!("usr_{}", base62(random::<16>()));
        let user = NewUser::new(subject, name, hash).roles(seed.roles());
        // Another node may have created the user in the meantime.
        let _ = users.create(user).await.map_err(failed)?;
    }
    Ok(())
}

const SEEDS: &str = "AUTH_SEED_USER";
const STORE: &str = "AUTH_STORE";
