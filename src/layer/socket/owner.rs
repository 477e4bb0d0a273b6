//! The owner of a conversation.

use std::fmt;

use crate::principal::Principal;

/// The owner of a conversation: a user or a guest, by subject and issuer.
///
/// Store both values with a conversation, because a subject is unique only within its issuer (RFC
/// 7519 §4.1.2). A guest who is promoted to a user keeps its subject, and with it its
/// conversations.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::{Principal, layer::socket::Owner};
///
/// let alice = Principal::builder().issuer("https://as.example").subject("alice").build();
/// let owner = Owner::of(&alice).unwrap();
/// // As stored in the conversation's row.
/// assert_eq!(owner, Owner::new(Some("https://as.example"), "alice"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    issuer: Option<Box<str>>,
    subject: Box<str>,
}

impl Owner {
    /// Creates an owner from the stored values of a conversation.
    #[must_use]
    pub fn new(issuer: Option<&str>, subject: &str) -> Self {
        Self {
            issuer: issuer.map(Into::into),
            subject: subject.into(),
        }
    }

    /// Returns the owner of this caller's conversations.
    ///
    /// The result is `None` for a service, an API key, or a caller without a subject. A service or
    /// an API key is not the user of the same subject.
    #[must_use]
    pub fn of(caller: &Principal) -> Option<Self> {
        let subject = caller.subject().filter(|_| caller.is_person())?;
        Some(Self::new(caller.issuer(), subject))
    }

    /// Returns the issuer of the subject; `None` if the tokens name none.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Returns the subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns `true` if the caller is this owner.
    pub(super) fn is(&self, caller: &Principal) -> bool {
        caller.is_person()
            && caller.subject() == Some(self.subject())
            && caller.issuer() == self.issuer()
    }
}

impl fmt::Debug for Owner {
    // Subjects are personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner").finish_non_exhaustive()
    }
}
