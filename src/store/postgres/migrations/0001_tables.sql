-- One row per session. Times are milliseconds since 1970 by this server's clock:
-- to_timestamp(used_at / 1000.0) shows one.
CREATE TABLE auth_session (
  sid           bytea    PRIMARY KEY CHECK (octet_length(sid) = 16),
  sub           text     NOT NULL,
  kind          bigint   NOT NULL,            -- 0 user, 1 guest, 2 service
  ep            bigint   NOT NULL,            -- older than the subject's epoch: revoked
  gen           bigint   NOT NULL DEFAULT 0,
  parent_gen    bigint,
  confirmed_gen bigint,
  rotated_at    bigint,
  reissues      bigint   NOT NULL DEFAULT 0,
  created_at    bigint   NOT NULL,
  used_at       bigint   NOT NULL,
  idle_ms       bigint   NOT NULL,
  expires_at    bigint   NOT NULL,
  ends_by       bigint   NOT NULL,            -- not before the end; changes at most once an hour
  revoked_at    bigint,
  revoke_reason bigint,
  bound_key     text,                         -- JWK thumbprint (RFC 7638) of the client's key
  details       text     NOT NULL,
  replaces      bytea                         -- the session that ended when this one started
) WITH (fillfactor = 80);                     -- room on the page: most refreshes touch no index
CREATE INDEX auth_session_sub_idx ON auth_session (sub, ep, ends_by) WHERE revoked_at IS NULL;
CREATE INDEX auth_session_expires_idx ON auth_session (expires_at);
CREATE INDEX auth_session_revoked_idx ON auth_session (revoked_at) WHERE revoked_at IS NOT NULL;

-- The epochs of subjects other than 0. All sessions of an older epoch are revoked.
CREATE TABLE auth_subject (
  sub   text   PRIMARY KEY,
  epoch bigint NOT NULL
);

CREATE TABLE auth_revocation (
  seq     bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- Sequence numbers do not follow the order of commits. With this column a reader finds the rows
  -- that were not visible before.
  tx      xid8     NOT NULL DEFAULT pg_current_xact_id(),
  -- 1 session, 2 token, 3 subject, 4 all before, 5 tokens of a subject, 6 those without a session
  kind    bigint   NOT NULL,
  key     text     NOT NULL,
  epoch   bigint   NOT NULL DEFAULT 0,
  "until" bigint   NOT NULL,
  at      bigint   NOT NULL
);
CREATE INDEX auth_revocation_tx_idx ON auth_revocation (tx, seq);
CREATE INDEX auth_revocation_until_idx ON auth_revocation ("until");

-- A trigger, so that a revocation that an operator writes by hand is notified as well.
CREATE FUNCTION auth_revocation_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('auth_revocation', '');
  RETURN NULL;
END $$;
CREATE TRIGGER auth_revocation_notify AFTER INSERT ON auth_revocation
  FOR EACH ROW EXECUTE FUNCTION auth_revocation_notify();

-- Triggers make the revocation part of the statement that ends a session, also if an operator ends it
-- by hand. 2100000 is RETENTION; a unit test compares them.
CREATE FUNCTION auth_session_revoked() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF NEW.ep >= COALESCE((SELECT epoch FROM auth_subject WHERE sub = NEW.sub), 0) THEN
    INSERT INTO auth_revocation (kind, key, "until", at)
    VALUES (1, encode(NEW.sid, 'hex'), NEW.revoked_at + 2100000, NEW.revoked_at);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER auth_session_revoked AFTER UPDATE OF revoked_at ON auth_session FOR EACH ROW
  WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL)
  EXECUTE FUNCTION auth_session_revoked();
-- A session that takes the place of another one ends it. If that one has ended in the meantime, no
-- session starts. 7 is RevokeReason::Replaced.
CREATE FUNCTION auth_session_replaced() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  UPDATE auth_session SET revoked_at = NEW.created_at, revoke_reason = 7
  WHERE sid = NEW.replaces AND revoked_at IS NULL;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER auth_session_replaced BEFORE INSERT ON auth_session FOR EACH ROW
  WHEN (NEW.replaces IS NOT NULL)
  EXECUTE FUNCTION auth_session_replaced();
CREATE FUNCTION auth_subject_raised() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  at_ms bigint := floor(date_part('epoch', statement_timestamp()) * 1000);
BEGIN
  INSERT INTO auth_revocation (kind, key, epoch, "until", at)
  VALUES (3, NEW.sub, NEW.epoch, at_ms + 2100000, at_ms);
  RETURN NULL;
END $$;
CREATE TRIGGER auth_subject_raised AFTER INSERT OR UPDATE OF epoch ON auth_subject FOR EACH ROW
  EXECUTE FUNCTION auth_subject_raised();

