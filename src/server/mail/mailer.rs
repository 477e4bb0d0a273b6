//! The port for sending mails.

use std::{error::Error, future::Future};

use super::Mail;
use crate::erased::erased;

/// The error of a mailer. Its text is logged.
pub type MailError = Box<dyn Error + Send + Sync>;

/// A sender of mails: an SMTP client, or the client of a mail service.
///
/// # Examples
///
/// A mailer that writes to the log, for development. `auth_server` has one over SMTP.
///
/// ```
/// use tower_jwt_auth::server::mail::{Mail, MailError, Mailer};
///
/// struct Printed;
///
/// impl Mailer for Printed {
///     async fn send(&self, mail: &Mail) -> Result<(), MailError> {
///         println!("to {}: {}\n{}", mail.to.as_str(), mail.title(), mail.text().expose());
///         Ok(())
///     }
/// }
/// ```
pub trait Mailer: Send + Sync + 'static {
    /// Sends a mail. `Ok` means that a mail server accepted it.
    ///
    /// It is called by a background task, after the response to the request. An error, a panic and a
    /// call that exceeds [`timeout`](super::MailFlowsBuilder::timeout) are reported as
    /// [`MailEvent::Failed`](crate::event::MailEvent::Failed) and logged. The mail is not sent again:
    /// a mailer that repeats an attempt does so within the timeout, and the user can request another
    /// mail.
    ///
    /// # Errors
    ///
    /// Any error. Its text is logged, so it must not contain the link or the code.
    ///
    /// # Cancel safety
    ///
    /// After the timeout the future is dropped. The mail may have been sent.
    fn send(&self, mail: &Mail) -> impl Future<Output = Result<(), MailError>> + Send;
}

erased! {
    pub(super) trait ErasedMailer: Mailer {
        async fn send(&self, mail: &'a Mail) -> Result<(), MailError>;
    }
}
