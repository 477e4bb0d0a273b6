//! One pass over the claims: it builds the application's type and takes note of what the rules
//! need on the way. Two passes would cost three quarters more.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use smallvec::SmallVec;

use super::{
    capture::{Anything, Captured, Item, Number},
    roles::RolePath,
};
use crate::{
    error::AuthErrorKind,
    principal::{Facts, Field, List},
    token::{date::Date, header::Text},
};

/// What the rules need to know of the claims.
pub(crate) struct Noted<'r> {
    pub(crate) facts: Facts,
    pub(crate) expires: Option<Date>,
    pub(crate) not_before: Option<Date>,
    pub(crate) issued: Option<Date>,
    pub(crate) audience: Audience,
    /// The token says that it is a refresh, ID or logout token.
    pub(crate) other_use: bool,
    /// The token is bound to a key (`cnf`, RFC 7800 §3).
    pub(crate) bound: bool,
    /// The token says that a client acts for itself.
    pub(crate) service: bool,
    /// There is a claim `scp`.
    pub(crate) scp: bool,
    /// There is a claim `clientHost`.
    pub(crate) client_host: bool,
    audiences: &'r [String],
    roles: &'r [RolePath],
    /// A bit for each claim that occurred.
    seen: u32,
    role_claims: SmallVec<[&'r str; 4]>,
    objects: u32,
    fault: Option<AuthErrorKind>,
}

/// What was found in `aud`, compared with what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Missing,
    Other,
    Expected,
}

