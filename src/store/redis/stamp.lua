-- Writes a state and the time of its refresh. The expiry of the key and the place in the index are not
-- before the end of the session. They change at most once an hour. Returns an error if nothing was
-- written. It is not raised, because the script may have written other sessions.
local function stamp(key, index, id, ends_by, idle, expires, generation, parent, confirmed, reissues)
  if math.min(expires, now + idle) > ends_by then
    ends_by = math.min(expires, now + idle + HOUR)
    local placed = redis.pcall('ZADD', index, ends_by, id)
    if type(placed) == 'table' then
      return placed
    end
    local last = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
    redis.call('PEXPIREAT', index, tonumber(last[2]))
    redis.call('PEXPIREAT', key, ends_by + DAY)
  end
  redis.call('SETRANGE', key, 2,
    struct.pack('>I8I8I8I8I8I8I4', generation, parent, confirmed, now, now, ends_by, reissues))
end
