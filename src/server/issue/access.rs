//! The contents of an access token.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{IssueError, builder::is_allowed};
use crate::principal::{Scope, SessionId};
use crate::time::Timestamp;

/// The contents of an access token, which [`TokenIssuer::issue_access_token`](super::TokenIssuer::issue_access_token)
/// signs.
///
/// Invalid contents are reported by that method, and no token is issued.
#[derive(Clone, Serialize)]
#[must_use = "nothing is minted before it is given to an issuer"]
pub struct AccessTokenClaims {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    /// Names of these claims differ from the fields above and from those of [`Payload`].
    #[serde(flatten)]
    others: Map<String, Value>,
    #[serde(skip)]
    pub(super) client_id: Option<String>,
    #[serde(skip)]
    pub(super) lifetime: Option<Duration>,
    #[serde(skip)]
    pub(super) not_after: Option<Timestamp>,
    #[serde(skip)]
    mistake: Option<Mistake>,
}

/// The key to which a token is bound (RFC 7800 §3.1, RFC 9449 §6.1).
#[derive(Clone, Serialize)]
struct Confirmation {
    jkt: String,
}

/// The first error in the contents.
#[derive(Clone)]
enum Mistake {
    Reserved(String),
    Invalid(String, &'static str),
}

impl AccessTokenClaims {
    /// Creates the contents of a token for a user or a service. Sets the claim `sub`.
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
            cnf: None,
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

    /// Creates the contents of a token for a guest, who has not signed in. Sets the claims `sub`
    /// and `guest`.
    pub fn for_guest(subject: impl Into<String>) -> Self {
        Self {
            guest: true,
            ..Self::for_subject(subject)
        }
    }

    /// Sets the session of the token: the claim `sid`.
    pub fn session(mut self, session: SessionId) -> Self {
        self.sid = Some(session.to_string());
        self
    }

    /// Sets the client of the token, instead of the issuer's default: the claim `client_id`.
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

    /// Sets the scope, separated by spaces (RFC 6749 §3.3): the claim `scope`.
    pub fn scope(mut self, scope: &str) -> Self {
        match scope.parse() {
            Ok(scope) => {
                self.scope = scope;
                self
            }
            Err(_) => self.or_mistake(
                "scope",
                "contains a character that RFC 6749 §3.3 does not allow",
            ),
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

    /// Sets the subject's epoch, which is incremented to revoke all its tokens: the claim `ep`.
    pub fn epoch(mut self, epoch: u32) -> Self {
        self.ep = Some(epoch);
        self
    }

    /// Sets the generation of the refresh token that is issued with this token: the claim `rtg`.
    pub fn refresh_generation(mut self, generation: u64) -> Self {
        self.rtg = Some(generation);
        self
    }

    /// Limits the token to a single conversation, of 1 to 255 bytes: the claim `conv`.
    ///
    /// Such a token has the type (`typ`) `conv+jwt`. Verifiers refuse it unless they [accept
    /// conversation tokens](crate::verify::VerifierBuilder::allow_conversation_tokens).
    pub fn conversation(mut self, conversation: impl Into<String>) -> Self {
        let conversation = conversation.into();
        if !(1..=MAX_CONVERSATION).contains(&conversation.len()) {
            return self.or_mistake("conv", "not of 1 to 255 bytes");
        }
        self.conv = Some(conversation);
        self
    }

    /// Binds the token to a key of the client (RFC 9449 §6.1): the claim `cnf.jkt`. `thumbprint` is the
    /// SHA-256 thumbprint of the public key (RFC 7638), in base64url.
    ///
    /// Verifiers accept the token only with a proof by the key: [`dpop`](crate::layer::dpop).
    pub fn bound_to(mut self, thumbprint: impl Into<String>) -> Self {
        let thumbprint = thumbprint.into();
        let bytes = URL_SAFE_NO_PAD.decode(&thumbprint);
        if bytes.is_ok_and(|bytes| bytes.len() == 32) {
            self.cnf = Some(Confirmation { jkt: thumbprint });
            return self;
        }
        self.or_mistake("cnf", "not a SHA-256 thumbprint in base64url")
    }

    /// Sets the time at which the user signed in (OpenID Connect Core §2): the claim `auth_time`.
    pub fn auth_time(mut self, time: impl Into<Timestamp>) -> Self {
        self.auth_time = Some(super::seconds(time.into()));
        self
    }

    /// Sets the methods by which the user signed in, with the names of RFC 8176 §2: the claim
    /// `amr`.
    pub fn amr<I>(mut self, methods: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.amr.extend(methods.into_iter().map(Into::into));
        self
    }

    /// Sets the authentication context class (OpenID Connect Core §2): the claim `acr`.
    pub fn acr(mut self, class: impl Into<String>) -> Self {
        self.acr = Some(class.into());
        self
    }

    /// Sets the end of the session. The token expires at that time at the latest.
    pub fn not_after(mut self, end: impl Into<Timestamp>) -> Self {
        self.not_after = Some(end.into());
        self
    }

    /// Sets the lifetime in whole seconds, instead of the issuer's. The maximum is 30 minutes.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        if !is_allowed(lifetime) {
            return self.or_mistake("exp", "a lifetime not between 1 second and 30 minutes");
        }
        self.lifetime = Some(lifetime);
        self
    }

    /// Adds a custom claim.
    ///
    /// Each claim can be set once. Names with a meaning in this crate or in a standard that it
    /// follows are reserved: `iss`, `exp`, `roles`, `scope`, `sid`, `cnf`, …. They are reserved in
    /// any case, because some readers ignore case.
    pub fn claim(self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_value(value) {
            Ok(value) => self.insert(name, value),
            Err(_) => self.or_mistake(&name, "cannot be written as JSON"),
        }
    }

    /// Adds custom claims: a map, or a struct whose fields are claims.
    ///
    /// The rules of [`claim`](Self::claim) apply.
    pub fn claims(self, claims: impl Serialize) -> Self {
        match serde_json::to_value(claims) {
            Ok(Value::Object(claims)) => claims
                .into_iter()
                .fold(self, |token, (name, value)| token.insert(name, value)),
            _ => self.or_mistake("claims", "not a JSON object"),
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

impl std::fmt::Debug for AccessTokenClaims {
    // Claims are personal data: their values are not printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessTokenClaims")
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
    pub(super) contents: &'a AccessTokenClaims,
}

fn spaced<S: Serializer>(scope: &Scope, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(scope)
}

// RFC 7519 §4.1.3: a single audience may be a string, which more readers support.
fn one_or_many<S: Serializer>(names: &&[String], serializer: S) -> Result<S::Ok, S::Error> {
    match names {
        [one] => serializer.serialize_str(one),
        many => serializer.collect_seq(*many),
    }
}

/// Go's `encoding/json` matches names by Unicode case folding (`ſ` is `s`, `K` is `k`), so a claim
/// `ROLES` would replace `roles` there.
fn is_reserved(name: &str) -> bool {
    let folded = name.to_uppercase().to_lowercase();
    RESERVED.contains(&folded.as_str())
}

const MAX_CONVERSATION: usize = 255;

/// Reserved names of claims, in lower case.
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
    // OpenID Connect Core §2, Back-Channel Logout §2.4: claims that mark other kinds of tokens.
    "azp",
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    "sid",
    "events",
    // Claims that this crate writes.
    "roles",
    "permissions",
    "ep",
    "rtg",
    "guest",
    "conv",
    // Claims that verifiers read, including this crate's.
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
