//! What a chat's handler wants to know.

use std::fmt;

use http::Extensions;
use time::OffsetDateTime;

use crate::principal::{Principal, PrincipalKind};

/// Who takes part in a chat, and what they may do; left by a [`ChatLayer`](super::ChatLayer).
#[derive(Clone)]
pub struct ChatContext {
    principal: Option<Principal>,
    can_manage: bool,
}

impl ChatContext {
    pub(super) fn new(principal: Option<Principal>, can_manage: bool) -> Self {
        Self {
            principal,
            can_manage,
        }
    }

    /// The context of a request; `None`: no [`ChatLayer`](super::ChatLayer) stands around the
    /// handler.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// Whether somebody has signed in. A guest has not.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        let principal = self.principal.as_ref();
        principal.is_some_and(|caller| caller.kind() != PrincipalKind::Guest)
    }

    /// Who has signed in; of a guest and of nobody, `None`.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        match self.is_authenticated() {
            true => self.subject(),
            false => None,
        }
    }

    /// The user or the guest: to whom a conversation belongs.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.principal.as_ref()?.subject()
    }

    /// The session.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.principal.as_ref()?.session_id()
    }

    /// The one conversation that the token is for. `None`: it is for all that are the
    /// [subject's](Self::subject).
    #[must_use]
    pub fn conversation(&self) -> Option<&str> {
        self.principal.as_ref()?.conversation()
    }

    /// Whether the subject may take part in a conversation that belongs to `owner`: it is theirs,
    /// and the token is not for another one only.
    #[must_use]
    pub fn may_enter(&self, conversation: &str, owner: &str) -> bool {
        let named = self.conversation();
        self.subject() == Some(owner) && named.is_none_or(|named| named == conversation)
    }

    /// Whether the rule of [`ChatLayer::manage`](super::ChatLayer::manage) is satisfied.
    #[must_use]
    pub fn can_manage(&self) -> bool {
        self.can_manage
    }

    /// The token's permissions.
    pub fn permissions(&self) -> impl Iterator<Item = &str> {
        self.principal.iter().flat_map(Principal::permissions)
    }

    /// The caller; `None`: nobody, not even a guest.
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// When the token expires, and a socket with it.
    #[must_use]
    pub fn expires_at(&self) -> Option<OffsetDateTime> {
        self.principal.as_ref()?.expires_at()
    }
}

impl fmt::Debug for ChatContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatContext")
            .field("principal", &self.principal)
            .field("can_manage", &self.can_manage)
            .finish()
    }
}
