//! The packed string of a session. `packed.lua` describes the form.

use std::time::Duration;

use crate::{
    error::StoreError,
    principal::{PrincipalKind, SessionId},
    store::port::{Family, LoadedSession, RevokeReason, SessionRecord},
    time::Timestamp,
};

/// Returns the first bytes of a session that is not revoked and has this generation.
pub(super) fn start_of(generation: i64) -> [u8; 10] {
    let mut start = [0; 10];
    if let Some((format, rest)) = start.split_first_mut()
        && let Some(live) = rest.last_chunk_mut()
    {
        *format = FORMAT;
        *live = generation.to_be_bytes();
    }
    start
}

/// A session that was advanced, with the roles of its subject if the script reads them and the subject is
/// a user.
pub(super) struct Changed {
    pub(super) session: LoadedSession,
    pub(super) roles: Option<String>,
}

impl Changed {
    /// Reads the reply of `advance_live.lua`.
    pub(super) fn read(id: SessionId, reply: &[u8], reads_roles: bool) -> Result<Self, StoreError> {
        let mut rest = Rest(reply);
        let mut read = || {
            let roles = match reads_roles {
                true => rest.int().and_then(|length| rest.text(length))?,
                false => String::new(),
            };
            let _generations: [u8; 24] = rest.take()?;
            let (now, _used_at) = (rest.time()?, rest.time()?);
            Some((roles, now))
        };
        let unreadable = || StoreError::invalid("a script returned an unknown reply");
        let (roles, now) = read().ok_or_else(unreadable)?;
        let mut session = record(id, rest.0, false)?;
        let family = &mut session.family;
        family.parent = Some(family.generation);
        family.generation = family.generation.saturating_add(1);
        family.rotated_at = Some(now);
        family.used_at = now;
        Ok(Self {
            session: LoadedSession::new(session, now),
            // The roles of a user are a JSON list.
            roles: Some(roles).filter(|roles| !roles.is_empty()),
        })
    }
}

/// Reads a session. `over` is `true` if the session is revoked by its row or its subject's epoch.
pub(super) fn record(id: SessionId, row: &[u8], over: bool) -> Result<SessionRecord, StoreError> {
    read(id, row, over).ok_or_else(|| StoreError::invalid("a session has an unknown format"))
}

fn read(id: SessionId, row: &[u8], over: bool) -> Option<SessionRecord> {
    let mut rest = Rest(row);
    if rest.byte()? != FORMAT {
        return None;
    }
    let reason = rest.byte()?;
    let generation = rest.long()?;
    let parent = rest.long()?.checked_sub(1);
    let confirmed = rest.long()?.checked_sub(1);
    let rotated_at = Some(rest.time()?).filter(|time| time.as_millis() != 0);
    let used_at = rest.time()?;
    let _ends_by = rest.time()?;
    let reissues = rest.int()?;
    let idle = Duration::from_millis(rest.long()?);
    let expires_at = rest.time()?;
    let created_at = rest.time()?;
    let epoch = rest.int()?;
    let kind = kind_of(rest.byte()?)?;
    let (subject, key) = (rest.int()?, rest.int()?);
    let subject = rest.text(subject)?;
    let bound_key = Some(rest.text(key)?).filter(|key| !key.is_empty());
    Some(SessionRecord {
        id,
        subject,
        kind,
        epoch,
        family: Family {
            generation,
            parent,
            confirmed,
            rotated_at,
            reissues,
            used_at,
            idle,
            expires_at,
            revoked: over || reason != 0,
        },
        created_at,
        // An unknown reason comes from newer code. The session is revoked nevertheless.
        revoked: RevokeReason::from_code(i16::from(reason)),
        bound_key,
        details: String::from_utf8(rest.0.to_vec()).ok()?,
    })
}

/// The bytes that are still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn int(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.take()
            .map(i64::from_be_bytes)
            .map(Timestamp::from_millis)
    }

    fn text(&mut self, length: u32) -> Option<String> {
        let (text, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

/// Returns the stored form of an optional generation: 0 for `None`, else one more.
pub(super) fn number_or_none(generation: Option<u64>) -> u64 {
    generation.map_or(0, |generation| generation.saturating_add(1))
}

pub(super) fn code_of(kind: PrincipalKind) -> u8 {
    match kind {
        PrincipalKind::User => 0,
        PrincipalKind::Guest => 1,
        PrincipalKind::Service => 2,
    }
}

fn kind_of(code: u8) -> Option<PrincipalKind> {
    Some(match code {
        0 => PrincipalKind::User,
        1 => PrincipalKind::Guest,
        2 => PrincipalKind::Service,
        _ => return None,
    })
}

const FORMAT: u8 = 1;
