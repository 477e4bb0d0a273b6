//! The bot: it repeats what it hears, and keeps a list of tasks for each conversation.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tower_jwt_auth::{error::StoreError, session::ClaimHook};

/// All conversations, each under the subject that it belongs to.
#[derive(Clone, Default)]
pub(crate) struct Bot(Arc<Mutex<HashMap<String, Conversation>>>);

#[derive(Clone, Default)]
struct Conversation {
    messages: Vec<Message>,
    tasks: Vec<Task>,
}

#[derive(Clone, Serialize)]
pub(crate) struct Message {
    from: &'static str,
    text: String,
    /// It was said before the user signed in, by whoever that was.
    from_guest: bool,
}

#[derive(Clone, Serialize)]
pub(crate) struct Task {
    title: String,
    done: bool,
}

impl Bot {
    /// Hears a message, and says what to answer.
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
        let mut all = self.all();
        let messages = &mut all.entry(owner.to_owned()).or_default().messages;
        for (from, text) in [("you", text), ("bot", &*reply)] {
            messages.push(Message {
                from,
                text: text.to_owned(),
                from_guest: !user,
            });
        }
        reply
    }

    pub(crate) fn history(&self, owner: &str) -> Vec<Message> {
        self.all()
            .get(owner)
            .map(|one| one.messages.clone())
            .unwrap_or_default()
    }

    pub(crate) fn tasks(&self, owner: &str) -> Vec<Task> {
        self.all()
            .get(owner)
            .map(|one| one.tasks.clone())
            .unwrap_or_default()
    }

    pub(crate) fn add(&self, owner: &str, title: &str) {
        let task = Task {
            title: title.to_owned(),
            done: false,
        };
        self.all()
            .entry(owner.to_owned())
            .or_default()
            .tasks
            .push(task);
    }

    /// Finishes a task by its number, from 1; `false` where there is none of it.
    pub(crate) fn finish(&self, owner: &str, number: usize) -> bool {
        let mut all = self.all();
        let task = all
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

    fn all(&self) -> MutexGuard<'_, HashMap<String, Conversation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClaimHook for Bot {
    /// What the guest had goes before what the user has. Called again, it finds nothing to move.
    async fn on_claim(&self, guest: &str, user: &str) -> Result<(), StoreError> {
        let mut all = self.all();
        if let Some(mut had) = all.remove(guest) {
            let has = all.entry(user.to_owned()).or_default();
            had.messages.append(&mut has.messages);
            had.tasks.append(&mut has.tasks);
            *has = had;
        }
        Ok(())
    }
}
