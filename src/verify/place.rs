//! Configured places in the claims from which lists and names are read.

use std::cmp::Ordering;

use serde_json::Value;

use crate::{
    error::ConfigError,
    principal::{Facts, List},
    verify::{
        claim::Claim,
        tee::{Item, Seen},
    },
};

/// The form in which a claim holds roles.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")] {
/// use tower_jwt_auth::verify::{RoleForm, Verifier};
///
/// # fn example() -> Result<(), tower_jwt_auth::ConfigError> {
/// let verifier = Verifier::hs256("a secret of at least thirty-two bytes")
///     // {"authorities": [{"authority": "admin"}, {"authority": "user"}]}
///     .roles_at_as("authorities", RoleForm::Member("authority".into()))
///     // {"urn:zitadel:iam:org:project:roles": {"admin": {"1234": "org.example"}}}
///     .roles_at_as("urn:zitadel:iam:org:project:roles", RoleForm::MemberNames)
///     .build()?;
/// # let _ = verifier;
/// # Ok(()) }
/// # example().unwrap();
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoleForm {
    /// A string with one role, or a list of strings.
    #[default]
    Strings,
    /// A string or a list of strings with several roles, separated by this separator. Spaces around
    /// a role are removed, and empty roles are ignored.
    Separated(String),
    /// An object whose member names are the roles. Members with the value `false` or `null` are
    /// ignored.
    MemberNames,
    /// An object or a list of objects with the roles in this member: a string or a list of strings.
    /// The name may be a JSON Pointer (RFC 6901) into the object.
    Member(String),
}

/// A place in the claims from which roles or scope tokens are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The top-level claim.
    pub(super) head: String,
    /// The path below the top-level claim; empty for the claim itself.
    tail: Vec<Step>,
    form: Form,
    pub(super) list: List,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A member of an object, or an index of an array (RFC 6901 §4).
    Down(String),
    /// Every member of an object.
    Each,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Strings,
    /// Scope tokens: a string contains several (RFC 6749 §3.3), an item of a list is one.
    Words,
    Separated(String),
    MemberNames,
    Member(Vec<Step>),
}

/// The result of reading a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The claim exists, but this place in it does not.
    Nothing,
    /// Everything was read.
    Read,
    /// A value has an unreadable form.
    Unreadable,
}

impl Found {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unreadable, _) | (_, Self::Unreadable) => Self::Unreadable,
            (Self::Nothing, Self::Nothing) => Self::Nothing,
            _ => Self::Read,
        }
    }
}

impl Place {
    /// Creates a place for roles: a claim's name, or a JSON Pointer (RFC 6901) if it starts with
    /// `/`. A name that is a URL or contains dots is a single name.
    pub(crate) fn of_roles(path: &str, form: &RoleForm) -> Result<Self, ConfigError> {
        let refuse = |problem: &'static str| Err(ConfigError::invalid("roles_at", problem));
        let form = match form {
            RoleForm::Strings => Form::Strings,
            RoleForm::Separated(separator) if separator.is_empty() => {
                return refuse("an empty separator");
            }
            RoleForm::Separated(separator) => Form::Separated(separator.clone()),
            RoleForm::MemberNames => Form::MemberNames,
            RoleForm::Member(member) => Form::Member(match member.strip_prefix('/') {
                Some(pointer) => steps(pointer).collect(),
                None if member.is_empty() => return refuse("an empty member name"),
                None => vec![Step::Down(member.clone())],
            }),
        };
        Self::parse("roles_at", path, form, List::Roles)
    }

    /// Creates an additional place for scope tokens.
    pub(crate) fn of_scope(path: &str) -> Result<Self, ConfigError> {
        Self::parse("scope_at", path, Form::Words, List::Scope)
    }

