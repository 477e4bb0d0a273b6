//! Accounts at identity providers, linked to users.

mod provider;
mod sign_up;

use std::{fmt, sync::Arc};

pub(crate) use self::provider::ErasedIdentityProvider;
pub(crate) use self::sign_up::create as create_user;
pub use self::{
    provider::{AuthorizationRequest, IdentityError, IdentityProvider},
    sign_up::UnknownIdentity,
};
use crate::{
    error::StoreError,
    event::LoginEvent,
    principal::{PrincipalKind, SessionId},
    server::{
        login::{EmailAddress, Linking, Login, SignIn, Unlinking},
        session::Sessions,
    },
    store::port::{CredentialRecord, ErasedCredentialStore, NewCredential, UserRecord},
    time::Timestamp,
};

/// An account at an identity provider, as an ID token that your code has validated names it.
///
/// The issuer and the subject identify the account (OpenID Connect Core §2). An address does not, because
/// a provider may give it to another person later.
///
/// # Examples
///
/// ```
/// use tower_jwt_auth::server::login::Identity;
///
/// // The claims `iss`, `sub`, `email` and `email_verified` of a validated ID token.
/// let (iss, sub) = ("https://idp.example", "248289761001");
/// let identity = Identity::new(iss, sub).email("ada@example.org", true);
/// assert_eq!(identity.subject(), "248289761001");
/// ```
#[derive(Clone)]
pub struct Identity {
    issuer: String,
    subject: String,
    email: Option<EmailAddress>,
    amr: Vec<String>,
}

impl Identity {
    /// Creates the identity of this subject at this issuer, the claims `sub` and `iss` of the ID token.
    pub fn new(issuer: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
            email: None,
            amr: Vec::new(),
        }
    }

    /// Sets the address of the account, the claims `email` and `email_verified`. An address that the provider
    /// has not verified, that is not an [`EmailAddress`], or that has full-width or half-width letters is not
    /// used. Without one the identity is linked only by the signed-in user.
    ///
    /// # Security
    ///
    /// Call it only if you trust the provider to verify addresses: it can then sign in to every account with a
    /// verified address. A provider whose tenants write the claims themselves is not to be trusted.
    #[must_use]
    pub fn email(mut self, address: &str, is_verified: bool) -> Self {
        // They become other letters, and the mailbox may be that of another person at the provider.
        let is_exact = !address.chars().any(is_of_another_width);
        let address = EmailAddress::new(address).ok();
        self.email = address.filter(|_| is_verified && is_exact);
        self
    }

    /// Sets the authentication methods that the provider has used, by the names of RFC 8176 §2: the claim
    /// `amr` of the ID token. They become those of the session. If they contain a second factor, the user is
    /// not asked for a code.
    ///
    /// # Security
    ///
    /// Set them only if you rely on the provider's second factor.
    #[must_use]
    pub fn amr<I>(mut self, methods: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.amr = methods.into_iter().map(Into::into).collect();
        self
    }

    /// Returns the issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the subject at the issuer.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns `true` if an issuer and a subject can have these values.
    pub(crate) fn is_valid(&self) -> bool {
        self.id().is_ok()
    }

    /// Returns the identifier of the credential: an issuer is a URL and has no space.
    fn id(&self) -> Result<String, StoreError> {
        let plain =
            |text: &str, most| (1..=most).contains(&text.len()) && !text.contains(char::is_control);
        // OpenID Connect Core §2: at most 255 characters.
        if !plain(&self.issuer, 1000) || self.issuer.contains(' ') || !plain(&self.subject, 255) {
            return Err(StoreError::invalid("an identity is not valid"));
        }
        Ok(format!("{} {}", self.issuer, self.subject))
    }

    /// Returns the identity of a credential. `None` if it is another kind of credential.
    pub(crate) fn linked_by(row: &CredentialRecord) -> Option<Self> {
        (row.kind == OIDC).then(|| Self::of(row)).flatten()
    }

    fn of(row: &CredentialRecord) -> Option<Self> {
        let (issuer, subject) = row.id.split_once(' ')?;
        Some(Self::new(issuer, subject))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// The result of a sign-in with an identity.
#[derive(Debug)]
#[non_exhaustive]
pub enum IdentityOutcome {
    /// The identity belongs to this user: pass it to [`AuthServer::sign_in`](crate::AuthServer::sign_in).
    SignIn(Box<SignIn>),
    /// No user has the identity or its address.
    Unknown,
    /// A user has the address, and the identity may be linked only while this user is signed in: the user
    /// has not verified the address, or has another identity of the same provider, or is disabled.
    LinkFirst,
}

/// The result of linking an identity to a signed-in user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkIdentityOutcome {
    /// The identity belongs to the user now.
    Linked,
    /// The identity belonged to the user before. Nothing was changed.
    LinkedBefore,
    /// The identity belongs to another user. Nothing was changed.
    Taken,
    /// The user has too many identities.
    TooMany,
    /// The session has ended, or is not one of a user. Nothing was changed.
    SessionEnded,
}

