-- Sessions go by themselves; what is left are revocations that have ended.
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, tonumber(ARGV[1]))
for _, target in ipairs(over) do
  redis.call('ZREM', KEYS[1], target)
end
return #over
