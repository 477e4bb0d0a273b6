//! Guests: one script per method of the port.

use super::{Keys, RedisStore, sessions::millis};
use crate::redis_link::Repeat;
use crate::{
    error::StoreError,
    revocation::RETENTION,
    store::{
        ENDED_FOR,
        port::{
            DeviceDigest, GuestChange, GuestClaim, GuestRecord, GuestStore, LoadedGuest, NewGuest,
            StoreId,
        },
    },
    time::Timestamp,
};

mod scripts {
    use std::sync::LazyLock;

    use redis::Script;

    macro_rules! scripts {
        ($($name:ident $file:literal)*) => {
            $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
                Script::new(concat!(
                    include_str!("clock.lua"), "\n", include_str!("common.lua"), "\n", include_str!($file)
                ))
            });)*
        };
    }

    scripts! {
        CREATE "guests/create.lua"
        FIND "guests/find.lua"
        CHANGE "guests/change.lua"
        DUE "guests/due.lua"
        PURGE "guests/purge.lua"
    }
}

/// The fields of a guest. An absent value is an empty text.
const FIELDS: [&str; 10] = [
    "ver", "dev", "born", "wrote", "exp", "prom", "user", "at", "tries", "due",
];

type Fields = [Option<String>; FIELDS.len()];

impl GuestStore for RedisStore {
    async fn create_guest(&self, guest: NewGuest) -> Result<bool, StoreError> {
        let mut call = scripts::CREATE.key(self.keys.guest(&guest.subject));
        call.arg(hex(guest.device)).arg(millis(guest.lifetime));
        self.link.run(&call, Repeat::Never).await
    }

    async fn find_guest(&self, subject: &str) -> Result<Option<LoadedGuest>, StoreError> {
        let mut call = scripts::FIND.key(self.keys.guest(subject));
        call.arg(&FIELDS);
        let (now, fields): (i64, Fields) = self.link.run(&call, Repeat::Harmless).await?;
        if fields.iter().all(Option::is_none) {
            return Ok(None);
        }
        loaded(subject, &fields, now).map(Some)
    }

    async fn change_guest(&self, change: GuestChange) -> Result<bool, StoreError> {
        let ends_sessions = change.ends_sessions();
        let GuestChange { from, to, .. } = &change;
        let claim = to.claim.as_ref();
        let due = claim.and_then(|claim| claim.due_at);
        let goes = to.expires_at.plus(ENDED_FOR);
        let lifetime = match ends_sessions {
            true => millis(RETENTION).to_string(),
            false => String::new(),
        };
        let mut call = scripts::CHANGE.key(self.keys.guest(&from.subject));
        call.key(&self.keys.epochs)
            .key(&self.keys.news)
            .key(&self.keys.revoked)
            .key(self.keys.pending())
            .key(self.keys.claimed())
            .key(self.keys.index(&from.subject))
            .arg(from.version)
            .arg(&from.subject)
            // A guest with a pending claim does not expire before the claim is delivered.
            .arg(text(due.is_none().then_some(goes)))
            .arg(text(due))
            .arg(lifetime)
            .arg(text(claim.filter(|_| ends_sessions).map(|_| goes)));
        call.arg("ver").arg(to.version);
        call.arg("wrote").arg(to.written_at.as_millis());
        call.arg("prom").arg(text(to.promoted_at));
        if let Some(claim) = claim {
            call.arg("user").arg(&claim.user);
            call.arg("at").arg(claim.at.as_millis());
            call.arg("tries").arg(claim.attempts);
            call.arg("due").arg(text(claim.due_at));
        }
        self.link.run(&call, Repeat::Never).await
    }

    async fn due_claims(&self, limit: u32) -> Result<Vec<LoadedGuest>, StoreError> {
        let mut call = scripts::DUE.key(self.keys.pending());
        call.arg(self.keys.guest("")).arg(limit).arg(&FIELDS);
        let (now, due): (i64, Vec<(String, Fields)>) =
            self.link.run(&call, Repeat::Harmless).await?;
        let due = due.iter();
        due.map(|(subject, fields)| loaded(subject, fields, now))
            .collect()
    }

    async fn purge_guests(&self, limit: u32) -> Result<u64, StoreError> {
        let mut call = scripts::PURGE.key(self.keys.claimed());
        call.key(&self.keys.epochs)
            .arg(limit)
            .arg(self.keys.index(""));
        self.link.run(&call, Repeat::Harmless).await
    }

    fn sessions(&self) -> Option<StoreId> {
        Some(self.id)
    }
}

impl Keys {
    fn guest(&self, subject: &str) -> String {
        format!("{}g:{subject}", self.prefix)
    }

    /// The key of the guests with a pending claim, by due time.
    fn pending(&self) -> String {
        format!("{}pending", self.prefix)
    }

    /// The key of the claimed guests, by the time at which their epochs may be deleted.
    fn claimed(&self) -> String {
        format!("{}claimed", self.prefix)
    }
}

fn loaded(subject: &str, fields: &Fields, now: i64) -> Result<LoadedGuest, StoreError> {
    let [
        version,
        device,
        born,
        wrote,
        ends,
        promoted,
        user,
        claimed,
        tries,
        due,
    ] = fields;
    let mut guest = GuestRecord::new(subject, number(born)?.map(time).ok_or_else(missing)?);
    guest.version = number(version)?.ok_or_else(missing)?;
    guest.device = filled(device).map(unhex).transpose()?;
    guest.written_at = number(wrote)?.map(time).ok_or_else(missing)?;
    guest.expires_at = number(ends)?.map(time).ok_or_else(missing)?;
    guest.promoted_at = number(promoted)?.map(time);
    if let Some(at) = number(claimed)? {
        let user = user.as_deref().ok_or_else(missing)?;
        let mut claim = GuestClaim::new(user, time(at));
        claim.attempts = number(tries)?.ok_or_else(missing)?;
        claim.due_at = number(due)?.map(time);
        guest.claim = Some(claim);
    }
    Ok(LoadedGuest::new(guest, time(now)))
}

fn filled(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

fn number<T>(field: &Option<String>) -> Result<Option<T>, StoreError>
where
    T: std::str::FromStr<Err = std::num::ParseIntError>,
{
    let number = filled(field).map(str::parse).transpose();
    number.map_err(StoreError::invalid)
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Returns the milliseconds, or an empty text.
fn text(time: Option<Timestamp>) -> String {
    time.map(|time| time.as_millis().to_string())
        .unwrap_or_default()
}

fn missing() -> StoreError {
    StoreError::invalid("a guest lacks a field")
}

/// Returns the digest of the device, or an empty text.
fn hex(device: Option<DeviceDigest>) -> String {
    let bytes = device.iter().flat_map(DeviceDigest::as_bytes);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<DeviceDigest, StoreError> {
    let byte = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..32).map(byte).collect();
    let digest = bytes.and_then(|bytes| bytes.try_into().ok());
    let digest = digest.ok_or_else(|| StoreError::invalid("the digest of a device is invalid"))?;
    Ok(DeviceDigest::from_bytes(digest))
}
