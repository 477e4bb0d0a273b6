//! Group commit of refreshes.
//!
//! A refresh is one small write. Most of its cost is the commit in SQL, and the call of the script in
//! Redis. Both are the same for one session and for a hundred. One call of the store therefore advances
//! all sessions whose callers queued while earlier calls ran:
//!
//! - A limited number of these calls run at a time, each in a separate task, so that no caller can cancel
//!   the write of another one. A caller that finds a free turn starts the task. It yields once to the
//!   runtime, so that all callers that are ready to run enter the queue, and makes the call for the
//!   queue, up to [`Advancer::LARGEST`]. Nothing waits longer for a batch to fill.
//! - When a turn ends, the callers that queued meanwhile are the next call.
//! - A turn is a value whose destructor passes it on. An error, a panic or the end of a runtime therefore
//!   never leaves the queue without a runner.
//! - A batch contains a session once. Callers with the same session, generation and key share its
//!   place: the first one gets the result, and the others get `None`, as if they had come later. `None`
//!   means that the caller loads the session and decides. A caller with the same session and another
//!   generation or key gets `None` immediately: a result that it shared would accept its token.
//! - A failed call fails all members with the same kind of error.
//! - A batch of SQL leaves out rows that another transaction has locked, so that one locked row does not
//!   delay the other sessions. Their callers get `None`, load the session, and wait for the row by
//!   themselves. A call for one session waits for the row, but passes its turn on after [`PATIENCE`].

use std::{
    collections::VecDeque,
    future::Future,
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::oneshot, task, time};

use super::port::{LoadedSession, UserStanding};
use crate::{
    error::{StoreError, StoreErrorKind},
    principal::SessionId,
};

/// A store that advances sessions, one or many in a call.
pub(in crate::store) trait Advancer: Clone + Send + Sync + 'static {
    /// The maximum number of sessions in a call.
    const LARGEST: usize;
    /// The maximum number of sessions in the queue.
    const WAITING: usize;
    /// `true` if a call for one session may wait for a row that another transaction has locked.
    const WAITS_FOR_ROWS: bool;

    /// Advances one session.
    fn one(&self, advance: &Advance) -> impl Future<Output = Advanced> + Send;

    /// Advances different sessions. Returns their results in this order.
    fn many(
        &self,
        advances: &[Advance],
    ) -> impl Future<Output = Result<Vec<Advanced>, StoreError>> + Send;
}

/// The advance of a session from its live generation.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::store) struct Advance {
    pub(in crate::store) id: SessionId,
    pub(in crate::store) live: i64,
    pub(in crate::store) grace_millis: i64,
    pub(in crate::store) bound_key: Option<String>,
}

/// The changed session, with the standing of its subject if the store reads it, or `None` if nothing
/// was changed.
pub(in crate::store) type Advanced =
    Result<Option<(LoadedSession, Option<UserStanding>)>, StoreError>;

/// The callers that wait for a turn.
pub(in crate::store) struct Queue(Mutex<State>);

struct State {
    free_turns: usize,
    /// A turn waits for more callers before its call.
    is_gathering: bool,
    waiting: VecDeque<Member>,
}

/// A session in the queue or in a batch, with its callers.
struct Member {
    advance: Advance,
    since: Instant,
    callers: Vec<oneshot::Sender<Advanced>>,
}

/// The permission to make one call. The destructor passes it on.
struct Turn<A: Advancer> {
    store: A,
    queue: Arc<Queue>,
    is_gathering: bool,
}

/// The members of a call that was made. The destructor fails those without a result.
struct Sent(Vec<Member>);

/// Advances a session, alone or in a batch.
pub(in crate::store) async fn advance<A: Advancer>(
    store: &A,
    queue: &Arc<Queue>,
    advance: &Advance,
) -> Advanced {
    for _ in 0..TRIES {
        let (reply, turn) = Queue::enter(queue, store, advance)?;
        if let Some(turn) = turn {
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(turn.run())),
                Err(_) => turn.run().await,
            }
        }
        if let Ok(advanced) = reply.await {
            return advanced;
        }
        // The runtime of the turn ended before the call.
    }
    Err(StoreError::unavailable("the runtime of the refresh ended"))
}

impl Queue {
    /// Creates an empty queue for a store that makes this number of calls at a time.
    pub(in crate::store) fn new(turns: usize) -> Self {
        Self(Mutex::new(State {
            free_turns: turns,
            is_gathering: false,
            waiting: VecDeque::new(),
        }))
    }

