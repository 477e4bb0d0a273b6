//! What fills a store is emptied, on every store.

use std::time::Duration;

use sqlx::Row;
use tower_jwt_auth::{
    principal::SessionId,
    revocation::BroadcastFeed,
    store::{
        MemoryStore,
        contract::{Fixture, HousekeepingFixture},
    },
    test_util::TestClock,
};

use crate::{postgres, redis::server::Redis, sqlite, support::redis::FORGETFUL};

struct Memory {
    store: MemoryStore,
    clock: TestClock,
}

impl Memory {
    fn new() -> Self {
        let clock = TestClock::new();
        Self {
            store: MemoryStore::with_clock(clock.clone()),
            clock,
        }
    }
}

impl Fixture for Memory {
    type Store = MemoryStore;
    type Feed = BroadcastFeed;

    fn store(&self) -> MemoryStore {
        self.store.clone()
    }

    fn feed(&self) -> BroadcastFeed {
        self.store.feed()
    }

    async fn age(&self, id: SessionId, by: Duration) {
        self.store.age(id, by);
    }

    async fn set_back(&self, id: SessionId, by: Duration) {
        self.store.set_back(id, by);
    }
}

impl HousekeepingFixture for Memory {
    async fn pass(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn left(&self) -> Vec<String> {
        vec!["a row".to_owned(); self.store.rows()]
    }
}

/// Every time of every table; one that a later migration adds has to be named here.
const TIMES: &[(&str, &[&str])] = &[
    (
        "auth_session",
        &[
            "created_at",
            "used_at",
            "rotated_at",
            "expires_at",
            "ends_by",
            "revoked_at",
        ],
    ),
    ("auth_revocation", &["\"until\"", "at"]),
    (
        "auth_guest",
        &[
            "created_at",
            "written_at",
            "expires_at",
            "promoted_at",
            "claimed_at",
            "due_at",
        ],
    ),
    ("auth_throttle", &["kept_until"]),
    ("auth_one_time", &["expires_at"]),
    ("auth_subject", &[]),
];

/// Tables that housekeeping does not delete from. The key ring is one row, which each rotation replaces.
const FOR_GOOD: &[&str] = &[
    "auth_schema",
    "auth_secret",
    "auth_user",
    "auth_api_key",
    "auth_key_ring",
    "auth_factor",
    "auth_credential",
];

macro_rules! sql {
    ($nodes:ty, $tables:literal) => {
        impl HousekeepingFixture for $nodes {
            async fn pass(&self, by: Duration) {
                for (table, times) in TIMES.iter().filter(|(_, times)| !times.is_empty()) {
                    let less = times.iter().map(|time| format!("{time} = {time} - $1"));
                    let less: Vec<_> = less.collect();
                    let pass = format!("UPDATE {table} SET {}", less.join(", "));
                    sqlx::query(sqlx::AssertSqlSafe(pass))
                        .bind(i64::try_from(by.as_millis()).unwrap())
                        .execute(&self.pool)
                        .await
                        .unwrap();
                }
            }

            async fn left(&self) -> Vec<String> {
                let mut left = Vec::new();
                let tables = sqlx::query($tables).fetch_all(&self.pool).await.unwrap();
                assert!(tables.len() >= TIMES.len() + FOR_GOOD.len());
                for table in &tables {
                    let table: String = table.get(0);
                    if FOR_GOOD.contains(&table.as_str()) {
                        continue;
                    }
                    let known = TIMES.iter().any(|(name, _)| *name == table);
                    assert!(known, "who deletes what is in {table}?");
                    let count = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
                    let count: i64 = sqlx::query_scalar(count)
                        .fetch_one(&self.pool)
                        .await
                        .unwrap();
                    left.extend((0..count).map(|_| table.clone()));
                }
                left
            }
        }
    };
}

sql!(
    sqlite::Nodes,
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'auth!_%' ESCAPE '!'"
);
sql!(
    postgres::Nodes,
    "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()"
);

impl HousekeepingFixture for Redis {
    async fn pass(&self, by: Duration) {
        let mut connection = self.server.connection().await.unwrap();
        let passed: ::redis::RedisResult<()> = ::redis::Script::new(PASS)
            .arg(by.as_millis().to_string())
            .invoke_async(&mut connection)
            .await;
        passed.unwrap();
    }

    async fn left(&self) -> Vec<String> {
        let keys: Vec<String> = self.server.ask(&["KEYS", "*"]).await.unwrap();
        let mut left = Vec::new();
        for key in keys {
            match key.as_str() {
                "{auth}:since" => {}
                "{auth}:news" => {
                    let entries: usize = self.server.ask(&["XLEN", &key]).await.unwrap();
                    left.extend((0..entries).map(|_| key.clone()));
                }
                _ => left.push(key),
            }
        }
        left
    }
}

/// A key that would be gone is gone; of one that stays the times of its fields, its scores, or its
/// entries are as much older.
const PASS: &str = "
    local by = tonumber(ARGV[1])
    local times = {born = 1, exp = 1, wrote = 1, prom = 1, at = 1, due = 1}
    for _, key in ipairs(redis.call('KEYS', '*')) do
      local kind = redis.call('TYPE', key).ok
      local goes = redis.call('PEXPIRETIME', key)
      if kind == 'hash' then
        for _, name in ipairs(redis.call('HKEYS', key)) do
          if times[name] and redis.call('HGET', key, name) ~= '' then
            redis.call('HINCRBY', key, name, '-' .. ARGV[1])
          end
        end
      elseif kind == 'string' and string.find(key, '{auth}:s:', 1, true) then
        local row = redis.call('GET', key)
        for _, place in ipairs({26, 34, 42, 62, 70}) do
          local time = struct.unpack('>I8', row, place + 1)
          if time > 0 then redis.call('SETRANGE', key, place, struct.pack('>I8', time - by)) end
        end
      elseif kind == 'zset' then
        for _, name in ipairs(redis.call('ZRANGE', key, 0, -1)) do
          redis.call('ZINCRBY', key, '-' .. ARGV[1], name)
        end
      elseif kind == 'stream' then
        local entries = redis.call('XRANGE', key, '-', '+')
        redis.call('DEL', key)
        for _, entry in ipairs(entries) do
          local ms, rest = string.match(entry[1], '(%d+)(-%d+)')
          local id = string.format('%d', tonumber(ms) - by) .. rest
          redis.call('XADD', key, id, unpack(entry[2]))
        end
      end
      if goes > 0 then redis.call('PEXPIREAT', key, goes - by) end
    end
";

mod memory {
    tower_jwt_auth::housekeeping_contract!(super::Memory::new());
}

mod in_sqlite {
    tower_jwt_auth::housekeeping_contract!(crate::sqlite::Nodes::start().await);
}

mod in_postgres {
    tower_jwt_auth::housekeeping_contract!(
        #[ignore = "needs PostgreSQL"]
        crate::postgres::Nodes::alone().await
    );
}

mod in_redis {
    tower_jwt_auth::housekeeping_contract!(
        #[ignore = "needs redis-server"]
        super::Redis::start(super::FORGETFUL).await
    );
}
