//! The ports that a store implements, and the records that it keeps.

mod guests;
mod one_time;
mod secret;
mod sessions;
mod throttle;
mod user_admin;
mod users;

pub(crate) use self::sessions::LISTED;
pub use self::{
    guests::*, one_time::*, secret::*, sessions::*, throttle::*, user_admin::*, users::*,
};
