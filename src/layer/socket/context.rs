//! The caller of a chat request, as its handler needs it.

use std::fmt;

use http::Extensions;

use super::Owner;
use crate::{
    principal::{Principal, PrincipalKind},
    time::Timestamp,
};

/// The caller of a chat request and its rights; inserted by a [`ChatLayer`](super::ChatLayer).
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

    /// Returns the context of a request; `None` if no [`ChatLayer`](super::ChatLayer) wraps the
    /// handler.
    #[must_use]
    pub fn from_extensions(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// Returns `true` if the caller is a user. It is `false` for a guest, a service and an API key.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        let person = self.person();
        person.is_some_and(|caller| caller.kind() == PrincipalKind::User)
    }

    /// Returns the subject of the user; `None` for any other caller.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        match self.is_authenticated() {
            true => self.subject(),
            false => None,
        }
    }

    /// Returns the subject of the user or of the guest; `None` for a service and an API key.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.person()?.subject()
    }

    /// Returns the owner of the messages that the user or the guest writes, to be stored with a
    /// conversation.
    ///
    /// The result is `None` for a service and an API key.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        Owner::of(self.principal.as_ref()?)
    }

    /// Returns the session id.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.principal.as_ref()?.session_id()
    }

    /// Returns the only conversation that the token is valid for. `None` means all conversations of
    /// the [subject](Self::subject).
    #[must_use]
    pub fn conversation(&self) -> Option<&str> {
        self.principal.as_ref()?.conversation()
    }

    /// Returns `true` if the caller may take part in a conversation that belongs to `owner`: the
    /// caller is the owner, of the same issuer, and the token is not restricted to another
    /// conversation.
    #[must_use]
    pub fn may_enter(&self, conversation: &str, owner: &Owner) -> bool {
        let named = self.conversation();
        let owns = self.person().is_some_and(|caller| owner.is(caller));
        owns && named.is_none_or(|named| named == conversation)
    }

    /// Returns `true` if the caller satisfies the rule of
    /// [`ChatLayer::manage`](super::ChatLayer::manage).
    #[must_use]
    pub fn can_manage(&self) -> bool {
        self.can_manage
    }

    /// Returns the token's permissions.
    pub fn permissions(&self) -> impl Iterator<Item = &str> {
        self.principal.iter().flat_map(Principal::permissions)
    }

    /// Returns the caller, including a service or an API key; `None` for an anonymous caller.
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    fn person(&self) -> Option<&Principal> {
        self.principal.as_ref().filter(|caller| caller.is_person())
    }

    /// Returns the time at which the token expires. A socket ends at the same time.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
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
