-- The key of the user shares the slot of KEYS.

local subjects = KEYS[1]
local subject, prefix, hash = unpack(ARGV)

local identifier = redis.call('HGET', subjects, subject)
if not identifier then
  return 0
end
return redis.call('HSETNX', prefix .. identifier, 'hash', hash)
