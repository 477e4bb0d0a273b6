-- Advances sessions from their live generations. The key of a session ends with its identifier. Its
-- arguments are the first 10 bytes of the row that is advanced, the grace period, and the bound key.
-- The last arguments can be missing, if they are '0' and ''.
--
-- Returns for each session what was written, followed by the row as it was before. The roles of its subject
-- and their length come first, if they are read. This runs at every refresh. A reply that is a table
-- takes as long as a command, and a number as an argument of a command half as long.

-- Everything that can fail for all sessions comes before the first write. A session that cannot be read
-- is not advanced: its load reports the error.
local replies
for i = 1, sessions do
  local key, from = KEYS[i + 1], ARGV[3 * i - 2]
  local grace, bound_key = ARGV[3 * i - 1] or '0', ARGV[3 * i] or ''
  local row = redis.pcall('GET', key)
  local reply = false
  if row and #row > 90 and string.sub(row, 1, 10) == from then
    local _, _, generation, _, confirmed, rotated, used, ends_by, _, idle, expires, _, epoch, kind, subject_length, key_length =
      struct.unpack(FORM, row)
    local subject = string.sub(row, 92, 91 + subject_length)
    local raised = redis.call('HGET', KEYS[1], subject)
    if now < expires and now < used + idle
        and not (raised and epoch < (tonumber(raised) or math.huge))
        and string.sub(row, 92 + subject_length, 91 + subject_length + key_length) == bound_key
        and (grace == '0' or rotated == 0 or now > rotated + grace or rotated > now + grace) then
      local roles = ''
      if roles_of and kind == 0 then
        roles = roles_of(subject)
      end
      if roles and (math.min(expires, now + idle) <= ends_by
          or not postpone(key, subject, idle, expires)) then
        reply = struct.pack('>I8I8I8I8I8', generation + 1, generation + 1, confirmed, now, now)
        redis.call('SETRANGE', key, '2', reply)
        if roles_of then
          reply = struct.pack('>I4', #roles) .. roles .. reply .. row
        else
          reply = reply .. row
        end
      end
    end
  end
  if sessions == 1 then
    return reply
  end
  replies = replies or {}
  replies[i] = reply
end
return replies
