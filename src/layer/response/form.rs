//! The form of a layer's refusals: gRPC framing, plain HTTP, or gateway mode.

use http::StatusCode;

use crate::error::ConfigError;

/// The settings that determine the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(super) grpc: bool,
    pub(super) gateway: bool,
}

impl Form {
    /// Combines two forms: framing needs both to allow it, and gateway mode applies if either has it.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            grpc: self.grpc && other.grpc,
            gateway: self.gateway || other.gateway,
        }
    }

    pub(super) fn frames_grpc(self) -> bool {
        self.grpc && !self.gateway
    }

    /// Returns the HTTP status of a refusal in this form.
    ///
    /// nginx treats every status of an authentication request except 2xx, 401 and 403 as a failure. 429
    /// and 500 are failures of the authentication service, which the client did not cause.
    pub(super) fn status(self, status: StatusCode) -> StatusCode {
        match status {
            _ if !self.gateway => status,
            StatusCode::BAD_REQUEST => StatusCode::UNAUTHORIZED,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::INTERNAL_SERVER_ERROR => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            other => other,
        }
    }

    /// Returns the status of a responder's response to a refusal with the status `refusal`.
    pub(super) fn status_of_answer(self, answer: StatusCode, refusal: StatusCode) -> StatusCode {
        match self.gateway && (answer.is_success() || answer.is_informational()) {
            true => self.status(refusal),
            false => self.status(answer),
        }
    }
}

impl Default for Form {
    fn default() -> Self {
        Self {
            grpc: true,
            gateway: false,
        }
    }
}

/// The name of a setting that lets requests without a credential pass, and its value.
pub(crate) type Opening = (&'static str, bool);

/// Returns an error if one of the settings is on. Behind a gateway it would let every request pass.
pub(super) fn contradiction(openings: &[Opening]) -> Result<(), ConfigError> {
    match openings.iter().find(|(_, is_on)| *is_on) {
        None => Ok(()),
        Some((setting, _)) => Err(ConfigError::invalid(
            "gateway",
            format!(
                "`{setting}` lets requests without a credential pass, and a gateway lets in every \
                 request that passes; drop one of the two"
            ),
        )),
    }
}
