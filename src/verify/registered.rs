//! The facts that the rules record while the claims are parsed.

use serde_json::Value;
use smallvec::SmallVec;

use super::{
    claim::{Claim, Name},
    confirmation::Confirmation,
    place::{ClaimMap, Found, Holds, Place},
    tee::{Item, Number, Seen},
    token_use::{Mark, OtherUse},
};
use crate::{
    principal::{Facts, Field, List},
    time::date::Date,
};

/// The facts about the claims that the rules need.
pub(crate) struct Registered<'r> {
    pub(crate) facts: Facts,
    pub(crate) expires: Option<Date>,
    pub(crate) not_before: Option<Date>,
    pub(crate) issued: Option<Date>,
    pub(crate) audience: Audience,
    /// `None` for most tokens.
    pub(super) marks: Option<Box<Marks>>,
    /// The token is bound to a key or a certificate (`cnf`, RFC 7800 §3).
    pub(crate) bound: bool,
    /// The things that prove it. `None` if the token is not bound, or in a way that no request can prove.
    pub(super) confirmation: Option<Confirmation>,
    /// The token states that a client acts on its own behalf.
    pub(crate) service: bool,
    /// The token states that its subject is a guest.
    pub(crate) guest: bool,
    pub(crate) conversation: Option<String>,
    /// The token has a claim `scp`.
    pub(crate) scp: bool,
    /// The token has a claim `clientHost`.
    pub(crate) client_host: bool,
    audiences: &'r [String],
    map: &'r ClaimMap,
    /// The rank of the claim from which the client was read.
    client_rank: Option<u8>,
    /// `sub`, if the subject is read from another claim: a string or a whole number.
    own_subject: Option<String>,
    /// One bit for each claim that was read, to detect duplicates.
    seen: u64,
    /// The claims read so far that only the application selected.
    chosen: SmallVec<[&'r str; 4]>,
    /// The number of objects that were read as the claims.
    pub(super) objects: u32,
    /// A claim was refused.
    pub(super) refused: bool,
}

/// The marks of a token as other than an access token.
#[derive(Default)]
pub(super) struct Marks {
    /// The token is a security event token (RFC 8417 §2.2).
    pub(super) event: Option<Mark>,
    /// The token contains a hash that only ID tokens have (OpenID Connect Core §3.3.2.11).
    pub(super) id_hash: Option<Mark>,
    /// The token states that it is an ID token.
    pub(super) id_use: Option<Mark>,
    /// The token states another use than access.
    pub(super) other_use: Option<Mark>,
}

/// A claim has a value of the wrong type, or occurs twice.
pub(super) struct Malformed;

/// The result of comparing `aud` with the expected audiences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Missing,
    Other,
    Expected,
}

/// The use of each item of a list.
#[derive(Clone, Copy)]
pub(super) enum Each<'r> {
    /// It is compared with the expected audiences.
    Audience,
    Item(List),
    At(&'r Place),
}

impl<'r> Registered<'r> {
    /// Creates a record without any claims.
    pub(crate) fn new(json: &str, audiences: &'r [String], map: &'r ClaimMap) -> Self {
        Self {
            facts: Facts::reading(json),
            expires: None,
            not_before: None,
            issued: None,
            audience: Audience::Missing,
            marks: None,
            bound: false,
            confirmation: None,
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
            refused: false,
        }
    }

    /// Returns the claim `sub`, even if the subject is read from another claim.
    pub(super) fn sub(&self) -> Option<&str> {
        if self.map.chooses_subject() {
            self.own_subject.as_deref()
        } else {
            self.facts.text(Field::Subject)
        }
    }

    /// Returns `true` if the token has a claim `client_id`.
    pub(super) fn has_client_id(&self) -> bool {
        self.has(Claim::ClientId)
    }

    fn has(&self, claim: Claim) -> bool {
        self.seen & claim.bit() != 0
    }

