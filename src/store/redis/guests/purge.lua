-- Guests expire by themselves. The epoch that a claim raised is deleted once no session is left that it
-- ends. A session may end up to an hour after its entry in the index. The indexes of sessions are in the
-- slot of the keys that are named.
local claimed, epochs = unpack(KEYS)
local most, indexes = unpack(ARGV)

local over = redis.call('ZRANGEBYSCORE', claimed, '-inf', now, 'LIMIT', 0, tonumber(most))
for _, subject in ipairs(over) do
  local last = redis.call('ZREVRANGE', indexes .. subject, 0, 0, 'WITHSCORES')
  if last[2] and tonumber(last[2]) + HOUR > now then
    redis.call('ZADD', claimed, tonumber(last[2]) + HOUR, subject)
  else
    redis.call('HDEL', epochs, subject)
    redis.call('ZREM', claimed, subject)
  end
end
return #over
