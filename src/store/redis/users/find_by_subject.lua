-- The key of the user shares the slot of KEYS.

local subjects, epochs = KEYS[1], KEYS[2]
local subject, prefix = ARGV[1], ARGV[2]

local identifier = redis.call('HGET', subjects, subject)
if not identifier then
  return false
end
local row = redis.call('HMGET', prefix .. identifier, 'sub', 'hash', 'roles', 'off', 'verified')
return {row[1], row[2], row[3], row[4], tostring(epoch_of(epochs, subject)), identifier, row[5] and 1 or 0}
