//! The builder of a guard.

use std::{borrow::Borrow, collections::HashSet, sync::Arc, time::Duration};

use super::{
    McpGuardLayer,
    guard::Config,
    refusal::Refusals,
    rules::{ByName, Family, Rules},
};
use crate::{
    error::ConfigError,
    event::EventSink,
    layer::{
        response::ErrorResponder,
        role_guard::{RoleHierarchy, Rule, ScopeHierarchy},
    },
};

/// A builder of an [`McpGuardLayer`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct McpGuardBuilder {
    methods: Vec<(String, Rule)>,
    tools: Named,
    prompts: Named,
    resources: Named,
    other_methods: Option<Rule>,
    roles: Option<RoleHierarchy>,
    scopes: Option<ScopeHierarchy>,
    trusts_headers: bool,
    requires_headers: bool,
    longest: usize,
    patience: Duration,
    refusals: Refusals,
}

#[derive(Clone, Debug, Default)]
struct Named {
    rules: Vec<(String, Rule)>,
    others: Option<Rule>,
}

impl McpGuardBuilder {
    pub(super) fn new() -> Self {
        Self {
            methods: Vec::new(),
            tools: Named::default(),
            prompts: Named::default(),
            resources: Named::default(),
            other_methods: None,
            roles: None,
            scopes: None,
            trusts_headers: false,
            requires_headers: false,
            longest: 1024 * 1024,
            patience: Duration::from_secs(30),
            refusals: Refusals::default(),
        }
    }

    /// Adds the rule for calls of a tool: `tools/call` with this `name`.
    ///
    /// As soon as any tool has a rule, tools without a rule are refused, unless
    /// [`other_tools`](Self::other_tools) sets one.
    pub fn tool(mut self, name: impl Into<String>, rule: Rule) -> Self {
        self.tools.rules.push((name.into(), rule));
        self
    }

    /// Sets the rule for tools without a rule.
    pub fn other_tools(mut self, rule: Rule) -> Self {
        self.tools.others = Some(rule);
        self
    }

    /// Adds the rule for a prompt: `prompts/get` with this `name`.
    ///
    /// As soon as any prompt has a rule, prompts without a rule are refused, unless
    /// [`other_prompts`](Self::other_prompts) sets one.
    pub fn prompt(mut self, name: impl Into<String>, rule: Rule) -> Self {
        self.prompts.rules.push((name.into(), rule));
        self
    }

    /// Sets the rule for prompts without a rule.
    pub fn other_prompts(mut self, rule: Rule) -> Self {
        self.prompts.others = Some(rule);
        self
    }

    /// Adds the rule for a resource: `resources/read`, `resources/subscribe` and `resources/unsubscribe` with
    /// this `uri`. It is compared byte for byte.
    ///
    /// As soon as any resource has a rule, resources without a rule are refused, unless
    /// [`other_resources`](Self::other_resources) sets one.
    pub fn resource(mut self, uri: impl Into<String>, rule: Rule) -> Self {
        self.resources.rules.push((uri.into(), rule));
        self
    }

    /// Sets the rule for resources without a rule.
    ///
    /// # Security
    ///
    /// A server may read several spellings of a URI as the same resource. If a resource has a stricter rule
    /// than this one, the server must compare URIs byte for byte.
    pub fn other_resources(mut self, rule: Rule) -> Self {
        self.resources.others = Some(rule);
        self
    }

    /// Adds the rule for a method, such as `tools/list` or `completion/complete`. A call of a tool must
    /// satisfy the rule of `tools/call`, if there is one, and that of the tool. The same holds for prompts
    /// and resources.
    pub fn method(mut self, method: impl Into<String>, rule: Rule) -> Self {
        self.methods.push((method.into(), rule));
        self
    }

    /// Sets the rule for methods without a rule, for responses of the client, and for requests without a
    /// message, such as the `GET` that opens a stream. The default is [`Rule::authenticated`].
    ///
    /// This rule applies to `initialize`, `server/discover` and `ping` too, without which no client can
    /// connect.
    pub fn other_methods(mut self, rule: Rule) -> Self {
        self.other_methods = Some(rule);
        self
    }

    /// Sets the role hierarchy, for the rules of all methods and things. A second call replaces it.
    pub fn hierarchy(mut self, hierarchy: impl Borrow<RoleHierarchy>) -> Self {
        self.roles = Some(hierarchy.borrow().clone());
        self
    }

