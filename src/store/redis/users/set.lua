-- Sets one field of a user. With a fifth argument, only if it equals the user's hash.
-- The key of the user shares the slot of KEYS.

local subjects = KEYS[1]
local subject, prefix, field, value, old = unpack(ARGV)

local identifier = redis.call('HGET', subjects, subject)
if not identifier then
  return 0
end
if old and redis.call('HGET', prefix .. identifier, 'hash') ~= old then
  return 0
end
redis.call('HSET', prefix .. identifier, field, value)
return 1
