-- Writes a state and the time of its refresh. The expiry of the key and the place in the index are not
-- before the end of the session. They change at most once an hour.
local function stamp(id, indexes, generation, parent, confirmed, reissues)
  if math.min(expires, now + idle) > ends_by then
    ends_by = math.min(expires, now + idle + HOUR)
    redis.call('PEXPIREAT', KEYS[1], ends_by + DAY)
    local index = indexes .. subject
    redis.call('ZADD', index, ends_by, id)
    local last = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
    redis.call('PEXPIREAT', index, tonumber(last[2]))
  end
  redis.call('SETRANGE', KEYS[1], 2,
    struct.pack('>I8I8I8I8I8I8I4', generation, parent, confirmed, now, now, ends_by, reissues))
  return {now, 0, row}
end
