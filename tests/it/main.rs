//! Rules, proved through the public API.
