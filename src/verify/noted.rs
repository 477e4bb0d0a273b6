//! What the rules take note of while the claims are read.

use serde_json::Value;
use smallvec::SmallVec;

use super::{
    place::{ClaimMap, Found, Holds, Place},
    token_use::{Mark, OtherUse},
    witness::{Item, Number, Seen},
};
use crate::{
    error::AuthErrorKind,
    principal::{Facts, Field, List},
    token::date::Date,
};

/// What the rules need to know of the claims.
pub(crate) struct Noted<'r> {
    pub(crate) facts: Facts,
    pub(crate) expires: Option<Date>,
    pub(crate) not_before: Option<Date>,
    pub(crate) issued: Option<Date>,
    pub(crate) audience: Audience,
    /// The token is a security event token (RFC 8417 §2.2).
    pub(super) event: Option<Mark>,
    /// The token carries a hash that only ID tokens have (OpenID Connect Core §3.3.2.11).
    pub(super) id_hash: Option<Mark>,
    /// The token states that it is an ID token.
    pub(super) id_use: Option<Mark>,
    /// The token states another use.
    pub(super) other_use: Option<Mark>,
    /// The token is bound to a key (`cnf`, RFC 7800 §3).
    pub(crate) bound: bool,
    /// The token says that a client acts for itself.
    pub(crate) service: bool,
    /// The token says that its subject is a guest.
    pub(crate) guest: bool,
    pub(crate) conversation: Option<String>,
    /// There is a claim `scp`.
    pub(crate) scp: bool,
    /// There is a claim `clientHost`.
    pub(crate) client_host: bool,
    audiences: &'r [String],
    map: &'r ClaimMap,
    /// The rank of the claim that the client was read from.
    client_rank: Option<u8>,
    /// `sub`, if the subject is read from a claim that was chosen: a string or a whole number.
    own_subject: Option<String>,
    /// A bit for each claim that occurred.
    seen: u64,
    /// Claims that only the application chose, and that occurred.
    chosen: SmallVec<[&'r str; 4]>,
    /// How many objects were taken for the claims.
    pub(super) objects: u32,
    /// What a claim was refused for.
    pub(super) fault: Option<AuthErrorKind>,
}

/// What was found in `aud`, compared with what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Missing,
    Other,
    Expected,
}

impl<'r> Noted<'r> {
    /// Nothing as yet of these claims.
    pub(crate) fn new(json: &str, audiences: &'r [String], map: &'r ClaimMap) -> Self {
        Self {
            facts: Facts::reading(json),
            expires: None,
            not_before: None,
            issued: None,
            audience: Audience::Missing,
            event: None,
            id_hash: None,
            id_use: None,
            other_use: None,
            bound: false,
            service: false,
            guest: false,
            conversation: None,
            scp: false,
            client_host: false,
            audiences,
            map,
            client_rank: None,
            own_subject: None,
            seen: 0,
            chosen: SmallVec::new(),
            objects: 0,
            fault: None,
        }
    }

    /// Returns the claim `sub`, whatever claim the subject is read from.
    pub(super) fn sub(&self) -> Option<&str> {
        if self.map.chooses_subject() {
            self.own_subject.as_deref()
        } else {
            self.facts.text(Field::Subject)
        }
    }

    /// Returns `true` if there is a claim `client_id`.
    pub(super) fn has_client_id(&self) -> bool {
        self.has(Claim::ClientId)
    }

    fn has(&self, claim: Claim) -> bool {
        self.seen & claim.bit() != 0
    }

