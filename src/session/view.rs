//! A session as its user sees it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Grants;
use crate::{
    clock::Timestamp,
    error::StoreError,
    principal::PrincipalKind,
    refresh::{NewSession, SessionRecord},
    token::SessionId,
};

/// A session: one device that is signed in.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    id: SessionId,
    subject: String,
    kind: PrincipalKind,
    pub(super) epoch: u32,
    created_at: Timestamp,
    used_at: Timestamp,
    ends_at: Timestamp,
    details: Details,
    pub(super) current: bool,
}

/// What is kept of a session that no store needs to understand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Details {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) amr: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) acr: Option<String>,
    /// Milliseconds since 1970, where it was not when the session was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) auth_time: Option<i64>,
    #[serde(default)]
    pub(super) grants: Grants,
}

impl Session {
    pub(super) fn of(record: &SessionRecord) -> Result<Self, StoreError> {
        let family = &record.family;
        Ok(Self {
            id: record.id,
            subject: record.subject.clone(),
            kind: record.kind,
            epoch: record.epoch,
            created_at: record.created_at,
            used_at: family.used_at,
            ends_at: family.expires_at.min(family.used_at.plus(family.idle)),
            details: serde_json::from_str(&record.details).map_err(StoreError::invalid)?,
            current: false,
        })
    }

    /// The session as it will be once the store has it.
    pub(super) fn to_be(new: &NewSession, epoch: u32, details: Details, now: Timestamp) -> Self {
        Self {
            id: new.id,
            subject: new.subject.clone(),
            kind: new.kind,
            epoch,
            created_at: now,
            used_at: now,
            ends_at: now.plus(new.idle.min(new.lifetime)),
            details,
            current: false,
        }
    }

    pub(super) fn details(&self) -> &Details {
        &self.details
    }

    /// Its name: the `sid` of its access tokens.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whose it is.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What kind of subject that is.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// Whether it is the one that [`Sessions::list`](super::Sessions::list) was asked from.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.current
    }

    /// When it was started.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// When it was last refreshed.
    #[must_use]
    pub fn used_at(&self) -> Timestamp {
        self.used_at
    }

    /// When it ends if it is not used again.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    /// When its subject was authenticated.
    #[must_use]
    pub fn auth_time(&self) -> Timestamp {
        let other = self.details.auth_time.map(Timestamp::from_millis);
        other.unwrap_or(self.created_at)
    }

    /// What its user calls the device.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.details.label.as_deref()
    }

    /// The OAuth client.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.details.client_id.as_deref()
    }

    /// Where it was started from.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.details.ip
    }

    /// The `User-Agent` that it was started with.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.details.user_agent.as_deref()
    }

    /// How its subject was authenticated (RFC 8176 §2).
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        self.details.amr.iter().map(String::as_str)
    }

    /// How sure that is (OpenID Connect Core §2).
    #[must_use]
    pub fn acr(&self) -> Option<&str> {
        self.details.acr.as_deref()
    }

    /// The grants that it was started with.
    pub fn grants(&self) -> &Grants {
        &self.details.grants
    }
}