/// Parses the claims into `C`.
///
/// Refused is whatever is not exactly one JSON object, a registered claim that occurs twice or
/// has the wrong type, and what does not fit `C`.
pub(crate) fn parse<'r, C>(
    json: &[u8],
    audiences: &'r [String],
    roles: &'r [RolePath],
) -> Result<(C, Noted<'r>), AuthErrorKind>
where
    C: serde::de::DeserializeOwned,
{
    // RFC 8725 §3.7: UTF-8 and nothing else.
    let text = std::str::from_utf8(json).map_err(|_| AuthErrorKind::MalformedClaims)?;
    let mut noted = Noted::new(text.len(), audiences, roles);
    let mut json = serde_json::Deserializer::from_str(text);
    let claims = C::deserialize(Top {
        json: &mut json,
        noted: &mut noted,
    })
    .and_then(|claims| json.end().map(|()| claims));
    match claims {
        // A type that never looks at the claims, or that looks twice, proves nothing.
        Ok(claims) if noted.objects == 1 => Ok((claims, noted)),
        _ => Err(noted.fault.unwrap_or(AuthErrorKind::MalformedClaims)),
    }
}

impl<'r> Noted<'r> {
    fn new(size: usize, audiences: &'r [String], roles: &'r [RolePath]) -> Self {
        Self {
            facts: Facts::with_capacity(size.min(MAX_PACKED)),
            expires: None,
            not_before: None,
            issued: None,
            audience: Audience::Missing,
            other_use: false,
            bound: false,
            service: false,
            scp: false,
            client_host: false,
            audiences,
            roles,
            seen: 0,
            role_claims: SmallVec::new(),
            objects: 0,
            fault: None,
        }
    }

    /// `azp`, which names the client where `client_id` is missing (OpenID Connect Core §2).
    pub(crate) fn adopt_authorized_party(&mut self) {
        if self.facts.text(Field::ClientId).is_none() {
            self.facts.copy(Field::AuthorizedParty, Field::ClientId);
        }
    }

    /// `cid`, as Okta calls the client.
    pub(crate) fn adopt_cid(&mut self) {
        if self.facts.text(Field::ClientId).is_none() {
            self.facts.copy(Field::Cid, Field::ClientId);
        }
    }

    fn is_role_claim(&self, name: &str) -> bool {
        self.roles.iter().any(|path| path.head == name)
    }

    fn note_roles(&mut self, name: &str, value: &Captured<'_>) -> Result<(), AuthErrorKind> {
        if self.role_claims.iter().any(|seen| **seen == *name) {
            return Err(AuthErrorKind::MalformedClaims);
        }
        for path in self.roles.iter().filter(|path| path.head == name) {
            self.role_claims.push(&path.head);
            path.collect(value, &mut self.facts);
        }
        Ok(())
    }

    fn note(&mut self, claim: Claim, value: &Captured<'_>) -> Result<(), AuthErrorKind> {
        let malformed = AuthErrorKind::MalformedClaims;
        // RFC 7519 §4: names must be unique.
        let bit = 1 << claim as u32;
        if self.seen & bit != 0 {
            return Err(malformed);
        }
        self.seen |= bit;
        self.scp |= claim == Claim::Scp;
        match claim {
            Claim::Exp => self.expires = Some(date(value)?),
            Claim::Nbf => self.not_before = Some(date(value)?),
            Claim::Iat => self.issued = Some(date(value)?),
            Claim::Iss => self.field(Field::Issuer, value)?,
            Claim::Sub => self.field(Field::Subject, value)?,
            Claim::Jti => self.field(Field::TokenId, value)?,
            Claim::ClientId => self.field(Field::ClientId, value)?,
            Claim::Sid => self.field(Field::SessionId, value)?,
            Claim::Azp => self.field(Field::AuthorizedParty, value)?,
            Claim::Aud => self.audience = self.compare_audience(value)?,
            Claim::Cnf => self.bound = true,
            // A provider's own claim: anything else than a string is another provider's.
            Claim::Cid => {
                if let Some(client) = value.as_text() {
                    self.facts.set(Field::Cid, client);
                }
            }
            Claim::ClientHost => self.client_host = true,
            Claim::Typ | Claim::Type | Claim::TokenUse => {
                self.other_use |= value.as_text().is_some_and(names_other_use);
            }
            Claim::Idtyp | Claim::Gty => {
                self.service |= value.as_text().is_some_and(names_service);
            }
            Claim::Scope | Claim::Scp => match value {
                Captured::Text(scope) => {
                    for token in scope.split(' ').filter(|token| !token.is_empty()) {
                        self.facts.push(List::Scope, token);
                    }
                }
                Captured::List(tokens) => {
                    for token in tokens.iter().filter_map(Item::as_text) {
                        self.facts.push(List::Scope, token);
                    }
                }
                Captured::Other(_) => {}
            },
        }
        Ok(())
    }

    fn field(&mut self, field: Field, value: &Captured<'_>) -> Result<(), AuthErrorKind> {
        let text = value.as_text().ok_or(AuthErrorKind::MalformedClaims)?;
        self.facts.set(field, text);
        Ok(())
    }

    // RFC 7519 §4.1.3: a string, or an array of strings.
    fn compare_audience(&self, value: &Captured<'_>) -> Result<Audience, AuthErrorKind> {
        let expected = |name: &str| self.audiences.iter().any(|ours| ours == name);
        let mut found = Audience::Other;
        match value {
            Captured::Text(name) if expected(name) => found = Audience::Expected,
            Captured::Text(_) => {}
            Captured::List(names) => {
                for name in names {
                    let name = name.as_text().ok_or(AuthErrorKind::MalformedClaims)?;
                    if expected(name) {
                        found = Audience::Expected;
                    }
                }
            }
            Captured::Other(_) => return Err(AuthErrorKind::MalformedClaims),
        }
        Ok(found)
    }
}

/// The claims that a rule reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Exp,
    Nbf,
    Iat,
    Iss,
    Aud,
    Sub,
    Jti,
    ClientId,
    Azp,
    Sid,
    Scope,
    /// Entra's and Okta's name for the scope.
    Scp,
    Cnf,
    // What the token says of its own use.
    Typ,
    Type,
    TokenUse,
    /// Entra: `app` where a client acts for itself.
    Idtyp,
    /// Auth0: the grant type.
    Gty,
    /// Okta: the client.
    Cid,
    /// Keycloak: where the client called from, written for service accounts alone.
    ClientHost,
}

impl Claim {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "exp" => Self::Exp,
            "nbf" => Self::Nbf,
            "iat" => Self::Iat,
            "iss" => Self::Iss,
            "aud" => Self::Aud,
            "sub" => Self::Sub,
            "jti" => Self::Jti,
            "client_id" => Self::ClientId,
            "azp" => Self::Azp,
            "sid" => Self::Sid,
            "scope" => Self::Scope,
            "scp" => Self::Scp,
            "cnf" => Self::Cnf,
            "typ" => Self::Typ,
            "type" => Self::Type,
            "token_use" => Self::TokenUse,
            "idtyp" => Self::Idtyp,
            "gty" => Self::Gty,
            "cid" => Self::Cid,
            "clientHost" => Self::ClientHost,
            _ => return None,
        })
    }

    fn is_date(self) -> bool {
        matches!(self, Self::Exp | Self::Nbf | Self::Iat)
    }
}

