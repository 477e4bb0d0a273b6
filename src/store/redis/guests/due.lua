-- The keys of the guests are in the slot of the one that is named.
local pending = KEYS[1]
local prefix, most = unpack(ARGV)

local taken = {}
for _, subject in ipairs(redis.call('ZRANGEBYSCORE', pending, '-inf', now, 'LIMIT', 0, tonumber(most))) do
  local key = prefix .. subject
  local user = redis.call('HGET', key, 'user')
  if user then
    local attempts = redis.call('HINCRBY', key, 'tries', 1)
    local wait = 30000
    for _ = 1, math.min(attempts, 7) do
      wait = wait * 2
    end
    local due = now + math.min(wait, 60 * 60 * 1000)
    redis.call('HSET', key, 'due', due)
    redis.call('ZADD', pending, due, subject)
    taken[#taken + 1] = {subject, user, attempts}
  else
    redis.call('ZREM', pending, subject)
  end
end
return taken
