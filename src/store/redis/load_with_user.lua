-- The key of the user shares the slot of KEYS.
local identifier = redis.call('HGET', KEYS[3], subject)
local user = identifier and redis.call('HMGET', ARGV[1] .. identifier, 'roles', 'off')
return {now, is_over and 1 or 0, row, user and user[1], user and user[2]}
