//! A guest turns out to be somebody.

use std::fmt;

use tokio::time;

use super::{ClaimHook, DeviceDigest, GrantSource, GuestStore, Guests, SessionError};
use crate::{
    principal::Principal,
    refresh::SessionStore,
    session::{
        GuestLink, GuestPeek, Linking, SessionEvent, SessionStart, TokenPair, is_interrupted,
    },
};

/// The wish of a person to keep what was said as a guest.
///
/// # Security
///
/// Make one only where the person asked for it, `"link": true` in the login's body, on a request
/// that comes from your own pages. Without asking, whoever plants his own guest into a victim's
/// browser gets his texts into the victim's account, and before the victim's language model.
#[derive(Clone)]
#[must_use = "nothing is linked before `Guests::sign_in`"]
pub struct Link {
    guest: Principal,
    device: Option<DeviceDigest>,
    /// The token came from a cookie jar, which others may have put it into.
    from_cookie: bool,
}

impl Link {
    /// A guest whose token the client sent itself: in a header or the body.
    pub fn from_body(guest: Principal) -> Self {
        Self {
            guest,
            device: None,
            from_cookie: false,
        }
    }

    /// A guest whose token came in a cookie, with what the device's cookie holds. Without that
    /// nothing is linked.
    pub fn from_cookie(guest: Principal, device: Option<&str>) -> Self {
        Self {
            guest,
            device: device.map(DeviceDigest::of),
            from_cookie: true,
        }
    }

    /// What the device holds.
    pub fn device(mut self, device: &str) -> Self {
        self.device = Some(DeviceDigest::of(device));
        self
    }

    /// A token from a cookie jar is nothing without what proves the device.
    fn is_whole(&self) -> bool {
        !self.from_cookie || self.device.is_some()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("from_cookie", &self.from_cookie)
            .finish_non_exhaustive()
    }
}

/// The result of linking a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkOutcome {
    /// The guest is the user's, and the [hook](ClaimHook) has succeeded.
    Linked,
    /// The guest is the user's. The [hook](ClaimHook) will be called again.
    Pending,
    /// Another user has the guest, or it became another account.
    AlreadyClaimed,
    /// The guest has ended, or it last wrote too long ago.
    Expired,
    /// The token names no guest of this device.
    NotFound,
    /// The store did not answer. The guest is unchanged, unless only the answer was lost.
    Unavailable,
}

/// A user who signed in, and the result of linking the guest.
#[derive(Clone, Debug)]
pub struct SignedIn {
    tokens: TokenPair,
    outcome: LinkOutcome,
}

impl SignedIn {
    /// The user's tokens: of a session that did not exist before.
    #[must_use]
    pub fn tokens(&self) -> &TokenPair {
        &self.tokens
    }

    /// Returns the result of linking the guest.
    #[must_use]
    pub fn outcome(&self) -> LinkOutcome {
        self.outcome
    }
}

/// What became of a guest who wanted an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promotion {
    /// The guest's subject is free for an account, and all its tokens are dead.
    #[non_exhaustive]
    Promoted {
        /// The subject: the account keeps it, and with it all that the guest wrote.
        subject: String,
        /// For [`SessionStart::epoch`].
        epoch: u32,
    },
    /// It was promoted before, no longer ago than a guest can be linked. Where there is no account of
    /// this subject, whoever asked then did not get to the end, and goes on now.
    #[non_exhaustive]
    Before {
        /// The subject: for an account where there is none.
        subject: String,
        /// For [`SessionStart::epoch`].
        epoch: u32,
    },
    /// It is somebody's: a user has claimed it, or it became an account longer ago.
    Taken,
    /// The guest has ended, or it last wrote too long ago. The account gets a new subject.
    Expired,
    /// The token names no guest of this device. The account gets a new subject.
    Refused,
}

