//! Keys.

mod algorithm;

pub use self::algorithm::Algorithm;
