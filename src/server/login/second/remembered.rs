//! Devices on which a user need not prove the second factor again.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::state::State;
use crate::{
    error::StoreError,
    secret::{
        Secret,
        base62::{base62, is_base62},
        random,
    },
    server::login::{Login, SignIn},
    store::port::UserRecord,
    time::Timestamp,
};

/// A remembered device, as the store keeps it.
///
/// Its token ends with the password, because the digest depends on the stored hash, and with all sessions of
/// the user, because their end starts a new epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Remembered {
    digest: String,
    epoch: u32,
    /// Milliseconds since 1970.
    until: i64,
}

/// A device that is to be remembered, or presents its token.
#[derive(Clone, Debug)]
pub(super) struct RememberedToken {
    digest: String,
    epoch: u32,
}

impl RememberedToken {
    /// Creates a token of a user in this epoch. Returns its text, for the client.
    pub(super) fn mint(user: &UserRecord, epoch: u32) -> (Secret<String>, Self) {
        let secret = Secret::new(base62(random::<32>()));
        // The buffer never grows: a reallocation would leave a copy that is not wiped.
        let mut text = String::with_capacity(PREFIX.len() + secret.expose().len());
        text.extend([PREFIX, secret.expose().as_str()]);
        let token = Self::of(&text, user, epoch);
        (Secret::new(text), token)
    }

    /// Reads a presented token; `None` if the text cannot be one.
    pub(super) fn read(presented: &str, user: &UserRecord, epoch: u32) -> Option<Self> {
        let secret = presented.strip_prefix(PREFIX)?;
        let is_sound = secret.len() == 43 && is_base62(secret);
        is_sound.then(|| Self::of(presented, user, epoch))
    }

    fn of(text: &str, user: &UserRecord, epoch: u32) -> Self {
        let password = user.password.as_ref().map_or("", |hash| hash.expose());
        // A token has a fixed length.
        let digest = Sha256::new()
            .chain_update(b"remembered device\0")
            .chain_update(text)
            .chain_update(user.subject.len().to_be_bytes())
            .chain_update(&user.subject)
            .chain_update(password)
            .finalize();
        Self {
            digest: URL_SAFE_NO_PAD.encode(digest),
            epoch,
        }
    }

    pub(super) fn until(self, until: Timestamp) -> Remembered {
        Remembered {
            digest: self.digest,
            epoch: self.epoch,
            until: until.as_millis(),
        }
    }
}

impl Login {
    /// Returns `true` if this device of the subject is remembered.
    pub(super) async fn remembers(
        &self,
        state: &State,
        now: Timestamp,
        who: &SignIn,
        device: Option<(&str, u32)>,
    ) -> Result<bool, StoreError> {
        let Some((device, epoch)) = device.filter(|_| self.remembers_devices().is_some()) else {
            return Ok(false);
        };
        let user = self.inner.users.find_by_subject(&who.subject).await?;
        let token = user.and_then(|user| RememberedToken::read(device, &user, epoch));
        Ok(token.is_some_and(|token| has(&state.remembered, &token, now)))
    }

    /// Returns the time for which a device is remembered.
    pub(crate) fn remembers_devices(&self) -> Option<Duration> {
        self.inner.second.remember
    }
}

/// Adds a device, and removes those whose tokens are over; the oldest one, if there are too many.
pub(super) fn add(devices: &mut Vec<Remembered>, new: Remembered, now: Timestamp) {
    let is_live = |one: &Remembered| one.epoch == new.epoch && is_before(now, one);
    devices.retain(is_live);
    let excess = (devices.len() + 1).saturating_sub(MOST);
    devices.drain(..excess);
    devices.push(new);
}

/// Returns `true` if this token is one of the remembered devices.
pub(super) fn has(devices: &[Remembered], token: &RememberedToken, now: Timestamp) -> bool {
    // The digest of 256 random bits: its comparison reveals nothing that helps to find a token.
    devices
        .iter()
        .any(|one| one.digest == token.digest && one.epoch == token.epoch && is_before(now, one))
}

fn is_before(now: Timestamp, one: &Remembered) -> bool {
    now < Timestamp::from_millis(one.until)
}

const PREFIX: &str = "rd1_";
/// The most devices of a subject.
const MOST: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::login::PasswordHash;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn u39_a_token_belongs_to_one_user_one_password_and_one_epoch() {
        let ada = UserRecord::new("ada").password(PasswordHash::new("$one".to_owned()));
        let (text, token) = RememberedToken::mint(&ada, 7);
        let mut devices = Vec::new();
        add(&mut devices, token.until(at(1000)), at(0));
        let is_known = |text: &str, user: &UserRecord, epoch, now| {
            RememberedToken::read(text, user, epoch)
                .is_some_and(|token| has(&devices, &token, at(now)))
        };
        let text = text.expose();
        assert!(is_known(text, &ada, 7, 999));
        assert!(!is_known(text, &ada, 7, 1000));
        assert!(!is_known(text, &ada, 8, 0));
        let changed = ada.clone().password(PasswordHash::new("$two".to_owned()));
        assert!(!is_known(text, &changed, 7, 0));
        let eve = UserRecord::new("eve").password(PasswordHash::new("$one".to_owned()));
        assert!(!is_known(text, &eve, 7, 0));
        for bad in [
            "",
            "rd1_",
            &text[1..],
            &format!("{text}0"),
            &text.replace("rd1_", "rd2_"),
        ] {
            assert!(RememberedToken::read(bad, &ada, 7).is_none(), "{bad}");
        }
        let stored = serde_json::to_string(&devices).unwrap();
        assert!(!stored.contains(&text[4..]));
    }

    #[test]
    fn u39_a_user_has_twenty_remembered_devices() {
        let ada = UserRecord::new("ada");
        let mut devices = Vec::new();
        let mut texts = Vec::new();
        for until in 1..=25 {
            let (text, token) = RememberedToken::mint(&ada, 1);
            add(&mut devices, token.until(at(until * 1000)), at(0));
            texts.push(text);
        }
        assert_eq!(devices.len(), 20);
        let known = |text: &Secret<String>| {
            let token = RememberedToken::read(text.expose(), &ada, 1).unwrap();
            has(&devices, &token, at(0))
        };
        assert!(!known(&texts[4]) && known(&texts[5]) && known(&texts[24]));
        // Those of another epoch, and late ones, make room.
        let (_, token) = RememberedToken::mint(&ada, 2);
        add(&mut devices, token.until(at(1000)), at(0));
        assert_eq!(devices.len(), 1);
    }
}
