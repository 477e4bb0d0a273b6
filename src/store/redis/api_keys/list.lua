-- The keys of the rows are in the slot of the one named.

local of_owner, prefix = KEYS[1], ARGV[1]

local rows = {}
for i, id in ipairs(redis.call('ZREVRANGE', of_owner, 0, -1)) do
  rows[i] = {id, redis.call('HMGET', prefix .. id, 'owner', 'secret', 'previous', 'previous_until', 'label', 'start', 'scope', 'born', 'expires', 'revoked', 'used')}
end
return rows
