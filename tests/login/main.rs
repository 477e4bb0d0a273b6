//! Login without HTTP: passwords, throttling, devices; and the form of API keys.

mod api_keys;
mod devices;
mod hostile;
mod passwords;
mod sign_in;
mod support;
mod throttling;
