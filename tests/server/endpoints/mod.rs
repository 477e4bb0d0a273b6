//! The endpoints of a login server, through their tower service.
//!
//! A test's name starts with the id of the rule that it proves.

mod bodies;
mod bound;
mod change_password;
mod cookies;
mod devices;
mod door;
mod events;
mod floods;
mod generations;
mod guests;
mod logout;
mod names;
mod origins;
mod passwords;
#[cfg(feature = "totp")]
mod policy;
mod register;
#[cfg(feature = "totp")]
mod remembered;
#[cfg(feature = "totp")]
mod second_step;
mod sign_in;
mod standing;
mod surface;
mod tokens;
#[cfg(feature = "totp")]
mod totp;
mod well_known;