CREATE TABLE auth_secret (
  name  text  PRIMARY KEY,
  value bytea NOT NULL
);
-- Users.
CREATE TABLE auth_user (
  sub        text    PRIMARY KEY,
  identifier text    COLLATE "C" NOT NULL UNIQUE,  -- compared byte by byte
  hash       text,                                 -- NULL: no password
  roles      text    NOT NULL DEFAULT '[]',        -- a JSON array
  disabled   bigint  NOT NULL DEFAULT 0,           -- 1: may not sign in
  verified_at bigint,                              -- NULL: the identifier is not a verified address
  created_at bigint  NOT NULL,
  -- A refresh reads the roles after it has written, so roles that cannot be read must not exist.
  CONSTRAINT auth_user_roles_are_texts CHECK (
    json_typeof(CAST(roles AS json)) = 'array'
    AND roles ~ '^\s*\[\s*("([^"\\]|\\.)*"\s*(,\s*"([^"\\]|\\.)*"\s*)*)?\]\s*$'
  )
);

-- Counters of login attempts, under keyed digests of names and networks.
CREATE TABLE auth_throttle (
  key        bytea  PRIMARY KEY CHECK (octet_length(key) = 16),
  state      text   COLLATE "C" NOT NULL,     -- opaque to the database, compared as a text
  kept_until bigint NOT NULL                  -- from then on the row has no effect
) WITH (fillfactor = 80);
CREATE INDEX auth_throttle_kept_idx ON auth_throttle (kept_until);

CREATE TABLE auth_api_key (
  id             text   PRIMARY KEY,
  secret         bytea  NOT NULL,             -- SHA-256
  previous       bytea,                       -- digest of the previous secret while the key is rolled
  previous_until bigint,
  owner          text   NOT NULL,             -- the subject of the key
  label          text   NOT NULL,
  display_start  text   NOT NULL,
  scope          text   NOT NULL,
  created_at     bigint NOT NULL,
  expires_at     bigint,
  revoked_at     bigint,
  last_used_at   bigint
) WITH (fillfactor = 80);
CREATE INDEX auth_api_key_owner_idx ON auth_api_key (owner, created_at);

-- One-time tokens.
CREATE TABLE auth_one_time (
  digest     bytea  PRIMARY KEY,              -- SHA-256
  purpose    text   NOT NULL,
  sub        text   NOT NULL,
  email      text,                            -- the address to which it was sent
  epoch      bigint,                          -- a session that it starts has this epoch
  expires_at bigint NOT NULL
);
CREATE INDEX auth_one_time_sub_idx ON auth_one_time (sub, purpose);
CREATE INDEX auth_one_time_expires_idx ON auth_one_time (expires_at);
-- One row per guest, including its claim and the delivery of the claim to the application.
CREATE TABLE auth_guest (
  sub         text    PRIMARY KEY,
  version     bigint  NOT NULL,                         -- the number of changes
  device      bytea   CHECK (octet_length(device) = 32), -- SHA-256 of the device secret; NULL: not bound
  created_at  bigint  NOT NULL,
  written_at  bigint  NOT NULL,
  expires_at  bigint  NOT NULL,
  promoted_at bigint,
  claimed_by  text,
  claimed_at  bigint,
  attempts    bigint  NOT NULL DEFAULT 0,
  due_at      bigint                          -- the time of the next delivery; NULL: none is due
) WITH (fillfactor = 80);                     -- a guest that writes touches no index
CREATE INDEX auth_guest_expires_idx ON auth_guest (expires_at);
CREATE INDEX auth_guest_due_idx ON auth_guest (due_at) WHERE due_at IS NOT NULL;

-- There is no moment in which a guest is claimed and its tokens are valid. The trigger on auth_subject
-- writes the revocation.
CREATE FUNCTION auth_guest_ended() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO auth_subject (sub, epoch) VALUES (NEW.sub, 1)
  ON CONFLICT (sub) DO UPDATE SET epoch = auth_subject.epoch + 1;
  RETURN NULL;
END $$;
CREATE TRIGGER auth_guest_ended AFTER UPDATE OF claimed_by, promoted_at ON auth_guest FOR EACH ROW
  WHEN ((OLD.claimed_by IS NULL AND NEW.claimed_by IS NOT NULL)
     OR (OLD.promoted_at IS NULL AND NEW.promoted_at IS NOT NULL))
  EXECUTE FUNCTION auth_guest_ended();

-- The signing keys of all nodes: one row. Every key in the text is encrypted; keys::jsonb shows the
-- names, states and times of the keys.
CREATE TABLE auth_key_ring (
  name     text   PRIMARY KEY CHECK (name = 'signing'),
  revision bigint NOT NULL,
  keys     text   NOT NULL
);

-- The second factors of a subject. Secrets in the text are encrypted, recovery codes are digests.
CREATE TABLE auth_factor (
  sub      text   PRIMARY KEY,
  revision bigint NOT NULL,
  factors  text   NOT NULL
) WITH (fillfactor = 80);

-- Credentials other than passwords, such as accounts at identity providers and passkeys.
CREATE TABLE auth_credential (
  kind       text   NOT NULL,
  id         text   COLLATE "C" NOT NULL,     -- compared and ordered byte by byte
  sub        text   NOT NULL,
  data       text   NOT NULL,                 -- opaque to the database
  revision   bigint NOT NULL,
  created_at bigint NOT NULL,
  used_at    bigint,
  PRIMARY KEY (kind, id)
);
CREATE INDEX auth_credential_sub_idx ON auth_credential (sub, kind);
