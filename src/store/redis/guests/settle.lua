local key, pending = unpack(KEYS)
local subject, user = unpack(ARGV)

local holder, due, ends = unpack(redis.call('HMGET', key, 'user', 'due', 'exp'))
if holder ~= user or not due then
  return 0
end
redis.call('HDEL', key, 'due')
redis.call('ZREM', pending, subject)
redis.call('PEXPIREAT', key, tonumber(ends) + DAY)
return 1
