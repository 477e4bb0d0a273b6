-- The key of the user shares the slot of KEYS.

local subjects = KEYS[1]
local subject, prefix, address = unpack(ARGV)

if redis.call('HGET', subjects, subject) ~= address then
  return 0
end
redis.call('HSETNX', prefix .. address, 'verified', now)
return 1
