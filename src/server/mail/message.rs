//! The content of a mail.

use std::{fmt::Write as _, time::Duration};

use crate::{event::MailPurpose, secret::Secret, server::login::EmailAddress, time::Timestamp};

/// A mail to a user.
///
/// [`title`](Self::title) and [`text`](Self::text) are a plain English mail. A [`Mailer`](super::Mailer)
/// with other texts, other languages or HTML uses the fields instead.
///
/// # Security
///
/// `link` and `code` are credentials: do not log them. No field contains text that a client entered,
/// except the address, which cannot contain white space, quotes or brackets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mail {
    /// The purpose of the mail.
    pub purpose: MailPurpose,
    /// The recipient.
    pub to: EmailAddress,
    /// The subject of the user, as in tokens.
    pub user: String,
    /// The host of the site, such as `app.example`.
    pub site: String,
    /// The link to open; `None` in a notice.
    pub link: Option<Secret<String>>,
    /// The code to type; only for signing in.
    pub code: Option<Secret<String>>,
    /// The lifetime of the link and the code.
    pub expires_in: Option<Duration>,
    /// The time of a sign-in on a new device.
    pub at: Option<Timestamp>,
    /// Roughly the network of a new device, such as `203.0.113.0/24`, if it is known.
    pub network: Option<String>,
    /// The client's preferred language, such as `de` or `pt-BR`, if it sent one with the request that
    /// caused the mail. The client may not be the user.
    pub locale: Option<String>,
}

impl Mail {
    /// Creates a mail without a link, a code and a language: for tests of a mailer.
    #[must_use]
    pub fn new(
        purpose: MailPurpose,
        to: EmailAddress,
        user: impl Into<String>,
        site: impl Into<String>,
    ) -> Self {
        Self {
            purpose,
            to,
            user: user.into(),
            site: site.into(),
            link: None,
            code: None,
            expires_in: None,
            at: None,
            network: None,
            locale: None,
        }
    }

    /// Returns the text for the header `Subject`, in English.
    #[must_use]
    pub fn title(&self) -> String {
        let site = &self.site;
        match self.purpose {
            MailPurpose::ResetPassword => format!("Set a new password for {site}"),
            MailPurpose::VerifyEmail => format!("Confirm your address for {site}"),
            MailPurpose::SignIn => format!("Sign in to {site}"),
            MailPurpose::ChangeEmail => format!("Confirm your new address for {site}"),
            MailPurpose::EmailChangeRequested => {
                format!("A change of your address for {site} was requested")
            }
            MailPurpose::EmailChanged => format!("Your address for {site} was changed"),
            MailPurpose::PasswordChanged => format!("Your password for {site} was changed"),
            MailPurpose::NewDevice => format!("A new device signed in to {site}"),
        }
    }

    /// Returns the plain text of the mail, in English.
    #[must_use]
    pub fn text(&self) -> Secret<String> {
        let site = &self.site;
        // The buffer never grows: a reallocation would leave a copy that is not wiped.
        let length = self.link.as_ref().map_or(0, |link| link.expose().len());
        let mut text = String::with_capacity(2048 + 2 * site.len() + length);
        text.push_str(match self.purpose {
            MailPurpose::ResetPassword => "A new password was requested for the account with",
            MailPurpose::VerifyEmail => "An account was registered with",
            MailPurpose::SignIn => "A sign-in was requested for the account with",
            MailPurpose::ChangeEmail => "An account is to be changed to",
            MailPurpose::EmailChangeRequested => {
                "A change to another address was requested for the account with"
            }
            MailPurpose::EmailChanged => "Another address was set for the account that had",
            MailPurpose::PasswordChanged => "The password was changed for the account with",
            MailPurpose::NewDevice => {
                "A device that was not used before signed in to the account with"
            }
        });
        // Writing to a string never fails.
        let _ = write!(text, " this address at {site}.\n\n");
        if let Some(at) = self.at {
            let at = at.to_calendar();
            let (date, hour, minute) = (at.date(), at.hour(), at.minute());
            let _ = writeln!(text, "Time: {date} {hour:02}:{minute:02} UTC");
            let network = self.network.as_deref().unwrap_or("unknown");
            let _ = write!(text, "Network: {network}\n\n");
        }
        if let Some(code) = &self.code {
            let code = code.expose();
            let _ = write!(text, "Type this code where you asked for it: {code}\n\n");
        }
        if let Some(link) = &self.link {
            text.push_str(match self.purpose {
                MailPurpose::ResetPassword => "To set a new password, open:\n",
                MailPurpose::SignIn => "Or open this link in the same browser:\n",
                _ => "To confirm the address, open:\n",
            });
            text.push_str(link.expose());
            text.push_str("\n\n");
        }
        if let Some(lifetime) = self.expires_in {
            let minutes = lifetime.as_secs().div_ceil(60);
            let _ = match minutes {
                0..=119 => write!(text, "It works once, within {minutes} minutes. "),
                _ => write!(text, "It works once, within {} hours. ", minutes / 60),
            };
        }
        text.push_str(match self.purpose {
            MailPurpose::SignIn => {
                "If you did not ask for it, ignore this mail. Never give the code to another person.\n"
            }
            MailPurpose::ResetPassword | MailPurpose::VerifyEmail | MailPurpose::ChangeEmail => {
                "If you did not ask for it, ignore this mail.\n"
            }
            _ => "If this was not you, set a new password now.\n",
        });
        Secret::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u13_a_mail_prints_neither_its_link_nor_its_address() {
        let to = EmailAddress::new("ada@example.org").unwrap();
        let mut mail = Mail::new(MailPurpose::SignIn, to, "user-1", "app.example");
        mail.link = Some(Secret::new("https://app.example/x#secret".to_owned()));
        mail.code = Some(Secret::new("12345678".to_owned()));
        mail.expires_in = Some(Duration::from_secs(600));
        let shown = format!("{mail:?} {:?}", mail.text());
        for hidden in ["secret", "12345678", "ada"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
        let text = mail.text();
        for contained in ["app.example", "12345678", "#secret", "within 10 minutes"] {
            assert!(text.expose().contains(contained), "{}", text.expose());
        }
    }

    #[test]
    fn every_mail_fits_its_buffer() {
        let to = EmailAddress::new("ada@example.org").unwrap();
        for purpose in [
            MailPurpose::ResetPassword,
            MailPurpose::VerifyEmail,
            MailPurpose::SignIn,
            MailPurpose::ChangeEmail,
            MailPurpose::EmailChangeRequested,
            MailPurpose::EmailChanged,
            MailPurpose::PasswordChanged,
            MailPurpose::NewDevice,
        ] {
            let mut mail = Mail::new(purpose, to.clone(), "user-1", "s".repeat(300));
            mail.link = Some(Secret::new("l".repeat(3000)));
            mail.code = Some(Secret::new("12345678".to_owned()));
            mail.expires_in = Some(Duration::from_secs(86_400));
            let text = mail.text();
            assert_eq!(text.expose().capacity(), 2048 + 600 + 3000);
            assert!(!mail.title().is_empty());
            assert_eq!(purpose.is_notice(), text.expose().contains("was not you"));
        }
    }
}
