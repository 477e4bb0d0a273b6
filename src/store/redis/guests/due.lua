-- The keys of the guests share the slot of KEYS.
local prefix, most = unpack(ARGV)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, most)
for i, subject in ipairs(due) do
  due[i] = {subject, redis.call('HMGET', prefix .. subject, unpack(ARGV, 3))}
end
return {now, due}
