//! The script that advances sessions from their live generations.

use std::{slice, sync::Arc};

use redis::Value;

use super::{
    Keys,
    packed::{Changed, start_of},
    scripts,
};
use crate::redis_link::{AT_ONCE, Evaluation, Link, Repeat};
use crate::{
    error::StoreError,
    store::{
        batch::{Advance, Advanced, Advancer},
        port::UserStanding,
        roles_of,
    },
};

/// A server with the script of an advance.
#[derive(Clone)]
pub(super) struct Refreshes {
    pub(super) link: Arc<Link>,
    pub(super) keys: Arc<Keys>,
    /// Advances only sessions whose subjects may sign in, and returns the roles.
    pub(super) reads_user: bool,
}

impl Advancer for Refreshes {
    const LARGEST: usize = 64;
    const WAITING: usize = AT_ONCE;
    const WAITS_FOR_ROWS: bool = false;

    async fn one(&self, advance: &Advance) -> Advanced {
        let reply = self.run(slice::from_ref(advance)).await?;
        self.read(advance, &reply)
    }

    async fn many(&self, advances: &[Advance]) -> Result<Vec<Advanced>, StoreError> {
        let replies = match self.run(advances).await? {
            Value::Array(replies) => replies,
            reply => vec![reply],
        };
        let advanced = advances.iter().zip(&replies);
        let advanced = advanced.map(|(advance, reply)| self.read(advance, reply));
        Ok(advanced.collect())
    }
}

impl Refreshes {
    /// Returns the reply to one session, or an array of the replies.
    async fn run(&self, advances: &[Advance]) -> Result<Value, StoreError> {
        let (script, others) = match self.reads_user {
            true => (&scripts::ADVANCE_LIVE_WITH_USER, 2),
            false => (&scripts::ADVANCE_LIVE, 1),
        };
        let mut call = Evaluation::new(script, advances.len() + others);
        call.arg(&self.keys.epochs);
        for advance in advances {
            call.format(format_args!("{}s:{}", self.keys.prefix, advance.id));
        }
        if self.reads_user {
            call.arg(&self.keys.subjects);
        }
        let is_one = advances.len() == 1 && !self.reads_user;
        for advance in advances {
            call.arg(&start_of(advance.live)[..]);
            let key = advance.bound_key.as_deref().unwrap_or_default();
            if !is_one || !key.is_empty() {
                call.arg(advance.grace_millis).arg(key);
            } else if advance.grace_millis != 0 {
                call.arg(advance.grace_millis);
            }
        }
        if self.reads_user {
            call.format(format_args!("{}u:", self.keys.prefix));
        }
        // Only the caller knows whether the policy allows a repetition.
        self.link.run(&call, Repeat::Never).await
    }

    fn read(&self, advance: &Advance, reply: &Value) -> Advanced {
        let reply = match reply {
            Value::Nil => return Ok(None),
            Value::BulkString(reply) => reply,
            _ => return Err(StoreError::invalid("a script returned an unknown reply")),
        };
        let changed = Changed::read(advance.id, reply, self.reads_user)?;
        let user = match changed.roles {
            Some(roles) => Some(UserStanding::new(roles_of(&roles)?, false)),
            None => None,
        };
        Ok(Some((changed.session, user)))
    }
}

/// The maximum number of concurrent calls. The server runs one script at a time; the others are on
/// their way.
pub(super) const TURNS: usize = 4;
