-- Somebody who may sign in.
CREATE TABLE auth_user (
  sub        TEXT    NOT NULL PRIMARY KEY,
  identifier TEXT    NOT NULL UNIQUE,         -- compared byte by byte
  hash       TEXT,                            -- NULL: they sign in otherwise
  roles      TEXT    NOT NULL DEFAULT '[]',   -- a JSON array
  disabled   INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Counters of login attempts, under keyed digests of names and networks.
CREATE TABLE auth_throttle (
  key           BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 16),
  failures      INTEGER NOT NULL,
  open          INTEGER NOT NULL,
  batch         INTEGER NOT NULL,
  open_until    INTEGER NOT NULL,
  blocked_until INTEGER NOT NULL,
  forgotten_at  INTEGER NOT NULL,
  kept_until    INTEGER NOT NULL,             -- from then on it says no more than no row
  said          INTEGER NOT NULL              -- what RETURNING could not see otherwise
) WITHOUT ROWID;
CREATE INDEX auth_throttle_kept_idx ON auth_throttle (kept_until);

CREATE TABLE auth_api_key (
  id             TEXT    NOT NULL PRIMARY KEY,
  secret         BLOB    NOT NULL,            -- SHA-256
  previous       BLOB,                        -- of the secret before it, while the key is rolled
  previous_until INTEGER,
  owner          TEXT    NOT NULL,            -- the subject it acts for
  label          TEXT    NOT NULL,
  display_start  TEXT    NOT NULL,
  scope          TEXT    NOT NULL,
  created_at     INTEGER NOT NULL,
  expires_at     INTEGER,
  revoked_at     INTEGER,
  last_used_at   INTEGER
) WITHOUT ROWID;
CREATE INDEX auth_api_key_owner_idx ON auth_api_key (owner, created_at);

-- Tokens that are good for one use.
CREATE TABLE auth_one_time (
  digest     BLOB    NOT NULL PRIMARY KEY,    -- SHA-256
  purpose    TEXT    NOT NULL,
  sub        TEXT    NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX auth_one_time_sub_idx ON auth_one_time (sub, purpose);
CREATE INDEX auth_one_time_expires_idx ON auth_one_time (expires_at);
