//! Requests for mails.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use super::{
    MailFlowsBuilder, Mailer,
    letter::{Letter, LetterKind},
    outbox::{Outbox, Place},
};
use crate::{
    event::MailPurpose,
    server::{
        login::{EmailAddress, EmailChanged, Limited, Login},
        session::Sessions,
    },
    time::Timestamp,
};

/// The mails of an account: requests for links and codes, and notices. Cheap to clone.
///
/// A request is counted and queued. Everything that depends on the account happens in the background:
/// the lookup of the user, the token, and the mail. Known and unknown addresses therefore get the same
/// result in the same time.
///
/// | limit | mails | then |
/// |---|---|---|
/// | one purpose and one address, on all nodes | 5 in an hour | [`Wait`](MailRefused::Wait) |
/// | codes for a user on one [known device](crate::server::login::DeviceTokens), after that | 5 in an hour | [`Wait`](MailRefused::Wait) |
/// | the queue of this process | [`queue`](MailFlowsBuilder::queue) | [`Busy`](MailRefused::Busy) |
///
/// The tasks end when the last clone is dropped. They then send the rest of the queue for 5 s. A mail
/// that is not sent for any reason is reported as
/// [`MailEvent::Failed`](crate::event::MailEvent::Failed).
#[derive(Clone)]
pub struct MailFlows {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) outbox: Outbox,
    pub(super) login: Login,
    pub(super) sessions: Sessions,
    pub(super) signs_in: bool,
    pub(super) requires_verified: bool,
    pub(super) notices_devices: bool,
    pub(super) code_lifetime: Duration,
}

impl MailFlows {
    /// Creates a builder of the mails that this mailer sends to the users of this login. Links lead to
    /// pages of the public origin, such as `https://app.example`.
    ///
    /// The sessions are those that a code starts. The login needs a [store of one-time tokens](crate::server::login::LoginBuilder::one_time).
    pub fn builder(
        mailer: impl Mailer,
        login: Login,
        sessions: Sessions,
        origin: impl Into<String>,
    ) -> MailFlowsBuilder {
        MailFlowsBuilder::new(Arc::new(mailer), (login, sessions), origin.into())
    }

    pub(super) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Requests a mail with a link for setting a new password, for
    /// [`Login::reset_password`](crate::server::login::Login::reset_password).
    ///
    /// # Errors
    ///
    /// [`MailRefused`], which does not depend on the account.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has counted the request or not, and has queued no mail.
    pub async fn request_reset(
        &self,
        address: &EmailAddress,
        language: Option<&str>,
    ) -> Result<(), MailRefused> {
        let letter = Letter {
            kind: LetterKind::Reset(address.clone()),
            locale: language.and_then(preferred),
        };
        self.request(letter, address).await
    }

    /// Requests a mail with a link that verifies the address, for
    /// [`Login::verify_email`](crate::server::login::Login::verify_email).
    ///
    /// # Errors
    ///
    /// [`MailRefused`], which does not depend on the account.
    ///
    /// # Cancel safety
    ///
    /// As [`request_reset`](Self::request_reset).
    pub async fn request_verification(
        &self,
        address: &EmailAddress,
        language: Option<&str>,
    ) -> Result<(), MailRefused> {
        let letter = Letter {
            kind: LetterKind::Verify(address.clone()),
            locale: language.and_then(preferred),
        };
        self.request(letter, address).await
    }

    /// Requests a mail with a link to the new address of a user, for
    /// [`Login::change_email`](crate::server::login::Login::change_email), and a notice to the current
    /// one.
    ///
    /// # Errors
    ///
    /// [`MailRefused`], which does not depend on whether another user has the new address.
    ///
    /// # Security
    ///
    /// Call it only after the user has entered the password, or has just signed in.
    ///
    /// # Cancel safety
    ///
    /// As [`request_reset`](Self::request_reset).
    pub async fn request_email_change(
        &self,
        subject: &str,
        from: &EmailAddress,
        to: &EmailAddress,
        language: Option<&str>,
    ) -> Result<(), MailRefused> {
        let epoch = self.inner.sessions.epoch(subject).await;
        let epoch = epoch.map_err(|_| MailRefused::Busy {
            retry_after: SECOND,
        })?;
        self.request_email_change_in(epoch, (subject, from), to, language)
            .await
    }

    /// Requests a change of the address for a user who had this epoch before the proof.
    pub(crate) async fn request_email_change_in(
        &self,
        epoch: u32,
        (subject, from): (&str, &EmailAddress),
        to: &EmailAddress,
        language: Option<&str>,
    ) -> Result<(), MailRefused> {
        let letter = Letter {
            kind: LetterKind::Change {
                subject: subject.to_owned(),
                from: from.clone(),
                to: to.clone(),
                epoch,
            },
            locale: language.and_then(preferred),
        };
        let notice = notice(subject, MailPurpose::EmailChangeRequested, from);
        let (first, second) = (self.place(&letter)?, self.place(&notice)?);
        let login = &self.inner.login;
        login.count_mail(notice.purpose(), from).await?;
        login.count_mail(letter.purpose(), to).await?;
        self.inner.outbox.put(first, letter);
        self.inner.outbox.put(second, notice);
        Ok(())
    }

