local user, epochs = KEYS[1], KEYS[2]

local row = redis.call('HMGET', user, 'sub', 'hash', 'roles', 'off', 'verified')
-- Read also if the user does not exist, so that the work is the same.
local epoch = epoch_of(epochs, row[1] or '')
if not row[1] then
  return false
end
return {row[1], row[2], row[3], row[4], tostring(epoch), ARGV[1], row[5] and 1 or 0}
