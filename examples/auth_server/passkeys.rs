//! Passkeys, by the crate `webauthn_rp`, which needs no C library.
//!
//! The login server does the rest: the browser to which a challenge is bound, the store, and the sign-in. The
//! package `examples/integrations/passkeys` has the crate `webauthn-rs` instead.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, from_str, json, to_string};
use tower_jwt_auth::{
    error::StoreError,
    server::login::{FirstStep, PasskeyAuthority, PasskeyError, PasskeyUser, SecondStepPolicy},
    store::{
        AnyStore,
        port::{CredentialRecord, CredentialStore},
    },
};
use webauthn_rp::{
    AuthenticatedCredential, DiscoverableAuthentication16, DiscoverableAuthenticationServerState,
    DiscoverableCredentialRequestOptions, PublicKeyCredentialCreationOptions, Registration,
    RegistrationServerState,
    bin::{Decode, Encode},
    request::{
        AsciiDomain, PublicKeyCredentialDescriptor, RpId,
        auth::AuthenticationVerificationOptions,
        register::{
            CredProtect, PublicKeyCredentialUserEntity, RegistrationVerificationOptions,
            UserHandle16,
        },
    },
    response::{
        AuthTransports, CredentialId,
        register::{DynamicState, StaticState},
    },
};

/// The relying party: a domain, and the origin of its pages.
pub(crate) struct Authority {
    domain: RpId,
    origin: String,
}

/// A passkey, as the store keeps it.
#[derive(Serialize, Deserialize)]
struct Passkey {
    id: String,
    transports: u8,
    /// The public key.
    key: String,
    /// The signature counter and the flags.
    state: String,
}

impl Authority {
    /// Returns the relying party for pages of this origin. There is none for a host that is an IP address,
    /// because browsers have no passkeys there.
    pub(crate) fn of(origin: &str) -> Option<Self> {
        let (_, authority) = origin.split_once("://")?;
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        let is_number = host
            .rsplit('.')
            .next()?
            .bytes()
            .all(|byte| byte.is_ascii_digit());
        if is_number || host.starts_with('[') {
            return None;
        }
        Some(Self {
            domain: RpId::Domain(AsciiDomain::try_from(host.to_owned()).ok()?),
            origin: origin.to_owned(),
        })
    }
}

impl PasskeyAuthority for Authority {
    fn start_registration(
        &self,
        user: &PasskeyUser,
        known: &[String],
    ) -> Result<(Value, String), PasskeyError> {
        let known = known.iter().map(|passkey| {
            let passkey: Passkey = from_str(passkey)?;
            Ok(PublicKeyCredentialDescriptor {
                id: CredentialId::<Vec<u8>>::decode(bytes(&passkey.id)?)?,
                transports: AuthTransports::decode(passkey.transports)?,
            })
        });
        let known = known.collect::<Result<Vec<_>, PasskeyError>>()?;
        let handle = UserHandle16::decode(user.handle)?;
        let entity = PublicKeyCredentialUserEntity {
            name: user.name.as_str().try_into()?,
            id: &handle,
            display_name: None,
        };
        let mut options = PublicKeyCredentialCreationOptions::passkey(&self.domain, entity, known);
        // Not every authenticator has this extension, and the browser would refuse the others.
        options.extensions.cred_protect = CredProtect::None;
        let (state, options) = options.start_ceremony()?;
        Ok((json!({ "publicKey": options }), text(&state.encode()?)))
    }

    fn finish_registration(
        &self,
        state: &str,
        response: &str,
    ) -> Result<(Vec<u8>, String), PasskeyError> {
        let state = RegistrationServerState::<16>::decode(&bytes(state)?)?;
        let response = Registration::from_json_relaxed(response.as_bytes())?;
        let options = RegistrationVerificationOptions::<&str, &str> {
            allowed_origins: &[self.origin.as_str()],
            ..Default::default()
        };
        let made = state.verify(&self.domain, &response, &options)?;
        let id = made.id().into_inner().to_vec();
        let passkey = Passkey {
            id: text(&id),
            transports: made.transports().encode()?,
            key: text(&made.static_state().encode()?),
            state: text(&made.dynamic_state().encode()?),
        };
        Ok((id, to_string(&passkey)?))
    }

    fn start_sign_in(&self) -> Result<(Value, String), PasskeyError> {
        let options = DiscoverableCredentialRequestOptions::passkey(&self.domain);
        let (state, options) = options.start_ceremony()?;
        Ok((json!({ "publicKey": options }), text(&state.encode()?)))
    }

    fn finish_sign_in(
        &self,
        state: &str,
        response: &str,
        user: &PasskeyUser,
        passkey: &str,
    ) -> Result<String, PasskeyError> {
        let state = DiscoverableAuthenticationServerState::decode(&bytes(state)?)?;
        let response = DiscoverableAuthentication16::from_json_relaxed(response.as_bytes())?;
        let mut passkey: Passkey = from_str(passkey)?;
        let (id, handle) = (bytes(&passkey.id)?, UserHandle16::decode(user.handle)?);
        let last: [u8; 7] = bytes(&passkey.state)?
            .try_into()
            .map_err(|_| PasskeyError::new("a state has seven bytes"))?;
        let mut credential = AuthenticatedCredential::new(
            CredentialId::<&[u8]>::decode(id.as_slice())?,
            &handle,
            StaticState::decode(&bytes(&passkey.key)?)?,
            DynamicState::decode(last)?,
        )?;
        let options = AuthenticationVerificationOptions::<&str, &str> {
            allowed_origins: &[self.origin.as_str()],
            ..Default::default()
        };
        state.verify(&self.domain, &response, &mut credential, &options)?;
        passkey.state = text(&credential.dynamic_state().encode()?);
        Ok(to_string(&passkey)?)
    }
}

/// Asks the owner of a passkey for it after a password, or another single factor.
pub(crate) fn second_step(store: AnyStore) -> impl SecondStepPolicy {
    move |first: FirstStep| {
        let store = store.clone();
        async move {
            let has_two = first.amr().any(|method| method == "mfa");
            let rows = store.credentials("passkey", first.subject()).await?;
            let has_passkey = rows.iter().any(CredentialRecord::is_linked);
            let asks = has_passkey && !has_two;
            Ok::<_, StoreError>(asks.then(|| "webauthn".to_owned()).into_iter().collect())
        }
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn bytes(text: &str) -> Result<Vec<u8>, PasskeyError> {
    Ok(URL_SAFE_NO_PAD.decode(text)?)
}
