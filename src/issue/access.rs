//! What an access token shall say.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{IssueError, builder::is_allowed};
use crate::token::{Scope, SessionId};

/// What an access token shall say; [`TokenIssuer::access`](super::TokenIssuer::access) mints it.
///
/// A mistake in what is given here is reported there, and nothing is minted.
#[derive(Clone, Serialize)]
#[must_use = "nothing is minted before it is given to an issuer"]
pub struct AccessToken {
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[serde(skip_serializing_if = "Scope::is_empty", serialize_with = "spaced")]
    scope: Scope,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ep: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtg: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    amr: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    guest: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    conv: Option<String>,
    /// None of these has a name that stands above or in [`Payload`].
    #[serde(flatten)]
    others: Map<String, Value>,
    #[serde(skip)]
    pub(super) client_id: Option<String>,
    #[serde(skip)]
    pub(super) lifetime: Option<Duration>,
    #[serde(skip)]
    pub(super) not_after: Option<SystemTime>,
    #[serde(skip)]
    mistake: Option<Mistake>,
}

/// The first mistake.
#[derive(Clone)]
enum Mistake {
    Reserved(String),
    Invalid(String, &'static str),
}

impl AccessToken {
    /// A token for a user or a service: the claim `sub`.
    pub fn for_subject(subject: impl Into<String>) -> Self {
        let token = Self {
            sub: subject.into(),
            sid: None,
            roles: Vec::new(),
            scope: Scope::default(),
            permissions: Vec::new(),
            ep: None,
            rtg: None,
            auth_time: None,
            amr: Vec::new(),
            acr: None,
            guest: false,
            conv: None,
            others: Map::new(),
            client_id: None,
            lifetime: None,
            not_after: None,
            mistake: None,
        };
        match token.sub.is_empty() {
            true => token.or_mistake("sub", "an empty string"),
            false => token,
        }
    }

    /// A token for a guest, who never signed in: the claims `sub` and `guest`.
    pub fn for_guest(subject: impl Into<String>) -> Self {
        Self {
            guest: true,
            ..Self::for_subject(subject)
        }
    }

    /// The session that the token belongs to: the claim `sid`.
    pub fn session(mut self, session: SessionId) -> Self {
        self.sid = Some(session.to_string());
        self
    }

    /// The client that the token is issued to, instead of the issuer's: the claim `client_id`.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        let client_id = client_id.into();
        if client_id.is_empty() {
            return self.or_mistake("client_id", "an empty string");
        }
        self.client_id = Some(client_id);
        self
    }

    /// Adds roles: the claim `roles`.
    pub fn roles<I>(mut self, roles: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.roles.extend(roles.into_iter().map(Into::into));
        self
    }

    /// The scope, space separated (RFC 6749 §3.3): the claim `scope`.
    pub fn scope(mut self, scope: &str) -> Self {
        match scope.parse() {
            Ok(scope) => {
                self.scope = scope;
                self
            }
            Err(_) => self.or_mistake("scope", "a character outside RFC 6749 §3.3"),
        }
    }

    /// Adds permissions: the claim `permissions`.
    pub fn permissions<I>(mut self, permissions: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let permissions = permissions.into_iter().map(Into::into);
        self.permissions.extend(permissions);
        self
    }

    /// The subject's epoch, which rises when all its tokens are revoked: the claim `ep`.
    pub fn epoch(mut self, epoch: u32) -> Self {
        self.ep = Some(epoch);
        self
    }

    /// The generation of the refresh token that came with this one: the claim `rtg`.
    pub fn refresh_generation(mut self, generation: u64) -> Self {
        self.rtg = Some(generation);
        self
    }

    /// The one conversation that the token is for: the claim `conv`. 1 to 255 bytes.
    ///
    /// Such a token is of another type (`typ`), `conv+jwt`, so that it is no access token to anybody
    /// but [who asks for it](crate::verify::VerifierBuilder::conversation_tokens).
    pub fn conversation(mut self, conversation: impl Into<String>) -> Self {
        let conversation = conversation.into();
        if !(1..=MAX_CONVERSATION).contains(&conversation.len()) {
            return self.or_mistake("conv", "not of 1 to 255 bytes");
        }
        self.conv = Some(conversation);
        self
    }

    /// When the user signed in (OpenID Connect Core §2): the claim `auth_time`.
    pub fn auth_time(mut self, time: SystemTime) -> Self {
        self.auth_time = Some(super::seconds(time));
        self
    }

    /// How the user signed in, by the names of RFC 8176 §2: the claim `amr`.
    pub fn amr<I>(mut self, methods: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.amr.extend(methods.into_iter().map(Into::into));
        self
    }

