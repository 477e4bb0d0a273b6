//! What the tests of layers alone read of an answer.

use http::StatusCode;
use serde_json::Value;

use crate::support::answer::{Answer, Inner};

impl Inner {
    pub(crate) fn was_called(&self) -> bool {
        self.seen.lock().unwrap().is_some()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// 401/bare
    #[track_caller]
    pub(crate) fn bare(self, case: &str) -> Self {
        self.refused(case, StatusCode::UNAUTHORIZED, None)
    }

    /// 403/is
    #[track_caller]
    pub(crate) fn insufficient_scope(self, case: &str) -> Self {
        self.refused(case, StatusCode::FORBIDDEN, Some("insufficient_scope"))
    }
}