    fn parse(
        option: &'static str,
        path: &str,
        form: Form,
        list: List,
    ) -> Result<Self, ConfigError> {
        let Some(pointer) = path.strip_prefix('/') else {
            if path.is_empty() {
                return Err(ConfigError::invalid(option, "an empty claim name"));
            }
            return Ok(Self {
                head: path.to_owned(),
                tail: Vec::new(),
                form,
                list,
            });
        };
        let mut steps = steps(pointer);
        match steps.next() {
            Some(Step::Down(head)) if !head.is_empty() => Ok(Self {
                head,
                tail: steps.collect(),
                form,
                list,
            }),
            _ => Err(ConfigError::invalid(
                option,
                "a JSON pointer must name a claim",
            )),
        }
    }

    /// Returns `/resource_access/*/roles`: the roles of every client.
    pub(crate) fn all_clients() -> Self {
        Self {
            head: "resource_access".to_owned(),
            tail: vec![Step::Each, Step::Down("roles".to_owned())],
            form: Form::Strings,
            list: List::Roles,
        }
    }

    /// Returns `true` if a value without the form of the other place may have the form of this one.
    ///
    /// Both places name the same value, or one contains the other. In the second case the value is
    /// either traversed or read as a whole. Reading a part does not mean that the rest is readable.
    pub(super) fn stands_in_for(&self, other: &Self, value: Seen<'_>) -> bool {
        let mut steps = self.tail.iter().zip(&other.tail);
        if self.list != other.list || self.head != other.head || steps.any(|(one, two)| one != two)
        {
            return false;
        }
        let (own, others) = (self.tail.len(), other.tail.len());
        match own.cmp(&others) {
            Ordering::Equal => true,
            // The other place cannot read an object, but this one can.
            Ordering::Greater => at(value, &other.tail) == Some(Kind::Object),
            // The other place cannot descend below this one.
            Ordering::Less => match (at(value, &self.tail), other.tail.get(own)) {
                (Some(Kind::Object), _) | (None, _) => false,
                (Some(Kind::List), Some(Step::Down(step))) => index(step).is_none(),
                (Some(_), _) => true,
            },
        }
    }

    /// Adds the items found in the top-level claim `value`.
    pub(super) fn collect(&self, value: Seen<'_>, facts: &mut Facts) -> Found {
        match (value, self.tail.split_first()) {
            (Seen::Text(text), None) => self.text(text, facts),
            (Seen::List(items), None) => items.iter().fold(Found::Read, |found, item| {
                found.and(match item {
                    Item::Text(text) => self.item(text, facts),
                    Item::Other(value) => self.odd_item(value, facts),
                })
            }),
            (Seen::List(items), Some((Step::Down(step), rest))) => match index(step) {
                None => Found::Unreadable,
                Some(index) => match index.and_then(|index| items.get(index)) {
                    None => Found::Nothing,
                    Some(Item::Text(text)) if rest.is_empty() => self.text(text, facts),
                    Some(Item::Text(_)) => Found::Unreadable,
                    Some(Item::Other(value)) => self.walk(value, rest, facts),
                },
            },
            (Seen::Other(value), _) => self.walk(value, &self.tail, facts),
            _ => Found::Unreadable,
        }
    }

    fn walk(&self, value: &Value, tail: &[Step], facts: &mut Facts) -> Found {
        match (tail.split_first(), value) {
            (Some((Step::Down(name), rest)), Value::Object(members)) => match members.get(name) {
                Some(inner) => self.walk(inner, rest, facts),
                None => Found::Nothing,
            },
            (Some((Step::Down(step), rest)), Value::Array(items)) => match index(step) {
                None => Found::Unreadable,
                Some(index) => match index.and_then(|index| items.get(index)) {
                    Some(inner) => self.walk(inner, rest, facts),
                    None => Found::Nothing,
                },
            },
            (Some((Step::Each, rest)), Value::Object(members)) => {
                members.values().fold(Found::Nothing, |found, inner| {
                    found.and(self.walk(inner, rest, facts))
                })
            }
            (None, value) => self.leaf(value, facts),
            _ => Found::Unreadable,
        }
    }

