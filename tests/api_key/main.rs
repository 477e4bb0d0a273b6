//! API keys: issued, rolled, revoked, and let in beside tokens.

mod beside;
mod layer;
mod life;
mod remembered;
mod support;
mod uses;
