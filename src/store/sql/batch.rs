//! Group commit of refreshes.
//!
//! A refresh is one small write. Most of its cost is the commit, which is the same for one row and for
//! a hundred. One statement therefore advances all sessions whose callers queued while earlier
//! statements ran:
//!
//! - At most [`Dialect::TURNS`] of these statements run at a time. A caller that finds a free turn runs
//!   a statement for its own session, without a task and without a delay.
//! - Other callers queue. When a turn ends, everything in the queue becomes the next statement. A
//!   separate task runs it, so that no caller can cancel the write of another one. Nothing waits for a
//!   batch to fill.
//! - A turn is a value whose destructor passes it on. An error, a panic or the cancellation of a caller
//!   therefore never leaves the queue without a runner.
//! - A batch contains a session once. Callers with the same session, generation and key share its
//!   place: the first one gets the result, and the others get `None`, as if they had come later. `None`
//!   means that the caller loads the session and decides. A caller with the same session and another
//!   generation or key gets `None` immediately: a result that it shared would accept its token.
//! - A failed statement fails all members with the same kind of error.
//! - A batch leaves out rows that another transaction has locked, so that one locked row does not delay
//!   the other sessions. Their callers get `None`, load the session, and wait for the row by
//!   themselves. A single statement waits for the row, but passes its turn on after [`PATIENCE`].

use std::{
    collections::{HashMap, VecDeque},
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::oneshot, time};

use super::{Columns, Dialect, Statement, Value};
use crate::{
    error::{StoreError, StoreErrorKind},
    principal::SessionId,
    store::port::LoadedSession,
};

/// The advance of a session from its live generation.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Advance {
    pub(super) id: SessionId,
    pub(super) live: i64,
    pub(super) grace_millis: i64,
    pub(super) bound_key: Option<String>,
}

/// The changed session, or `None` if nothing was changed.
type Advanced = Result<Option<LoadedSession>, StoreError>;

/// The callers that wait for a turn.
pub(super) struct Queue(Mutex<State>);

struct State {
    free_turns: usize,
    waiting: VecDeque<Member>,
}

/// A session in the queue or in a batch, with its callers.
struct Member {
    advance: Advance,
    since: Instant,
    callers: Vec<oneshot::Sender<Advanced>>,
}

enum Entry<D: Dialect> {
    Turn(Turn<D>),
    Queued(oneshot::Receiver<Advanced>),
}

/// The permission to run one statement. The destructor passes it on.
struct Turn<D: Dialect> {
    db: D,
    queue: Arc<Queue>,
    batch: &'static Statement,
}

/// The members of a statement that was sent. The destructor fails those without a result.
struct Sent(Vec<Member>);

