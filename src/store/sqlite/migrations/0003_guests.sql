-- One row per guest, and in it who claimed the guest and whether the application was told.
CREATE TABLE auth_guest (
  sub         TEXT    NOT NULL PRIMARY KEY,
  device      BLOB,                           -- SHA-256 of what the device holds; NULL: not bound
  created_at  INTEGER NOT NULL,
  written_at  INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  promoted_at INTEGER,
  claimed_by  TEXT,
  claimed_at  INTEGER,
  attempts    INTEGER NOT NULL DEFAULT 0,
  due_at      INTEGER,                        -- when the application is told next; NULL: never again
  CHECK (device IS NULL OR length(device) = 32)
) WITHOUT ROWID;
CREATE INDEX auth_guest_expires_idx ON auth_guest (expires_at);
CREATE INDEX auth_guest_due_idx ON auth_guest (due_at) WHERE due_at IS NOT NULL;

-- There is no moment in which a guest is claimed and its tokens are good. The trigger on
-- auth_subject writes the revocation.
CREATE TRIGGER auth_guest_ended AFTER UPDATE OF claimed_by, promoted_at ON auth_guest
WHEN (OLD.claimed_by IS NULL AND NEW.claimed_by IS NOT NULL)
  OR (OLD.promoted_at IS NULL AND NEW.promoted_at IS NOT NULL)
BEGIN
  INSERT INTO auth_subject (sub, epoch) VALUES (NEW.sub, 1)
  ON CONFLICT (sub) DO UPDATE SET epoch = epoch + 1;
END;
