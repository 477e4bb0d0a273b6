//! Passkeys of users.

mod authority;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use self::authority::{PasskeyAuthority, PasskeyError, PasskeyUser};
use crate::{
    error::StoreError,
    event::LoginEvent,
    principal::SessionId,
    server::{
        login::{EmailAddress, Linking, Login, SignIn, Unlinking},
        session::Sessions,
    },
    store::port::{CredentialRecord, ErasedCredentialStore, NewCredential},
};

/// The passkeys of all users.
pub(crate) struct Passkeys<'a> {
    pub(crate) login: &'a Login,
    pub(crate) sessions: &'a Sessions,
    pub(crate) authority: &'a dyn PasskeyAuthority,
}

/// The reason why a passkey is not accepted.
#[derive(Debug)]
pub(crate) enum PasskeyRefused {
    /// The response of the authenticator is not valid.
    Invalid,
    /// The passkey is registered already.
    Taken,
    /// The user has too many passkeys.
    TooMany,
    /// The session has ended.
    Ended,
    Store(StoreError),
}

/// The data of a credential.
#[derive(Serialize, Deserialize)]
struct Stored {
    label: String,
    passkey: String,
    /// The row was changed only to complete the registration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unused: bool,
}

/// The part of an authenticator's response that is read before it is verified.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "rawId")]
    raw_id: String,
}

/// A passkey whose response was verified.
pub(crate) struct UsedPasskey {
    pub(crate) subject: String,
    /// The epoch before the response was verified.
    epoch: u32,
    row: CredentialRecord,
    data: String,
}

impl UsedPasskey {
    /// Returns the sign-in with a passkey as the only factor. The authenticator has verified its user,
    /// so that it counts as two (RFC 8176 §2).
    pub(crate) fn sign_in(&self) -> SignIn {
        let methods = METHODS.into_iter().chain(["mfa"]);
        SignIn::new(&self.subject).epoch(self.epoch).amr(methods)
    }
}

