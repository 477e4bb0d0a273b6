//! The layer and its settings.

use std::sync::Arc;

use tower_layer::Layer;

use super::service::ChatService;
use crate::layer::{response::InnerAnswers, role_guard::Rule};

/// Inserts a [`ChatContext`](super::ChatContext) into the extensions of every request.
///
/// Put it inside an authenticating layer, which refuses invalid and revoked tokens. Make that layer
/// optional if anonymous visitors may chat. Without an authenticating layer every request gets a
/// 500, and so it does if the [rule](Self::manage) requires a value that no credential can contain.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing before it is put around a service"]
pub struct ChatLayer {
    pub(super) config: Arc<Config>,
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) manage: Option<Rule>,
    pub(super) anonymous: bool,
    /// The settings of the authenticating layer apply.
    pub(super) answers: InnerAnswers,
}

impl ChatLayer {
    /// Creates a layer that accepts every caller and lets no caller manage.
    pub fn new() -> Self {
        Self {
            config: Arc::new(Config {
                manage: None,
                anonymous: true,
                answers: InnerAnswers::default(),
            }),
        }
    }

    /// Sets the rule for [`ChatContext::can_manage`](super::ChatContext::can_manage). It is checked
    /// for users and guests alike. An anonymous caller never satisfies it. A token for a single
    /// conversation has no roles.
    pub fn manage(mut self, rule: Rule) -> Self {
        Arc::make_mut(&mut self.config).manage = Some(rule);
        self
    }

    /// Sets whether anonymous requests pass; `true` by default. Otherwise they get a 401.
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
        ChatService::new(inner, self.clone())
    }
}