impl<S, G, H> Guests<S, G, H>
where
    S: SessionStore + GuestStore,
    G: GrantSource,
    H: ClaimHook,
{
    /// Signs a user in, whom somebody has authenticated, and gives it the guest.
    ///
    /// The session is a new one, whatever becomes of the guest. Of many users who want one guest at
    /// once, one gets it; from that moment the guest's tokens are dead on all nodes. Then the
    /// [hook](ClaimHook) is called.
    ///
    /// # Errors
    ///
    /// Those of [`Sessions::start`](crate::session::Sessions::start); the guest stays what it was
    /// then. Trouble with the guest is no error: the user is signed in, and the
    /// [outcome](SignedIn::outcome) says so.
    pub async fn sign_in(&self, start: SessionStart, link: Link) -> Result<SignedIn, SessionError> {
        let user = start.subject.clone();
        let tokens = self.inner.sessions.start(start).await?;
        let outcome = self.claim(&link, user).await;
        let outcome = outcome.unwrap_or(LinkOutcome::Unavailable);
        Ok(SignedIn { tokens, outcome })
    }

    /// Ends the guest so that its subject can become an account: for somebody who registers.
    ///
    /// To be called when the new credential is verified and the name known to be free, before the
    /// account is kept: an account that was kept first would share its subject with whoever holds
    /// the guest's tokens. Then [start](crate::session::Sessions::start) a session of that subject
    /// and epoch.
    ///
    /// The account may fail to be kept then, and the guest is over. So whoever asks once more with the
    /// same token is told that it was promoted [before](Promotion::Before), and may keep the account
    /// where there is none. Do both in a task that the request does not take along when it is dropped.
    ///
    /// # Errors
    ///
    /// [`StoreUnavailable`](crate::session::SessionErrorKind::StoreUnavailable): keep no account.
    pub async fn promote(&self, link: &Link) -> Result<Promotion, SessionError> {
        let Some(wanted) = self.wanted(link).await? else {
            return self.past(link).await;
        };
        let subject = wanted.guest.clone();
        let sessions = &self.inner.sessions;
        let done = sessions.write(move |inner| async move {
            let mut done = inner.store.promote_guest(wanted.clone()).await;
            if is_interrupted(&done) {
                // Where the first one was written this is `Taken`, and so `Promotion::Before`.
                done = inner.store.promote_guest(wanted.clone()).await;
            }
            if let Ok(Linking::Done { epoch }) = done {
                let subject = wanted.guest;
                inner.refuse_older(&subject, epoch);
                inner.tell(&SessionEvent::GuestPromoted { subject });
            }
            Ok(done?)
        });
        match done.await? {
            Linking::Done { epoch } => Ok(Promotion::Promoted { subject, epoch }),
            Linking::Taken => self.past(link).await,
            Linking::Stale | Linking::Unknown => Ok(Promotion::Expired),
            _ => Ok(Promotion::Refused),
        }
    }

    /// What became of a guest that cannot be promoted now.
    async fn past(&self, link: &Link) -> Result<Promotion, SessionError> {
        let Some(subject) = self.named(&link.guest).filter(|_| link.is_whole()) else {
            return Ok(Promotion::Refused);
        };
        let Some(GuestPeek { guest, now }) = self.store().find_guest(subject).await? else {
            return Ok(Promotion::Refused);
        };
        // Whoever plants a guest that is his must not keep others from registering.
        if guest.device != link.device {
            return Ok(Promotion::Refused);
        }
        let within = self.inner.link_within;
        match (guest.claim, guest.promoted_at) {
            (None, None) => Ok(Promotion::Expired),
            (None, Some(at)) if now <= at.plus(within) => {
                let epoch = self.store().epoch(subject).await?;
                // Where it was another node, or the answer was lost.
                self.inner.sessions.inner.refuse_older(subject, epoch);
                let subject = guest.subject;
                Ok(Promotion::Before { subject, epoch })
            }
            _ => Ok(Promotion::Taken),
        }
    }

    async fn claim(&self, link: &Link, user: String) -> Result<LinkOutcome, SessionError> {
        let Some(wanted) = self.wanted(link).await? else {
            return self.lost(link, &user).await;
        };
        let (guests, guest) = (self.clone(), wanted.guest.clone());
        let sessions = &self.inner.sessions;
        // What follows the claim follows it also where the client hangs up in between.
        let told = sessions.write(move |inner| async move {
            let mut done = inner.store.claim_guest(wanted.clone(), &user).await;
            let again = is_interrupted(&done);
            if again {
                done = inner.store.claim_guest(wanted, &user).await;
            }
            match done? {
                Linking::Done { epoch } => inner.refuse_older(&guest, epoch),
                // Just now, by the write whose answer was lost.
                Linking::Before if again => {}
                Linking::Before => return Ok(Err(LinkOutcome::Linked)),
                Linking::Taken => return Ok(Err(LinkOutcome::AlreadyClaimed)),
                Linking::Stale | Linking::Unknown => return Ok(Err(LinkOutcome::Expired)),
                Linking::OtherDevice => return Ok(Err(LinkOutcome::NotFound)),
            }
            inner.tell(&SessionEvent::GuestClaimed {
                guest: guest.clone(),
                user: user.clone(),
            });
            Ok(Ok(tokio::spawn(async move {
                guests.settle(&guest, &user).await
            })))
        });
        let told = match told.await? {
            Ok(told) => told,
            Err(outcome) => return Ok(outcome),
        };
        Ok(match time::timeout(self.inner.patience, told).await {
            Ok(Ok(true)) => LinkOutcome::Linked,
            _ => LinkOutcome::Pending,
        })
    }

    /// The outcome for a token that is not of a live guest.
    async fn lost(&self, link: &Link, user: &str) -> Result<LinkOutcome, SessionError> {
        let Some(subject) = self.named(&link.guest).filter(|_| link.is_whole()) else {
            return Ok(LinkOutcome::NotFound);
        };
        let Some(GuestPeek { guest, .. }) = self.store().find_guest(subject).await? else {
            return Ok(LinkOutcome::NotFound);
        };
        Ok(match guest.claim {
            // Another device must not learn the guest's fate.
            _ if guest.device != link.device => LinkOutcome::NotFound,
            Some(claim) if claim.user == user => LinkOutcome::Linked,
            Some(_) => LinkOutcome::AlreadyClaimed,
            None if guest.promoted_at.is_some() => LinkOutcome::AlreadyClaimed,
            None => LinkOutcome::Expired,
        })
    }

    /// What is asked of the store; `None` where that is in vain.
    async fn wanted(&self, link: &Link) -> Result<Option<GuestLink>, SessionError> {
        if !link.is_whole() {
            return Ok(None);
        }
        let guest = self.subject_of(&link.guest).await?;
        Ok(guest.map(|guest| GuestLink {
            guest,
            device: link.device,
            within: self.inner.link_within,
        }))
    }
}
