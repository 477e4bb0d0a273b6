//! A mailer that keeps what it gets.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_jwt_auth::{
    event::MailPurpose,
    server::mail::{Mail, MailError, Mailer},
};

/// All mails of a test, in order. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Postbox {
    /// Most tests do not look at the notices of new devices, which follow a sign-in in the background.
    keeps_notices: bool,
    mails: Arc<Mutex<Vec<Mail>>>,
    read: Arc<AtomicUsize>,
}

impl Mailer for Postbox {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        if self.keeps_notices || mail.purpose != MailPurpose::NewDevice {
            self.mails.lock().unwrap().push(mail.clone());
        }
        Ok(())
    }
}

impl Postbox {
    /// A postbox that keeps notices of new devices too.
    pub(crate) fn with_notices() -> Self {
        Self {
            keeps_notices: true,
            ..Self::default()
        }
    }

    /// The next mail, which must have this purpose.
    pub(crate) async fn next(&self, purpose: MailPurpose) -> Mail {
        let at = self.read.fetch_add(1, Ordering::SeqCst);
        for _ in 0..30_000 {
            if let Some(mail) = self.mails.lock().unwrap().get(at) {
                assert_eq!(mail.purpose, purpose);
                return mail.clone();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("there is no mail for {purpose:?}");
    }

    /// The mails that were not read.
    pub(crate) fn unread(&self) -> Vec<Mail> {
        let mails = self.mails.lock().unwrap();
        mails[self.read.load(Ordering::SeqCst)..].to_vec()
    }
}

/// The token at the end of the mail's link.
pub(crate) fn token(mail: &Mail) -> String {
    let link = mail.link.as_ref().expect("a link").expose();
    let (_, token) = link.rsplit_once('=').expect("a token");
    token.to_owned()
}
