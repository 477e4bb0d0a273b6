-- Guests go by themselves. The epochs that their claims raised go once no session is left that they
-- end. The indexes of sessions are in the slot of those named.
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