    /// Queues a caller. Returns a turn as well, if one is free and no other one gathers callers.
    fn enter<A: Advancer>(
        queue: &Arc<Self>,
        store: &A,
        advance: &Advance,
    ) -> Result<(oneshot::Receiver<Advanced>, Option<Turn<A>>), StoreError> {
        let mut state = queue.lock();
        let (sender, receiver) = oneshot::channel();
        let is_full = state.waiting.len() >= A::WAITING;
        let mut waiting = state.waiting.iter_mut();
        match waiting.find(|member| member.advance.id == advance.id) {
            Some(member) if member.advance == *advance => member.callers.push(sender),
            Some(_) => drop(sender.send(Ok(None))),
            None if is_full => {
                return Err(StoreError::unavailable("too many concurrent refreshes"));
            }
            None => state.waiting.push_back(Member {
                advance: advance.clone(),
                since: Instant::now(),
                callers: vec![sender],
            }),
        }
        let has_turn = state.free_turns > 0 && !state.is_gathering;
        if has_turn {
            state.free_turns -= 1;
            state.is_gathering = true;
        }
        let turn = has_turn.then(|| Turn {
            store: store.clone(),
            queue: Arc::clone(queue),
            is_gathering: true,
        });
        Ok((receiver, turn))
    }

    /// Returns the next batch, which may be empty.
    fn next(&self, largest: usize) -> Vec<Member> {
        let mut late = Vec::new();
        let mut batch = Vec::new();
        {
            let mut state = self.lock();
            state.is_gathering = false;
            while batch.len() < largest
                && let Some(member) = state.waiting.pop_front()
            {
                if member.since.elapsed() > LONGEST_WAIT {
                    late.push(member);
                } else if member.callers.iter().any(|caller| !caller.is_closed()) {
                    batch.push(member);
                }
            }
        }
        fail(
            late,
            StoreError::unavailable("earlier refreshes took too long"),
        );
        batch
    }

    /// Takes a turn back. Returns `true` if it must run again, for callers that wait.
    fn passes_on(&self) -> bool {
        let mut state = self.lock();
        // A turn that gathers takes them.
        let again = !state.waiting.is_empty() && !state.is_gathering;
        match again {
            true => state.is_gathering = true,
            false => state.free_turns += 1,
        }
        again
    }

    /// Takes a turn back whose runtime ended while it gathered. The callers enter again.
    fn give_up(&self) {
        let waiting = {
            let mut state = self.lock();
            state.is_gathering = false;
            state.free_turns += 1;
            mem::take(&mut state.waiting)
        };
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Advancer> Turn<A> {
    /// Lets every task that is ready to run enter the queue, and makes the call for all that did.
    async fn run(mut self) {
        task::yield_now().await;
        let batch = self.queue.next(A::LARGEST);
        self.is_gathering = false;
        let sent = Sent(batch);
        match &*sent.0 {
            [] => {}
            [member] => {
                let advance = member.advance.clone();
                self.call(sent, advance).await;
            }
            members => {
                let advances = members.iter().map(|member| member.advance.clone());
                let advances: Vec<_> = advances.collect();
                let advanced = self.store.many(&advances).await;
                sent.reply(advanced);
            }
        }
    }

    /// Makes the call for one session. If it takes long, the turn is passed on before it ends.
    async fn call(self, sent: Sent, advance: Advance) {
        let store = self.store.clone();
        let mut advanced = pin!(store.one(&advance));
        let in_time = match A::WAITS_FOR_ROWS {
            true => time::timeout(PATIENCE, &mut advanced).await.ok(),
            // A timer would be set and cleared at every call.
            false => Some(advanced.as_mut().await),
        };
        drop(self);
        let advanced = match in_time {
            Some(advanced) => advanced,
            None => advanced.await,
        };
        if let Some(member) = sent.answered().pop() {
            member.reply(advanced);
        }
    }
}

impl<A: Advancer> Drop for Turn<A> {
    fn drop(&mut self) {
        if self.is_gathering {
            return self.queue.give_up();
        }
        if self.queue.passes_on() {
            let turn = Self {
                store: self.store.clone(),
                queue: Arc::clone(&self.queue),
                is_gathering: true,
            };
            // Without a runtime it gives up.
            if let Ok(runtime) = Handle::try_current() {
                runtime.spawn(turn.run());
            }
        }
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

impl Sent {
    fn answered(mut self) -> Vec<Member> {
        mem::take(&mut self.0)
    }

    /// Gives the members their results, which are in the same order.
    fn reply(self, advanced: Result<Vec<Advanced>, StoreError>) {
        let members = self.answered();
        let mut advanced = match advanced {
            Ok(advanced) => advanced.into_iter(),
            Err(error) => return fail(members, error),
        };
        for member in members {
            let missing = || Err(StoreError::invalid("a batch returned too few results"));
            member.reply(advanced.next().unwrap_or_else(missing));
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let members = mem::take(&mut self.0);
        if !members.is_empty() {
            let lost = StoreError::interrupted("the task of the batch ended");
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

/// The maximum number of turns that a caller waits for.
const TRIES: usize = 3;
/// The time after which a call for one session, which may wait for a locked row, passes its turn on.
const PATIENCE: Duration = Duration::from_millis(100);
/// The maximum time in the queue: the time for which other calls wait for a connection.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
