//! The events of mails.

/// The outcome of a mail.
///
/// The event contains no address, no link and no code.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MailEvent {
    /// The mailer accepted a mail.
    #[non_exhaustive]
    Sent {
        /// The purpose of the mail.
        purpose: MailPurpose,
        /// The user.
        subject: String,
    },
    /// A mail was requested, and there is none to send. The client got the same response as otherwise.
    #[non_exhaustive]
    Skipped {
        /// The purpose of the mail.
        purpose: MailPurpose,
        /// The user; `None` if there is no such user.
        subject: Option<String>,
        /// The reason. Clients do not receive it.
        reason: MailSkipped,
    },
    /// A mail was lost.
    #[non_exhaustive]
    Failed {
        /// The purpose of the mail.
        purpose: MailPurpose,
        /// The user, if known.
        subject: Option<String>,
        /// The reason.
        reason: MailFailure,
    },
}

impl MailEvent {
    /// Returns a stable name, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sent { .. } => "mail.sent",
            Self::Skipped { .. } => "mail.skipped",
            Self::Failed { .. } => "mail.failed",
        }
    }

    /// Returns the purpose of the mail.
    #[must_use]
    pub fn purpose(&self) -> MailPurpose {
        match self {
            Self::Sent { purpose, .. }
            | Self::Skipped { purpose, .. }
            | Self::Failed { purpose, .. } => *purpose,
        }
    }

    /// Returns the user, if known.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Sent { subject, .. } => Some(subject),
            Self::Skipped { subject, .. } | Self::Failed { subject, .. } => subject.as_deref(),
        }
    }

    /// Returns the reason, from a fixed list of words.
    pub(super) fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Sent { .. } => None,
            Self::Skipped { reason, .. } => Some(reason.as_str()),
            Self::Failed { reason, .. } => Some(reason.as_str()),
        }
    }
}

/// The purpose of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MailPurpose {
    /// A link with which the user sets a new password.
    ResetPassword,
    /// A link with which the user proves to receive mail at the address of the account.
    VerifyEmail,
    /// A code, and a link with it, with which the user signs in.
    SignIn,
    /// A link to the new address, with which the user proves to receive mail there.
    ChangeEmail,
    /// A notice to the current address that a change to another one was requested.
    EmailChangeRequested,
    /// A notice to the old address that it was replaced.
    EmailChanged,
    /// A notice that the password was changed.
    PasswordChanged,
    /// A notice of a sign-in on a device that the server does not know. The endpoints send it, unless
    /// [`new_device_notice`](crate::server::mail::MailFlowsBuilder::new_device_notice) is off.
    NewDevice,
}

impl MailPurpose {
    /// Returns a stable name, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ResetPassword => "reset_password",
            Self::VerifyEmail => "verify_email",
            Self::SignIn => "sign_in",
            Self::ChangeEmail => "change_email",
            Self::EmailChangeRequested => "email_change_requested",
            Self::EmailChanged => "email_changed",
            Self::PasswordChanged => "password_changed",
            Self::NewDevice => "new_device",
        }
    }

    /// Returns `true` if the mail has neither a link nor a code.
    #[must_use]
    pub fn is_notice(self) -> bool {
        matches!(
            self,
            Self::EmailChangeRequested
                | Self::EmailChanged
                | Self::PasswordChanged
                | Self::NewDevice
        )
    }
}

/// The reason for which there is no mail to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MailSkipped {
    /// No user has this address.
    UnknownUser,
    /// The user is disabled.
    Disabled,
    /// The record of the user has no [address](crate::store::port::UserRecord::email).
    NoAddress,
    /// The user has no password, and the user store does not set a [first
    /// one](crate::store::port::UserStore::can_set_first_hash).
    NoPassword,
    /// The address is verified already.
    AlreadyVerified,
    /// Another user has the new address.
    AddressTaken,
    /// All sessions of the user ended after the request.
    Ended,
    /// The account has had no sign-in before, so that no device is new.
    FirstSignIn,
    /// The address has had the maximum number of these mails.
    Limited,
}

impl MailSkipped {
    /// Returns a stable name, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::Disabled => "disabled",
            Self::NoAddress => "no_address",
            Self::NoPassword => "no_password",
            Self::AlreadyVerified => "already_verified",
            Self::AddressTaken => "address_taken",
            Self::Ended => "ended",
            Self::FirstSignIn => "first_sign_in",
            Self::Limited => "limited",
        }
    }
}

/// The reason for which a mail was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MailFailure {
    /// The mailer returned an error. The log has its text.
    Refused,
    /// The mailer panicked.
    Panicked,
    /// The mailer, or a store before it, did not answer in time.
    TimedOut,
    /// A store failed before the mail was written.
    Store,
    /// The queue was full. The client got 503, unless the mail was a notice.
    QueueFull,
    /// The server stopped before the mail was sent.
    Stopped,
}

impl MailFailure {
    /// Returns a stable name, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Panicked => "panicked",
            Self::TimedOut => "timed_out",
            Self::Store => "store",
            Self::QueueFull => "queue_full",
            Self::Stopped => "stopped",
        }
    }
}
