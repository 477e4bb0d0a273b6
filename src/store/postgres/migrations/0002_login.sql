-- Somebody who may sign in.
CREATE TABLE auth_user (
  sub        text    PRIMARY KEY,
  identifier text    COLLATE "C" NOT NULL UNIQUE,  -- compared byte by byte
  hash       text,                                 -- NULL: they sign in otherwise
  roles      text    NOT NULL DEFAULT '[]',        -- a JSON array
  disabled   bigint  NOT NULL DEFAULT 0,           -- 1: they may not
  created_at bigint  NOT NULL
);

-- Counters of login attempts, under keyed digests of names and networks.
CREATE TABLE auth_throttle (
  key           bytea  PRIMARY KEY CHECK (octet_length(key) = 16),
  failures      bigint NOT NULL,
  open          bigint NOT NULL,
  batch         bigint NOT NULL,
  open_until    bigint NOT NULL,
  blocked_until bigint NOT NULL,
  forgotten_at  bigint NOT NULL,
  kept_until    bigint NOT NULL,              -- from then on it says no more than no row
  said          bigint NOT NULL               -- what RETURNING could not see otherwise
) WITH (fillfactor = 80);
CREATE INDEX auth_throttle_kept_idx ON auth_throttle (kept_until);

CREATE TABLE auth_api_key (
  id             text   PRIMARY KEY,
  secret         bytea  NOT NULL,             -- SHA-256
  previous       bytea,                       -- of the secret before it, while the key is rolled
  previous_until bigint,
  owner          text   NOT NULL,             -- the subject it acts for
  label          text   NOT NULL,
  display_start  text   NOT NULL,
  scope          text   NOT NULL,
  created_at     bigint NOT NULL,
  expires_at     bigint,
  revoked_at     bigint,
  last_used_at   bigint
) WITH (fillfactor = 80);
CREATE INDEX auth_api_key_owner_idx ON auth_api_key (owner, created_at);

-- Tokens that are good for one use.
CREATE TABLE auth_one_time (
  digest     bytea  PRIMARY KEY,              -- SHA-256
  purpose    text   NOT NULL,
  sub        text   NOT NULL,
  expires_at bigint NOT NULL
);
CREATE INDEX auth_one_time_sub_idx ON auth_one_time (sub, purpose);
CREATE INDEX auth_one_time_expires_idx ON auth_one_time (expires_at);