    /// What the rules make of a claim.
    pub(super) fn name(&self, name: &str) -> Name<'r> {
        let places = self.map.places.iter().map(|place| place.head.as_str());
        let names = self.map.names.iter().map(|named| named.claim.as_str());
        Name {
            claim: Claim::of(name),
            chosen: places.chain(names).find(|chosen| *chosen == name),
        }
    }

    /// Takes note of a value; `false` where it is refused.
    pub(super) fn takes(&mut self, name: Name<'r>, value: Seen<'_>) -> bool {
        let noted = match name.claim {
            Some(claim) => self.note(claim, value),
            None => Ok(()),
        };
        let noted = match name.chosen {
            Some(chosen) => noted.and_then(|()| self.note_chosen(chosen, name.claim, value)),
            None => noted,
        };
        match noted {
            Ok(()) => true,
            Err(fault) => {
                self.fault = Some(fault);
                false
            }
        }
    }

    fn note_chosen(
        &mut self,
        chosen: &'r str,
        claim: Option<Claim>,
        value: Seen<'_>,
    ) -> Result<(), AuthErrorKind> {
        // The others were counted where they were noted.
        if claim.is_none() {
            if self.chosen.contains(&chosen) {
                return Err(AuthErrorKind::MalformedClaims);
            }
            self.chosen.push(chosen);
        }
        let map = self.map;
        for named in map.names.iter().filter(|named| named.claim == chosen) {
            self.note_name(named.holds, value)?;
        }
        for place in map.places.iter().filter(|place| place.head == chosen) {
            if place.collect(value, &mut self.facts) != Found::Unreadable {
                continue;
            }
            // Two forms of one claim may be configured, one of which a token has.
            let read_by = |other: &Place| {
                other != place
                    && other.stands_in_for(place, value)
                    && other.collect(value, &mut Facts::default()) == Found::Read
            };
            if !map.places.iter().any(read_by) {
                self.facts.set_unreadable(place.list);
            }
        }
        Ok(())
    }

    fn note_name(&mut self, holds: Holds, value: Seen<'_>) -> Result<(), AuthErrorKind> {
        match (holds, value) {
            (Holds::Subject, Seen::Text(subject)) => self.facts.set(Field::Subject, subject),
            (Holds::Subject, _) => {
                let number = value.as_decimal().ok_or(AuthErrorKind::MalformedClaims)?;
                self.facts.set(Field::Subject, &number);
            }
            (Holds::ClientOfProvider, Seen::Text(client)) if self.client_rank.is_none() => {
                self.client_rank = Some(u8::MAX);
                self.facts.set(Field::ClientId, client);
            }
            (Holds::ClientOfProvider, _) => {}
            (Holds::Client(rank), _) => {
                let client = value.as_text().ok_or(AuthErrorKind::MalformedClaims)?;
                if self.client_rank.is_none_or(|before| rank < before) {
                    self.client_rank = Some(rank);
                    self.facts.set(Field::ClientId, client);
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, claim: Claim, value: Seen<'_>) -> Result<(), AuthErrorKind> {
        let malformed = AuthErrorKind::MalformedClaims;
        // RFC 7519 §4: names must be unique.
        if self.has(claim) {
            return Err(malformed);
        }
        self.seen |= claim.bit();
        self.scp |= claim == Claim::Scp;
        match claim {
            Claim::Exp => self.expires = Some(date(value)?),
            Claim::Nbf => self.not_before = Some(date(value)?),
            Claim::Iat => self.issued = Some(date(value)?),
            Claim::Iss => self.field(Field::Issuer, value)?,
            Claim::Sub if self.map.chooses_subject() => {
                let text = value.as_text().map(str::to_owned);
                self.own_subject = text.or_else(|| value.as_decimal());
            }
            Claim::Sub => self.field(Field::Subject, value)?,
            Claim::Jti => self.field(Field::TokenId, value)?,
            // Read where the map says so, and of one type in any case.
            Claim::ClientId | Claim::Azp => drop(value.as_text().ok_or(malformed)?),
            Claim::Sid => self.field(Field::SessionId, value)?,
            Claim::Aud => self.audience = self.compare_audience(value)?,
            Claim::Cnf => self.bound = true,
            Claim::ClientHost => self.client_host = true,
            // Of anything else than a number nothing is known, which a revocation set takes for old.
            Claim::Ep => {
                let epoch = value.as_unsigned().and_then(|epoch| epoch.try_into().ok());
                self.facts.epoch = epoch;
            }
            Claim::Rtg => self.facts.refresh_generation = value.as_unsigned(),
            // Another issuer may call something else so: what does not fit is no conversation.
            Claim::Conv => self.conversation = value.as_text().map(str::to_owned),
            Claim::Permissions => {
                if let Seen::List(permissions) = value {
                    for permission in permissions.iter().filter_map(Item::as_text) {
                        self.facts.push(List::Permissions, permission);
                    }
                }
            }
            Claim::Guest => self.guest = matches!(value, Seen::Other(Value::Bool(true))),
            Claim::Typ => self.note_use("typ", value),
            Claim::Type => self.note_use("type", value),
            Claim::TokenUse => self.note_use("token_use", value),
            Claim::TokenType => self.note_use("token_type", value),
            Claim::TokenTypeCamel => self.note_use("tokenType", value),
            Claim::Use => self.note_use("use", value),
            Claim::Events => self.event = Some(Mark::present("events")),
            Claim::AtHash => self.id_hash = Some(Mark::present("at_hash")),
            Claim::CHash => self.id_hash = Some(Mark::present("c_hash")),
            Claim::SHash => self.id_hash = Some(Mark::present("s_hash")),
            Claim::Idtyp | Claim::Gty => {
                self.service |= value.as_text().is_some_and(names_service);
            }
            Claim::Scope | Claim::Scp => match value {
                Seen::Text(scope) => self.facts.push_words(List::Scope, scope),
                Seen::List(tokens) => {
                    for token in tokens {
                        match token.as_text() {
                            Some(token) => self.facts.push(List::Scope, token),
                            None => self.facts.set_unreadable(List::Scope),
                        }
                    }
                }
                Seen::Number(_) | Seen::Other(_) => self.facts.set_unreadable(List::Scope),
            },
        }
        Ok(())
    }

    fn note_use(&mut self, claim: &'static str, value: Seen<'_>) {
        match value {
            Seen::Text(text) => self.note_use_text(claim, text),
            Seen::List(items) => {
                for text in items.iter().filter_map(Item::as_text) {
                    self.note_use_text(claim, text);
                }
            }
            Seen::Number(_) | Seen::Other(_) => {}
        }
    }

    fn note_use_text(&mut self, claim: &'static str, text: &str) {
        let mark = match OtherUse::named_by(text) {
            None => return,
            Some(OtherUse::Id) => &mut self.id_use,
            Some(OtherUse::Other) => &mut self.other_use,
        };
        mark.get_or_insert_with(|| Mark::value(claim, text));
    }

    fn field(&mut self, field: Field, value: Seen<'_>) -> Result<(), AuthErrorKind> {
        let text = value.as_text().ok_or(AuthErrorKind::MalformedClaims)?;
        self.facts.set(field, text);
        Ok(())
    }

    // RFC 7519 §4.1.3: a string, or an array of strings.
    fn compare_audience(&self, value: Seen<'_>) -> Result<Audience, AuthErrorKind> {
        let expected = |name: &str| self.audiences.iter().any(|ours| ours == name);
        let mut found = Audience::Other;
        match value {
            Seen::Text(name) if expected(name) => found = Audience::Expected,
            Seen::Text(_) => {}
            Seen::List(names) => {
                for name in names {
                    let name = name.as_text().ok_or(AuthErrorKind::MalformedClaims)?;
                    if expected(name) {
                        found = Audience::Expected;
                    }
                }
            }
            Seen::Number(_) | Seen::Other(_) => return Err(AuthErrorKind::MalformedClaims),
        }
        Ok(found)
    }
}

/// What the rules make of a claim's name.
#[derive(Clone, Copy, Default)]
pub(super) struct Name<'r> {
    claim: Option<Claim>,
    /// The claim that the application chose to have read.
    chosen: Option<&'r str>,
}

impl Name<'_> {
    /// Whether no rule reads the claim.
    pub(super) fn is_unread(self) -> bool {
        self.claim.is_none() && self.chosen.is_none()
    }

    pub(super) fn is_date(self) -> bool {
        matches!(self.claim, Some(Claim::Exp | Claim::Nbf | Claim::Iat))
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
    TokenType,
    TokenTypeCamel,
    Use,
    /// What a security event token reports (RFC 8417 §2.2).
    Events,
    // Hashes of what an ID token came with (OpenID Connect Core §3.1.3.6, §3.3.2.11; FAPI 1.0 §5.1).
    AtHash,
    CHash,
    SHash,
    /// Entra: `app` where a client acts for itself.
    Idtyp,
    /// Auth0: the grant type.
    Gty,
    /// Keycloak: where the client called from, written for service accounts alone.
    ClientHost,
    // What this crate's own issuer says.
    Ep,
    Rtg,
    Guest,
    Conv,
    Permissions,
}

impl Claim {
    fn bit(self) -> u64 {
        1 << self as u64
    }

    fn of(name: &str) -> Option<Self> {
        // Compared as bytes, which the compiler turns into a tree.
        Some(match name.as_bytes() {
            b"exp" => Self::Exp,
            b"nbf" => Self::Nbf,
            b"iat" => Self::Iat,
            b"iss" => Self::Iss,
            b"aud" => Self::Aud,
            b"sub" => Self::Sub,
            b"jti" => Self::Jti,
            b"client_id" => Self::ClientId,
            b"azp" => Self::Azp,
            b"sid" => Self::Sid,
            b"scope" => Self::Scope,
            b"scp" => Self::Scp,
            b"cnf" => Self::Cnf,
            b"ep" => Self::Ep,
            b"rtg" => Self::Rtg,
            b"guest" => Self::Guest,
            b"conv" => Self::Conv,
            b"permissions" => Self::Permissions,
            b"typ" => Self::Typ,
            b"type" => Self::Type,
            b"token_use" => Self::TokenUse,
            b"token_type" => Self::TokenType,
            b"tokenType" => Self::TokenTypeCamel,
            b"use" => Self::Use,
            b"events" => Self::Events,
            b"at_hash" => Self::AtHash,
            b"c_hash" => Self::CHash,
            b"s_hash" => Self::SHash,
            b"idtyp" => Self::Idtyp,
            b"gty" => Self::Gty,
            b"clientHost" => Self::ClientHost,
            _ => return None,
        })
    }
}

// RFC 7519 §2: a number of seconds, a fraction allowed.
fn date(value: Seen<'_>) -> Result<Date, AuthErrorKind> {
    match value {
        Seen::Number(Number::Unsigned(seconds)) => Ok(Date::from_u64(seconds)),
        Seen::Number(Number::Signed(seconds)) => Ok(Date::from_i64(seconds)),
        Seen::Number(Number::Float(seconds)) if seconds.is_finite() => Ok(Date::from_f64(seconds)),
        _ => Err(AuthErrorKind::MalformedClaims),
    }
}

fn names_service(value: &str) -> bool {
    matches!(value, "app" | "client-credentials" | "client_credentials")
}