    /// Returns the rules that apply to a claim.
    #[inline]
    pub(super) fn name(&self, name: &str) -> Name<'r> {
        let claim = Claim::of(name);
        let chosen = self.map.chosen(claim, name);
        Name { claim, chosen }
    }

    /// Counts a claim as read. Returns `false` for a duplicate: claim names must be unique (RFC 7519
    /// §4).
    fn is_first(&mut self, claim: Claim) -> bool {
        let first = !self.has(claim);
        self.seen |= claim.bit();
        self.scp |= claim == Claim::Scp;
        first
    }

    /// The same for a claim that only the application selected.
    fn is_first_chosen(&mut self, chosen: &'r str) -> bool {
        let first = !self.chosen.contains(&chosen);
        self.chosen.push(chosen);
        first
    }

    /// Records a claim's value. Returns `false` if the value is refused.
    pub(super) fn takes(&mut self, name: &Name<'r>, value: Seen<'_>) -> bool {
        let registered = match name.claim {
            Some(claim) => self.note(claim, value),
            None => Ok(()),
        };
        let registered = match name.chosen {
            Some(chosen) => registered.and_then(|()| self.note_chosen(chosen, name.claim, value)),
            None => registered,
        };
        self.refused |= registered.is_err();
        registered.is_ok()
    }

    fn note_chosen(
        &mut self,
        chosen: &'r str,
        claim: Option<Claim>,
        value: Seen<'_>,
    ) -> Result<(), Malformed> {
        // Duplicates of all other claims were detected by `note`.
        if claim.is_none() && !self.is_first_chosen(chosen) {
            return Err(Malformed);
        }
        let map = self.map;
        for named in map.names.iter().filter(|named| named.claim == chosen) {
            self.note_name(named.holds, value)?;
        }
        for place in map.places.iter().filter(|place| place.head == chosen) {
            if place.collect(value, &mut self.facts) != Found::Unreadable {
                continue;
            }
            // Two forms may be configured for one claim, and a token has one of them.
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

    fn note_name(&mut self, holds: Holds, value: Seen<'_>) -> Result<(), Malformed> {
        match (holds, value) {
            (Holds::Subject, Seen::Text(subject)) => self.facts.set(Field::Subject, subject),
            (Holds::Subject, _) => {
                let number = value.as_decimal().ok_or(Malformed)?;
                self.facts.set(Field::Subject, &number);
            }
            (Holds::ClientOfProvider, Seen::Text(client)) if self.client_rank.is_none() => {
                self.client_rank = Some(u8::MAX);
                self.facts.set(Field::ClientId, client);
            }
            (Holds::ClientOfProvider, _) => {}
            (Holds::Client(rank), _) => {
                let client = value.as_text().ok_or(Malformed)?;
                if self.client_rank.is_none_or(|before| rank < before) {
                    self.client_rank = Some(rank);
                    self.facts.set(Field::ClientId, client);
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, claim: Claim, value: Seen<'_>) -> Result<(), Malformed> {
        if !self.is_first(claim) {
            return Err(Malformed);
        }
        match claim {
            Claim::Exp => self.expires = Some(date(value).ok_or(Malformed)?),
            Claim::Nbf => self.not_before = Some(date(value).ok_or(Malformed)?),
            Claim::Iat => self.issued = Some(date(value).ok_or(Malformed)?),
            Claim::Iss => self.field(Field::Issuer, value)?,
            Claim::Sub if self.map.chooses_subject() => {
                let text = value.as_text().map(str::to_owned);
                self.own_subject = text.or_else(|| value.as_decimal());
            }
            Claim::Sub => self.field(Field::Subject, value)?,
            Claim::Jti => self.field(Field::TokenId, value)?,
            // The claim map decides if the value is used. The type is checked in any case.
            Claim::ClientId | Claim::Azp => drop(value.as_text().ok_or(Malformed)?),
            Claim::Sid => self.field(Field::SessionId, value)?,
            Claim::Aud => self.audience = self.compare_audience(value)?,
            // RFC 7800 §3.1: members of `cnf` that are not understood are ignored.
            Claim::Cnf => {
                self.bound = true;
                self.confirmation = Confirmation::read(value);
            }
            Claim::ClientHost => self.client_host = true,
            // Any value that is not a number counts as no epoch, which a revocation set treats as
            // the oldest.
            Claim::Ep => {
                let epoch = value.as_unsigned().and_then(|epoch| epoch.try_into().ok());
                self.facts.epoch = epoch;
            }
            Claim::Rtg => self.facts.refresh_generation = value.as_unsigned(),
            // Another issuer may use the name for something else, so any other type is ignored.
            Claim::Conv => self.conversation = value.as_text().map(str::to_owned),
            Claim::Permissions => {
                if let Seen::List(permissions) = value {
                    for permission in permissions.iter().filter_map(Item::as_text) {
                        self.facts.push(List::Permissions, permission);
                    }
                }
            }
            // Not every issuer writes these in the form of OpenID Connect. Any other form counts as
            // absent, so that a rule that requires them does not hold.
            Claim::Acr => {
                if let Seen::Text(class) = value {
                    self.facts.set(Field::AuthContext, class);
                }
            }
            Claim::Amr => {
                if let Seen::List(methods) = value {
                    for method in methods.iter().filter_map(Item::as_text) {
                        self.facts.push(List::AuthMethods, method);
                    }
                }
            }
            Claim::AuthTime => {
                let whole = || value.as_decimal()?.parse().ok().map(Date::from_i64);
                self.facts.authenticated = date(value).or_else(whole);
            }
            Claim::Guest => self.guest = matches!(value, Seen::Other(Value::Bool(true))),
            Claim::Typ => self.note_use("typ", value),
            Claim::Type => self.note_use("type", value),
            Claim::TokenUse => self.note_use("token_use", value),
            Claim::TokenType => self.note_use("token_type", value),
            Claim::TokenTypeCamel => self.note_use("tokenType", value),
            Claim::Use => self.note_use("use", value),
            Claim::Events => self.marks().event = Some(Mark::present("events")),
            Claim::AtHash => self.marks().id_hash = Some(Mark::present("at_hash")),
            Claim::CHash => self.marks().id_hash = Some(Mark::present("c_hash")),
            Claim::SHash => self.marks().id_hash = Some(Mark::present("s_hash")),
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

    /// Returns how to record the items of a claim's list one by one, or `None` if the list has to be
    /// recorded as a whole.
    pub(super) fn each_item(&self, name: &Name<'r>) -> Option<Each<'r>> {
        match (name.claim, name.chosen) {
            (Some(Claim::Aud), None) => Some(Each::Audience),
            (Some(Claim::Scope | Claim::Scp), None) => Some(Each::Item(List::Scope)),
            (Some(Claim::Permissions), None) => Some(Each::Item(List::Permissions)),
            (Some(Claim::Amr), None) => Some(Each::Item(List::AuthMethods)),
            (None, Some(chosen)) => {
                let place = self.map.only_place(chosen)?;
                Some(match place.takes_any_string() {
                    true => Each::Item(place.list),
                    false => Each::At(place),
                })
            }
            _ => None,
        }
    }

    /// Counts a claim as read whose items follow one by one. Returns `false` for a duplicate.
    pub(super) fn starts_list(&mut self, name: &Name<'r>) -> bool {
        let first = match (name.claim, name.chosen) {
            (Some(claim), _) => self.is_first(claim),
            (None, Some(chosen)) => self.is_first_chosen(chosen),
            (None, None) => true,
        };
        if name.claim == Some(Claim::Aud) {
            self.audience = Audience::Other;
        }
        self.refused |= !first;
        first
    }

    /// Records a string in a list.
    pub(super) fn takes_text(&mut self, each: Each<'r>, text: &str) {
        match each {
            Each::Audience => {
                if self.audiences.iter().any(|ours| ours == text) {
                    self.audience = Audience::Expected;
                }
            }
            Each::Item(list) => self.facts.push(list, text),
            Each::At(place) => {
                if place.item(text, &mut self.facts) == Found::Unreadable {
                    self.facts.set_unreadable(place.list);
                }
            }
        }
    }

    /// Records an item of a list that is not a string. Returns `false` if the item is refused.
    pub(super) fn takes_other(&mut self, each: Each<'r>, value: &Value) -> bool {
        match each {
            Each::Audience => {
                self.refused = true;
                return false;
            }
            Each::Item(list) => self.facts.set_unreadable(list),
            Each::At(place) => {
                if place.odd_item(value, &mut self.facts) == Found::Unreadable {
                    self.facts.set_unreadable(place.list);
                }
            }
        }
        true
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
            Some(OtherUse::Id) => &mut self.marks().id_use,
            Some(OtherUse::Other) => &mut self.marks().other_use,
        };
        mark.get_or_insert_with(|| Mark::value(claim, text));
    }

    fn marks(&mut self) -> &mut Marks {
        self.marks.get_or_insert_default()
    }

    #[inline]
    fn field(&mut self, field: Field, value: Seen<'_>) -> Result<(), Malformed> {
        let text = value.as_text().ok_or(Malformed)?;
        self.facts.set(field, text);
        Ok(())
    }

    // RFC 7519 §4.1.3: a string or an array of strings.
    fn compare_audience(&self, value: Seen<'_>) -> Result<Audience, Malformed> {
        let expected = |name: &str| self.audiences.iter().any(|ours| ours == name);
        let mut found = Audience::Other;
        match value {
            Seen::Text(name) if expected(name) => found = Audience::Expected,
            Seen::Text(_) => {}
            Seen::List(names) => {
                for name in names {
                    let name = name.as_text().ok_or(Malformed)?;
                    if expected(name) {
                        found = Audience::Expected;
                    }
                }
            }
            Seen::Number(_) | Seen::Other(_) => return Err(Malformed),
        }
        Ok(found)
    }
}

// RFC 7519 §2: a number of seconds, possibly with a fraction.
#[inline]
fn date(value: Seen<'_>) -> Option<Date> {
    match value {
        Seen::Number(Number::Unsigned(seconds)) => Some(Date::from_u64(seconds)),
        Seen::Number(Number::Signed(seconds)) => Some(Date::from_i64(seconds)),
        Seen::Number(Number::Float(seconds)) if seconds.is_finite() => {
            Some(Date::from_f64(seconds))
        }
        _ => None,
    }
}

fn names_service(value: &str) -> bool {
    matches!(value, "app" | "client-credentials" | "client_credentials")
}
