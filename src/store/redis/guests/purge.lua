-- Guests expire. The epoch that a claim raised is deleted when no session is left that it ends: no session
-- ends after its score in the index. The indexes of sessions share the slot of KEYS.
local claimed, epochs = unpack(KEYS)
local most, indexes = unpack(ARGV)

local over = redis.call('ZRANGEBYSCORE', claimed, '-inf', now, 'LIMIT', 0, tonumber(most))
for _, subject in ipairs(over) do
  local last = redis.call('ZREVRANGE', indexes .. subject, 0, 0, 'WITHSCORES')
  if last[2] and tonumber(last[2]) > now then
    redis.call('ZADD', claimed, tonumber(last[2]), subject)
  else
    redis.call('HDEL', epochs, subject)
    redis.call('ZREM', claimed, subject)
  end
end
return #over
