-- One row per session. Times are milliseconds since 1970:
-- datetime(used_at / 1000, 'unixepoch') shows one.
CREATE TABLE auth_session (
  sid           BLOB    NOT NULL PRIMARY KEY CHECK (length(sid) = 16),
  sub           TEXT    NOT NULL,
  kind          INTEGER NOT NULL,             -- 0 user, 1 guest, 2 service
  ep            INTEGER NOT NULL,             -- older than the subject's epoch: revoked
  gen           INTEGER NOT NULL DEFAULT 0,
  parent_gen    INTEGER,
  confirmed_gen INTEGER,
  rotated_at    INTEGER,
  reissues      INTEGER NOT NULL DEFAULT 0,
  created_at    INTEGER NOT NULL,
  used_at       INTEGER NOT NULL,
  idle_ms       INTEGER NOT NULL,
  expires_at    INTEGER NOT NULL,
  ends_by       INTEGER NOT NULL,             -- not before the end; changes at most once an hour
  revoked_at    INTEGER,
  revoke_reason INTEGER,
  bound_key     TEXT,                         -- JWK thumbprint (RFC 7638) of the client's key
  details       TEXT    NOT NULL,
  replaces      BLOB                          -- the session that ended when this one started
) WITHOUT ROWID;
CREATE INDEX auth_session_sub_idx ON auth_session (sub, ep, ends_by) WHERE revoked_at IS NULL;
CREATE INDEX auth_session_expires_idx ON auth_session (expires_at);
CREATE INDEX auth_session_revoked_idx ON auth_session (revoked_at) WHERE revoked_at IS NOT NULL;

-- The epochs of subjects other than 0. All sessions of an older epoch are revoked.
CREATE TABLE auth_subject (
  sub   TEXT    NOT NULL PRIMARY KEY,
  epoch INTEGER NOT NULL
) WITHOUT ROWID;

-- AUTOINCREMENT: a number is never used twice, so that a reader can continue after the last one.
CREATE TABLE auth_revocation (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  -- 1 session, 2 token, 3 subject, 4 all before, 5 tokens of a subject, 6 those without a session
  kind    INTEGER NOT NULL,
  key     TEXT    NOT NULL,
  epoch   INTEGER NOT NULL DEFAULT 0,
  "until" INTEGER NOT NULL,
  at      INTEGER NOT NULL
);
CREATE INDEX auth_revocation_until_idx ON auth_revocation ("until");

-- Triggers make the revocation part of the statement that ends a session, also if an operator ends it
-- by hand. 2100000 is RETENTION; a unit test compares them.
CREATE TRIGGER auth_session_revoked AFTER UPDATE OF revoked_at ON auth_session
WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL
 AND NEW.ep >= COALESCE((SELECT epoch FROM auth_subject WHERE sub = NEW.sub), 0)
BEGIN
  INSERT INTO auth_revocation (kind, key, "until", at)
  VALUES (1, lower(hex(NEW.sid)), NEW.revoked_at + 2100000, NEW.revoked_at);
END;
-- A session that takes the place of another one ends it. 7 is RevokeReason::Replaced.
CREATE TRIGGER auth_session_replaced AFTER INSERT ON auth_session
WHEN NEW.replaces IS NOT NULL
BEGIN
  UPDATE auth_session SET revoked_at = NEW.created_at, revoke_reason = 7
  WHERE sid = NEW.replaces AND revoked_at IS NULL;
END;
CREATE TRIGGER auth_subject_created AFTER INSERT ON auth_subject
BEGIN
  INSERT INTO auth_revocation (kind, key, epoch, "until", at)
  SELECT 3, NEW.sub, NEW.epoch, now + 2100000, now
  FROM (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) AS now);
END;
CREATE TRIGGER auth_subject_raised AFTER UPDATE OF epoch ON auth_subject
BEGIN
  INSERT INTO auth_revocation (kind, key, epoch, "until", at)
  SELECT 3, NEW.sub, NEW.epoch, now + 2100000, now
  FROM (SELECT CAST(round(unixepoch('subsec') * 1000) AS INTEGER) AS now);
END;

