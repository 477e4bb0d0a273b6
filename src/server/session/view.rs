//! A session as the application and its user see it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::SessionClaims;
use crate::{
    error::StoreError,
    principal::{PrincipalKind, SessionId},
    store::port::{NewSessionRecord, SessionRecord},
    time::Timestamp,
};

/// A session: one signed-in device.
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
    bound_key: Option<String>,
    pub(super) current: bool,
}

/// The session data that is opaque to the store.
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
    /// Milliseconds since 1970, if it differs from the start of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) auth_time: Option<i64>,
    #[serde(default)]
    pub(super) claims: SessionClaims,
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
            ends_at: family.ends_at(),
            details: serde_json::from_str(&record.details).map_err(StoreError::invalid)?,
            bound_key: record.bound_key.clone(),
            current: false,
        })
    }

    /// Returns the session as the store will have it after the write.
    pub(super) fn to_be(
        new: &NewSessionRecord,
        epoch: u32,
        details: Details,
        now: Timestamp,
    ) -> Self {
        Self {
            id: new.id,
            subject: new.subject.clone(),
            kind: new.kind,
            epoch,
            created_at: now,
            used_at: now,
            ends_at: now.plus(new.idle.min(new.lifetime)),
            details,
            bound_key: new.bound_key.clone(),
            current: false,
        }
    }

    pub(super) fn details(&self) -> &Details {
        &self.details
    }

    /// Returns the session id, the `sid` of its access tokens.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Returns the subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns the subject's epoch in which the session started.
    #[cfg_attr(
        not(feature = "totp"),
        allow(dead_code, reason = "only second factors need it")
    )]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Returns the kind of the subject.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// Returns `true` for the session that was passed to [`Sessions::list`](super::Sessions::list)
    /// as `current`.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.current
    }

    /// Returns the time at which the session was started.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Returns the time at which the refresh token was last rotated, or the start of the session.
    #[must_use]
    pub fn used_at(&self) -> Timestamp {
        self.used_at
    }

    /// Returns the time at which the session ends if it is not used again.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    /// Returns the time at which the subject was authenticated.
    #[must_use]
    pub fn auth_time(&self) -> Timestamp {
        let other = self.details.auth_time.map(Timestamp::from_millis);
        other.unwrap_or(self.created_at)
    }

    /// Returns the name in the user's list of devices.
    #[must_use]
    pub fn label(&self) -> Option<&str> {
        self.details.label.as_deref()
    }

    /// Returns the OAuth client.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.details.client_id.as_deref()
    }

    /// Returns the IP address that started the session.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.details.ip
    }

    /// Returns the `User-Agent` that started the session.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.details.user_agent.as_deref()
    }

    /// Returns the authentication methods (RFC 8176 §2).
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        self.details.amr.iter().map(String::as_str)
    }

    /// Returns the authentication context class (OpenID Connect Core §2).
    #[must_use]
    pub fn acr(&self) -> Option<&str> {
        self.details.acr.as_deref()
    }

    /// Returns the thumbprint (RFC 7638) of the client's key, if the session is bound to one.
    #[must_use]
    pub fn bound_to(&self) -> Option<&str> {
        self.bound_key.as_deref()
    }

    /// Returns the claims that the session was started with.
    pub fn claims(&self) -> &SessionClaims {
        &self.details.claims
    }
}