/// Advances a session, alone or in a batch. Both statements return the changed rows. `one` takes the
/// values of [`Advance::values`], `batch` a JSON array of the values of [`Advance::as_json`].
pub(super) async fn advance<D: Dialect>(
    db: &D,
    queue: &Arc<Queue>,
    [one, batch]: [&'static Statement; 2],
    advance: &Advance,
) -> Advanced {
    loop {
        match Queue::enter(queue, db, batch, advance) {
            Entry::Turn(turn) => {
                let values = advance.values();
                let mut row = pin!(db.row(one, &values));
                let in_time = time::timeout(PATIENCE, &mut row).await;
                drop(turn);
                let row = match in_time {
                    Ok(row) => row,
                    Err(_) => row.await,
                };
                return row?.map(|row| Columns(&row).loaded()).transpose();
            }
            Entry::Queued(reply) => {
                if let Ok(advanced) = reply.await {
                    return advanced;
                }
                // The runtime of the turn ended before it sent the statement.
            }
        }
    }
}

impl Queue {
    pub(super) fn new(turns: usize) -> Self {
        Self(Mutex::new(State {
            free_turns: turns,
            waiting: VecDeque::new(),
        }))
    }

    fn enter<D: Dialect>(
        queue: &Arc<Self>,
        db: &D,
        batch: &'static Statement,
        advance: &Advance,
    ) -> Entry<D> {
        let mut state = queue.lock();
        if let Some(left) = state.free_turns.checked_sub(1) {
            state.free_turns = left;
            return Entry::Turn(Turn {
                db: db.clone(),
                queue: Arc::clone(queue),
                batch,
            });
        }
        let (sender, receiver) = oneshot::channel();
        let mut waiting = state.waiting.iter_mut();
        match waiting.find(|member| member.advance.id == advance.id) {
            Some(member) if member.advance == *advance => member.callers.push(sender),
            Some(_) => drop(sender.send(Ok(None))),
            None => state.waiting.push_back(Member {
                advance: advance.clone(),
                since: Instant::now(),
                callers: vec![sender],
            }),
        }
        Entry::Queued(receiver)
    }

    /// Returns the next batch. Frees the turn if there is none.
    fn next(&self) -> Option<Vec<Member>> {
        let mut late = Vec::new();
        let mut batch = Vec::new();
        {
            let mut state = self.lock();
            while batch.len() < LARGEST
                && let Some(member) = state.waiting.pop_front()
            {
                if member.since.elapsed() > LONGEST_WAIT {
                    late.push(member);
                } else if member.callers.iter().any(|caller| !caller.is_closed()) {
                    batch.push(member);
                }
            }
            if batch.is_empty() {
                state.free_turns += 1;
            }
        }
        fail(
            late,
            StoreError::unavailable("earlier refreshes took too long"),
        );
        (!batch.is_empty()).then_some(batch)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Dialect> Turn<D> {
    async fn run(self, batch: Vec<Member>) {
        let mut sent = Sent(batch);
        let advances = sent.0.iter().map(|member| member.advance.as_json());
        let rows = match serde_json::to_string(&advances.collect::<Vec<_>>()) {
            Ok(advances) => self.db.rows(self.batch, &[(&advances).into()]).await,
            Err(error) => Err(StoreError::invalid(error)),
        };
        let members = mem::take(&mut sent.0);
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => return fail(members, error),
        };
        let rows = rows.iter().map(Columns);
        let mut rows: HashMap<_, _> = rows
            .filter_map(|row| Some((row.session_id().ok()?, row)))
            .collect();
        for member in members {
            let row = rows.remove(&member.advance.id);
            member.reply(row.map(|row| row.loaded()).transpose());
        }
    }
}

impl<D: Dialect> Drop for Turn<D> {
    fn drop(&mut self) {
        let Some(batch) = self.queue.next() else {
            return;
        };
        let turn = Self {
            db: self.db.clone(),
            queue: Arc::clone(&self.queue),
            batch: self.batch,
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(turn.run(batch));
        }
        // Without a runtime, the callers of the batch enter again, and this turn passes on as well.
    }
}

impl Advance {
    fn values(&self) -> [Value<'_>; 4] {
        [
            self.id.as_bytes().into(),
            self.live.into(),
            self.grace_millis.into(),
            self.bound_key.as_deref().into(),
        ]
    }

    /// The session id in hex, the generation, the grace time and the key.
    fn as_json(&self) -> (String, i64, i64, Option<&str>) {
        let key = self.bound_key.as_deref();
        (self.id.to_string(), self.live, self.grace_millis, key)
    }
}

impl Member {
    /// Gives the result to the first caller that still waits, and `None` to the others.
    fn reply(self, advanced: Advanced) {
        let mut advanced = advanced;
        for caller in self.callers {
            if let Err(unread) = caller.send(mem::replace(&mut advanced, Ok(None))) {
                advanced = unread;
            }
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let members = mem::take(&mut self.0);
        if !members.is_empty() {
            let lost = StoreError::interrupted("the task of the statement ended");
            fail(members, lost);
        }
    }
}

/// Gives all callers of the members an error of the same kind.
fn fail(members: Vec<Member>, error: StoreError) {
    let kind = error.kind();
    let error = Arc::new(error);
    for caller in members.into_iter().flat_map(|member| member.callers) {
        let error = Arc::clone(&error);
        let _ = caller.send(Err(match kind {
            StoreErrorKind::Unavailable => StoreError::unavailable(error),
            StoreErrorKind::Interrupted => StoreError::interrupted(error),
            StoreErrorKind::Invalid => StoreError::invalid(error),
        }));
    }
}

/// The maximum number of sessions in a statement.
const LARGEST: usize = 128;
/// The time after which a statement that waits for a locked row passes its turn on.
const PATIENCE: Duration = Duration::from_millis(100);
/// The maximum time in the queue: the time for which other calls wait for a connection.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
