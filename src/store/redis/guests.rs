//! Guests, a script for each method.

use super::{
    Keys, RedisStore,
    link::Repeat,
    sessions::{maybe, millis, missing, number},
};
use crate::{
    error::StoreError,
    revocation::RETENTION,
    store::port::{
        ClaimOutcome, DeviceDigest, FIRST_RETRY, GuestClaim, GuestPeek, GuestRecord, GuestStore,
        LinkCondition, NewGuest, PendingClaim,
    },
    time::Timestamp,
};

mod scripts {
    use std::sync::LazyLock;

    use redis::Script;

    macro_rules! scripts {
        ($($name:ident $file:literal)*) => {
            $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
                Script::new(concat!(include_str!("common.lua"), "\n", include_str!($file)))
            });)*
        };
    }

    scripts! {
        CREATE "guests/create.lua"
        FIND "guests/find.lua"
        TOUCH "guests/touch.lua"
        LINK "guests/link.lua"
        DUE "guests/due.lua"
        SETTLE "guests/settle.lua"
        PURGE "guests/purge.lua"
    }
}

impl GuestStore for RedisStore {
    async fn create_guest(&self, guest: NewGuest) -> Result<bool, StoreError> {
        let mut call = scripts::CREATE.key(self.keys.guest(&guest.subject));
        call.arg(hex(guest.device)).arg(millis(guest.lifetime));
        self.link.run(&call, Repeat::Never).await
    }

    async fn find_guest(&self, subject: &str) -> Result<Option<GuestPeek>, StoreError> {
        let call = scripts::FIND.key(self.keys.guest(subject));
        let (now, fields): (i64, Vec<Option<String>>) =
            self.link.run(&call, Repeat::Harmless).await?;
        let [device, born, wrote, ends, promoted, user, claimed, due] = fields.as_slice() else {
            return Err(missing());
        };
        if born.is_none() {
            return Ok(None);
        }
        let at = |field| number(field).map(Timestamp::from_millis);
        let claim = match user {
            Some(user) => Some(GuestClaim {
                user: user.clone(),
                at: at(claimed)?,
                settled: due.is_none(),
            }),
            None => None,
        };
        Ok(Some(GuestPeek {
            guest: GuestRecord {
                subject: subject.to_owned(),
                device: device.as_deref().map(unhex).transpose()?,
                created_at: at(born)?,
                written_at: at(wrote)?,
                expires_at: at(ends)?,
                promoted_at: maybe(promoted)?.map(Timestamp::from_millis),
                claim,
            },
            now: Timestamp::from_millis(now),
        }))
    }

    async fn touch_guest(&self, subject: &str) -> Result<bool, StoreError> {
        let call = scripts::TOUCH.key(self.keys.guest(subject));
        self.link.run(&call, Repeat::Harmless).await
    }

    async fn claim_guest(
        &self,
        link: LinkCondition,
        user: &str,
    ) -> Result<ClaimOutcome, StoreError> {
        self.give(&link, Some(user)).await
    }

    async fn promote_guest(&self, link: LinkCondition) -> Result<ClaimOutcome, StoreError> {
        self.give(&link, None).await
    }

    async fn due_claims(&self, limit: u32) -> Result<Vec<PendingClaim>, StoreError> {
        let mut call = scripts::DUE.key(self.keys.pending());
        call.arg(self.keys.guest("")).arg(limit);
        let due: Vec<(String, String, u32)> = self.link.run(&call, Repeat::Never).await?;
        let claim = |(guest, user, attempts)| PendingClaim {
            guest,
            user,
            attempts,
        };
        Ok(due.into_iter().map(claim).collect())
    }

    async fn settle_claim(&self, guest: &str, user: &str) -> Result<bool, StoreError> {
        let mut call = scripts::SETTLE.key(self.keys.guest(guest));
        call.key(self.keys.pending()).arg(guest).arg(user);
        self.link.run(&call, Repeat::Never).await
    }

    async fn purge_guests(&self, limit: u32) -> Result<u64, StoreError> {
        let mut call = scripts::PURGE.key(self.keys.claimed());
        call.key(&self.keys.epochs)
            .arg(limit)
            .arg(self.keys.index(""));
        self.link.run(&call, Repeat::Harmless).await
    }
}

impl RedisStore {
    async fn give(
        &self,
        link: &LinkCondition,
        user: Option<&str>,
    ) -> Result<ClaimOutcome, StoreError> {
        let mut call = scripts::LINK.key(self.keys.guest(&link.guest));
        call.key(&self.keys.epochs)
            .key(&self.keys.news)
            .key(&self.keys.revoked)
            .key(self.keys.pending())
            .key(self.keys.claimed())
            .key(self.keys.index(&link.guest))
            .arg(&link.guest)
            .arg(hex(link.device))
            .arg(millis(link.within))
            .arg(millis(RETENTION));
        if let Some(user) = user {
            call.arg(user).arg(millis(FIRST_RETRY));
        }
        let (what, epoch): (String, u32) = self.link.run(&call, Repeat::Never).await?;
        Ok(match what.as_str() {
            "done" => ClaimOutcome::Done { epoch },
            "before" => ClaimOutcome::Before,
            "taken" => ClaimOutcome::Taken,
            "other_device" => ClaimOutcome::OtherDevice,
            "stale" => ClaimOutcome::Stale,
            _ => ClaimOutcome::Unknown,
        })
    }
}

impl Keys {
    fn guest(&self, subject: &str) -> String {
        format!("{}g:{subject}", self.prefix)
    }

    /// The guests whose claims are pending, by when they are due.
    fn pending(&self) -> String {
        format!("{}pending", self.prefix)
    }

    /// The guests that were claimed, by when their epochs go.
    fn claimed(&self) -> String {
        format!("{}claimed", self.prefix)
    }
}

/// Empty where there is none.
fn hex(device: Option<DeviceDigest>) -> String {
    let bytes = device.iter().flat_map(DeviceDigest::as_bytes);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<DeviceDigest, StoreError> {
    let byte = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    let digest = bytes.and_then(|bytes| bytes.try_into().ok());
    let digest = digest.ok_or_else(|| StoreError::invalid("no digest of a device"))?;
    Ok(DeviceDigest::from_bytes(digest))
}
