//! Mails: over SMTP, or printed for development.

use std::error::Error;

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
};
use tower_jwt_auth::{
    AuthSettings,
    server::mail::{Mail, MailError, Mailer},
};

pub(crate) enum Post {
    Smtp {
        transport: Box<AsyncSmtpTransport<Tokio1Executor>>,
        from: Mailbox,
    },
    /// Prints credentials, which only a server on this machine may do.
    Printed,
}

impl Post {
    /// Returns a mailer for `AUTH_SMTP_URL`, or one that prints if browsers reach the server over plain
    /// http, which only works on this machine. Otherwise there are no mails.
    pub(crate) fn of(settings: &AuthSettings) -> Result<Option<Self>, Box<dyn Error>> {
        let Some((url, from)) = settings.smtp() else {
            let is_local = settings.public_url().starts_with("http://");
            return Ok(is_local.then_some(Self::Printed));
        };
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose());
        // The error could show the password in the URL.
        let transport = transport.map_err(|_| "AUTH_SMTP_URL is not the URL of a mail server")?;
        Ok(Some(Self::Smtp {
            transport: Box::new(transport.build()),
            from: Mailbox::new(None, from.as_str().parse()?),
        }))
    }
}

impl Mailer for Post {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let text = mail.text();
        match self {
            Self::Smtp { transport, from } => {
                let message = Message::builder()
                    .from(from.clone())
                    .to(Mailbox::new(None, mail.to.as_str().parse()?))
                    .subject(mail.title())
                    .header(ContentType::TEXT_PLAIN)
                    .body(text.expose().clone())?;
                transport.send(message).await?;
            }
            Self::Printed => println!(
                "--- development mail, not sent ---\nto: {}\nsubject: {}\n\n{}---",
                mail.to.as_str(),
                mail.title(),
                text.expose()
            ),
        }
        Ok(())
    }
}
