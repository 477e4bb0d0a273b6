-- One row per session. Times are milliseconds since 1970 by this server's clock:
-- to_timestamp(used_at / 1000.0) shows one.
CREATE TABLE auth_session (
  sid           bytea    PRIMARY KEY CHECK (octet_length(sid) = 16),
  sub           text     NOT NULL,
  kind          smallint NOT NULL,            -- 0 user, 1 guest, 2 service
  ep            bigint   NOT NULL,            -- older than the subject's epoch: revoked
  gen           bigint   NOT NULL DEFAULT 0,
  parent_gen    bigint,
  confirmed_gen bigint,
  rotated_at    bigint,
  reissues      integer  NOT NULL DEFAULT 0,
  created_at    bigint   NOT NULL,
  used_at       bigint   NOT NULL,
  idle_ms       bigint   NOT NULL,
  expires_at    bigint   NOT NULL,
  revoked_at    bigint,
  revoke_reason smallint,
  details       text     NOT NULL
) WITH (fillfactor = 80);                     -- room on the page, so that a refresh touches no index
CREATE INDEX auth_session_sub_idx ON auth_session (sub) WHERE revoked_at IS NULL;
CREATE INDEX auth_session_expires_idx ON auth_session (expires_at);
CREATE INDEX auth_session_revoked_idx ON auth_session (revoked_at) WHERE revoked_at IS NOT NULL;

-- Only the subjects whose sessions were ended all at once, ever.
CREATE TABLE auth_subject (
  sub   text   PRIMARY KEY,
  epoch bigint NOT NULL
);

CREATE TABLE auth_revocation (
  seq     bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- Sequence numbers are not handed out in the order of commits; by this a reader knows what it
  -- cannot have seen yet.
  tx      xid8     NOT NULL DEFAULT pg_current_xact_id(),
  kind    smallint NOT NULL,                  -- 1 session, 2 token, 3 subject, 4 all before
  key     text     NOT NULL,
  epoch   bigint   NOT NULL DEFAULT 0,
  "until" bigint   NOT NULL,
  at      bigint   NOT NULL
);
CREATE INDEX auth_revocation_tx_idx ON auth_revocation (tx, seq);
CREATE INDEX auth_revocation_until_idx ON auth_revocation ("until");

-- A trigger, so that a revocation that somebody writes by hand is heard of as well.
CREATE FUNCTION auth_revocation_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('auth_revocation', '');
  RETURN NULL;
END $$;
CREATE TRIGGER auth_revocation_notify AFTER INSERT ON auth_revocation
  FOR EACH ROW EXECUTE FUNCTION auth_revocation_notify();

CREATE TABLE auth_secret (
  name  text  PRIMARY KEY,
  value bytea NOT NULL
);
