//! The events of logins and passwords.

use std::{net::IpAddr, time::Duration};

/// The result of a login attempt, or a change of a password.
///
/// The event is owned, so that a sink can clone it and send it to another task. It contains no
/// password and no identifier that a client entered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginEvent {
    /// A login with a password succeeded.
    #[non_exhaustive]
    Succeeded {
        /// The user.
        subject: String,
        /// The client's network, given by its first address; `None` if unknown.
        network: Option<IpAddr>,
    },
    /// A login or a change of a password was refused after the password was checked.
    #[non_exhaustive]
    Failed {
        /// The user whose name was given; `None` if there is no such user.
        subject: Option<String>,
        /// The reason. Clients do not receive it.
        reason: LoginFailure,
        /// As in [`Succeeded`](Self::Succeeded).
        network: Option<IpAddr>,
    },
    /// A login attempt was throttled. Its password was not checked.
    #[non_exhaustive]
    Throttled {
        /// The time until the next attempt is allowed.
        retry_after: Duration,
        /// As in [`Succeeded`](Self::Succeeded).
        network: Option<IpAddr>,
    },
    /// An identifier was locked after too many failed logins.
    #[non_exhaustive]
    Locked {
        /// The user with that identifier; `None` if there is no such user.
        subject: Option<String>,
    },
    /// An identifier was unlocked.
    Unlocked,
    /// The first factor of a sign-in was proved, and a second one is needed.
    #[non_exhaustive]
    SecondStepRequired {
        /// The user.
        subject: String,
        /// As in [`Succeeded`](Self::Succeeded).
        network: Option<IpAddr>,
    },
    /// A second factor was proved, at a sign-in or in a session.
    #[non_exhaustive]
    SecondFactorUsed {
        /// The user.
        subject: String,
        /// The method: `totp`, `recovery_code`, or `other` for a factor that the application verified.
        method: &'static str,
        /// As in [`Succeeded`](Self::Succeeded).
        network: Option<IpAddr>,
    },
    /// Too many wrong codes. Codes of the user's authenticator are refused for a while.
    #[non_exhaustive]
    SecondFactorLocked {
        /// The user.
        subject: String,
    },
    /// A user has enrolled an authenticator.
    #[non_exhaustive]
    SecondFactorEnrolled {
        /// The user.
        subject: String,
    },
    /// The second factors of a user were removed, by the user or by an administrator.
    #[non_exhaustive]
    SecondFactorRemoved {
        /// The user.
        subject: String,
    },
    /// A user has new recovery codes.
    #[non_exhaustive]
    RecoveryCodesRenewed {
        /// The user.
        subject: String,
    },
    /// A user's password was changed.
    #[non_exhaustive]
    PasswordChanged {
        /// The user.
        subject: String,
    },
    /// A user has proved to receive mail at the address of the account.
    #[non_exhaustive]
    EmailVerified {
        /// The user.
        subject: String,
    },
    /// A user's address was replaced by another one, which is verified.
    #[non_exhaustive]
    EmailChanged {
        /// The user.
        subject: String,
    },
    /// The owner of an address that was never verified has taken the account over. Everything that opened
    /// the account before was removed.
    #[non_exhaustive]
    TakenOver {
        /// The user.
        subject: String,
    },
    /// An account at an identity provider was linked to a user, who can sign in with it from now on.
    #[non_exhaustive]
    IdentityLinked {
        /// The user.
        subject: String,
    },
    /// An account at an identity provider was unlinked from a user.
    #[non_exhaustive]
    IdentityUnlinked {
        /// The user.
        subject: String,
    },
    /// A user has added a passkey.
    #[non_exhaustive]
    PasskeyAdded {
        /// The user.
        subject: String,
    },
    /// A user has removed a passkey.
    #[non_exhaustive]
    PasskeyRemoved {
        /// The user.
        subject: String,
    },
    /// A user's password was hashed again, with the current parameters.
    #[non_exhaustive]
    PasswordRehashed {
        /// The user.
        subject: String,
    },
}

