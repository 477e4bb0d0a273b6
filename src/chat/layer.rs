//! The layer: who may manage, and whether nobody may come in.

use std::sync::Arc;

use tower_layer::Layer;

use super::service::ChatService;
use crate::role_guard::Rule;

/// Leaves a [`ChatContext`](super::ChatContext) in the extensions of every request.
///
/// It stands inside a layer that authenticates, an optional one where a chat begins without a token.
/// That one refuses bad and revoked tokens; where none ran, the answer is 500. So it is where the
/// [rule](Self::manage) names what no credential can hold.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing before it is put around a service"]
pub struct ChatLayer {
    config: Arc<Config>,
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) manage: Option<Rule>,
    pub(super) anonymous: bool,
}

impl ChatLayer {
    /// Lets everybody chat, and nobody manage.
    pub fn new() -> Self {
        Self {
            config: Arc::new(Config {
                manage: None,
                anonymous: true,
            }),
        }
    }

    /// Who may manage: [`ChatContext::can_manage`](super::ChatContext::can_manage). It is asked of
    /// guests as of users; nobody never satisfies it. A token for a single conversation has no roles.
    pub fn manage(mut self, rule: Rule) -> Self {
        Arc::make_mut(&mut self.config).manage = Some(rule);
        self
    }

    /// Whether requests of nobody pass, `true` by default; otherwise they are answered with 401.
    pub fn anonymous(mut self, pass: bool) -> Self {
        Arc::make_mut(&mut self.config).anonymous = pass;
        self
    }
}

impl Default for ChatLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ChatLayer {
    type Service = ChatService<S>;

    fn layer(&self, inner: S) -> ChatService<S> {
        ChatService::new(inner, Arc::clone(&self.config))
    }
}
