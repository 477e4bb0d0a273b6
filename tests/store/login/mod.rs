//! Users, counters of login attempts, API keys, tokens for one use: on every store.

#[cfg(feature = "aws-lc-rs")]
mod credentials;
#[cfg(feature = "totp")]
mod factors;
#[cfg(feature = "aws-lc-rs")]
mod mails;
pub(crate) mod memory;
mod nodes;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(all(feature = "aws-lc-rs", feature = "totp"))]
mod take_over;
#[cfg(all(feature = "aws-lc-rs", feature = "totp"))]
mod tokens;

/// All contracts on one fixture.
macro_rules! contracts {
    ([$($meta:tt)*] $fixture:expr) => {
        mod throttle {
            tower_jwt_auth::throttle_store_contract!([$($meta)*] $fixture);
        }
        mod users {
            tower_jwt_auth::user_store_contract!([$($meta)*] $fixture);
            tower_jwt_auth::user_admin_contract!([$($meta)*] $fixture);
            tower_jwt_auth::user_email_contract!([$($meta)*] $fixture);
        }
        mod api_keys {
            tower_jwt_auth::api_key_store_contract!([$($meta)*] $fixture);
        }
        mod factors {
            tower_jwt_auth::factor_store_contract!([$($meta)*] $fixture);
        }
        mod credentials {
            tower_jwt_auth::credential_store_contract!([$($meta)*] $fixture);
        }
        mod one_time {
            tower_jwt_auth::one_time_store_contract!([$($meta)*] $fixture);
        }
    };
}
use contracts;
