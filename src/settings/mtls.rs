//! The settings of tokens that are bound to the certificate of the client.

use super::vars::{Vars, refuse};
use crate::{
    error::ConfigError,
    layer::mtls::{CertificateHeader, Mtls},
};

/// Returns the rules for certificates, if bound tokens are accepted.
pub(super) fn read(vars: &mut Vars) -> Result<Option<Mtls>, ConfigError> {
    let (mode, header, proxies) = (vars.text(MODE)?, vars.text(HEADER)?, vars.list(PROXIES)?);
    let required = match mode.as_deref() {
        None | Some("off") => {
            // Proxies without a header would be a mistake that only shows in refusals.
            return match (header, proxies) {
                (Some(_), _) => Err(refuse(HEADER, NO_EFFECT)),
                (None, Some(_)) => Err(refuse(PROXIES, NO_EFFECT)),
                (None, None) => Ok(None),
            };
        }
        Some("allowed") => false,
        Some("required") => true,
        Some(other) => {
            let problem = format!(
                "`{}` is none of off, allowed, required",
                other.escape_debug()
            );
            return Err(refuse(MODE, problem));
        }
    };
    let header = match header.as_deref() {
        Some("client-cert") => CertificateHeader::ClientCert,
        Some("xfcc") => CertificateHeader::Xfcc,
        Some("nginx") => CertificateHeader::Nginx,
        Some("haproxy") => CertificateHeader::HaProxy,
        Some(other) => {
            let other = other.escape_debug();
            let problem = format!("`{other}` is none of client-cert, xfcc, nginx, haproxy");
            return Err(refuse(HEADER, problem));
        }
        None => {
            let problem =
                format!("needs {HEADER}, the header in which a proxy forwards certificates");
            return Err(refuse(MODE, problem));
        }
    };
    let Some(proxies) = proxies else {
        let problem = format!("needs {PROXIES}: any other peer could claim any certificate");
        return Err(refuse(MODE, problem));
    };
    let rules = Mtls::behind(proxies.iter().map(String::as_str), header);
    let rules = if required { rules.required() } else { rules };
    rules.build().map(Some).map_err(|error| match error {
        ConfigError::Invalid { problem, .. } => refuse(PROXIES, problem),
        other => other,
    })
}

const MODE: &str = "JWT_MTLS";
const HEADER: &str = "JWT_MTLS_HEADER";
const PROXIES: &str = "JWT_TRUSTED_PROXIES";
const NO_EFFECT: &str = "has no effect without JWT_MTLS";
