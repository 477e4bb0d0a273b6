-- One row per guest, and in it who claimed the guest and whether the application was told.
CREATE TABLE auth_guest (
  sub         text    PRIMARY KEY,
  device      bytea   CHECK (octet_length(device) = 32), -- SHA-256 of what the device holds; NULL: not bound
  created_at  bigint  NOT NULL,
  written_at  bigint  NOT NULL,
  expires_at  bigint  NOT NULL,
  promoted_at bigint,
  claimed_by  text,
  claimed_at  bigint,
  attempts    integer NOT NULL DEFAULT 0,
  due_at      bigint                          -- when the application is told next; NULL: never again
) WITH (fillfactor = 80);                     -- a guest that writes touches no index
CREATE INDEX auth_guest_expires_idx ON auth_guest (expires_at);
CREATE INDEX auth_guest_due_idx ON auth_guest (due_at) WHERE due_at IS NOT NULL;
