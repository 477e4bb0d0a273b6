//! Password login: hashing, throttling, and the ports of users and counters.
//!
//! [`Login`] checks an identifier and a password, and returns the user, a retry delay, or a
//! refusal. It does not depend on HTTP. It uses a [`UserStore`](crate::store::port::UserStore),
//! a [`ThrottleStore`](crate::store::port::ThrottleStore) and a [`PasswordHasher`].
//!
//! # Examples
//!
//! ```
//! use std::net::IpAddr;
//!
//! use tower_jwt_auth::server::login::{Identifier, Login, LoginAttempt, LoginOutcome, Password};
//!
//! async fn sign_in(
//!     login: &Login,
//!     (name, password): (&str, String),
//!     client: Option<IpAddr>,
//! ) -> Result<String, Box<dyn std::error::Error>> {
//!     // Invalid input is refused before any query or hashing: 400.
//!     let attempt = LoginAttempt::new(Identifier::existing(name)?, Password::new(password)?).from(client);
//!     Ok(match login.attempt(&attempt).await {
//!         LoginOutcome::Success(accepted) => format!("hello {}", accepted.user().subject),
//!         LoginOutcome::Throttled { retry_after } => format!("wait {} s", retry_after.as_secs()),
//!         LoginOutcome::InvalidCredentials => "no".to_owned(),
//!         _ => "come back later".to_owned(),
//!     })
//! }
//! ```

mod addresses;
mod attempt;
mod builder;
mod by_mail;
mod change;
mod claims;
mod code_flow;
mod device;
mod email;
mod identifier;
mod identity;
mod limits;
mod linking;
mod passkey;
mod password;
mod recheck;
mod reset;
mod second;
mod sign_in;
mod take_over;
pub(crate) mod throttle;
mod throttle_memory;
mod use_case;

pub(crate) use self::identity::{ErasedIdentityProvider, create_user};
pub(crate) use self::limits::Limited;
pub(crate) use self::linking::{Linking, Unlinking};
pub(crate) use self::passkey::{METHODS as PASSKEY_METHODS, PasskeyRefused, Passkeys};
#[cfg(feature = "totp")]
pub(crate) use self::second::TOTP;
pub(crate) use self::second::{AskingDevice, StepTokens};
#[cfg(feature = "totp")]
#[cfg_attr(docsrs, doc(cfg(feature = "totp")))]
pub use self::second::{
    CodeAttempt, FactorStatus, RecoveryCodes, SecondFactors, TotpEnrollment, UsedFactor,
};
pub(crate) use self::sign_in::is_local;
use self::throttle::{ThrottleKey, ThrottleRow};
pub use self::{
    addresses::EmailChanged,
    attempt::{LoginAttempt, LoginOutcome, LoginSuccess},
    builder::LoginBuilder,
    change::ChangePasswordOutcome,
    claims::{EmailClaims, UserClaims},
    device::{DeviceTokens, TrustedDevice},
    email::EmailAddress,
    identifier::{Identifier, IdentifierError},
    identity::{
        AuthorizationRequest, Identities, Identity, IdentityError, IdentityOutcome,
        IdentityProvider, LinkIdentityOutcome, LinkedIdentity, UnknownIdentity,
    },
    passkey::{PasskeyAuthority, PasskeyError, PasskeyUser},
    password::{
        Argon2Cost, Password, PasswordError, PasswordHash, PasswordHasher, PasswordHasherBuilder,
        PasswordPolicy, PasswordRule, Verification,
    },
    second::{FirstStep, PendingSignIn, SecondFactorError, SecondStepPolicy},
    sign_in::SignIn,
    take_over::{ProvedEmail, TakeOverHook},
    throttle::{Network, UnlockHook},
    throttle_memory::MemoryThrottle,
    use_case::Login,
};
