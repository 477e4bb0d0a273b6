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
  revoked_at    INTEGER,
  revoke_reason INTEGER,
  last_outcome  TEXT,                         -- what RETURNING could not see otherwise
  details       TEXT    NOT NULL
) WITHOUT ROWID;
CREATE INDEX auth_session_sub_idx ON auth_session (sub) WHERE revoked_at IS NULL;
CREATE INDEX auth_session_expires_idx ON auth_session (expires_at);
CREATE INDEX auth_session_revoked_idx ON auth_session (revoked_at) WHERE revoked_at IS NOT NULL;

-- Only the subjects whose sessions were ended all at once, ever.
CREATE TABLE auth_subject (
  sub   TEXT    NOT NULL PRIMARY KEY,
  epoch INTEGER NOT NULL
) WITHOUT ROWID;

-- AUTOINCREMENT: a number is never used twice, so that a reader can go on after the last it saw.
CREATE TABLE auth_revocation (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  kind    INTEGER NOT NULL,                   -- 1 session, 2 token, 3 subject, 4 all before
  key     TEXT    NOT NULL,
  epoch   INTEGER NOT NULL DEFAULT 0,
  "until" INTEGER NOT NULL,
  at      INTEGER NOT NULL
);
CREATE INDEX auth_revocation_until_idx ON auth_revocation ("until");

-- A statement of SQLite changes one table. By triggers the revocation is part of it, also where
-- somebody ends a session by hand. 2100000 is LIFETIME; a unit test compares them.
CREATE TRIGGER auth_session_revoked AFTER UPDATE OF revoked_at ON auth_session
WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL
 AND NEW.ep >= COALESCE((SELECT epoch FROM auth_subject WHERE sub = NEW.sub), 0)
BEGIN
  INSERT INTO auth_revocation (kind, key, "until", at)
  VALUES (1, lower(hex(NEW.sid)), NEW.revoked_at + 2100000, NEW.revoked_at);
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
