-- The keys of the users share the slot of KEYS.

local names = KEYS[1]
local after, most, prefix = unpack(ARGV)

local rows = {}
for i, identifier in ipairs(redis.call('ZRANGEBYLEX', names, after, '+', 'LIMIT', 0, most)) do
  local row = redis.call('HMGET', prefix .. identifier, 'sub', 'roles', 'off', 'born')
  rows[i] = {identifier, row[1], row[2], row[3], row[4]}
end
return rows
