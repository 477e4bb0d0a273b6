-- Sessions expire. Deletes revocations that have ended, and trims the stream if no entry is added.
local cut = redis.call('XTRIM', KEYS[2], 'MINID', string.format('%d', now - 60 * 60 * 1000))
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, tonumber(ARGV[1]))
for _, target in ipairs(over) do
  redis.call('ZREM', KEYS[1], target)
end
return #over + cut
