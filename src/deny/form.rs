//! The form of a layer's refusals: with the framing of gRPC, plain HTTP, or for a gateway.

use http::StatusCode;

use crate::error::ConfigError;

/// The settings that choose between the forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(super) grpc: bool,
    pub(super) gateway: bool,
}

impl Form {
    /// The form that satisfies both settings: no framing if one excludes it, for a gateway if one
    /// is for a gateway.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            grpc: self.grpc && other.grpc,
            gateway: self.gateway || other.gateway,
        }
    }

    pub(super) fn frames_grpc(self) -> bool {
        self.grpc && !self.gateway
    }

    /// The status of a refusal in this form.
    ///
    /// nginx takes every status of an authentication request but 2xx, 401 and 403 for a failure, and
    /// 429 and 500 are failures of the authentication service, which the client did not cause.
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

    /// The status of a responder's answer to a refusal of this status.
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

/// A setting of a layer that lets requests without a credential pass, and whether it is on.
pub(crate) type Opening = (&'static str, bool);

/// Finds a setting that is on. Behind a gateway it would open everything.
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
