//! The settings of back-channel logout.

use super::{
    policy::Policy,
    vars::{Vars, refuse},
};
use crate::error::ConfigError;

/// Returns the client of logout tokens, if they are accepted.
pub(super) fn read(vars: &mut Vars, policy: &Policy) -> Result<Option<String>, ConfigError> {
    let client = vars.text(CLIENT)?;
    if !vars.switch(SWITCH)?.unwrap_or(false) {
        return match client {
            Some(_) => Err(refuse(CLIENT, "needs JWT_BACKCHANNEL_LOGOUT=true")),
            None => Ok(None),
        };
    }
    if cfg!(not(feature = "jwks")) {
        return Err(refuse(SWITCH, "needs the feature `jwks`"));
    }
    if policy.issuers().is_empty() {
        return Err(refuse(
            SWITCH,
            "needs JWT_ISSUER, whose logouts are received",
        ));
    }
    if policy.chooses_subject() {
        let problem = "contradicts JWT_SUBJECT_CLAIM: logout tokens identify the subject by `sub`";
        return Err(refuse(SWITCH, problem));
    }
    let client = client.map(Some).unwrap_or_else(|| policy.only_client());
    let problem = "needs JWT_LOGOUT_CLIENT_ID, or a single JWT_CLIENT_ID or JWT_AUDIENCE";
    client.map(Some).ok_or_else(|| refuse(SWITCH, problem))
}

const SWITCH: &str = "JWT_BACKCHANNEL_LOGOUT";
const CLIENT: &str = "JWT_LOGOUT_CLIENT_ID";