    /// How sure that is (OpenID Connect Core §2): the claim `acr`.
    pub fn acr(mut self, class: impl Into<String>) -> Self {
        self.acr = Some(class.into());
        self
    }

    /// The end of the session, which the token never outlives.
    pub fn not_after(mut self, end: SystemTime) -> Self {
        self.not_after = Some(end);
        self
    }

    /// Another lifetime than the issuer's, in whole seconds; at most 30 minutes.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        if !is_allowed(lifetime) {
            return self.or_mistake("exp", "a lifetime not between 1 second and 30 minutes");
        }
        self.lifetime = Some(lifetime);
        self
    }

    /// A claim of the application's own.
    ///
    /// No claim can be set twice, and none that has a meaning to this crate or to a standard that
    /// it follows: `iss`, `exp`, `roles`, `scope`, `sid`, `cnf`, … in whatever case, because there
    /// are readers that ignore it.
    pub fn claim(self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_value(value) {
            Ok(value) => self.insert(name, value),
            Err(_) => self.or_mistake(&name, "no JSON value"),
        }
    }

    /// Claims of the application's own: a map, or a struct whose fields are claims.
    ///
    /// The rules are those of [`claim`](Self::claim).
    pub fn claims(self, claims: impl Serialize) -> Self {
        match serde_json::to_value(claims) {
            Ok(Value::Object(claims)) => claims
                .into_iter()
                .fold(self, |token, (name, value)| token.insert(name, value)),
            _ => self.or_mistake("claims", "no JSON object"),
        }
    }

    fn insert(mut self, name: String, value: Value) -> Self {
        if is_reserved(&name) {
            self.mistake.get_or_insert(Mistake::Reserved(name));
            return self;
        }
        if self.others.contains_key(&name) {
            return self.or_mistake(&name, "set twice");
        }
        self.others.insert(name, value);
        self
    }

    fn or_mistake(mut self, name: &str, problem: &'static str) -> Self {
        self.mistake
            .get_or_insert_with(|| Mistake::Invalid(name.to_owned(), problem));
        self
    }

    pub(super) fn is_for_conversation(&self) -> bool {
        self.conv.is_some()
    }

    pub(super) fn checked(mut self) -> Result<Self, IssueError> {
        match self.mistake.take() {
            None => Ok(self),
            Some(Mistake::Reserved(name)) => Err(IssueError::ReservedClaim(name)),
            Some(Mistake::Invalid(name, problem)) => Err(IssueError::invalid(name, problem)),
        }
    }
}

impl std::fmt::Debug for AccessToken {
    // Claims are personal data: their values are not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessToken")
            .field("guest", &self.guest)
            .field("others", &self.others.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The claims of a token (RFC 9068 §2.2).
#[derive(Serialize)]
pub(super) struct Payload<'a> {
    pub(super) iss: &'a str,
    #[serde(serialize_with = "one_or_many")]
    pub(super) aud: &'a [String],
    pub(super) exp: u64,
    pub(super) iat: u64,
    pub(super) jti: &'a str,
    pub(super) client_id: &'a str,
    #[serde(flatten)]
    pub(super) asked: &'a AccessToken,
}

fn spaced<S: Serializer>(scope: &Scope, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(scope)
}

// RFC 7519 §4.1.3: one audience may be a string, which more readers understand.
fn one_or_many<S: Serializer>(names: &&[String], serializer: S) -> Result<S::Ok, S::Error> {
    match names {
        [one] => serializer.serialize_str(one),
        many => serializer.collect_seq(*many),
    }
}

/// Go's `encoding/json` matches names without case, by Unicode's folding (`ſ` is `s`, `K` is `k`);
/// so a claim `ROLES` would replace `roles` there.
fn is_reserved(name: &str) -> bool {
    let folded = name.to_uppercase().to_lowercase();
    RESERVED.contains(&folded.as_str())
}

const MAX_CONVERSATION: usize = 255;

/// Claims that have a meaning, in lower case.
const RESERVED: &[&str] = &[
    // RFC 7519 §4.1
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    // RFC 9068 §2.2, RFC 8693 §4, RFC 7800 §3.1
    "client_id",
    "scope",
    "auth_time",
    "acr",
    "amr",
    "act",
    "may_act",
    "cnf",
    // OpenID Connect Core §2, Back-Channel Logout §2.4: what other kinds of tokens are known by.
    "azp",
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    "sid",
    "events",
    // What this crate writes.
    "roles",
    "permissions",
    "ep",
    "rtg",
    "guest",
    "conv",
    // What verifiers read, this crate's among them.
    "role",
    "scp",
    "cid",
    "clienthost",
    "typ",
    "type",
    "token_use",
    "token_type",
    "tokentype",
    "use",
    "idtyp",
    "gty",
];
