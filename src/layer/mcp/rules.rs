//! The rules of a guard, and the one of an operation.

use std::{cmp::Ordering, ptr};

use super::message::{Target, is_other_spelling};
use crate::{
    error::{AuthError, AuthErrorKind, Reason},
    layer::{
        extract::RequestHead,
        role_guard::{RoleHierarchy, Rule, ScopeHierarchy},
    },
    principal::{Anonymous, Principal},
};

/// The rules of methods, and of the things that methods act on.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) methods: ByName,
    /// For methods without a rule, for responses, and for requests without a message. `None` admits
    /// every signed-in caller.
    pub(super) other_methods: Option<Rule>,
    pub(super) tools: Family,
    pub(super) prompts: Family,
    pub(super) resources: Family,
}

/// The rules of the tools, the prompts or the resources.
#[derive(Clone, Debug, Default)]
pub(super) struct Family {
    pub(super) named: ByName,
    /// For those without a rule. `None` refuses them if there is any rule.
    pub(super) others: Option<Rule>,
}

/// Rules, and a name for each.
// A sorted list: few comparisons cost less than a keyed hash, and no caller adds a name.
#[derive(Clone, Debug, Default)]
pub(super) struct ByName(Vec<(Box<str>, Rule)>);

impl ByName {
    /// Creates the list from rules with distinct names.
    pub(super) fn new(mut rules: Vec<(Box<str>, Rule)>) -> Self {
        rules.sort_unstable_by(|(one, _), (other, _)| order(one.as_bytes(), other.as_bytes()));
        Self(rules)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    fn get(&self, name: &[u8]) -> Option<&Rule> {
        let found = self
            .0
            .binary_search_by(|(known, _)| order(known.as_bytes(), name));
        let (_, rule) = self.0.get(found.ok()?)?;
        Some(rule)
    }
}

/// Compares lengths first: most names differ in them.
fn order(one: &[u8], other: &[u8]) -> Ordering {
    let lengths = one.len().cmp(&other.len());
    lengths.then_with(|| one.cmp(other))
}

/// An operation: a method, and the thing that it acts on. `None` stands for a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation<'a> {
    pub(super) method: Option<&'a [u8]>,
    pub(super) target: Option<&'a [u8]>,
}

impl Operation<'_> {
    /// A request without a message, which opens or ends a stream.
    pub(super) const TRANSPORT: Self = Self {
        method: None,
        target: None,
    };
}

/// The rules that an operation must satisfy, or the kind and the name of a thing that has none.
enum Needed<'a> {
    Rules(Option<&'a Rule>, Option<&'a Rule>),
    Unlisted(&'static str, &'a [u8]),
}

impl Rules {
    pub(super) fn apply_roles(&mut self, hierarchy: &RoleHierarchy) {
        self.for_each(|rule| rule.apply_roles(hierarchy));
    }

    pub(super) fn apply_scopes(&mut self, hierarchy: &ScopeHierarchy) {
        self.for_each(|rule| rule.apply_scopes(hierarchy));
    }

