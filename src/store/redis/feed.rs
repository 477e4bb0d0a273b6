//! The feed of revocations.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{FromRedisValue, aio::MultiplexedConnection, cmd};
use tokio::time;

use super::Keys;
use crate::redis_link::{Link, fault::store_error};
use crate::{
    error::StoreError,
    revocation::{Feed, RETENTION, Revocation, RevocationSet, RevocationTarget},
    time::Timestamp,
};

/// The revocations of a [`RedisStore`](super::RedisStore), immediately, by a stream.
///
/// The feed has a separate connection. When it is lost, everything is loaded again, because the server
/// may have lost its latest entries.
pub struct RedisFeed {
    link: Arc<Link>,
    keys: Arc<Keys>,
    following: Option<Following>,
}

struct Following {
    connection: MultiplexedConnection,
    /// The entry of the stream that was read last.
    last: String,
    read_at: Instant,
}

type Stream = Vec<(String, Vec<(String, HashMap<String, Vec<u8>>)>)>;

impl RedisFeed {
    pub(super) fn new(link: Arc<Link>, keys: Arc<Keys>) -> Self {
        Self {
            link,
            keys,
            following: None,
        }
    }

    /// Returns the time since which the server has every revocation: the time at which a node first
    /// connected to it while it was empty.
    async fn known_since(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Timestamp, StoreError> {
        let mut get = cmd("GET");
        get.arg(&self.keys.since);
        if let Some(since) = self.query(connection, &get).await? {
            return Ok(Timestamp::from_millis(since));
        }
        let second = self.time(connection).await?.as_millis() / 1000;
        // NX: another node may have set the time since the first read.
        let mut set = cmd("SET");
        set.arg(&self.keys.since).arg(second * 1000).arg("NX");
        let _: Option<String> = self.query(connection, &set).await?;
        let since: i64 = self.query(connection, &get).await?;
        Ok(Timestamp::from_millis(since))
    }

    /// Returns the server's time.
    async fn time(&self, connection: &mut MultiplexedConnection) -> Result<Timestamp, StoreError> {
        let (seconds, micros): (i64, i64) = self.query(connection, &cmd("TIME")).await?;
        Ok(Timestamp::from_millis(seconds * 1000 + micros / 1000))
    }

    async fn query<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        command: &redis::Cmd,
    ) -> Result<T, StoreError> {
        match time::timeout(ANSWER, command.query_async(connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.link.follow(&error);
                Err(store_error(error))
            }
            Err(late) => Err(StoreError::unavailable(late)),
        }
    }
}

impl Feed for RedisFeed {
    async fn load(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        self.following = None;
        let mut connection = self.link.connect().await?;
        let since = self.known_since(&mut connection).await?;
        // Entries that have ended stay until they are purged. They are compared with the server's
        // time, because the set keeps whatever is inserted.
        let now = self.time(&mut connection).await?;
        if since.plus(RETENTION) > now {
            set.insert(&Revocation::issued_before(since, since.plus(RETENTION)));
        }
        // Read first, so that a revocation that is added during the load is read twice, not missed.
        let mut newest = cmd("XREVRANGE");
        newest.arg(&self.keys.news).arg("+").arg("-").arg("COUNT");
        let newest: Vec<(String, redis::Value)> =
            self.query(&mut connection, newest.arg(1)).await?;
        let newest = newest.into_iter().next().map(|(id, _)| id);

        let mut cursor = "0".to_owned();
        loop {
            let mut page = cmd("ZSCAN");
            page.arg(&self.keys.revoked).arg(&cursor);
            let (next, found): (String, Vec<(Vec<u8>, f64)>) = self
                .query(&mut connection, page.arg("COUNT").arg(PAGE))
                .await?;
            for (target, until) in found {
                let until = Timestamp::from_millis(until as i64);
                if until > now {
                    insert(set, &target, until);
                }
            }
            if next == "0" {
                break;
            }
            cursor = next;
        }
        self.following = Some(Following {
            connection,
            last: newest.unwrap_or_else(|| "0".to_owned()),
            read_at: Instant::now(),
        });
        Ok(())
    }

    async fn next(&mut self, set: &RevocationSet) -> Result<(), StoreError> {
        // Taken out, so that `load` is called again after the future was dropped.
        let Some(mut following) = self.following.take() else {
            return Err(StoreError::unavailable("not loaded"));
        };
        // The stream is trimmed to one hour. A process that was suspended may have missed entries.
        if following.read_at.elapsed() > SLEPT {
            return Err(StoreError::unavailable(
                "the process was suspended and may have missed entries",
            ));
        }
        let mut news = cmd("XREAD");
        news.arg("BLOCK").arg(WAIT_MS).arg("COUNT").arg(PAGE);
        news.arg("STREAMS")
            .arg(&self.keys.news)
            .arg(&following.last);
        let news: Option<Stream> = self.query(&mut following.connection, &news).await?;
        for (id, entry) in news.into_iter().flatten().flat_map(|(_, entries)| entries) {
            let until = entry
                .get("until")
                .and_then(|text| std::str::from_utf8(text).ok());
            if let (Some(target), Some(Ok(until))) = (entry.get("target"), until.map(str::parse)) {
                insert(set, target, Timestamp::from_millis(until));
            }
            following.last = id;
        }
        following.read_at = Instant::now();
        self.following = Some(following);
        Ok(())
    }
}

/// Returns the text of a target. The scripts write the same form.
pub(super) fn encode(target: &RevocationTarget) -> String {
    match target {
        RevocationTarget::Session(id) => format!("s{id}"),
        RevocationTarget::Token(id) => format!("t{id}"),
        RevocationTarget::Subject { subject, epoch } => format!("u{epoch}:{subject}"),
        RevocationTarget::SubjectTokens {
            subject,
            issued_until,
            without_session,
        } => {
            let kind = if *without_session { 'n' } else { 'i' };
            format!("{kind}{}:{subject}", issued_until.as_secs())
        }
        RevocationTarget::IssuedBefore(time) => format!("b{}", time.as_millis()),
    }
}

fn decode(text: &[u8]) -> Option<RevocationTarget> {
    let (kind, rest) = std::str::from_utf8(text).ok()?.split_at_checked(1)?;
    Some(match kind {
        "s" => RevocationTarget::Session(rest.to_owned()),
        "t" => RevocationTarget::Token(rest.to_owned()),
        "b" => RevocationTarget::IssuedBefore(Timestamp::from_millis(rest.parse().ok()?)),
        "u" => {
            let (epoch, subject) = rest.split_once(':')?;
            RevocationTarget::Subject {
                subject: subject.to_owned(),
                epoch: epoch.parse().ok()?,
            }
        }
        "i" | "n" => {
            let (second, subject) = rest.split_once(':')?;
            RevocationTarget::SubjectTokens {
                subject: subject.to_owned(),
                issued_until: Timestamp::from_secs(second.parse().ok()?),
                without_session: kind == "n",
            }
        }
        _ => return None,
    })
}

/// Inserts a target. A target of an unknown form, written by a newer version, is ignored.
fn insert(set: &RevocationSet, target: &[u8], until: Timestamp) {
    if let Some(target) = decode(target) {
        set.insert(&Revocation::of(target, until));
    }
}

impl fmt::Debug for RedisFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisFeed")
            .field("loaded", &self.following.is_some())
            .finish_non_exhaustive()
    }
}

const PAGE: u32 = 1000;
const WAIT_MS: u32 = 1500;
/// The timeout of a blocking read: more than [`WAIT_MS`].
const ANSWER: Duration = Duration::from_secs(4);
const SLEPT: Duration = Duration::from_secs(600);
