//! Linking a guest to the account of a user.

use std::{fmt, sync::Arc};

use tokio::time;

use super::{
    DeviceDigest, Guests, SessionError,
    claim::{self, ClaimOutcome, LinkCondition},
};
use crate::{
    event::SessionEvent,
    principal::Principal,
    server::session::{StartSession, TokenPair, repeated},
    store::port::LoadedGuest,
};

/// A request to link a guest's data to the account that is signing in.
///
/// # Security
///
/// Create one only if the user requested it (`"link": true` in the login's body) on a request that
/// comes from your own pages. Otherwise an attacker who plants a guest token into a victim's
/// browser can insert texts into the victim's account, and into the input of the victim's language
/// model.
#[derive(Clone)]
#[must_use = "nothing is linked before `Guests::sign_in`"]
pub struct LinkRequest {
    guest: Principal,
    device: Option<DeviceDigest>,
    /// `true` if the token came from a cookie, which another party may have planted.
    from_cookie: bool,
}

impl LinkRequest {
    /// Links a guest whose token the client sent explicitly, in a header or in the body.
    pub fn from_body(guest: Principal) -> Self {
        Self {
            guest,
            device: None,
            from_cookie: false,
        }
    }

    /// Links a guest whose token came in a cookie. `device` is the content of the device cookie;
    /// without it nothing is linked.
    pub fn from_cookie(guest: Principal, device: Option<&str>) -> Self {
        Self {
            guest,
            device: device.map(DeviceDigest::of),
            from_cookie: true,
        }
    }

    /// Sets the device secret.
    pub fn device(mut self, device: &str) -> Self {
        self.device = Some(DeviceDigest::of(device));
        self
    }

    /// Returns `false` for a token from a cookie without the device secret.
    fn is_whole(&self) -> bool {
        !self.from_cookie || self.device.is_some()
    }
}

impl fmt::Debug for LinkRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkRequest")
            .field("from_cookie", &self.from_cookie)
            .finish_non_exhaustive()
    }
}

/// The result of linking a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkOutcome {
    /// The guest belongs to the user, and the [hook](super::ClaimHook) has succeeded.
    Linked,
    /// The guest belongs to the user. The [hook](super::ClaimHook) is still running, or it failed and will be
    /// called again.
    Pending,
    /// Another user has claimed the guest, or it became another account.
    AlreadyClaimed,
    /// The guest has expired or its session has ended, or its last write is too long ago.
    Expired,
    /// The token does not name a guest of this device.
    NotFound,
    /// The store failed. The guest is unchanged, unless only the store's answer was lost.
    Unavailable,
}

/// A user who signed in, and the result of linking the guest.
#[derive(Clone, Debug)]
pub struct SignInOutcome {
    tokens: TokenPair,
    outcome: LinkOutcome,
}

impl SignInOutcome {
    /// Returns the user's tokens. They belong to a new session.
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

/// The result of promoting a guest to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promotion {
    /// The guest's subject is available for an account, and all its tokens are revoked.
    #[non_exhaustive]
    Promoted {
        /// The subject. The account keeps it, and with it everything that the guest wrote.
        subject: String,
        /// The epoch for [`StartSession::epoch`].
        epoch: u32,
    },
    /// The guest was promoted earlier, within [`link_within`](super::GuestsBuilder::link_within).
    /// If no account has this subject, the earlier registration was interrupted and this one can
    /// complete it.
    #[non_exhaustive]
    Before {
        /// The subject, for an account if none has it.
        subject: String,
        /// The epoch for [`StartSession::epoch`].
        epoch: u32,
    },
    /// A user has claimed the guest, or it became an account longer ago.
    Taken,
    /// The guest has expired or its session has ended, or its last write is too long ago. The
    /// account gets a new subject.
    Expired,
    /// The token does not name a guest of this device. The account gets a new subject.
    Refused,
}

impl Guests {
    /// Signs in a user whom your code has authenticated, and links the guest to the user.
    ///
    /// The session is always new, whatever the result of the link. Of several users who claim one
    /// guest concurrently, one succeeds, and from then on the guest's tokens are refused on all
    /// nodes. The [hook](super::ClaimHook) is called after that.
    ///
    /// # Errors
    ///
    /// Those of [`Sessions::start`](crate::server::session::Sessions::start), with the guest unchanged. A
    /// failed link is not an error: the user is signed in, and [`outcome`](SignInOutcome::outcome)
    /// returns the result.
    pub async fn sign_in(
        &self,
        start: StartSession,
        link: LinkRequest,
    ) -> Result<SignInOutcome, SessionError> {
        let user = start.subject.clone();
        let tokens = self.inner.sessions.start(start).await?;
        let outcome = self.claim(&link, user).await;
        let outcome = outcome.unwrap_or(LinkOutcome::Unavailable);
        Ok(SignInOutcome { tokens, outcome })
    }