impl Passkeys<'_> {
    /// Returns the options and the state of a registration.
    pub(crate) async fn start_registration(
        &self,
        subject: &str,
    ) -> Result<(Value, String), PasskeyRefused> {
        let mut rows = self.rows()?.credentials(PASSKEY, subject).await?;
        rows.retain(CredentialRecord::is_linked);
        if rows.len() >= MOST {
            return Err(PasskeyRefused::TooMany);
        }
        let known = rows.iter().map(|row| Ok(stored(row)?.passkey));
        let known = known.collect::<Result<Vec<_>, StoreError>>()?;
        let user = self.user(subject).await?;
        Ok(self.authority.start_registration(&user, &known)?)
    }

    /// Registers the passkey of an authenticator's response, while the session of its user lives. Returns
    /// its identifier.
    pub(crate) async fn finish_registration(
        &self,
        (session, subject): (SessionId, &str),
        state: &str,
        response: &str,
        label: &str,
    ) -> Result<String, PasskeyRefused> {
        let (id, passkey) = self.authority.finish_registration(state, response)?;
        let id = URL_SAFE_NO_PAD.encode(id);
        let data = Stored {
            label: label
                .chars()
                .filter(|c| !c.is_control())
                .take(100)
                .collect(),
            passkey,
            unused: true,
        };
        let new = NewCredential::new(PASSKEY, &id, subject).data(data.text()?);
        let linking = self.login.link_in((self.sessions, session), new, MOST);
        match linking.await? {
            Linking::Linked => {}
            Linking::LinkedBefore | Linking::Taken => return Err(PasskeyRefused::Taken),
            Linking::TooMany => return Err(PasskeyRefused::TooMany),
            Linking::Ended => return Err(PasskeyRefused::Ended),
        }
        self.emit(LoginEvent::PasskeyAdded {
            subject: subject.to_owned(),
        });
        Ok(id)
    }

    /// Returns the options and the state of a sign-in.
    pub(crate) fn start_sign_in(&self) -> Result<(Value, String), PasskeyRefused> {
        Ok(self.authority.start_sign_in()?)
    }

    /// Verifies an authenticator's response.
    pub(crate) async fn verify(
        &self,
        state: &str,
        response: &str,
    ) -> Result<UsedPasskey, PasskeyRefused> {
        let named: Named = serde_json::from_str(response).map_err(|_| PasskeyRefused::Invalid)?;
        let id = URL_SAFE_NO_PAD.decode(named.raw_id);
        let id = URL_SAFE_NO_PAD.encode(id.map_err(|_| PasskeyRefused::Invalid)?);
        let row = self.rows()?.find_credential(PASSKEY, &id).await?;
        let row = row.filter(CredentialRecord::is_linked);
        let row = row.ok_or(PasskeyRefused::Invalid)?;
        let epoch = self.sessions.epoch(&row.subject).await;
        let epoch = epoch.map_err(StoreError::unavailable)?;
        let mut kept = stored(&row)?;
        let user = PasskeyUser {
            name: String::new(),
            ..PasskeyUser::new(&row.subject)
        };
        kept.passkey = self
            .authority
            .finish_sign_in(state, response, &user, &kept.passkey)?;
        kept.unused = false;
        Ok(UsedPasskey {
            subject: row.subject.clone(),
            epoch,
            data: kept.text()?,
            row,
        })
    }

    /// Records the use of a passkey. Of concurrent uses with one counter, one succeeds. A passkey that was
    /// removed in the meantime is refused.
    pub(crate) async fn record(&self, used: &UsedPasskey) -> Result<(), PasskeyRefused> {
        let updated = self.rows()?.update_credential(&used.row, &used.data);
        match updated.await? {
            true => Ok(()),
            false => Err(PasskeyRefused::Invalid),
        }
    }

    /// Returns the passkeys of a user, with their labels.
    pub(crate) async fn list(
        &self,
        subject: &str,
    ) -> Result<Vec<(CredentialRecord, String)>, PasskeyRefused> {
        let mut rows = self.rows()?.credentials(PASSKEY, subject).await?;
        rows.retain(CredentialRecord::is_linked);
        let labelled = rows.into_iter().map(|mut row| {
            let kept = stored(&row)?;
            row.used_at = row.used_at.filter(|_| !kept.unused);
            Ok((row, kept.label))
        });
        labelled.collect()
    }

    pub(crate) async fn remove(
        &self,
        subject: &str,
        id: &str,
    ) -> Result<Unlinking, PasskeyRefused> {
        let removed = self.rows()?.unlink_credential(PASSKEY, id, subject).await?;
        Ok(self.removed(subject, removed.into()))
    }

    /// Removes a passkey, unless it is the last credential that opens the account.
    pub(crate) async fn remove_beside(
        &self,
        subject: &str,
        id: &str,
        opens: impl Fn(&CredentialRecord) -> bool,
    ) -> Result<Unlinking, PasskeyRefused> {
        let removing = self.login.unlink_beside((PASSKEY, id), subject, opens);
        Ok(self.removed(subject, removing.await?))
    }

    fn removed(&self, subject: &str, unlinking: Unlinking) -> Unlinking {
        if unlinking == Unlinking::Unlinked {
            self.emit(LoginEvent::PasskeyRemoved {
                subject: subject.to_owned(),
            });
        }
        unlinking
    }

    async fn user(&self, subject: &str) -> Result<PasskeyUser, PasskeyRefused> {
        let user = self.login.users().find_by_subject(subject).await?;
        let address = user.and_then(|user| user.email);
        let name = address.as_ref().map_or(subject, EmailAddress::as_str);
        Ok(PasskeyUser {
            name: name.to_owned(),
            ..PasskeyUser::new(subject)
        })
    }

    fn emit(&self, event: LoginEvent) {
        self.login.inner.events.login(|| event);
    }

    fn rows(&self) -> Result<&Arc<dyn ErasedCredentialStore>, StoreError> {
        self.login.credentials()
    }
}

impl PasskeyUser {
    fn new(subject: &str) -> Self {
        let digest = Sha256::new()
            .chain_update("passkey user handle\0")
            .chain_update(subject)
            .finalize();
        let mut handle = [0; 16];
        handle.copy_from_slice(digest.split_at(16).0);
        Self {
            subject: subject.to_owned(),
            name: subject.to_owned(),
            handle,
        }
    }
}

impl Stored {
    fn text(&self) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(StoreError::invalid)
    }
}

fn stored(row: &CredentialRecord) -> Result<Stored, StoreError> {
    serde_json::from_str(&row.data).map_err(StoreError::invalid)
}

impl From<StoreError> for PasskeyRefused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PasskeyError> for PasskeyRefused {
    fn from(error: PasskeyError) -> Self {
        #[cfg(feature = "tracing")]
        tracing::warn!(%error, "the response of an authenticator was refused");
        #[cfg(not(feature = "tracing"))]
        let _ = error;
        Self::Invalid
    }
}

/// The kind of the credentials.
pub(super) const PASSKEY: &str = "passkey";
/// The maximum number of passkeys of a user.
const MOST: usize = 10;
/// Possession of a key, and the presence of a user (RFC 8176 §2).
pub(crate) const METHODS: [&str; 2] = ["pop", "user"];
