-- Sessions expire. Deletes revocations that have ended, and trims the stream if no entry is added. An exact
-- trim has no limit. It follows when less than a block of entries is left.
local MOST = 100000

local hour_ago = string.format('%d', now - HOUR)
local cut = redis.call('XTRIM', KEYS[2], 'MINID', '~', hour_ago, 'LIMIT', MOST)
if cut < MOST / 2 then
  cut = cut + redis.call('XTRIM', KEYS[2], 'MINID', hour_ago)
end
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, tonumber(ARGV[1]))
for _, target in ipairs(over) do
  redis.call('ZREM', KEYS[1], target)
end
return #over + cut
