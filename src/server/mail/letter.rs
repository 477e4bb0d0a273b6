//! Mails before they are written: which user, which token, which page.

use std::{net::IpAddr, time::Duration};

use super::{Mail, code::SignInCode, page::Page};
use crate::{
    error::StoreError,
    event::{MailPurpose, MailSkipped},
    secret::Secret,
    server::{
        login::{EmailAddress, Limited, Login},
        session::Sessions,
    },
    store::port::{NewOneTime, OneTimePurpose, OneTimeToken, UserRecord},
    time::Timestamp,
};

/// A request for a mail. The user is looked up in the background, so that the response does not depend
/// on the account.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) kind: LetterKind,
    pub(super) locale: Option<String>,
}

#[derive(Debug)]
pub(super) enum LetterKind {
    Reset(EmailAddress),
    Verify(EmailAddress),
    SignIn {
        address: EmailAddress,
        flow: OneTimeToken,
        /// The token of the device by which the request was counted, if the limit of the address was exceeded.
        device: Option<Secret<String>>,
    },
    Change {
        subject: String,
        from: EmailAddress,
        to: EmailAddress,
        /// The epoch before the user proved the right to change the address.
        epoch: u32,
    },
    /// A sign-in on an unknown device.
    Device {
        subject: String,
        at: Timestamp,
        client: Option<IpAddr>,
    },
    Notice {
        subject: String,
        purpose: MailPurpose,
        /// The recipient; `None` for the user's current address.
        to: Option<EmailAddress>,
    },
}

impl Letter {
    pub(super) fn purpose(&self) -> MailPurpose {
        match &self.kind {
            LetterKind::Reset(_) => MailPurpose::ResetPassword,
            LetterKind::Verify(_) => MailPurpose::VerifyEmail,
            LetterKind::SignIn { .. } => MailPurpose::SignIn,
            LetterKind::Change { .. } => MailPurpose::ChangeEmail,
            LetterKind::Device { .. } => MailPurpose::NewDevice,
            LetterKind::Notice { purpose, .. } => *purpose,
        }
    }

    /// Returns the user, if the request named one.
    pub(super) fn subject(&self) -> Option<&str> {
        match &self.kind {
            LetterKind::Change { subject, .. }
            | LetterKind::Device { subject, .. }
            | LetterKind::Notice { subject, .. } => Some(subject),
            _ => None,
        }
    }
}

/// The result of writing a letter.
pub(super) enum Written {
    Mail(Box<Mail>),
    Skipped {
        subject: Option<String>,
        reason: MailSkipped,
    },
}

/// A page of the application, and the lifetime of the token in a link to it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) page: Page,
    pub(super) lifetime: Duration,
}

/// Writes letters: looks the user up, and issues the token.
#[derive(Clone, Debug)]
pub(super) struct Letters {
    pub(super) login: Login,
    /// The public origin, without a slash at its end.
    pub(super) origin: String,
    pub(super) site: String,
    pub(super) reset: Target,
    pub(super) verify: Target,
    pub(super) change: Target,
    pub(super) sign_in: Target,
    pub(super) sessions: Sessions,
}

impl Letters {
    pub(super) async fn write(&self, letter: &Letter) -> Result<Written, StoreError> {
        let (user, to) = match self.recipient(letter).await? {
            Ok(found) => found,
            Err(skipped) => return Ok(skipped),
        };
        let skip = |reason| {
            Ok(Written::Skipped {
                subject: Some(user.subject.clone()),
                reason,
            })
        };
        let mut mail = Mail::new(letter.purpose(), to, &user.subject, &self.site);
        mail.locale.clone_from(&letter.locale);
        match &letter.kind {
            LetterKind::Notice { .. } => {}
            LetterKind::Device { at, client, .. } => {
                if !self.login.has_signed_in(&user.subject).await? {
                    return skip(MailSkipped::FirstSignIn);
                }
                match self
                    .login
                    .count_mail(MailPurpose::NewDevice, &mail.to)
                    .await
                {
                    Ok(()) => {}
                    Err(Limited::Wait(_)) => return skip(MailSkipped::Limited),
                    Err(Limited::Busy(_)) => {
                        return Err(StoreError::unavailable("the mail was not counted"));
                    }
                }
                mail.at = Some(*at);
                mail.network = client.map(roughly);
            }
            LetterKind::Reset(_) if !self.can_reset(&user) => {
                return skip(MailSkipped::NoPassword);
            }
            LetterKind::Verify(_) if user.email_verified => {
                return skip(MailSkipped::AlreadyVerified);
            }
            LetterKind::Reset(_) => {
                self.link(&mut mail, OneTimePurpose::Reset, &self.reset, None)
                    .await?;
            }
            LetterKind::Verify(_) => {
                let purpose = OneTimePurpose::Verification;
                self.link(&mut mail, purpose, &self.verify, None).await?;
            }
            LetterKind::SignIn {
                device: Some(device),
                ..
            } if !self.login.is_known_device(device.expose(), &user) => {
                return skip(MailSkipped::Limited);
            }
            LetterKind::SignIn { flow, .. } => {
                self.login.check_recorded(&user)?;
                self.code(&mut mail, &user, flow).await?;
            }
            LetterKind::Change { from, .. } if user.email.as_ref() != Some(from) => {
                return skip(MailSkipped::NoAddress);
            }
            LetterKind::Change { to, epoch, .. } => {
                if self.login.users().find_by_email(to).await?.is_some() {
                    return skip(MailSkipped::AddressTaken);
                }
                let purpose = OneTimePurpose::EmailChange;
                self.link(&mut mail, purpose, &self.change, Some(*epoch))
                    .await?;
                // The end of all sessions invalidates the tokens that exist then. This one may be younger.
                if self.epoch(&user.subject).await? != *epoch {
                    self.login.forget(&user.subject, purpose).await?;
                    return skip(MailSkipped::Ended);
                }
            }
        }
        Ok(Written::Mail(Box::new(mail)))
    }

