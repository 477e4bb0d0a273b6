//! The bot, which repeats messages and keeps a list of tasks for each conversation.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tower_jwt_auth::{error::StoreError, server::session::ClaimHook};

/// All conversations, by the subject that owns them.
#[derive(Clone, Default)]
pub(crate) struct Bot(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    all: HashMap<String, Conversation>,
    /// The most recently claimed guests and their users. A message that is in progress while its guest is
    /// claimed is added to the user's conversation.
    claimed: VecDeque<(String, String)>,
}

#[derive(Clone, Default)]
struct Conversation {
    messages: VecDeque<Message>,
    tasks: VecDeque<Task>,
}

#[derive(Clone, Serialize)]
pub(crate) struct Message {
    from: &'static str,
    text: String,
    /// `true` if a guest wrote the message, before the user signed in.
    from_guest: bool,
}

#[derive(Clone, Serialize)]
pub(crate) struct Task {
    title: String,
    done: bool,
}

impl Bot {
    /// Takes a message and returns the answer.
    pub(crate) fn hear(&self, owner: &str, user: bool, text: &str) -> String {
        let reply = match text.trim().split_once(' ').unwrap_or((text.trim(), "")) {
            ("tasks", "") => self.list(owner),
            ("add", title) if user && !title.is_empty() => {
                self.add(owner, title);
                format!("Added: {title}")
            }
            ("add", _) if !user => "Sign in to add tasks; what you said here stays.".to_owned(),
            ("done", number) if user => match number.parse() {
                Ok(number) if self.finish(owner, number) => format!("Task {number} is done."),
                _ => format!("There is no task {number}."),
            },
            _ => format!("You said: {text}"),
        };
        let mut kept = self.kept();
        let one = kept.of(owner);
        for (from, text) in [("you", text), ("bot", &*reply)] {
            one.messages.push_back(Message {
                from,
                text: text.to_owned(),
                from_guest: !user,
            });
        }
        one.trim();
        reply
    }

    pub(crate) fn history(&self, owner: &str) -> Vec<Message> {
        let kept = self.kept();
        let one = kept.all.get(owner);
        one.map_or_else(Vec::new, |one| one.messages.iter().cloned().collect())
    }

    pub(crate) fn tasks(&self, owner: &str) -> Vec<Task> {
        let kept = self.kept();
        let one = kept.all.get(owner);
        one.map_or_else(Vec::new, |one| one.tasks.iter().cloned().collect())
    }

    pub(crate) fn add(&self, owner: &str, title: &str) {
        let task = Task {
            title: title.to_owned(),
            done: false,
        };
        let mut kept = self.kept();
        let one = kept.of(owner);
        one.tasks.push_back(task);
        one.trim();
    }

    /// Completes the task with this number, starting at 1. Returns `false` if there is no such task.
    pub(crate) fn finish(&self, owner: &str, number: usize) -> bool {
        let mut kept = self.kept();
        let task = kept
            .all
            .get_mut(owner)
            .zip(number.checked_sub(1))
            .and_then(|(one, index)| one.tasks.get_mut(index));
        task.map(|task| task.done = true).is_some()
    }

    fn list(&self, owner: &str) -> String {
        let tasks = self.tasks(owner);
        if tasks.is_empty() {
            return "There are no tasks.".to_owned();
        }
        let lines = tasks.iter().enumerate().map(|(index, task)| {
            let mark = if task.done { "done" } else { "open" };
            format!("{}. {} ({mark})", index + 1, task.title)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Returns the subject's conversation. If there is no room for a new one, another one is removed.
    fn of(&mut self, owner: &str) -> &mut Conversation {
        let user = self.claimed.iter().find(|(guest, _)| guest == owner);
        let owner = user.map_or_else(|| owner.to_owned(), |(_, user)| user.clone());
        if self.all.len() >= CONVERSATIONS
            && !self.all.contains_key(&owner)
            && let Some(other) = self.all.keys().next().cloned()
        {
            self.all.remove(&other);
        }
        self.all.entry(owner).or_default()
    }
}

impl Conversation {
    fn trim(&mut self) {
        let (messages, tasks) = (self.messages.len(), self.tasks.len());
        self.messages.drain(..messages.saturating_sub(MESSAGES));
        self.tasks.drain(..tasks.saturating_sub(TASKS));
    }
}

impl ClaimHook for Bot {
    /// Puts the guest's messages before the user's. A second call finds nothing to move.
    async fn on_claim(&self, guest: &str, user: &str) -> Result<(), StoreError> {
        let mut kept = self.kept();
        if !kept.claimed.iter().any(|(known, _)| known == guest) {
            kept.claimed.truncate(CONVERSATIONS - 1);
            kept.claimed.push_front((guest.to_owned(), user.to_owned()));
        }
        if let Some(mut had) = kept.all.remove(guest) {
            let has = kept.of(user);
            had.messages.append(&mut has.messages);
            had.tasks.append(&mut has.tasks);
            *has = had;
            has.trim();
        }
        Ok(())
    }
}

const CONVERSATIONS: usize = 1000;
const MESSAGES: usize = 20;
const TASKS: usize = 20;
