-- The keys of both addresses share the slot of KEYS.

local subjects, names = KEYS[1], KEYS[2]
local subject, prefix, from, to = unpack(ARGV)

if redis.call('HGET', subjects, subject) ~= from or redis.call('EXISTS', prefix .. to) == 1 then
  return 0
end
redis.call('RENAME', prefix .. from, prefix .. to)
redis.call('HSET', prefix .. to, 'verified', now)
redis.call('ZREM', names, from)
redis.call('ZADD', names, 0, to)
redis.call('HSET', subjects, subject, to)
return 1