// RFC 7519 §2: a number of seconds, a fraction allowed.
fn date(value: &Captured<'_>) -> Result<Date, AuthErrorKind> {
    let Captured::Other(Value::Number(number)) = value else {
        return Err(AuthErrorKind::MalformedClaims);
    };
    number
        .as_u64()
        .map(Date::from_u64)
        .or_else(|| number.as_i64().map(Date::from_i64))
        .or_else(|| number.as_f64().map(Date::from_f64))
        .ok_or(AuthErrorKind::MalformedClaims)
}

/// RFC 8725 §3.12: a token made for one use must not serve another. Keycloak writes `typ`,
/// Cognito `token_use`, many home-grown issuers `type`.
fn names_other_use(value: &str) -> bool {
    const OTHERS: [&str; 8] = [
        "refresh",
        "refresh_token",
        "refresh+jwt",
        "offline",
        "id",
        "id_token",
        "logout",
        "logout_token",
    ];
    OTHERS.iter().any(|other| other.eq_ignore_ascii_case(value))
}

fn names_service(value: &str) -> bool {
    matches!(value, "app" | "client-credentials" | "client_credentials")
}

/// Text of a token's facts that is reserved at once; most tokens need less.
const MAX_PACKED: usize = 384;

/// The claims as a whole.
struct Top<'n, 'r, D> {
    json: D,
    noted: &'n mut Noted<'r>,
}

macro_rules! as_object {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.json.$method($($argument,)* TopVisitor { visitor, noted: self.noted })
        }
    )*};
}

/// Kinds of a value that claims never are: serde_json refuses them, and where it does not,
/// nothing was noted and the token is refused.
macro_rules! as_it_is {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.json.$method($($argument,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Top<'_, '_, D> {
    type Error = D::Error;

    as_object! {
        deserialize_any();
        deserialize_map();
        deserialize_option();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_newtype_struct(name: &'static str);
    }

    /// A type that wants no claims still has them checked.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_any(visitor)
    }

    as_it_is! {
        deserialize_bool(); deserialize_char(); deserialize_str(); deserialize_string();
        deserialize_i8(); deserialize_i16(); deserialize_i32(); deserialize_i64(); deserialize_i128();
        deserialize_u8(); deserialize_u16(); deserialize_u32(); deserialize_u64(); deserialize_u128();
        deserialize_f32(); deserialize_f64(); deserialize_bytes(); deserialize_byte_buf();
        deserialize_unit(); deserialize_unit_struct(name: &'static str); deserialize_seq();
        deserialize_tuple(len: usize); deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_identifier();
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }
}

struct TopVisitor<'n, 'r, V> {
    visitor: V,
    noted: &'n mut Noted<'r>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for TopVisitor<'_, '_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.noted.objects += 1;
        self.visitor.visit_map(Members {
            map,
            noted: self.noted,
            claim: None,
            role: None,
        })
    }

    // `Option<C>` and newtypes around the claims hand the deserializer on: it must stay wrapped.
    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Top {
            json,
            noted: self.noted,
        })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, json: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Top {
            json,
            noted: self.noted,
        })
    }
}

/// The members of the claims, one by one.
struct Members<'n, 'r, 'de, A> {
    map: A,
    noted: &'n mut Noted<'r>,
    /// The claim whose value comes next, where a rule reads it.
    claim: Option<Claim>,
    /// Its name, where roles are read from it.
    role: Option<Cow<'de, str>>,
}

impl<'de, A: MapAccess<'de>> Members<'_, '_, 'de, A> {
    fn capture(&mut self) -> Result<Captured<'de>, A::Error> {
        let is_date = self.claim.is_some_and(Claim::is_date);
        let value = if is_date {
            let number = self.map.next_value_seed(Number)?;
            Captured::Other(Value::Number(number))
        } else {
            self.map.next_value_seed(Anything)?
        };
        let mut noted = self
            .claim
            .map_or(Ok(()), |claim| self.noted.note(claim, &value));
        if let Some(name) = &self.role {
            noted = noted.and_then(|()| self.noted.note_roles(name, &value));
        }
        noted.map_err(|fault| {
            self.noted.fault = Some(fault);
            A::Error::custom("refused")
        })?;
        Ok(value)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, '_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let Some(name) = self.map.next_key_seed(Text)? else {
            return Ok(None);
        };
        self.claim = Claim::of(&name);
        self.role = self.noted.is_role_claim(&name).then(|| name.clone());
        let key = seed.deserialize(Captured::Text(name));
        key.map(Some).map_err(A::Error::custom)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        if self.claim.is_none() && self.role.is_none() {
            return self.map.next_value_seed(seed);
        }
        let value = self.capture()?;
        seed.deserialize(value).map_err(A::Error::custom)
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}