    async fn epoch(&self, subject: &str) -> Result<u32, StoreError> {
        let epoch = self.sessions.epoch(subject).await;
        epoch.map_err(StoreError::unavailable)
    }

    /// Returns `true` if the user has a password, or can get a first one.
    fn can_reset(&self, user: &UserRecord) -> bool {
        user.password.is_some() || self.login.users().can_set_first_hash()
    }

    /// Returns the user and the address to write to.
    ///
    /// The mail goes to the address in the record. The address in the request only finds the record: a
    /// store whose collation confuses two addresses must not send a token to the other one.
    async fn recipient(
        &self,
        letter: &Letter,
    ) -> Result<Result<(UserRecord, EmailAddress), Written>, StoreError> {
        let users = self.login.users();
        let user = match &letter.kind {
            LetterKind::Reset(address)
            | LetterKind::Verify(address)
            | LetterKind::SignIn { address, .. } => users.find_by_email(address).await?,
            LetterKind::Change { subject, .. }
            | LetterKind::Device { subject, .. }
            | LetterKind::Notice { subject, .. } => users.find_by_subject(subject).await?,
        };
        let Some(user) = user else {
            return Ok(Err(Written::Skipped {
                subject: None,
                reason: MailSkipped::UnknownUser,
            }));
        };
        let to = match &letter.kind {
            LetterKind::Change { to, .. } | LetterKind::Notice { to: Some(to), .. } => {
                Some(to.clone())
            }
            _ => user.email.clone(),
        };
        let reason = match to {
            _ if user.disabled => MailSkipped::Disabled,
            None => MailSkipped::NoAddress,
            Some(to) => return Ok(Ok((user, to))),
        };
        Ok(Err(Written::Skipped {
            subject: Some(user.subject),
            reason,
        }))
    }

    /// Issues a token that proves the address of the mail, and adds the link with it. The token is valid in this
    /// epoch of the user.
    async fn link(
        &self,
        mail: &mut Mail,
        purpose: OneTimePurpose,
        target: &Target,
        epoch: Option<u32>,
    ) -> Result<(), StoreError> {
        let token = OneTimeToken::mint();
        let mut new = NewOneTime::new(&token, purpose, &mail.user, target.lifetime).email(&mail.to);
        new.epoch = epoch;
        self.login.issue_token(new).await?;
        mail.link = Some(target.page.link(&self.origin, token.expose()));
        mail.expires_in = Some(target.lifetime);
        Ok(())
    }

    /// Issues a code, and adds it with the link that contains it. A session that it starts has the epoch
    /// of this moment, so that it does not survive a change of the password in between.
    async fn code(
        &self,
        mail: &mut Mail,
        user: &UserRecord,
        flow: &OneTimeToken,
    ) -> Result<(), StoreError> {
        let epoch = match user.epoch {
            Some(epoch) => epoch,
            None => self.epoch(&user.subject).await?,
        };
        let (code, lifetime) = (SignInCode::mint(), self.sign_in.lifetime);
        let new = NewOneTime {
            digest: code.digest(flow),
            ..NewOneTime::new(flow, OneTimePurpose::SignIn, &user.subject, lifetime)
        };
        let new = new.email(&mail.to).epoch(epoch);
        self.login.issue_token(new).await?;
        mail.link = Some(self.sign_in.page.link(&self.origin, code.text().expose()));
        mail.code = Some(code.text().clone());
        mail.expires_in = Some(lifetime);
        Ok(())
    }
}

/// Returns the network of a client, without the part that identifies a subscriber.
fn roughly(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u38_a_network_names_no_subscriber() {
        for (client, network) in [
            ("203.0.113.77", "203.0.113.0/24"),
            ("::ffff:203.0.113.77", "203.0.113.0/24"),
            ("2001:db8:7:8:9::1", "2001:db8:7::/48"),
            ("::1", "0:0:0::/48"),
        ] {
            assert_eq!(roughly(client.parse().unwrap()), network);
        }
    }
}