    fn leaf(&self, value: &Value, facts: &mut Facts) -> Found {
        match (value, &self.form) {
            (Value::String(text), _) => self.text(text, facts),
            (Value::Array(items), _) => items.iter().fold(Found::Read, |found, item| {
                found.and(match item {
                    Value::String(text) => self.item(text, facts),
                    value => self.odd_item(value, facts),
                })
            }),
            (Value::Object(members), Form::MemberNames) => {
                for (name, value) in members {
                    if !matches!(value, Value::Null | Value::Bool(false)) {
                        facts.push(self.list, name);
                    }
                }
                Found::Read
            }
            (Value::Object(_), Form::Member(_)) => self.odd_item(value, facts),
            _ => Found::Unreadable,
        }
    }

    /// Adds a string that is not in a list.
    fn text(&self, text: &str, facts: &mut Facts) -> Found {
        if self.form == Form::Words {
            facts.push_words(self.list, text);
            Found::Read
        } else {
            self.item(text, facts)
        }
    }

    /// Returns `true` if each string in a list is an item, and nothing else is.
    pub(super) fn takes_any_string(&self) -> bool {
        matches!(self.form, Form::Strings | Form::Words)
    }

    /// Adds a string in a list.
    pub(super) fn item(&self, text: &str, facts: &mut Facts) -> Found {
        match &self.form {
            Form::Strings | Form::Words => facts.push(self.list, text),
            Form::Separated(separator) => {
                let roles = text.split(separator.as_str()).map(str::trim);
                for role in roles.filter(|role| !role.is_empty()) {
                    facts.push(self.list, role);
                }
            }
            Form::MemberNames | Form::Member(_) => return Found::Unreadable,
        }
        Found::Read
    }

    /// Adds an item of a list that is not a string.
    pub(super) fn odd_item(&self, value: &Value, facts: &mut Facts) -> Found {
        let (Form::Member(steps), Value::Object(_)) = (&self.form, value) else {
            return Found::Unreadable;
        };
        let within = Self {
            head: String::new(),
            tail: Vec::new(),
            form: Form::Strings,
            list: self.list,
        };
        match within.walk(value, steps, facts) {
            Found::Read => Found::Read,
            // An object without the member may have a role in another member.
            Found::Nothing | Found::Unreadable => Found::Unreadable,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    List,
    Other,
}

/// Returns the kind of the value to which these steps lead.
fn at(value: Seen<'_>, steps: &[Step]) -> Option<Kind> {
    let kind = |value: &Value| match value {
        Value::Object(_) => Kind::Object,
        Value::Array(_) => Kind::List,
        _ => Kind::Other,
    };
    let down = |value: &Value, steps: &[Step]| {
        let mut value = value;
        for step in steps {
            value = match (step, value) {
                (Step::Down(name), Value::Object(members)) => members.get(name)?,
                (Step::Down(step), Value::Array(items)) => items.get(index(step)??)?,
                _ => return None,
            };
        }
        Some(kind(value))
    };
    match (value, steps.split_first()) {
        (Seen::Other(value), _) => down(value, steps),
        (Seen::List(_), None) => Some(Kind::List),
        (Seen::List(items), Some((Step::Down(step), rest))) => match items.get(index(step)??)? {
            Item::Other(value) => down(value, rest),
            Item::Text(_) => rest.is_empty().then_some(Kind::Other),
        },
        (_, None) => Some(Kind::Other),
        _ => None,
    }
}

/// Returns the steps of a JSON Pointer after its first `/`.
fn steps(pointer: &str) -> impl Iterator<Item = Step> {
    pointer.split('/').map(|step| {
        // RFC 6901 §4: `~1` first, then `~0`.
        Step::Down(step.replace("~1", "/").replace("~0", "~"))
    })
}

/// Parses an array index (RFC 6901 §4): digits without a leading zero, or `-` for the item after
/// the last, which never exists. `None` if the step is not an index.
fn index(step: &str) -> Option<Option<usize>> {
    let digits = !step.is_empty() && step.bytes().all(|one| one.is_ascii_digit());
    match step {
        "-" => Some(None),
        "0" => Some(Some(0)),
        _ if digits && !step.starts_with('0') => Some(step.parse().ok()),
        _ => None,
    }
}

/// The claims that the application selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimMap {
    pub(super) places: Vec<Place>,
    pub(super) names: Vec<NamedClaim>,
    /// The bits of the claims above that a rule reads in any case.
    claims: u64,
    /// The bits of the names of all claims above. Most other names have none of them.
    bits: u64,
}

impl ClaimMap {
    /// Reads the client from a provider-specific claim if no other claim names it.
    pub(super) fn with_client_of_provider(mut self, claim: &str) -> Self {
        self.names.push(NamedClaim {
            claim: claim.to_owned(),
            holds: Holds::ClientOfProvider,
        });
        self.with_bits()
    }

