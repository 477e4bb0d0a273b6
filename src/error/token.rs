//! The values of a refused token, for logs.

use std::fmt;

/// The values of a refused token that explain the refusal, and what the verifier expects. For logs and
/// events.
///
/// The values from the token are not verified, so that an attacker can choose them. They are escaped and cut at 128
/// bytes. No other claim and no signature is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusedToken {
    pub(crate) algorithm: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) typ: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) expected_algorithms: String,
    pub(crate) expected_issuers: String,
    pub(crate) expected_audience: String,
}

impl RefusedToken {
    /// Returns the algorithm in the header (`alg`).
    #[must_use]
    pub fn algorithm(&self) -> Option<&str> {
        self.algorithm.as_deref()
    }

    /// Returns the name of the key in the header (`kid`).
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Returns the type in the header (`typ`).
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// Returns the issuer (`iss`).
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Returns the audience (`aud`), separated by commas if there are several.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.audience.as_deref()
    }

    /// Returns the accepted algorithms, separated by commas. Empty if they depend on the issuer.
    #[must_use]
    pub fn expected_algorithms(&self) -> &str {
        &self.expected_algorithms
    }

    /// Returns the accepted issuers, separated by commas. Empty if any issuer is accepted.
    #[must_use]
    pub fn expected_issuers(&self) -> &str {
        &self.expected_issuers
    }

    /// Returns the names of which the audience must contain one, separated by commas. Empty if any
    /// audience is accepted, or the names depend on the issuer.
    #[must_use]
    pub fn expected_audience(&self) -> &str {
        &self.expected_audience
    }
}

impl fmt::Display for RefusedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let values = [
            ("alg", self.algorithm.clone()),
            ("kid", self.key_id.clone()),
            ("typ", self.typ.clone()),
            ("iss", self.issuer.clone()),
            ("aud", self.audience.clone()),
            ("expected_alg", text(&self.expected_algorithms)),
            ("expected_iss", text(&self.expected_issuers)),
            ("expected_aud", text(&self.expected_audience)),
        ];
        let values = values
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        for (position, (name, value)) in values.enumerate() {
            let space = if position == 0 { "" } else { " " };
            write!(f, "{space}{name}=\"{value}\"")?;
        }
        Ok(())
    }
}