    /// Sets the scope hierarchy, for the rules of all methods and things. A broader scope then satisfies a
    /// rule that names a narrower one, and a refusal still names the narrower one. A second call replaces
    /// it.
    pub fn scope_hierarchy(mut self, hierarchy: impl Borrow<ScopeHierarchy>) -> Self {
        self.scopes = Some(hierarchy.borrow().clone());
        self
    }

    /// Judges a request by `Mcp-Method` and `Mcp-Name` alone, without its body, if it has exactly one
    /// `MCP-Protocol-Version` of 2026-07-28 or later and the headers that its method needs. Other
    /// requests are judged by the body.
    ///
    /// # Security
    ///
    /// Only for a server that compares these headers with the message, as servers of these versions must.
    /// The [`StreamableHttpService`] of `rmcp` does. Otherwise a caller can name one tool in the header, and
    /// call another one in the body.
    ///
    /// [`StreamableHttpService`]: https://docs.rs/rmcp/latest/rmcp/transport/streamable_http_server/tower/struct.StreamableHttpService.html
    pub fn trust_headers(mut self) -> Self {
        self.trusts_headers = true;
        self
    }

    /// Refuses messages without exactly one `MCP-Protocol-Version` of 2026-07-28 or later and the headers
    /// that their methods need, with 403. Clients of older protocol versions cannot connect then.
    pub fn require_headers(mut self) -> Self {
        self.requires_headers = true;
        self
    }

    /// Sets the longest body that is read, in bytes: 1 MiB by default. A longer one is refused with 413.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.longest = bytes;
        self
    }

    /// Sets the time for which a body is read: 30 seconds by default. A slower one is refused with 408.
    pub fn body_timeout(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// Sets the realm in challenges (RFC 9110 §11.5). The default is that of the authenticating layer.
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.refusals.realm(realm.into());
        self
    }

    /// Sets the responder for refused callers. The default is that of the authenticating layer. The refusal
    /// of a message (400, 408, 413, 415) is always a JSON-RPC error.
    pub fn responder(mut self, responder: impl ErrorResponder) -> Self {
        self.refusals.responder(responder);
        self
    }

    /// Removes the explanation from refusals. The error code stays.
    pub fn terse(mut self) -> Self {
        self.refusals.terse();
        self
    }

    /// Sets the event sink for refusals. The default is the sink of the authenticating layer.
    pub fn events(mut self, sink: impl EventSink) -> Self {
        self.refusals.events(sink);
        self
    }

    /// Creates the guard.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if a name is empty or has two rules, a rule has a mistake, or a limit is
    /// zero.
    pub fn build(self) -> Result<McpGuardLayer, ConfigError> {
        if self.longest == 0 {
            return Err(ConfigError::invalid("max_body", "zero"));
        }
        if self.patience.is_zero() {
            return Err(ConfigError::invalid("body_timeout", "zero"));
        }
        let mut rules = Rules {
            methods: distinct("method", self.methods)?,
            other_methods: self.other_methods,
            tools: self.tools.family("tool")?,
            prompts: self.prompts.family("prompt")?,
            resources: self.resources.family("resource")?,
        };
        if let Some(fault) = rules.fault() {
            return Err(ConfigError::invalid("rule", fault));
        }
        if let Some(hierarchy) = &self.roles {
            rules.apply_roles(hierarchy);
        }
        if let Some(hierarchy) = &self.scopes {
            rules.apply_scopes(hierarchy);
        }
        let config = Config {
            rules,
            trusts_headers: self.trusts_headers,
            requires_headers: self.requires_headers,
            longest: self.longest,
            patience: self.patience,
            refusals: self.refusals,
        };
        Ok(McpGuardLayer {
            config: Arc::new(config),
        })
    }
}

impl Named {
    fn family(self, setting: &'static str) -> Result<Family, ConfigError> {
        Ok(Family {
            named: distinct(setting, self.rules)?,
            others: self.others,
        })
    }
}

fn distinct(setting: &'static str, rules: Vec<(String, Rule)>) -> Result<ByName, ConfigError> {
    let mut names = HashSet::new();
    for (name, _) in &rules {
        if name.is_empty() {
            return Err(ConfigError::invalid(setting, "an empty name"));
        }
        if !names.insert(name.as_str()) {
            return Err(ConfigError::invalid(
                setting,
                format!("two rules for {name:?}"),
            ));
        }
    }
    let rules = rules
        .into_iter()
        .map(|(name, rule)| (name.into_boxed_str(), rule))
        .collect();
    Ok(ByName::new(rules))
}
