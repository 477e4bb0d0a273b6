//! The endpoints of a login server, through their tower service.
//!
//! A test's name starts with the id of the rule that it proves.

mod bodies;
mod change_password;
mod cookies;
mod devices;
mod events;
mod floods;
mod generations;
mod guests;
mod logout;
mod names;
mod origins;
mod passwords;
mod register;
mod sign_in;
mod standing;
mod surface;
mod tokens;
mod well_known;
