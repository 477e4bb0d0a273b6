//! Keys that are not there at first.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tower_jwt_auth::{
    key::{KeyLookup, KeyMatch, KeyNotifier, KeyQuery, KeySource, KeyWait, VerifyingKey},
    test_util::TestKeys,
};

use super::tokens::ALGORITHM;

/// A source that lets every look-up wait until [`arrive`](Self::arrive).
#[derive(Clone, Default)]
pub(crate) struct LateKeys {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    keys: Mutex<Keys>,
    asked: Notify,
}

#[derive(Default)]
struct Keys {
    key: Option<Arc<VerifyingKey>>,
    waiting: Vec<KeyNotifier>,
}

impl LateKeys {
    /// Until somebody waits for a key.
    pub(crate) async fn asked(&self) {
        self.state.asked.notified().await;
    }

    /// The key is here: whoever waits goes on, whoever comes does not wait.
    pub(crate) fn arrive(&self) {
        let mut keys = self.state.keys.lock().unwrap();
        keys.key = Some(Arc::new(TestKeys::new().verifying_key(ALGORITHM)));
        keys.waiting.drain(..).for_each(KeyNotifier::notify);
    }

    /// Whoever waits goes on without a key.
    pub(crate) fn give_up(&self) {
        self.state.keys.lock().unwrap().waiting.clear();
    }
}

impl KeySource for LateKeys {
    fn lookup(&self, _: &KeyQuery<'_>) -> KeyLookup {
        let mut keys = self.state.keys.lock().unwrap();
        if let Some(key) = &keys.key {
            return KeyLookup::Found(KeyMatch::from(Arc::clone(key)));
        }
        let (news, wait) = KeyWait::new();
        keys.waiting.push(news);
        self.state.asked.notify_one();
        KeyLookup::Wait(wait)
    }
}
