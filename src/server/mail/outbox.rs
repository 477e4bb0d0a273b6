//! The queue between requests and the mailer.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout},
};

use super::{
    MailError,
    letter::{Letter, Letters, Written},
    mailer::ErasedMailer,
};
use crate::{
    event::{Events, MailEvent, MailFailure, MailPurpose},
    task::{self, Task, caught},
};

/// A bounded queue of letters, and the tasks that write and send them.
pub(super) struct Outbox {
    sender: mpsc::UnboundedSender<Queued>,
    /// The free places in the queue, letters that are being sent included.
    room: Arc<Semaphore>,
    places: u32,
    events: Events,
}

/// A place in the queue, taken before the request is counted.
#[derive(Debug)]
pub(super) struct Place(OwnedSemaphorePermit);

/// The parts that the tasks need.
pub(super) struct Post {
    pub(super) letters: Letters,
    pub(super) mailer: Arc<dyn ErasedMailer>,
    pub(super) timeout: Duration,
    pub(super) events: Events,
}

impl Outbox {
    /// Starts the tasks, which end when the outbox is dropped and the queue is empty.
    pub(super) fn start(runtime: &Handle, post: Post, places: u32) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let events = post.events.clone();
        let (post, receiver) = (Arc::new(post), Arc::new(Mutex::new(receiver)));
        let ends = Arc::new(OnceLock::new());
        for _ in 0..WORKERS {
            let worker = Worker {
                post: Arc::clone(&post),
                receiver: Arc::clone(&receiver),
                ends: Arc::clone(&ends),
            };
            task::spawn(runtime, worker);
        }
        Self {
            sender,
            room: Arc::new(Semaphore::new(places as usize)),
            places,
            events,
        }
    }

    /// Returns a place, unless the queue is full.
    pub(super) fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.room).try_acquire_owned();
        permit.ok().map(Place)
    }

    /// Queues a letter at a place.
    pub(super) fn put(&self, Place(permit): Place, letter: Letter) {
        let queued = Queued {
            letter,
            events: self.events.clone(),
            is_settled: false,
            _place: permit,
        };
        // If the tasks are gone with their runtime, the drop of the letter reports it.
        let _ = self.sender.send(queued);
    }

    /// Reports a letter that found no place.
    pub(super) fn lose(&self, letter: &Letter) {
        lost(&self.events, letter, MailFailure::QueueFull, None);
    }

    /// Waits until the queue is empty. Returns `false` if the time is over before.
    pub(super) async fn flush(&self, within: Duration) -> bool {
        let all = self.room.acquire_many(self.places);
        timeout(within, all).await.is_ok()
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("free", &self.room.available_permits())
            .finish_non_exhaustive()
    }
}

/// A letter in the queue. If it is dropped before it is settled, it is reported as lost.
struct Queued {
    letter: Letter,
    events: Events,
    is_settled: bool,
    _place: OwnedSemaphorePermit,
}

impl Drop for Queued {
    fn drop(&mut self) {
        if !self.is_settled {
            lost(&self.events, &self.letter, MailFailure::Stopped, None);
        }
    }
}

struct Worker {
    post: Arc<Post>,
    receiver: Arc<Mutex<mpsc::UnboundedReceiver<Queued>>>,
    /// The time after which the rest of the queue is dropped, once the outbox is gone.
    ends: Arc<OnceLock<Instant>>,
}

impl Task for Worker {
    const NAME: &'static str = "mail";

    async fn run(&mut self) {
        while let Some((queued, is_closed)) = self.next().await {
            if is_closed {
                let ends = self.ends.get_or_init(|| Instant::now() + REST);
                if Instant::now() >= *ends {
                    continue;
                }
            }
            self.post.deliver(queued).await;
        }
    }
}

impl Worker {
    async fn next(&self) -> Option<(Queued, bool)> {
        let mut receiver = self.receiver.lock().await;
        let queued = receiver.recv().await?;
        Some((queued, receiver.is_closed()))
    }
}

impl Post {
    async fn deliver(&self, mut queued: Queued) {
        let outcome = self.send(&queued.letter).await;
        queued.is_settled = true;
        match outcome {
            Ok(event) => self.events.mail(|| event),
            Err(Lost { reason, cause }) => {
                lost(&self.events, &queued.letter, reason, cause.as_deref());
            }
        }
    }

    async fn send(&self, letter: &Letter) -> Result<MailEvent, Lost> {
        let purpose = letter.purpose();
        let written = timeout(self.timeout, caught(STORE, self.letters.write(letter)));
        let mail = match written.await {
            Ok(Ok(Ok(Written::Mail(mail)))) => mail,
            Ok(Ok(Ok(Written::Skipped { subject, reason }))) => {
                return Ok(MailEvent::Skipped {
                    purpose,
                    subject,
                    reason,
                });
            }
            Ok(Ok(Err(error))) => return Err(Lost::by(MailFailure::Store, error.causes())),
            Ok(Err(panicked)) => return Err(Lost::by(MailFailure::Store, panicked)),
            Err(late) => return Err(Lost::by(MailFailure::TimedOut, late)),
        };
        let sent = timeout(self.timeout, caught(MAILER, self.mailer.send(&mail)));
        match sent.await {
            Ok(Ok(Ok(()))) => Ok(MailEvent::Sent {
                purpose,
                subject: mail.user.clone(),
            }),
            Ok(Ok(Err(error))) => Err(Lost::by(MailFailure::Refused, error)),
            Ok(Err(panicked)) => Err(Lost::by(MailFailure::Panicked, panicked)),
            Err(late) => Err(Lost::by(MailFailure::TimedOut, late)),
        }
    }
}

/// The reason for which a letter was not sent, and its cause for the log.
struct Lost {
    reason: MailFailure,
    cause: Option<MailError>,
}

impl Lost {
    fn by(reason: MailFailure, cause: impl Into<MailError>) -> Self {
        Self {
            reason,
            cause: Some(cause.into()),
        }
    }
}

fn lost(
    events: &Events,
    letter: &Letter,
    reason: MailFailure,
    cause: Option<&(dyn std::error::Error + Send + Sync)>,
) {
    let purpose = letter.purpose();
    log(purpose, reason, cause);
    events.mail(|| MailEvent::Failed {
        purpose,
        subject: letter.subject().map(str::to_owned),
        reason,
    });
}

fn log(
    purpose: MailPurpose,
    reason: MailFailure,
    cause: Option<&(dyn std::error::Error + Send + Sync)>,
) {
    #[cfg(feature = "tracing")]
    {
        let (purpose, reason) = (purpose.as_str(), reason.as_str());
        let cause = cause.map(ToString::to_string);
        tracing::error!(purpose, reason, cause, "a mail was lost");
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (purpose, reason, cause);
}

const STORE: &str = "store of a mail";
const MAILER: &str = "mailer";
/// The number of mails that are sent at a time, so that one slow mail does not delay the others.
const WORKERS: usize = 4;
/// The time for the rest of the queue after the outbox was dropped.
const REST: Duration = Duration::from_secs(5);
