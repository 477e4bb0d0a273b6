//! Signing in with a password: hashing, throttling, and the ports to users and counters.
//!
//! [`Login`] is the whole of it below HTTP: it takes what a person typed and says who it is, or to
//! wait, or no. It asks two ports, a [`UserStore`] and a [`ThrottleStore`], and a [`PasswordHasher`].
//!
//! # Examples
//!
//! ```
//! use std::net::IpAddr;
//!
//! use tower_jwt_auth::login::{
//!     Attempt, Identifier, Login, LoginOutcome, MemoryThrottle, Password, UserStore,
//! };
//!
//! async fn sign_in<U: UserStore>(
//!     login: &Login<U, MemoryThrottle>,
//!     (name, password): (&str, String),
//!     client: Option<IpAddr>,
//! ) -> Result<String, Box<dyn std::error::Error>> {
//!     // What cannot be right is refused before anything is asked or hashed: 400.
//!     let attempt = Attempt::new(Identifier::existing(name)?, Password::new(password)?).from(client);
//!     Ok(match login.attempt(&attempt).await {
//!         LoginOutcome::Accepted(accepted) => format!("hello {}", accepted.user().subject),
//!         LoginOutcome::Wait { retry_after } => format!("wait {} s", retry_after.as_secs()),
//!         LoginOutcome::Refused => "no".to_owned(),
//!         _ => "come back later".to_owned(),
//!     })
//! }
//! ```

mod admin;
mod attempt;
mod builder;
mod change;
mod device;
mod grants;
mod identifier;
mod one_time;
mod password;
mod reset;
mod throttle;
mod throttle_memory;
mod use_case;
mod user;

pub use self::{
    admin::{UserAdmin, UserEntry},
    attempt::{Accepted, Attempt, LoginOutcome},
    builder::LoginBuilder,
    change::PasswordChange,
    device::{DeviceTokens, TrustedDevice},
    grants::UserGrants,
    identifier::{Identifier, IdentifierError},
    one_time::{NewOneTime, OneTimeDigest, OneTimePurpose, OneTimeStore, OneTimeToken},
    password::{
        Argon2Cost, Password, PasswordError, PasswordHash, PasswordHasher, PasswordHasherBuilder,
        PasswordPolicy, PasswordRule, Verification,
    },
    throttle::{
        AttemptOutcome, Network, Reservation, Reserve, Settled, ThrottleKey, ThrottleRow,
        ThrottleRule, ThrottleStore, UnlockHook,
    },
    throttle_memory::MemoryThrottle,
    use_case::Login,
    user::{NewUser, User, UserStore},
};
