//! Tokens as text.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

pub(crate) fn segments(token: &str) -> [String; 3] {
    let segments: Vec<_> = token.split('.').map(str::to_owned).collect();
    segments.try_into().unwrap()
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