/// An identity in the list of a user.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkedIdentity {
    /// The identity, without an address.
    pub identity: Identity,
    /// The time at which it was linked.
    pub linked_at: Timestamp,
}

/// The identities of users at identity providers: [`AuthServer::identities`](crate::AuthServer::identities).
///
/// # Linking
///
/// An identity belongs to one user. It is linked in these cases:
///
/// - by [`sign_in`](Self::sign_in), if the provider has verified the address, the user has verified the same
///   address, and has no other identity of this provider;
/// - by [`link`](Self::link), which your code calls for a signed-in user;
/// - by [`sign_up`](Self::sign_up), which creates the account.
///
/// An account whose address was never verified may have been registered by another person. It is
/// therefore never linked by the address alone. [`sign_up`](Self::sign_up) removes everything of the other
/// person first.
#[derive(Clone)]
pub struct Identities {
    pub(crate) login: Login,
    pub(crate) sessions: Sessions,
}

impl Identities {
    /// Returns the sign-in of the user to whom the identity belongs. Links it first if the rules above
    /// allow that.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a store failed, or the identity is not valid.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the identity may be linked.
    pub async fn sign_in(&self, identity: &Identity) -> Result<IdentityOutcome, StoreError> {
        let id = identity.id()?;
        if let Some(outcome) = self.known(&id, identity).await? {
            return Ok(outcome);
        }
        let Some(address) = &identity.email else {
            return Ok(IdentityOutcome::Unknown);
        };
        let Some(user) = self.login.users().find_by_email(address).await? else {
            return Ok(IdentityOutcome::Unknown);
        };
        if !self.may_link(&user, identity, &id).await? {
            return Ok(IdentityOutcome::LinkFirst);
        }
        // Read before the link: all sessions of the user may end in the meantime.
        let epoch = self.epoch(&user.subject, user.epoch).await?;
        match self.link_row(&id, &user.subject).await? {
            true => Ok(signed_in(&user.subject, epoch, identity)),
            // Another request linked it first.
            false => {
                let known = self.known(&id, identity).await?;
                Ok(known.unwrap_or(IdentityOutcome::Unknown))
            }
        }
    }

    /// Links an identity to the user of this session.
    ///
    /// A link whose session ends before it is complete has no effect, even if the process ends in between.
    /// A [take-over](crate::server::login::TakeOverHook) of the account therefore leaves no identity of another
    /// person.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: a store failed, or the identity is not valid.
    ///
    /// # Security
    ///
    /// The identity signs in as this user from now on. The flow must begin with a request of the user's
    /// session that another site cannot cause, such as a `POST` behind the
    /// [layer](crate::AuthServer::layer), and end in the same browser with the same user.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the identity may be linked.
    pub async fn link(
        &self,
        session: SessionId,
        identity: &Identity,
    ) -> Result<LinkIdentityOutcome, StoreError> {
        let id = identity.id()?;
        let found = self.sessions.find(session).await;
        let found = found.map_err(StoreError::unavailable)?;
        let Some(user) = found.filter(|session| session.kind() == PrincipalKind::User) else {
            return Ok(LinkIdentityOutcome::SessionEnded);
        };
        let new = NewCredential::new(OIDC, id, user.subject());
        let linking = self.login.link_in((&self.sessions, session), new, MOST);
        Ok(match linking.await? {
            Linking::Linked => {
                self.login.emit_linked(user.subject());
                LinkIdentityOutcome::Linked
            }
            Linking::LinkedBefore => LinkIdentityOutcome::LinkedBefore,
            Linking::Taken => LinkIdentityOutcome::Taken,
            Linking::TooMany => LinkIdentityOutcome::TooMany,
            Linking::Ended => LinkIdentityOutcome::SessionEnded,
        })
    }

    /// Returns the identities of a user, the oldest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the store failed.
    ///
    /// # Cancel safety
    ///
    /// Nothing is written.
    pub async fn list(&self, subject: &str) -> Result<Vec<LinkedIdentity>, StoreError> {
        let rows = self.rows()?.credentials(OIDC, subject).await?;
        let complete = rows.iter().filter(|row| row.is_linked());
        let linked = complete.filter_map(|row| {
            Some(LinkedIdentity {
                identity: Identity::of(row)?,
                linked_at: row.created_at,
            })
        });
        Ok(linked.collect())
    }

    /// Unlinks an identity of a user. Returns `false` if it is not one of the user. Sessions stay.
    ///
    /// Keep users from unlinking their only way to sign in: your code knows the others.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the store failed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the identity may be unlinked.
    pub async fn unlink(&self, subject: &str, identity: &Identity) -> Result<bool, StoreError> {
        let id = identity.id()?;
        let unlinked = self.rows()?.unlink_credential(OIDC, &id, subject).await?;
        if unlinked {
            self.login.emit_unlinked(subject);
        }
        Ok(unlinked)
    }