    /// Creates a map. The subject is read from `subject`, by default `sub`. The client is read from
    /// the first claim of `clients` that is present.
    pub(super) fn new(places: Vec<Place>, subject: Option<&str>, clients: &[&str]) -> Self {
        let named = |claim: &str, holds| NamedClaim {
            claim: claim.to_owned(),
            holds,
        };
        let ranks = (0..=u8::MAX).map(Holds::Client);
        let clients = clients.iter().zip(ranks);
        let clients = clients.map(|(claim, holds)| named(claim, holds));
        let subject = subject.map(|claim| named(claim, Holds::Subject));
        let map = Self {
            places,
            names: subject.into_iter().chain(clients).collect(),
            claims: 0,
            bits: 0,
        };
        map.with_bits()
    }

    fn with_bits(self) -> Self {
        let known = self.claims().filter_map(Claim::of);
        let claims = known.fold(0, |bits, claim| bits | claim.bit());
        let bits = self.claims().fold(0, |bits, name| bits | bit(name));
        Self {
            claims,
            bits,
            ..self
        }
    }

    fn claims(&self) -> impl Iterator<Item = &str> {
        let places = self.places.iter().map(|place| place.head.as_str());
        let names = self.names.iter().map(|named| named.claim.as_str());
        places.chain(names)
    }

    /// Returns the name of a claim, if the application selected it.
    #[inline]
    pub(super) fn chosen(&self, claim: Option<Claim>, name: &str) -> Option<&str> {
        let bits = match claim {
            Some(claim) => self.claims & claim.bit(),
            None => self.bits & bit(name),
        };
        if bits == 0 {
            return None;
        }
        self.find(name)
    }

    #[inline(never)]
    fn find(&self, name: &str) -> Option<&str> {
        self.claims().find(|chosen| *chosen == name)
    }

    /// Returns the place in a claim that is selected for nothing else, if this place is the claim
    /// itself.
    pub(super) fn only_place(&self, claim: &str) -> Option<&Place> {
        let mut places = self.places.iter().filter(|place| place.head == claim);
        let place = places.next().filter(|place| place.tail.is_empty())?;
        let is_name = self.names.iter().any(|named| named.claim == claim);
        (places.next().is_none() && !is_name).then_some(place)
    }

    /// Returns `true` if the application selected the claim for the subject.
    pub(super) fn chooses_subject(&self) -> bool {
        self.names.iter().any(|named| named.holds == Holds::Subject)
    }
}

/// Returns one of 64 bits for a claim's name.
#[inline]
fn bit(name: &str) -> u64 {
    let name = name.as_bytes();
    let ends = name.first().zip(name.last());
    let sum = ends.map_or(0, |(first, last)| usize::from(*first) + usize::from(*last));
    1 << ((sum + name.len()) % 64)
}

/// A top-level claim that contains one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedClaim {
    pub(super) claim: String,
    pub(super) holds: Holds,
}

/// The kind of name in a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Subject,
    /// The client, unless a claim with a lower rank names one.
    Client(u8),
    /// The client, unless another claim names one. A value that is not a string is ignored.
    ClientOfProvider,
}
