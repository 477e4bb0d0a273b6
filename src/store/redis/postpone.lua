-- Moves the expiry of a session's key and its place in the index to an hour after its end, so that they
-- change at most once an hour. Returns an error if nothing was written. It is not raised, because
-- the script may have written other sessions. The index shares the slot of KEYS.
local function postpone(key, subject, idle, expires)
  local ID_LENGTH, HOUR, DAY = 32, 3600000, 86400000
  local ends_by = math.min(expires, now + idle + HOUR)
  local id = string.sub(key, -ID_LENGTH)
  local index = string.sub(key, 1, -ID_LENGTH - 3) .. 'i:' .. subject
  local placed = redis.pcall('ZADD', index, ends_by, id)
  if type(placed) == 'table' then
    return placed
  end
  local last = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
  redis.call('PEXPIREAT', index, tonumber(last[2]))
  redis.call('PEXPIREAT', key, ends_by + DAY)
  redis.call('SETRANGE', key, 42, struct.pack('>I8', ends_by))
end
