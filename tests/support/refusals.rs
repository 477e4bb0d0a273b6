//! What the tests of layers alone read of an answer.

use http::StatusCode;
use serde_json::Value;

use super::answer::{Answer, Inner};

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

    /// `400/ir`, `401/it`, `401/bare`, `403/is` or `503`.
    #[track_caller]
    pub(crate) fn is(self, expected: &str, case: &str) -> Self {
        let challenge = self.header("www-authenticate");
        match expected {
            "400/ir" => self.invalid_request(case),
            "401/it" => self.invalid_token(case),
            "401/bare" => {
                assert_eq!(challenge, Some(r#"Bearer realm="api""#), "{case}");
                self.bare(case)
            }
            "403/is" => self.insufficient_scope(case),
            "503" => {
                assert_eq!(challenge, None, "{case}");
                self.unavailable(case)
            }
            other => panic!("{other}"),
        }
    }
}
