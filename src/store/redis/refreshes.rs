//! The script that advances sessions from their live generations.

use std::{slice, sync::Arc};

use super::{Keys, scripts, sessions::peek};
use crate::redis_link::{AT_ONCE, Link, Repeat};
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

    async fn one(&self, advance: &Advance) -> Advanced {
        let advanced = self.many(slice::from_ref(advance)).await?;
        let missing = || Err(StoreError::invalid("a script returned no result"));
        advanced.into_iter().next().unwrap_or_else(missing)
    }

    async fn many(&self, advances: &[Advance]) -> Result<Vec<Advanced>, StoreError> {
        let mut call = scripts::ADVANCE_LIVE.key(&self.keys.epochs);
        call.key(&self.keys.subjects);
        for advance in advances {
            call.key(self.keys.session(advance.id));
        }
        let users = match self.reads_user {
            true => self.keys.of("u", ""),
            false => String::new(),
        };
        call.arg(self.keys.indexes()).arg(users);
        for advance in advances {
            call.arg(advance.live)
                .arg(advance.grace_millis)
                .arg(advance.bound_key.as_deref().unwrap_or_default());
        }
        // Only the caller knows whether the policy allows a repetition.
        let (now, rows, roles): Reply = self.link.run(&call, Repeat::Never).await?;
        let advanced = advances.iter().zip(rows.into_iter().zip(roles));
        let advanced = advanced.map(|(advance, (row, roles))| {
            let Some(row) = row else {
                return Ok(None);
            };
            let mut session = peek(advance.id, (now, false, row))?;
            let live = session.session.family.generation;
            let family = &mut session.session.family;
            family.generation = live.saturating_add(1);
            family.parent = Some(live);
            family.rotated_at = Some(session.now);
            family.used_at = session.now;
            let standing = |roles: String| Ok(UserStanding::new(roles_of(&roles)?, false));
            Ok(Some((session, roles.map(standing).transpose()?)))
        });
        Ok(advanced.collect())
    }
}

/// The server's time, and for each session its row and the roles of its subject.
type Reply = (i64, Vec<Option<Vec<u8>>>, Vec<Option<String>>);

/// The maximum number of concurrent calls. The server runs one script at a time; the others are on
/// their way.
pub(super) const TURNS: usize = 4;