    /// Returns `true` if only users with a verified address may sign in.
    pub(crate) fn requires_verified(&self) -> bool {
        self.inner.requires_verified
    }

    /// Queues a notice of a sign-in on an unknown device. It is skipped for the first sign-in of the account
    /// and above the limit, which a background task decides.
    pub(crate) fn notice_device(&self, subject: &str, at: Timestamp, client: Option<IpAddr>) {
        if self.inner.notices_devices {
            self.put_notice(Letter {
                kind: LetterKind::Device {
                    subject: subject.to_owned(),
                    at,
                    client,
                },
                locale: None,
            });
        }
    }

    /// Queues a notice to the user's old address.
    pub(crate) fn notify_old(&self, changed: &EmailChanged) {
        let EmailChanged { subject, from } = changed;
        self.put_notice(notice(subject, MailPurpose::EmailChanged, from));
    }

    /// Queues a notice to the user's current address. Purposes that need a link are ignored. If the
    /// queue is full, the notice is lost and reported.
    pub fn notify(&self, subject: impl Into<String>, purpose: MailPurpose) {
        if purpose.is_notice() {
            self.put_notice(Letter {
                kind: LetterKind::Notice {
                    subject: subject.into(),
                    purpose,
                    to: None,
                },
                locale: None,
            });
        }
    }

    /// Waits until every queued mail was sent or reported. Returns `false` if the time is over before.
    /// Call it after the last request, before the process ends.
    pub async fn flush(&self, within: Duration) -> bool {
        self.inner.outbox.flush(within).await
    }

    /// Returns `true` if the mails are those of this login.
    pub(crate) fn is_of(&self, login: &Login) -> bool {
        self.inner.login.is_same(login)
    }

    pub(super) async fn request(
        &self,
        letter: Letter,
        address: &EmailAddress,
    ) -> Result<(), MailRefused> {
        let place = self.place(&letter)?;
        let counted = self.inner.login.count_mail(letter.purpose(), address);
        counted.await?;
        self.put(place, letter);
        Ok(())
    }

    pub(super) fn put(&self, place: Place, letter: Letter) {
        self.inner.outbox.put(place, letter);
    }

    pub(super) fn place(&self, letter: &Letter) -> Result<Place, MailRefused> {
        self.inner.outbox.place().ok_or_else(|| {
            self.inner.outbox.lose(letter);
            MailRefused::Busy {
                retry_after: SECOND,
            }
        })
    }

    fn put_notice(&self, letter: Letter) {
        match self.inner.outbox.place() {
            Some(place) => self.inner.outbox.put(place, letter),
            None => self.inner.outbox.lose(&letter),
        }
    }
}

fn notice(subject: &str, purpose: MailPurpose, to: &EmailAddress) -> Letter {
    Letter {
        kind: LetterKind::Notice {
            subject: subject.to_owned(),
            purpose,
            to: Some(to.clone()),
        },
        locale: None,
    }
}

impl fmt::Debug for MailFlows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailFlows")
            .field("outbox", &self.inner.outbox)
            .finish_non_exhaustive()
    }
}

/// The reason for which a request for a mail is refused. It does not depend on the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailRefused {
    /// Too many mails of this purpose were requested for the address. The HTTP status is 429.
    #[error("too many mails were requested for this address")]
    Wait {
        /// The time until the next request is accepted; at least 1 s.
        retry_after: Duration,
    },
    /// The queue is full, or the store of the counters is unavailable. The HTTP status is 503.
    #[error("mails cannot be sent now")]
    Busy {
        /// The time after which a request may succeed; at least 1 s.
        retry_after: Duration,
    },
}

impl From<Limited> for MailRefused {
    fn from(limited: Limited) -> Self {
        match limited {
            Limited::Wait(retry_after) => Self::Wait { retry_after },
            Limited::Busy(retry_after) => Self::Busy { retry_after },
        }
    }
}

/// Returns the first language of an `Accept-Language` header (RFC 9110 §12.5.4).
pub(super) fn preferred(languages: &str) -> Option<String> {
    let first = languages.split([',', ';']).next()?.trim();
    let is_tag = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_sound = (2..=35).contains(&first.len()) && first.bytes().all(is_tag);
    is_sound.then(|| first.to_owned())
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_language_is_a_tag_or_none() {
        let long = "x".repeat(36);
        for (header, expected) in [
            ("de", Some("de")),
            ("pt-BR,pt;q=0.9,en;q=0.8", Some("pt-BR")),
            (" en-US ;q=1", Some("en-US")),
            ("*", None),
            ("", None),
            ("de\r\nBcc: x", None),
            ("<script>", None),
            (&long, None),
        ] {
            assert_eq!(preferred(header).as_deref(), expected, "{header:?}");
        }
    }
}
