//! Login without HTTP: passwords, throttling, devices.

mod change;
mod crowds;
mod devices;
mod grants;
mod hostile;
mod passwords;
mod resets;
mod sign_in;
mod throttling;
