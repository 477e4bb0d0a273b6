-- Reads the session of the first key. The second key contains the epochs.
local row = redis.call('GET', KEYS[1])
if not row then
  return false
end
if string.byte(row) ~= 1 then
  return redis.error_reply('ERR a session of another format')
end
local _, reason, generation, parent, confirmed, rotated, used, ends_by, reissues, idle, expires, _, epoch, _, subject_length, key_length =
  struct.unpack(FORM, row)
local subject = string.sub(row, 92, 91 + subject_length)
local is_over = reason ~= 0 or epoch < tonumber(redis.call('HGET', KEYS[2], subject) or '0')
local has_ended = now >= expires or now >= used + idle