    /// Unlinks an identity of a user, unless it is the last credential that opens the account.
    pub(crate) async fn unlink_beside(
        &self,
        subject: &str,
        identity: &Identity,
        opens: impl Fn(&CredentialRecord) -> bool,
    ) -> Result<Unlinking, StoreError> {
        let id = identity.id()?;
        let unlinking = self
            .login
            .unlink_beside((OIDC, &id), subject, opens)
            .await?;
        if unlinking == Unlinking::Unlinked {
            self.login.emit_unlinked(subject);
        }
        Ok(unlinking)
    }

    /// Returns the sign-in with an identity that is linked.
    async fn known(
        &self,
        id: &str,
        identity: &Identity,
    ) -> Result<Option<IdentityOutcome>, StoreError> {
        let row = self.rows()?.find_credential(OIDC, id).await?;
        let Some(row) = row.filter(CredentialRecord::is_linked) else {
            return Ok(None);
        };
        let epoch = self.epoch(&row.subject, None).await?;
        // Read again after the epoch: an identity that was unlinked before all sessions ended starts no
        // session after it.
        let again = self.rows()?.find_credential(OIDC, id).await?;
        let same = again.is_some_and(|again| again.is_linked() && again.subject == row.subject);
        Ok(same.then(|| signed_in(&row.subject, epoch, identity)))
    }

    async fn may_link(
        &self,
        user: &UserRecord,
        identity: &Identity,
        id: &str,
    ) -> Result<bool, StoreError> {
        if user.disabled || !user.email_verified {
            return Ok(false);
        }
        // The provider has given the address to another person.
        let held = self.rows()?.credentials(OIDC, &user.subject).await?;
        let is_another = |row: &&CredentialRecord| {
            // A concurrent sign-in may have linked this identity.
            row.is_linked() && row.id != id
        };
        let of_issuer = |row: &CredentialRecord| {
            Identity::of(row).is_none_or(|other| other.issuer == identity.issuer)
        };
        Ok(held.len() < MOST && !held.iter().filter(is_another).any(of_issuer))
    }

    async fn link_row(&self, id: &str, subject: &str) -> Result<bool, StoreError> {
        let new = NewCredential::new(OIDC, id, subject);
        let linked = self.login.link_free(&new).await?;
        if linked {
            self.login.emit_linked(subject);
        }
        Ok(linked)
    }

    async fn epoch(&self, subject: &str, read: Option<u32>) -> Result<u32, StoreError> {
        match read {
            Some(epoch) => Ok(epoch),
            None => {
                let epoch = self.sessions.epoch(subject).await;
                epoch.map_err(StoreError::unavailable)
            }
        }
    }

    fn rows(&self) -> Result<&Arc<dyn ErasedCredentialStore>, StoreError> {
        self.login.credentials()
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

impl Login {
    /// Returns the identities of the users at identity providers. It needs a
    /// [store of credentials](super::LoginBuilder::credentials). The sessions are those that a sign-in
    /// starts.
    #[must_use]
    pub fn identities(&self, sessions: &Sessions) -> Identities {
        Identities {
            login: self.clone(),
            sessions: sessions.clone(),
        }
    }

    /// Returns `true` if the login has a store of credentials.
    pub(crate) fn has_credentials(&self) -> bool {
        self.inner.credentials.is_some()
    }

    pub(super) fn credentials(&self) -> Result<&Arc<dyn ErasedCredentialStore>, StoreError> {
        let rows = self.inner.credentials.as_ref();
        rows.ok_or_else(|| StoreError::invalid("the login has no store of credentials"))
    }

    fn emit_linked(&self, subject: &str) {
        self.inner.events.login(|| LoginEvent::IdentityLinked {
            subject: subject.to_owned(),
        });
    }

    fn emit_unlinked(&self, subject: &str) {
        self.inner.events.login(|| LoginEvent::IdentityUnlinked {
            subject: subject.to_owned(),
        });
    }
}

/// Returns `true` for the letters of another width, which are mapped to usual ones (RFC 8265 §3.3).
fn is_of_another_width(letter: char) -> bool {
    matches!(letter, '\u{3000}' | '\u{FF00}'..='\u{FFEF}')
}

fn signed_in(subject: &str, epoch: u32, identity: &Identity) -> IdentityOutcome {
    let who = SignIn::new(subject).epoch(epoch).amr(&identity.amr);
    IdentityOutcome::SignIn(Box::new(who))
}

/// The kind of the credentials.
pub(super) const OIDC: &str = "oidc";
/// The maximum number of identities of a user.
const MOST: usize = 20;