impl LoginEvent {
    /// Returns a stable name, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "login.succeeded",
            Self::Failed { .. } => "login.failed",
            Self::Throttled { .. } => "login.throttled",
            Self::Locked { .. } => "login.locked",
            Self::Unlocked => "login.unlocked",
            Self::SecondStepRequired { .. } => "second_factor.required",
            Self::SecondFactorUsed { .. } => "second_factor.used",
            Self::SecondFactorLocked { .. } => "second_factor.locked",
            Self::SecondFactorEnrolled { .. } => "second_factor.enrolled",
            Self::SecondFactorRemoved { .. } => "second_factor.removed",
            Self::RecoveryCodesRenewed { .. } => "recovery_codes.renewed",
            Self::PasswordChanged { .. } => "password.changed",
            Self::PasswordRehashed { .. } => "password.rehashed",
            Self::EmailVerified { .. } => "email.verified",
            Self::EmailChanged { .. } => "email.changed",
            Self::TakenOver { .. } => "account.taken_over",
            Self::IdentityLinked { .. } => "identity.linked",
            Self::IdentityUnlinked { .. } => "identity.unlinked",
            Self::PasskeyAdded { .. } => "passkey.added",
            Self::PasskeyRemoved { .. } => "passkey.removed",
        }
    }

    /// Returns the user, if known.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Succeeded { subject, .. }
            | Self::SecondStepRequired { subject, .. }
            | Self::SecondFactorUsed { subject, .. }
            | Self::SecondFactorLocked { subject }
            | Self::SecondFactorEnrolled { subject }
            | Self::SecondFactorRemoved { subject }
            | Self::RecoveryCodesRenewed { subject }
            | Self::PasswordChanged { subject }
            | Self::PasswordRehashed { subject }
            | Self::EmailVerified { subject }
            | Self::EmailChanged { subject }
            | Self::TakenOver { subject }
            | Self::IdentityLinked { subject }
            | Self::IdentityUnlinked { subject }
            | Self::PasskeyAdded { subject }
            | Self::PasskeyRemoved { subject } => Some(subject),
            Self::Failed { subject, .. } | Self::Locked { subject } => subject.as_deref(),
            Self::Throttled { .. } | Self::Unlocked => None,
        }
    }

    pub(super) fn network(&self) -> Option<IpAddr> {
        match self {
            Self::Succeeded { network, .. }
            | Self::SecondStepRequired { network, .. }
            | Self::SecondFactorUsed { network, .. }
            | Self::Failed { network, .. }
            | Self::Throttled { network, .. } => *network,
            _ => None,
        }
    }

    /// Returns a further detail, from a fixed list of words.
    pub(super) fn detail(&self) -> Option<&'static str> {
        match self {
            Self::Failed { reason, .. } => Some(reason.as_str()),
            Self::SecondFactorUsed { method, .. } => Some(method),
            _ => None,
        }
    }
}

/// The reason of a failed login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LoginFailure {
    /// There is no user with this identifier.
    UnknownUser,
    /// The password is wrong.
    WrongPassword,
    /// The user's hash cannot be verified by this server.
    UnusableHash,
    /// The password is correct, and the user is disabled.
    Disabled,
    /// The password is correct, and the identifier is locked.
    Locked,
    /// The user was authenticated, and the address must be verified first.
    UnverifiedEmail,
    /// The code of a second factor or of a mail is wrong, has expired or was used before, or another
    /// client asked for it.
    WrongCode,
}

impl LoginFailure {
    /// Returns a stable name, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::UnusableHash => "unusable_hash",
            Self::Disabled => "disabled",
            Self::Locked => "locked",
            Self::UnverifiedEmail => "unverified_email",
            Self::WrongCode => "wrong_code",
        }
    }
}
