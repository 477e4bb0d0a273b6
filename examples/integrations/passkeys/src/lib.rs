//! Passkeys, by the crate `webauthn-rs`.
//!
//! The login server does the rest: the browser to which a challenge is bound, the store, and the sign-in.

use serde_json::{Value, from_str, json, to_string, to_value};
use tower_jwt_auth::server::login::{PasskeyAuthority, PasskeyError, PasskeyUser};
use webauthn_rs::prelude::{
    DiscoverableAuthentication, Passkey, PasskeyRegistration, PublicKeyCredential, Url, Uuid,
    Webauthn, WebauthnBuilder,
};

/// The relying party: a domain, and the origin of its pages.
#[derive(Debug)]
pub struct Authority(Webauthn);

impl Authority {
    /// Creates the relying party with this domain, for pages of this origin.
    ///
    /// # Errors
    ///
    /// Any error: the domain is not one of the origin.
    pub fn new(domain: &str, origin: &str) -> Result<Self, PasskeyError> {
        let origin = Url::parse(origin)?;
        Ok(Self(WebauthnBuilder::new(domain, &origin)?.build()?))
    }
}

impl PasskeyAuthority for Authority {
    fn start_registration(
        &self,
        user: &PasskeyUser,
        known: &[String],
    ) -> Result<(Value, String), PasskeyError> {
        let known = known.iter().map(|passkey| from_str::<Passkey>(passkey));
        let known = known.map(|passkey| Ok(passkey?.cred_id().clone()));
        let known = known.collect::<Result<Vec<_>, PasskeyError>>()?;
        let (handle, name) = (Uuid::from_bytes(user.handle), &user.name);
        let started = self
            .0
            .start_passkey_registration(handle, name, name, Some(known));
        let (options, state) = started?;
        let mut options = to_value(options)?;
        // The authenticator finds the passkey without a name.
        options["publicKey"]["authenticatorSelection"]["residentKey"] = json!("required");
        options["publicKey"]["authenticatorSelection"]["requireResidentKey"] = json!(true);
        Ok((options, to_string(&state)?))
    }

    fn finish_registration(
        &self,
        state: &str,
        response: &str,
    ) -> Result<(Vec<u8>, String), PasskeyError> {
        let state: PasskeyRegistration = from_str(state)?;
        let passkey = self
            .0
            .finish_passkey_registration(&from_str(response)?, &state)?;
        Ok((passkey.cred_id().to_vec(), to_string(&passkey)?))
    }

    fn start_sign_in(&self) -> Result<(Value, String), PasskeyError> {
        let (mut options, state) = self.0.start_discoverable_authentication()?;
        // The page shows a button.
        options.mediation = None;
        Ok((to_value(options)?, to_string(&state)?))
    }

    fn finish_sign_in(
        &self,
        state: &str,
        response: &str,
        user: &PasskeyUser,
        passkey: &str,
    ) -> Result<String, PasskeyError> {
        let response: PublicKeyCredential = from_str(response)?;
        let state: DiscoverableAuthentication = from_str(state)?;
        let mut passkey: Passkey = from_str(passkey)?;
        let (handle, _) = self.0.identify_discoverable_authentication(&response)?;
        if handle.as_bytes() != &user.handle {
            return Err(PasskeyError::new("the passkey belongs to another user"));
        }
        let finished = self
            .0
            .finish_discoverable_authentication_v2(&response, state, &passkey);
        passkey.update_credential(&finished?);
        Ok(to_string(&passkey)?)
    }
}
