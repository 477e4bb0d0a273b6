-- The keys of the rows share the slot of KEYS.

local of_owner, prefix, most = KEYS[1], ARGV[1], tonumber(ARGV[2])

local rows = {}
for i, id in ipairs(redis.call('ZREVRANGE', of_owner, 0, most - 1)) do
  rows[i] = {id, redis.call('HMGET', prefix .. id, 'owner', 'secret', 'previous', 'previous_until', 'label', 'start', 'scope', 'born', 'expires', 'revoked', 'used')}
end
return rows