CREATE TABLE auth_secret (
  name  TEXT NOT NULL PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;
-- Users.
CREATE TABLE auth_user (
  sub        TEXT    NOT NULL PRIMARY KEY,
  identifier TEXT    NOT NULL UNIQUE,         -- compared byte by byte
  hash       TEXT,                            -- NULL: no password
  roles      TEXT    NOT NULL DEFAULT '[]',   -- a JSON array
  disabled   INTEGER NOT NULL DEFAULT 0,
  verified_at INTEGER,                        -- NULL: the identifier is not a verified address
  created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- A refresh reads the roles after it has written, so roles that cannot be read must not exist.
CREATE TRIGGER auth_user_created BEFORE INSERT ON auth_user
WHEN json_type(NEW.roles) <> 'array'
  OR EXISTS (SELECT 1 FROM json_each(NEW.roles) WHERE type <> 'text')
BEGIN
  SELECT RAISE(ABORT, 'roles: not an array of texts');
END;
CREATE TRIGGER auth_user_roles_changed BEFORE UPDATE OF roles ON auth_user
WHEN json_type(NEW.roles) <> 'array'
  OR EXISTS (SELECT 1 FROM json_each(NEW.roles) WHERE type <> 'text')
BEGIN
  SELECT RAISE(ABORT, 'roles: not an array of texts');
END;

-- Counters of login attempts, under keyed digests of names and networks.
CREATE TABLE auth_throttle (
  key        BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 16),
  state      TEXT    NOT NULL,                -- opaque to the database, compared as a text
  kept_until INTEGER NOT NULL                 -- from then on the row has no effect
) WITHOUT ROWID;
CREATE INDEX auth_throttle_kept_idx ON auth_throttle (kept_until);

CREATE TABLE auth_api_key (
  id             TEXT    NOT NULL PRIMARY KEY,
  secret         BLOB    NOT NULL,            -- SHA-256
  previous       BLOB,                        -- digest of the previous secret while the key is rolled
  previous_until INTEGER,
  owner          TEXT    NOT NULL,            -- the subject of the key
  label          TEXT    NOT NULL,
  display_start  TEXT    NOT NULL,
  scope          TEXT    NOT NULL,
  created_at     INTEGER NOT NULL,
  expires_at     INTEGER,
  revoked_at     INTEGER,
  last_used_at   INTEGER
) WITHOUT ROWID;
CREATE INDEX auth_api_key_owner_idx ON auth_api_key (owner, created_at);

-- One-time tokens.
CREATE TABLE auth_one_time (
  digest     BLOB    NOT NULL PRIMARY KEY,    -- SHA-256
  purpose    TEXT    NOT NULL,
  sub        TEXT    NOT NULL,
  email      TEXT,                            -- the address to which it was sent
  epoch      INTEGER,                         -- a session that it starts has this epoch
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX auth_one_time_sub_idx ON auth_one_time (sub, purpose);
CREATE INDEX auth_one_time_expires_idx ON auth_one_time (expires_at);
-- One row per guest, including its claim and the delivery of the claim to the application.
CREATE TABLE auth_guest (
  sub         TEXT    NOT NULL PRIMARY KEY,
  version     INTEGER NOT NULL,               -- the number of changes
  device      BLOB,                           -- SHA-256 of the device secret; NULL: not bound
  created_at  INTEGER NOT NULL,
  written_at  INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  promoted_at INTEGER,
  claimed_by  TEXT,
  claimed_at  INTEGER,
  attempts    INTEGER NOT NULL DEFAULT 0,
  due_at      INTEGER,                        -- the time of the next delivery; NULL: none is due
  CHECK (device IS NULL OR length(device) = 32)
) WITHOUT ROWID;
CREATE INDEX auth_guest_expires_idx ON auth_guest (expires_at);
CREATE INDEX auth_guest_due_idx ON auth_guest (due_at) WHERE due_at IS NOT NULL;

-- There is no moment in which a guest is claimed and its tokens are valid. The trigger on
-- auth_subject writes the revocation.
CREATE TRIGGER auth_guest_ended AFTER UPDATE OF claimed_by, promoted_at ON auth_guest
WHEN (OLD.claimed_by IS NULL AND NEW.claimed_by IS NOT NULL)
  OR (OLD.promoted_at IS NULL AND NEW.promoted_at IS NOT NULL)
BEGIN
  INSERT INTO auth_subject (sub, epoch) VALUES (NEW.sub, 1)
  ON CONFLICT (sub) DO UPDATE SET epoch = epoch + 1;
END;

-- The signing keys of all nodes: one row. Every key in the text is encrypted.
CREATE TABLE auth_key_ring (
  name     TEXT    NOT NULL PRIMARY KEY CHECK (name = 'signing'),
  revision INTEGER NOT NULL,
  keys     TEXT    NOT NULL
) WITHOUT ROWID;

-- The second factors of a subject. Secrets in the text are encrypted, recovery codes are digests.
CREATE TABLE auth_factor (
  sub      TEXT    NOT NULL PRIMARY KEY,
  revision INTEGER NOT NULL,
  factors  TEXT    NOT NULL
) WITHOUT ROWID;

-- Credentials other than passwords, such as accounts at identity providers and passkeys.
CREATE TABLE auth_credential (
  kind       TEXT    NOT NULL,
  id         TEXT    NOT NULL,
  sub        TEXT    NOT NULL,
  data       TEXT    NOT NULL,                -- opaque to the database
  revision   INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  used_at    INTEGER,
  PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX auth_credential_sub_idx ON auth_credential (sub, kind);