    /// Ends the guest so that its subject can become an account: for a registration.
    ///
    /// Call it after the new credential is verified and the user name is known to be free, but
    /// before the account is written. An account that was written first would share its subject
    /// with every holder of the guest's tokens. After the account is written,
    /// [start](crate::server::session::Sessions::start) a session of that subject and epoch.
    ///
    /// If writing the account then fails, the guest is already over. A second call with the same
    /// token returns [`Promotion::Before`], and may write the account if there is none. Run both
    /// steps in a task that is not dropped with the request.
    ///
    /// # Errors
    ///
    /// [`StoreUnavailable`](crate::server::session::SessionErrorKind::StoreUnavailable),
    /// [`KeysUnavailable`](crate::server::session::SessionErrorKind::KeysUnavailable): do not write the
    /// account. In the second case the guest is unchanged.
    pub async fn promote(&self, link: &LinkRequest) -> Result<Promotion, SessionError> {
        let Some(wanted) = self.wanted(link).await? else {
            return self.past(link).await;
        };
        self.inner.sessions.check_keys()?;
        let (sessions, store) = (&self.inner.sessions, Arc::clone(&self.inner.store));
        let done = sessions.write(move |inner| async move {
            let done = claim::link(&*store, &wanted, None).await?;
            if done != ClaimOutcome::Done {
                return Ok(Err(done));
            }
            let subject = wanted.guest;
            let epoch = repeated(|| inner.store.epoch(&subject)).await?;
            inner.refuse_older(&subject, epoch);
            inner.events.session(|| SessionEvent::GuestPromoted {
                subject: subject.clone(),
            });
            Ok(Ok(Promotion::Promoted { subject, epoch }))
        });
        match done.await? {
            Ok(promoted) => Ok(promoted),
            Err(ClaimOutcome::Taken) => self.past(link).await,
            Err(ClaimOutcome::Stale | ClaimOutcome::Unknown) => Ok(Promotion::Expired),
            Err(_) => Ok(Promotion::Refused),
        }
    }

    /// Returns the result for a guest that cannot be promoted now.
    async fn past(&self, link: &LinkRequest) -> Result<Promotion, SessionError> {
        let Some(subject) = self.named(&link.guest).filter(|_| link.is_whole()) else {
            return Ok(Promotion::Refused);
        };
        let Some(LoadedGuest { guest, now }) = self.store().find_guest(subject).await? else {
            return Ok(Promotion::Refused);
        };
        // An attacker who plants a guest must not be able to block the victim's registration.
        if guest.device != link.device {
            return Ok(Promotion::Refused);
        }
        let within = self.inner.link_within;
        match (guest.claim, guest.promoted_at) {
            (None, None) => Ok(Promotion::Expired),
            (None, Some(at)) if now <= at.plus(within) => {
                let sessions = &self.inner.sessions.inner;
                let epoch = sessions.store.epoch(subject).await?;
                // Needed if another node promoted the guest, or if the store's answer was lost.
                sessions.refuse_older(subject, epoch);
                let subject = guest.subject;
                Ok(Promotion::Before { subject, epoch })
            }
            _ => Ok(Promotion::Taken),
        }
    }

    async fn claim(&self, link: &LinkRequest, user: String) -> Result<LinkOutcome, SessionError> {
        let Some(wanted) = self.wanted(link).await? else {
            return self.lost(link, &user).await;
        };
        let (guests, guest) = (self.clone(), wanted.guest.clone());
        let sessions = &self.inner.sessions;
        // The task completes the claim even if the client disconnects.
        let notified = sessions.write(move |inner| async move {
            match claim::link(guests.store(), &wanted, Some(&user)).await? {
                ClaimOutcome::Done => {
                    let epoch = repeated(|| inner.store.epoch(&guest)).await?;
                    inner.refuse_older(&guest, epoch);
                }
                ClaimOutcome::Before => return Ok(Err(LinkOutcome::Linked)),
                ClaimOutcome::Taken => return Ok(Err(LinkOutcome::AlreadyClaimed)),
                ClaimOutcome::Stale | ClaimOutcome::Unknown => {
                    return Ok(Err(LinkOutcome::Expired));
                }
                ClaimOutcome::OtherDevice => return Ok(Err(LinkOutcome::NotFound)),
            }
            inner.events.session(|| SessionEvent::GuestClaimed {
                guest: guest.clone(),
                user: user.clone(),
            });
            Ok(Ok(tokio::spawn(async move {
                guests.settle(&guest, &user).await
            })))
        });
        let notified = match notified.await? {
            Ok(notified) => notified,
            Err(outcome) => return Ok(outcome),
        };
        Ok(match time::timeout(self.inner.patience, notified).await {
            Ok(Ok(true)) => LinkOutcome::Linked,
            _ => LinkOutcome::Pending,
        })
    }

    /// Returns the outcome for a token that does not belong to a live guest.
    async fn lost(&self, link: &LinkRequest, user: &str) -> Result<LinkOutcome, SessionError> {
        let Some(subject) = self.named(&link.guest).filter(|_| link.is_whole()) else {
            return Ok(LinkOutcome::NotFound);
        };
        let Some(LoadedGuest { guest, .. }) = self.store().find_guest(subject).await? else {
            return Ok(LinkOutcome::NotFound);
        };
        Ok(match guest.claim {
            // Another device must not learn the state of the guest.
            _ if guest.device != link.device => LinkOutcome::NotFound,
            Some(claim) if claim.user == user => LinkOutcome::Linked,
            Some(_) => LinkOutcome::AlreadyClaimed,
            None if guest.promoted_at.is_some() => LinkOutcome::AlreadyClaimed,
            None => LinkOutcome::Expired,
        })
    }

    /// Returns the conditions of the link; `None` if it cannot succeed.
    async fn wanted(&self, link: &LinkRequest) -> Result<Option<LinkCondition>, SessionError> {
        if !link.is_whole() {
            return Ok(None);
        }
        let guest = self.subject_of(&link.guest).await?;
        Ok(guest.map(|guest| LinkCondition {
            guest,
            device: link.device,
            within: self.inner.link_within,
        }))
    }
}