    /// Returns the first mistake in a rule, if there is one.
    pub(super) fn fault(&mut self) -> Option<&'static str> {
        let mut fault = None;
        self.for_each(|rule| fault = fault.or(rule.fault()));
        fault
    }

    fn for_each(&mut self, mut change: impl FnMut(&mut Rule)) {
        for family in [&mut self.tools, &mut self.prompts, &mut self.resources] {
            let named = family.named.0.iter_mut().map(|(_, rule)| rule);
            named.chain(&mut family.others).for_each(&mut change);
        }
        let named = self.methods.0.iter_mut().map(|(_, rule)| rule);
        named.chain(&mut self.other_methods).for_each(&mut change);
    }

    /// Returns the caller of a request.
    ///
    /// # Errors
    ///
    /// `MissingCredential` for an anonymous request, and `Misconfigured` without an authenticating layer.
    #[inline]
    pub(super) fn caller<'a>(head: RequestHead<'a>) -> Result<&'a Principal, AuthError> {
        if let Some(caller) = head.extensions().get() {
            return Ok(caller);
        }
        match head.extensions().get::<Anonymous>() {
            // RFC 9110 §15.5.2, §15.5.4: 403 is for a caller whose credentials are known.
            Some(_) => Err(AuthErrorKind::MissingCredential.into()),
            None => Err(AuthError::caused_by(
                AuthErrorKind::Misconfigured,
                "the MCP guard needs an authenticating layer around it",
            )),
        }
    }

    /// Returns the method of a message that a parser without case would read, if it is another one with a
    /// rule.
    pub(super) fn respelt(&self, method: &str) -> Option<&str> {
        self.known_method(|known| is_other_spelling(method, known))
    }

    /// Returns the same for a method in a header, which is ASCII.
    #[inline]
    pub(super) fn respelt_in_header(&self, method: &[u8]) -> Option<&str> {
        self.known_method(|known| {
            let known = known.as_bytes();
            method != known && method.eq_ignore_ascii_case(known)
        })
    }

    #[inline]
    fn known_method(&self, is_meant: impl Fn(&str) -> bool) -> Option<&str> {
        let of_targets = [
            "tools/call",
            "prompts/get",
            "resources/read",
            "resources/subscribe",
            "resources/unsubscribe",
        ];
        let ruled = self.methods.0.iter().map(|(name, _)| &**name);
        ruled.chain(of_targets).find(|known| is_meant(known))
    }

    /// Returns `true` if the caller may perform the operation.
    #[inline]
    pub(super) fn admit(
        &self,
        caller: &Principal,
        head: RequestHead<'_>,
        operation: Operation<'_>,
    ) -> bool {
        match self.needed(operation) {
            Needed::Rules(of_method, of_target) => {
                of_method.is_none_or(|rule| rule.admits(caller, head))
                    && of_target.is_none_or(|rule| rule.admits(caller, head))
            }
            Needed::Unlisted(..) => false,
        }
    }

    /// Returns the refusal for a caller who may not perform all of the operations. It names the scopes of
    /// all operations together, so that the client needs one new token.
    #[cold]
    pub(super) fn refusal<'a>(
        &'a self,
        caller: &Principal,
        head: RequestHead<'_>,
        operations: impl Iterator<Item = Operation<'a>>,
    ) -> AuthError {
        let mut all: Vec<&Rule> = Vec::new();
        let mut unlisted = None;
        for operation in operations {
            match self.needed(operation) {
                Needed::Rules(of_method, of_target) => {
                    for rule in [of_method, of_target].into_iter().flatten() {
                        // A batch may repeat an operation many times.
                        if !all.iter().any(|held| ptr::eq(*held, rule)) {
                            all.push(rule);
                        }
                    }
                }
                Needed::Unlisted(kind, name) => unlisted = unlisted.or(Some((kind, name))),
            }
        }
        // No scope opens a thing without a rule.
        if let Some((kind, name)) = unlisted {
            let requirement = format!("a rule for the {kind} `{}`", shortened(name));
            return AuthError::forbidden(Reason::Rule, requirement);
        }
        let together = all.into_iter().cloned().reduce(Rule::and);
        let together = together.unwrap_or_else(Rule::authenticated);
        together.refusal(caller, head)
    }

    #[inline]
    fn needed<'a>(&'a self, operation: Operation<'a>) -> Needed<'a> {
        let of_method = operation
            .method
            .and_then(|method| self.methods.get(method))
            .or(self.other_methods.as_ref());
        let (kind, family) = match operation.method.and_then(Target::of) {
            Some(Target::Tool) => ("tool", &self.tools),
            Some(Target::Prompt) => ("prompt", &self.prompts),
            Some(Target::Resource) => ("resource", &self.resources),
            Some(Target::Task) | None => return Needed::Rules(of_method, None),
        };
        let name = operation.target.unwrap_or_default();
        match family.named.get(name).or(family.others.as_ref()) {
            Some(rule) => Needed::Rules(of_method, Some(rule)),
            None if family.named.is_empty() => Needed::Rules(of_method, None),
            None => Needed::Unlisted(kind, name),
        }
    }
}

/// Returns the name of a request for the log.
fn shortened(name: &[u8]) -> String {
    const LONGEST: usize = 64;

    let name = String::from_utf8_lossy(name);
    let shown: String = name
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_debug)
        .collect();
    match name.chars().nth(LONGEST) {
        Some(_) => shown + "…",
        None => shown,
    }
}
