//! What only the tests of the store do with a server.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use tower_jwt_auth::{
    principal::SessionId,
    store::{RedisStore, contract::Fixture, redis::RedisFeed},
};

use crate::support::redis::Server;

pub(crate) const CLUSTER: &[&str] = &["--cluster-enabled", "yes"];

impl Server {
    pub(crate) async fn start_on(port: u16, options: &'static [&'static str]) -> Self {
        let server = Self::try_on(port, options).await;
        server.expect("redis-server can listen")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn store(&self) -> RedisStore {
        RedisStore::new(&self.url()).unwrap()
    }

    /// Stops the process where it is (`STOP`), or lets it go on (`CONT`).
    pub(crate) fn signal(&self, signal: &str) {
        // The shell's own: a minimal system has no program of that name.
        let command = format!("kill -s {signal} {}", self.process.id());
        let done = Command::new("sh").args(["-c", &command]).status();
        assert!(done.unwrap().success());
    }

    /// All slots on this one node.
    pub(crate) async fn own_all_slots(&self) {
        let done: String = self
            .ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
            .await
            .unwrap();
        assert_eq!(done, "OK");
        self.cluster_is_up().await;
    }

    pub(crate) async fn cluster_is_up(&self) {
        let started = Instant::now();
        loop {
            let info: String = self.ask(&["CLUSTER", "INFO"]).await.unwrap();
            if info.contains("cluster_state:ok") {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{info}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes this much from every time of a session's row, and from its key's.
    pub(crate) async fn age(&self, id: SessionId, by: Duration) -> redis::RedisResult<()> {
        self.shift(id, -i64::try_from(by.as_millis()).unwrap())
            .await
    }

    /// Adds this much to them.
    pub(crate) async fn shift(&self, id: SessionId, millis: i64) -> redis::RedisResult<()> {
        self.shift_at(id, millis, TIMES).await
    }

    /// Extends the maximum lifetime of a session.
    pub(crate) async fn extend(&self, id: SessionId, by: Duration) -> redis::RedisResult<()> {
        self.shift_at(id, i64::try_from(by.as_millis()).unwrap(), END)
            .await
    }

    async fn shift_at(&self, id: SessionId, millis: i64, places: &str) -> redis::RedisResult<()> {
        let mut connection = self.connection().await?;
        redis::Script::new(SHIFT)
            .key(format!("{{auth}}:s:{id}"))
            .arg(millis)
            .arg(places)
            .invoke_async(&mut connection)
            .await
    }
}

/// Shifts the times of a packed session at these places, its key's, and its place in the index.
const SHIFT: &str = "
    local by = tonumber(ARGV[1])
    local row = redis.call('GET', KEYS[1])
    if by == 0 or not row then return end
    for _, at in ipairs(cjson.decode(ARGV[2])) do
      local time = struct.unpack('>I8', row, at + 1)
      if time > 0 then redis.call('SETRANGE', KEYS[1], at, struct.pack('>I8', time + by)) end
    end
    redis.call('PEXPIREAT', KEYS[1], redis.call('PEXPIRETIME', KEYS[1]) + by)
    local index = '{auth}:i:' .. string.sub(row, 92, 91 + struct.unpack('>I4', row, 84))
    local id = string.sub(KEYS[1], #'{auth}:s:' + 1)
    if redis.call('ZSCORE', index, id) then
      redis.call('ZINCRBY', index, by, id)
      local last = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
      redis.call('PEXPIREAT', index, math.max(tonumber(last[2]), redis.call('PEXPIRETIME', index)))
    end
";

/// Rotated, used, ends by, expires, created.
const TIMES: &str = "[26, 34, 42, 62, 70]";
/// Expires.
const END: &str = "[62]";

/// The server and two nodes of the application.
pub(crate) struct Redis {
    pub(crate) server: Server,
    pub(crate) nodes: [RedisStore; 2],
    turn: AtomicU32,
}

impl Redis {
    pub(crate) async fn start(options: &'static [&'static str]) -> Self {
        let server = Server::start(options).await;
        Self {
            nodes: [server.store(), server.store()],
            server,
            turn: AtomicU32::new(0),
        }
    }
}

impl Fixture for Redis {
    type Store = RedisStore;
    type Feed = RedisFeed;

    fn store(&self) -> RedisStore {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.nodes[turn as usize % 2].clone()
    }

    fn feed(&self) -> RedisFeed {
        self.store().feed()
    }

    async fn age(&self, id: SessionId, by: Duration) {
        self.server.age(id, by).await.unwrap();
    }

    async fn set_back(&self, id: SessionId, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        self.server.shift(id, by).await.unwrap();
    }
}
