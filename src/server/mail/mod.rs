//! Mails of accounts: resets, verifications, sign-ins, changes of an address, and notices.
//!
//! Your application implements [`Mailer`] and passes it to
//! [`AuthServerBuilder::mailer`](crate::server::AuthServerBuilder::mailer), which enables the
//! [endpoints](crate::server::endpoints). [The manual](crate::manual::recipes::mail) has a complete
//! example.
//!
//! [`MailFlows`] are the mails without the endpoints: it takes a request, and a background task looks
//! the user up, issues a [one-time token](crate::store::port::OneTimeToken), and calls the mailer.
//!
//! # Security
//!
//! - Links are built from the configured public origin, never from a header of the request.
//! - A mail goes to the address in the user's record, never to the text in the request.
//! - A token works once, for one purpose and for the address to which it was sent. The store has only
//!   its digest.
//! - A `GET` request never spends a token.

mod builder;
mod code;
mod flows;
mod letter;
mod mailer;
mod message;
mod outbox;
mod page;

pub use self::{
    builder::MailFlowsBuilder,
    flows::{MailFlows, MailRefused},
    mailer::{MailError, Mailer},
    message::Mail,
};
pub use crate::event::MailPurpose;
